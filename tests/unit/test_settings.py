"""Settings: where values come from, what is refused, what is shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trueline.monitor.errors import SettingsError
from trueline.monitor.settings import Settings, default_data_dir, describe, load_settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("TRUELINE_"):
            monkeypatch.delenv(name)


def test_defaults_listen_on_loopback_at_the_standard_port() -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.token) == ("127.0.0.1", 4318, None)
    assert settings.data_dir == default_data_dir()


def test_argument_beats_environment_beats_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUELINE_PORT", "4320")
    assert load_settings().port == 4320
    assert load_settings({"port": 4321}).port == 4321
    assert load_settings({"port": None}).port == 4320


def test_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUELINE_TOKEN", "")
    monkeypatch.setenv("TRUELINE_RULES", "")
    settings = load_settings()
    assert settings.token is None
    assert settings.rules == ()


def test_lists_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUELINE_RULES", f"/a{os.pathsep}/b")
    monkeypatch.setenv("TRUELINE_ALLOWED_HOSTS", "Monitor, trueline.example.org")
    settings = load_settings()
    assert settings.rules == (Path("/a"), Path("/b"))
    assert settings.allowed_hosts == ("monitor", "trueline.example.org")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("TRUELINE_PORT", "lots", "TRUELINE_PORT has the value 'lots'"),
        ("TRUELINE_PORT", "70000", "TRUELINE_PORT has the value '70000'"),
        ("TRUELINE_LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("TRUELINE_URL", "monitor:4318", "must start with http:// or https://"),
        ("TRUELINE_RULE_TICK_SECONDS", "0", "greater than 0"),
    ],
)
def test_bad_variable_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=variable) as caught:
        load_settings()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_argument_is_named_as_the_option() -> None:
    with pytest.raises(SettingsError, match=r"^--log-level has the value 'loud'"):
        load_settings({"log_level": "loud"})


def test_password_comes_from_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("s3cret\n")
    monkeypatch.setenv("TRUELINE_CLICKHOUSE_PASSWORD_FILE", str(secret))
    assert load_settings().store.clickhouse_password == "s3cret"
    secret.unlink()
    with pytest.raises(SettingsError, match=r"password .*cannot be read \(No such file or directory\)"):
        _ = load_settings().store


def test_every_setting_is_described_and_no_secret_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("TRUELINE_TOKEN", "TRUELINE_HASH_SECRET", "TRUELINE_CLICKHOUSE_PASSWORD"):
        monkeypatch.setenv(variable, "canary")
    monkeypatch.setenv("TRUELINE_CLICKHOUSE_URL", "http://me:canary@ch:8123/db")
    arguments = {"port": 1}
    settings = load_settings(arguments)
    lines = {line.name: line for line in describe(settings, arguments)}
    assert set(lines) == set(Settings.model_fields)
    assert all(line.help.endswith((".", ")")) for line in lines.values())
    assert "canary" not in "".join(line.model_dump_json() for line in lines.values())
    assert "canary" not in repr(settings.store) + repr(settings)
    assert lines["clickhouse_url"].value == "http://ch:8123/db"
    assert (lines["port"].origin, lines["token"].origin, lines["host"].origin) == (
        "argument",
        "environment",
        "default",
    )
