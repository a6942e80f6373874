"""Whom to tell: the file of targets, read and checked. Without one, nothing is ever sent.

targets:
  - name: oncall
    type: alertmanager              # or: webhook
    urls: [https://alertmanager.example.com]
    token_file: /run/secrets/am     # or token_env: ALERTMANAGER_TOKEN
    severities: [critical, error]
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from trueline.monitor.engine.rule import Severity
from trueline.monitor.errors import SettingsError

#: Alertmanager's path for alerts, below the URL that people know.
ALERTS_PATH: Final = "/api/v2/alerts"
_MAX_FILE: Final = 1 << 20


class Target(BaseModel):
    """One receiver. Its secrets come from the environment or from files, never from this file itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", description="Its name, in lists and commands.")
    type: Literal["alertmanager", "webhook"] = Field(
        description="alertmanager: its alerts API, version 2. webhook: its webhook format, version 4."
    )
    urls: Annotated[list[str], Field(max_length=10)] = Field(
        default=[],
        description="alertmanager: the base URL of every peer, all of which are told. webhook: one URL.",
    )
    url_env: str = Field(default="", description="Variable with the URL, where the URL itself is a secret.")
    url_file: Path | None = Field(default=None, description="File with the URL.")
    token_env: str = Field(default="", description="Variable with a bearer token.")
    token_file: Path | None = Field(default=None, description="File with a bearer token.")
    allow_private: bool = Field(
        default=False,
        description="Allow addresses of this machine and of private networks; link-local ones, where clouds "
        "keep their metadata, stay refused.",
    )
    severities: list[Severity] = Field(default=[], description="Only these; all if none is named.")
    environments: list[str] = Field(default=[], description="Only these; all if none is named.")
    timeout_seconds: float = Field(default=10, gt=0, le=60, description="For one message, all in all.")

    @field_validator("urls")
    @classmethod
    def _usable(cls, urls: list[str]) -> list[str]:
        for url in urls:
            check_url(url)
        return [url.rstrip("/") for url in urls]

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(bool(one) for one in (self.urls, self.url_env, self.url_file)) != 1:
            raise ValueError("give exactly one of urls, url_env and url_file")
        if self.type == "webhook" and len(self.urls) > 1:
            raise ValueError("a webhook has one URL: make a target of each")
        if self.token_env and self.token_file:
            raise ValueError("give token_env or token_file, not both")
        return self

    def addresses(self) -> list[str]:
        """Where to send, secrets filled in; raises SettingsError where one cannot be read."""
        urls = self.urls or [_secret(self.name, "url", self.url_env, self.url_file)]
        for url in urls:
            try:
                check_url(url)
            except ValueError as error:
                raise SettingsError(f"Target {self.name}: the URL cannot be used: {error}.") from None
        if self.type == "webhook":
            return urls
        return [url if url.endswith(ALERTS_PATH) else f"{url.rstrip('/')}{ALERTS_PATH}" for url in urls]

    def token(self) -> str:
        """The bearer token; empty if none is configured."""
        if not self.token_env and not self.token_file:
            return ""
        return _secret(self.name, "token", self.token_env, self.token_file)

    def wants(self, severity: str, environment: str) -> bool:
        """Whether it is to be told of such a finding."""
        return (not self.severities or severity in self.severities) and (
            not self.environments or (environment or "unset") in self.environments
        )


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    targets: list[Target] = Field(max_length=50)


def check_url(url: str) -> None:
    """Raise ValueError, which never shows the URL, if it cannot be sent to."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("it is no URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it must be http://host or https://host")
    if parts.username or parts.password:
        raise ValueError("it holds credentials: give them as token_env or token_file")
    if parts.fragment or port == 0:
        raise ValueError("it must have no fragment, and a port above 0")


def masked(url: str) -> str:
    """Scheme, host and port: a webhook's path and query are often its secret."""
    parts = urlsplit(url)
    path = parts.path if parts.path.endswith(ALERTS_PATH) or parts.path in ("", "/") else "/..."
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{path}"


def load_targets(path: Path | None) -> tuple[Target, ...]:
    """Read the file; none for None. Raise SettingsError with what is wrong, where, and without secrets."""
    if path is None:
        return ()
    try:
        text = path.read_bytes()
        if len(text) > _MAX_FILE:
            raise SettingsError(f"{path} is longer than a file of targets can be.")
        read: Any = yaml.safe_load(text)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read ({error.strerror}): check TRUELINE_NOTIFY.") from None
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise SettingsError(f"{path}{where}: the file is not valid YAML.") from None
    try:
        targets = _File.model_validate(read).targets
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(str(part) for part in first["loc"]) or "the file"
        raise SettingsError(f"{path}: {at}: {first['msg'].removeprefix('Value error, ')}.") from None
    names = [target.name for target in targets]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise SettingsError(f"{path}: two targets are called {twice}: give each its own name.")
    return tuple(targets)


def _secret(target: str, what: str, variable: str, file: Path | None) -> str:
    if variable:
        value = os.environ.get(variable, "").strip()
        if not value:
            raise SettingsError(f"Target {target}: the variable {variable} with its {what} is not set.")
        return value
    assert file is not None
    try:
        value = file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise SettingsError(f"Target {target}: {file} with its {what} cannot be read ({reason}).") from None
    if not value:
        raise SettingsError(f"Target {target}: {file} with its {what} is empty.")
    return value
