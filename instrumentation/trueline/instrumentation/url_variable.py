"""The environment variable that a database URL came from: its name, nothing else of it.

Only values that are URLs of the same kind of database are parsed. What is kept of them is their place and
a keyed digest of their secret, so that passwords are not copied into longer-living memory.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

_MAX_LENGTH: Final = 2048
#: What tools and platforms write for SQLAlchemy's names of databases.
_SAME: Final = {"postgres": "postgresql", "mariadb": "mysql", "sqlite3": "sqlite"}
_PORTS: Final = {"postgresql": 5432, "mysql": 3306, "mssql": 1433, "oracle": 1521}
_KEY: Final = secrets.token_bytes(16)

_found: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()


class _Place(NamedTuple):
    """What two URLs of one database agree on."""

    backend: str
    host: str
    port: int | None
    database: str


class _Candidate(NamedTuple):
    place: _Place
    user: str
    #: Digests, under a key of this process, of the password and of driver and query.
    password: bytes
    options: bytes


def variable_of(dialect: Any, url: URL) -> str:
    """The name for an engine with this dialect object and URL, looked for once an engine; else ""."""
    name = _found.get(dialect)
    if name is None:
        name = _found[dialect] = url_variable(url)
    return name


def url_variable(url: URL, environment: Mapping[str, str] | None = None) -> str:
    """The name of the environment variable that holds ``url``, or "".

    Host, port and database must agree, and the user unless the variable names none. Of several, the one that
    agrees on password, driver and options comes first, then the first by name. ``postgres://`` and
    ``postgresql+asyncpg://`` are one kind of database.
    """
    wanted = _candidate(url)
    best: tuple[tuple[bool, bool, bool], str] | None = None
    for name, value in (os.environ if environment is None else environment).items():
        candidate = _parse(value, wanted.place.backend)
        if candidate is None or candidate.place != wanted.place or candidate.user not in ("", wanted.user):
            continue
        rank = (
            candidate.user != wanted.user,
            candidate.password != wanted.password,
            candidate.options != wanted.options,
        )
        if best is None or (rank, name) < best:
            best = rank, name
    return "" if best is None else best[1]


def _parse(value: str, backend: str) -> _Candidate | None:
    scheme, separator, _ = value.partition("://")
    if not separator or len(value) > _MAX_LENGTH:
        return None
    if _backend(scheme.partition("+")[0].strip().lower()) != backend:
        return None
    from sqlalchemy.engine import make_url

    try:
        return _candidate(make_url(value.strip()))
    except Exception:  # ArgumentError, ValueError of a port: some other value that only begins like a URL
        return None


def _backend(name: str) -> str:
    return _SAME.get(name, name)


def _candidate(url: URL) -> _Candidate:
    backend = _backend(url.get_backend_name())
    host = url.host or url.query.get("host", "")
    place = _Place(
        backend,
        host.lower() if isinstance(host, str) else ",".join(host),
        url.port or _PORTS.get(backend),
        url.database or "",
    )
    password = "" if url.password is None else str(url.password)
    options = f"{url.drivername}\0{sorted(url.query.items())}"
    return _Candidate(place, url.username or "", _digest(password), _digest(options))


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=_KEY, digest_size=16).digest()
