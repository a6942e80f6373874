"""Where ClickHouse is and who we are there: TRUELINE_CLICKHOUSE_* variables, named like the monitor's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

DEFAULT_URL: Final = "http://localhost:8123"
DEFAULT_DATABASE: Final = "trueline"
_EXAMPLE: Final = "expected http://host:8123/database or https://host:8443/database"
_FALSE: Final = ("0", "false", "no", "off")


class ClickHouseSettingsError(ValueError):
    """A variable has no meaning; the text says which, and holds no credential."""


@dataclass(frozen=True)
class ClickHouseSettings:
    """Address and credentials. ``password_file`` is read for each connection: it may change."""

    host: str
    port: int
    secure: bool
    database: str
    user: str
    password: str = field(repr=False)
    password_file: Path | None = None
    ca_file: str | None = None
    verify: bool = True

    @property
    def endpoint(self) -> str:
        """The URL without credentials."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.secure else ''}://{host}:{self.port}"

    def read_password(self) -> str:
        """The password as it is now. Raise ClickHouseSettingsError if its file cannot be read."""
        if self.password or self.password_file is None:
            return self.password
        try:
            return self.password_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ClickHouseSettingsError(
                f"the file of TRUELINE_CLICKHOUSE_PASSWORD_FILE cannot be read ({type(error).__name__})"
            ) from error


def read_settings(environment: Mapping[str, str] = os.environ) -> ClickHouseSettings:
    """Read the variables. Raise ClickHouseSettingsError for a URL or a file that has no meaning."""
    try:
        parts = urlsplit(environment.get("TRUELINE_CLICKHOUSE_URL") or DEFAULT_URL)
        port = parts.port
    except ValueError as error:
        raise ClickHouseSettingsError(f"TRUELINE_CLICKHOUSE_URL cannot be read: {_EXAMPLE}") from error
    database = parts.path.strip("/")
    if parts.scheme not in ("http", "https") or not parts.hostname or "/" in database or parts.query:
        raise ClickHouseSettingsError(f"TRUELINE_CLICKHOUSE_URL is no such URL: {_EXAMPLE}")
    secure = parts.scheme == "https"
    ca_file = environment.get("TRUELINE_CLICKHOUSE_CA_FILE") or None
    if ca_file and not Path(ca_file).is_file():
        raise ClickHouseSettingsError("the file of TRUELINE_CLICKHOUSE_CA_FILE is not there")
    password_file = environment.get("TRUELINE_CLICKHOUSE_PASSWORD_FILE")
    return ClickHouseSettings(
        host=parts.hostname,
        port=port or (8443 if secure else 8123),
        secure=secure,
        database=unquote(database) or environment.get("TRUELINE_DATABASE") or DEFAULT_DATABASE,
        user=unquote(parts.username or "") or environment.get("TRUELINE_CLICKHOUSE_USER") or "default",
        password=unquote(parts.password or "") or environment.get("TRUELINE_CLICKHOUSE_PASSWORD", ""),
        password_file=Path(password_file) if password_file else None,
        ca_file=ca_file,
        verify=environment.get("TRUELINE_CLICKHOUSE_VERIFY", "").strip().lower() not in _FALSE,
    )
