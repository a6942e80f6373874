"""Who may talk to the monitor: known names, and the token's holders."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from support.monitor_process import MonitorProcess
from support.otlp import PROTOBUF, trace_request

from trueline.monitor.errors import ServeError
from trueline.monitor.security import Guard, require_safe_binding
from trueline.monitor.settings import Settings, load_settings


def answer(settings: Settings, host: str | None, headers: dict[bytes, bytes] | None = None) -> int:
    """The status of a request that comes under the name ``host``."""

    async def ask() -> int:
        app = Guard(Starlette(routes=[Route("/", lambda _: PlainTextResponse("in"))]), settings)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
            request = client.build_request("GET", "http://placeholder/", headers=headers)
            del request.headers["host"]
            if host is not None:
                request.headers["host"] = host
            return (await client.send(request)).status_code

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LocalHost:4318", 200),
        ("127.0.0.1:4318", 200),
        ("127.9.9.9", 200),
        ("[::1]:4318", 200),
        ("monitor:4318", 200),
        ("trueline.example.org", 200),
        ("trueline.example.org.", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("192.168.1.5", 403),
        ("", 403),
        ("[::1", 200),
        (None, 403),
    ],
)
def test_only_known_names_are_answered(host: str | None, status: int) -> None:
    settings = load_settings({"allowed_hosts": "Monitor", "external_url": "https://trueline.example.org/"})
    assert answer(settings, host) == status


def test_an_address_is_answered_where_all_addresses_are_listened_on() -> None:
    settings = load_settings({"host": "0.0.0.0", "token": "t"})
    token = {b"Authorization": b"Bearer t"}
    assert answer(settings, "192.168.1.5:4318", token) == 200
    assert answer(settings, "[2001:db8::1]:4318", token) == 200
    assert answer(settings, "evil.example", token) == 403


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ("Bearer s3cret", 200),
        ("bearer s3cret", 200),
        ("Bearer s3cre", 401),
        ("Bearer s3cretx", 401),
        ("Bearer ", 401),
        ("Bearer", 401),
        ("Basic s3cret", 401),
        ("s3cret", 401),
        ("Bearer s3crét", 401),
        ("Bearer \xff\x00", 401),
        (None, 401),
    ],
)
def test_the_token_is_asked_for(given: str | None, status: int) -> None:
    settings = load_settings({"token": "s3cret"})
    headers = {} if given is None else {b"Authorization": given.encode("latin-1")}
    assert answer(settings, "localhost", headers) == status


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1.2.3"])
def test_loopback_needs_no_token(host: str) -> None:
    require_safe_binding(load_settings({"host": host}))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", ""])
def test_any_other_address_needs_one(host: str) -> None:
    with pytest.raises(ServeError, match="TRUELINE_TOKEN"):
        require_safe_binding(load_settings({"host": host}))
    require_safe_binding(load_settings({"host": host, "token": "t"}))


def test_a_monitor_with_a_token(tmp_path: Path) -> None:
    monitor = MonitorProcess(tmp_path / "data", environment={"TRUELINE_TOKEN": "s3cret"})
    body = trace_request(bytes(range(16))).SerializeToString()
    with httpx.Client(base_url=monitor.url) as stranger:
        for path in ("/healthz", "/readyz"):
            assert stranger.get(path).status_code == 200
        for path in ("/api/v1/findings", "/api/v1/openapi.json", "/ops/last-write", "/no-such-path"):
            refused = stranger.get(path)
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
            assert "TRUELINE_TOKEN" in refused.json()["detail"]
        refused = stranger.post("/v1/traces", content=body, headers=PROTOBUF)
        assert (refused.status_code, refused.json()["code"]) == (401, 16)
        rebound = stranger.get("/healthz", headers={"Host": "evil.example"})
        assert rebound.status_code == 403
        assert "TRUELINE_ALLOWED_HOSTS" in rebound.json()["detail"]
    assert monitor.http.post("/v1/traces", content=body, headers=PROTOBUF).status_code == 200
    assert monitor.http.get("/api/v1/findings").status_code == 200
    assert monitor.end() == 0
    assert "s3cret" not in monitor.log.read_text()
