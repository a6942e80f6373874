"""Every setting of the monitor in one table: arguments, then TRUELINE_* variables, then defaults."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from trueline.monitor.errors import SettingsError
from trueline.monitor.store.disk import parse_level

PREFIX: Final = "TRUELINE_"
DEFAULT_PORT: Final = 4318


def default_data_dir() -> Path:
    """Where the platform keeps a user's application data: ~/.local/share/trueline on Linux."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "trueline"
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "trueline"


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """What opening the store needs. ``clickhouse_url`` chooses a server; without it ``data_dir`` is used."""

    data_dir: Path
    # Either may hold a password.
    clickhouse_url: str | None = field(default=None, repr=False)
    clickhouse_user: str = "default"
    clickhouse_password: str = field(default="", repr=False)
    database: str = "trueline"
    clickhouse_ca_file: Path | None = None
    clickhouse_verify: bool = True
    clickhouse_cluster: str = ""


class Settings(BaseSettings):
    """All settings, validated. Made by :func:`load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True, validate_default=True
    )

    data_dir: Path = Field(
        default_factory=default_data_dir, description="Folder of the embedded store; one process owns it."
    )
    host: str = Field("127.0.0.1", description="Address to listen on. Any but a loopback one needs a token.")
    port: int = Field(
        DEFAULT_PORT, ge=0, le=65535, description="Port to listen on; 0 takes a free one and prints it."
    )
    rules: Annotated[tuple[Path, ...], NoDecode] = Field(
        (),
        description=f"Files and folders of rules beside the shipped ones, separated by {os.pathsep!r}.",
    )
    shipped_rules: bool = Field(True, description="Whether the shipped rules are loaded at all.")
    config: Annotated[tuple[Path, ...], NoDecode] = Field(
        (),
        description=f"Files of declarations, one an application, separated by {os.pathsep!r}. Unset: "
        "trueline.yaml in the working directory, if it is there.",
    )
    clickhouse_url: str | None = Field(
        None,
        repr=False,
        description="A ClickHouse server instead of the embedded store: http://host:8123/database.",
    )
    clickhouse_user: str = Field("default", description="User on the ClickHouse server.")
    clickhouse_password: SecretStr | None = Field(None, description="Its password.")
    clickhouse_password_file: Path | None = Field(
        None, description="File with its password, for mounted secrets."
    )
    clickhouse_ca_file: Path | None = Field(
        None, description="Certificates to trust for https:// besides the system's, in PEM."
    )
    clickhouse_verify: bool = Field(
        True, description="Whether the server's certificate is checked; false only to try something out."
    )
    clickhouse_cluster: str = Field(
        "",
        description="Name of the cluster (system.clusters) over which all tables are made.",
    )
    retention_days: int = Field(
        30,
        ge=0,
        le=36_500,
        description="Days that spans, logs and what is made of them are kept; 0: for ever.",
    )
    retention_findings_days: int = Field(
        400, ge=0, le=36_500, description="Days that findings and their evidence are kept; 0: for ever."
    )
    retention_tables: str = Field(
        "", description="Other days for single tables, by comma: otel_logs=7,access_counts=365."
    )
    database: str = Field("trueline", description="Name of the database that holds all tables.")
    token: SecretStr | None = Field(
        None, description="Bearer token that every request but /healthz and /readyz must carry."
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Further names under which clients may call the monitor (Host header), by comma."
    )
    external_url: str | None = Field(
        None, description="The monitor's URL as people see it, for links; its host is allowed too."
    )
    url: str = Field(
        f"http://127.0.0.1:{DEFAULT_PORT}", description="Where the other commands find the running monitor."
    )
    notify: Path | None = Field(
        None, description="File of targets to tell of findings. Unset: nobody is told anything."
    )
    hash_secret: SecretStr | None = Field(
        None, description="The secret that identities are hashed with: the same as the services'."
    )
    rule_tick_seconds: float = Field(
        1.0, gt=0, le=60, description="How often it is looked which rules are due."
    )
    evidence_limit: int = Field(50, ge=1, le=500, description="Spans and logs kept with a finding, at most.")
    disk_reserve: str = Field(
        "1GiB",
        description="Free disk below which telemetry is refused (503) until half as much again is free: "
        "2GiB, 5%; 0 for no limit.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severity logged."
    )
    log_format: Literal["console", "json"] = Field(
        "console", description="Form of log lines on standard error."
    )

    @field_validator("rules", "config", mode="before")
    @classmethod
    def _split_paths(cls, value: Any) -> Any:
        return tuple(part for part in value.split(os.pathsep) if part) if isinstance(value, str) else value

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _split_names(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = value.split(",")
        return tuple(name.strip().lower() for name in value if name.strip())

    @field_validator("disk_reserve")
    @classmethod
    def _require_amount(cls, value: str) -> str:
        try:
            parse_level(value)
        except SettingsError as error:
            raise ValueError(str(error).rstrip(".")) from error
        return value

    @field_validator("data_dir", "clickhouse_password_file", "clickhouse_ca_file", "notify")
    @classmethod
    def _expand(cls, value: Path | None) -> Path | None:
        return value.expanduser() if value else value

    @field_validator("external_url", "url")
    @classmethod
    def _require_http(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return value.rstrip("/") if value else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then the environment; no files are searched for behind the user's back."""
        return init_settings, env_settings

    @property
    def store(self) -> StoreSettings:
        """What opening the store needs. Raise SettingsError if the password file cannot be read."""
        password = self.clickhouse_password.get_secret_value() if self.clickhouse_password else ""
        if not password and self.clickhouse_password_file:
            try:
                password = self.clickhouse_password_file.read_text(encoding="utf-8").strip()
            except OSError as error:
                raise SettingsError(
                    f"The password file {self.clickhouse_password_file} cannot be read ({error.strerror}): "
                    f"check {PREFIX}CLICKHOUSE_PASSWORD_FILE."
                ) from error
        return StoreSettings(
            self.data_dir,
            self.clickhouse_url,
            self.clickhouse_user,
            password,
            self.database,
            self.clickhouse_ca_file,
            self.clickhouse_verify,
            self.clickhouse_cluster,
        )


