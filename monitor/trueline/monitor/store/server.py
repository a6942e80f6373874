"""A ClickHouse server, over its HTTP interface."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from trueline.monitor.errors import SettingsError, StoreError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from clickhouse_connect.driver.client import Client

#: ClickHouse error numbers that mean "who are you": REQUIRED_PASSWORD, AUTHENTICATION_FAILED and the like.
_AUTHENTICATION_CODES = frozenset({192, 193, 194, 516})
CONNECT_SECONDS = 5
#: Longer than any query may run, so that the server, not the client, ends a slow one.
ANSWER_SECONDS = 120


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A parsed ``--clickhouse-url``. ``description`` is the URL without user and password."""

    secure: bool
    host: str
    port: int
    user: str | None
    password: str | None = field(repr=False)
    database: str | None

    @property
    def description(self) -> str:
        """The URL as it may be shown."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.secure else ''}://{host}:{self.port}"


def parse_url(url: str) -> ServerAddress:
    """Parse ``http[s]://[user[:password]@]host[:port][/database]``. Raise SettingsError for anything else."""
    expected = "expected http://host:8123/database or https://host:8443/database"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise SettingsError(f"The ClickHouse URL cannot be read ({error}): {expected}.") from error
    if parts.scheme not in ("http", "https"):
        hint = "; the native protocol (port 9000) is not spoken" if parts.scheme == "clickhouse" else ""
        shown = parts.scheme or "none"
        raise SettingsError(f"The ClickHouse URL has the scheme {shown}: {expected}{hint}.")
    if not parts.hostname:
        raise SettingsError(f"The ClickHouse URL names no host: {expected}.")
    if parts.query or parts.fragment:
        raise SettingsError(f"The ClickHouse URL must not have a query or a fragment: {expected}.")
    database = parts.path.strip("/")
    if "/" in database:
        raise SettingsError(f"The ClickHouse URL has more than a database in its path: {expected}.")
    secure = parts.scheme == "https"
    return ServerAddress(
        secure=secure,
        host=parts.hostname,
        port=port or (8443 if secure else 8123),
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        database=unquote(database) or None,
    )


@dataclass(slots=True)
class ServerConnector:
    """Opens HTTP clients to one server."""

    address: ServerAddress
    user: str
    password: str = field(repr=False)
    ca_file: Path | None = None
    verify: bool = True

    @property
    def description(self) -> str:
        """Where the data is, for people."""
        return self.address.description

    def open(self, database: str | None, settings: Mapping[str, str]) -> Client:
        """Open one client. ``settings`` go with each of its requests."""
        from clickhouse_connect import get_client
        from clickhouse_connect.driver.exceptions import ClickHouseError

        if self.ca_file is not None and not self.ca_file.is_file():
            raise SettingsError(
                f"The file of certificates {self.ca_file} cannot be read: check TRUELINE_CLICKHOUSE_CA_FILE."
            )
        if self.address.secure and not self.verify:
            import urllib3

            # Whoever switched it off knows; a warning for each connection tells nobody more.
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        try:
            client = get_client(
                interface="https" if self.address.secure else "http",
                host=self.address.host,
                port=self.address.port,
                username=self.user,
                password=self.password,
                database=database or "default",
                settings=dict(settings),
                connect_timeout=CONNECT_SECONDS,
                send_receive_timeout=ANSWER_SECONDS,
                autogenerate_session_id=False,
                tz_mode="aware",
                client_name="trueline",
                verify=self.verify,
                ca_cert=str(self.ca_file) if self.ca_file else None,
            )
        except ClickHouseError as error:
            raise self._explain(error) from error
        client.server_tz = UTC
        return client

    def _explain(self, error: Exception) -> StoreError:
        code = getattr(error, "code", None)
        text = str(error)
        if code in _AUTHENTICATION_CODES or "HTTP status 401" in text or "HTTP status 403" in text:
            return StoreError(
                f"ClickHouse at {self.description} refused the user {self.user!r} or its password: check "
                "TRUELINE_CLICKHOUSE_USER and TRUELINE_CLICKHOUSE_PASSWORD."
            )
        if "CERTIFICATE_VERIFY_FAILED" in text:
            return StoreError(
                f"The certificate of ClickHouse at {self.description} is not trusted: name its authority "
                "with TRUELINE_CLICKHOUSE_CA_FILE."
            )
        if code is None:
            return StoreUnavailableError(
                f"No ClickHouse answers at {self.description} ({_root(error)}): check the URL (the HTTP "
                "port, 8123 by default) and that the server runs."
            )
        return StoreError(f"ClickHouse at {self.description} cannot be used: {text.splitlines()[0]}")

    def close(self) -> None:
        """Nothing to release: each client closes its own connections."""


def _root(error: BaseException) -> str:
    """The innermost cause in one short line: 'Connection refused' rather than the pool's account of it."""
    while error.__cause__ is not None or (error.__context__ is not None and not error.__suppress_context__):
        error = error.__cause__ or error.__context__ or error
    strerror = getattr(error, "strerror", None)
    line = strerror or (str(error).splitlines() or [type(error).__name__])[0]
    return str(line)[:200].rstrip(".:")
