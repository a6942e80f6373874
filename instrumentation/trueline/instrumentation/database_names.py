"""The operator's own names for databases: stronger than anything read from a server.

One name for all engines of a process, or a mapping for a process with several:

    TRUELINE_DATABASE_NAMES=db.internal:5432/orders=orders,/archive=orders-archive,4fd0a1b2c3d4e5f6=crm

A key is a place, ``host:port/database``, ``host/database`` or ``/database``, as in the engine's URL, or a
fingerprint of any rung, as Trueline shows it. Two databases with one name count as one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

_FINGERPRINT: Final = re.compile(r"[0-9a-f]{16}")
_PLACE: Final = re.compile(r"(?P<host>\[[^\]]+\]|[^/:\s]*)(?::(?P<port>\d{1,5}))?/(?P<database>.+)")
_WAY_OUT: Final = "use host:port/database, host/database, /database or a fingerprint of 16 hex digits"


class DatabaseNames:
    """Names by place and by fingerprint; ``default`` is the name where none of them fits ("" for none).

    Raises ValueError, with a sentence that names the entry, for one that cannot be used.
    """

    def __init__(self, default: str = "", names: Mapping[str, str] | None = None) -> None:
        self._default = default
        self._by_fingerprint: dict[str, str] = {}
        self._by_place: dict[tuple[str, str, str], str] = {}
        for key, name in (names or {}).items():
            self._add(key, name)

    @classmethod
    def parse(cls, text: str, default: str = "") -> DatabaseNames:
        """Names from ``key=name,key=name``."""
        names: dict[str, str] = {}
        for entry in filter(None, map(str.strip, text.split(","))):
            key, separator, name = entry.rpartition("=")
            if not separator:
                raise ValueError(f"{entry!r} is not key=name")
            if key.strip() in names:
                raise ValueError(f"{key.strip()!r} stands there twice")
            names[key.strip()] = name.strip()
        return cls(default, names)

    def _add(self, key: str, name: str) -> None:
        if not isinstance(key, str) or not isinstance(name, str) or not name:
            raise ValueError(f"the name for {key!r} is not a text")
        if "@" in key or "://" in key:
            # Not repeated: it may hold a password.
            raise ValueError(f"the key for {name!r} looks like a URL: {_WAY_OUT}")
        place = _PLACE.fullmatch(key)
        if _FINGERPRINT.fullmatch(key):
            self._by_fingerprint[key] = name
        elif place is not None and (place["host"] or not place["port"]):
            host = place["host"].strip("[]").lower()
            self._by_place[host, place["port"] or "", place["database"]] = name
        else:
            raise ValueError(f"{key!r} names no database: {_WAY_OUT}")

    def name_of(self, url: URL, fingerprints: Iterable[str]) -> str:
        """The name of a database with this URL and these rungs; "" if it has none."""
        if self._by_fingerprint:
            for one in fingerprints:
                if one in self._by_fingerprint:
                    return self._by_fingerprint[one]
        if self._by_place:
            host, port, database = (url.host or "").lower(), str(url.port or ""), url.database or ""
            for place in ((host, port, database), (host, "", database), ("", "", database)):
                if place in self._by_place:
                    return self._by_place[place]
        return self._default