class SettingLine(BaseModel):
    """One setting as ``trueline settings`` shows it."""

    name: str
    variable: str
    value: str
    origin: Literal["argument", "environment", "default"]
    help: str


def load_settings(arguments: Mapping[str, Any] | None = None) -> Settings:
    """Build the settings. ``arguments`` that are None were not given. Raise SettingsError for a bad value."""
    given = {name: value for name, value in (arguments or {}).items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        where = f"--{name.replace('_', '-')}" if name in given else f"{PREFIX}{name.upper()}"
        shown = "" if name in _SECRETS else f" has the value {first['input']!r}, which"
        reason = first["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{where}{shown} cannot be used: {reason}.") from error


def describe(settings: Settings, arguments: Mapping[str, Any] | None = None) -> list[SettingLine]:
    """List each setting with its value (secrets masked), where the value came from, and its meaning."""
    given = {name for name, value in (arguments or {}).items() if value is not None}
    lines = []
    for name, info in Settings.model_fields.items():
        variable = PREFIX + name.upper()
        origin: Literal["argument", "environment", "default"] = "default"
        if name in given:
            origin = "argument"
        elif os.environ.get(variable):
            origin = "environment"
        value = getattr(settings, name)
        lines.append(
            SettingLine(
                name=name,
                variable=variable,
                value=_show(name, value),
                origin=origin,
                help=info.description or "",
            )
        )
    return lines


_SECRETS: Final = frozenset({"token", "hash_secret", "clickhouse_password"})


def _show(name: str, value: Any) -> str:
    if value is None or value == ():
        return ""
    if name in _SECRETS:
        return "********"
    if name == "clickhouse_url":
        return _without_credentials(value)
    if isinstance(value, tuple):
        return (os.pathsep if name in ("rules", "config") else ",").join(map(str, value))
    return str(value)


def _without_credentials(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"
