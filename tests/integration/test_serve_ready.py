"""Readiness tells what does not work, and that it works again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from trueline.monitor.app import Monitor
from trueline.monitor.rule_service import RuleService
from trueline.monitor.settings import load_settings
from trueline.monitor.store.client import Store
from trueline.monitor.store.writer import Load, Writer

PATIENCE = 30


@pytest.fixture
def monitor(store: Store, tmp_path: Path) -> Iterator[Monitor]:
    """A monitor of which nothing has been started yet."""
    settings = load_settings({"data_dir": tmp_path})
    monitor = Monitor(settings, store, Writer(store), RuleService(store, settings))
    yield monitor
    monitor.rules.stop(PATIENCE)
    monitor.writer.stop(PATIENCE)
    monitor.receiver.close()


def readiness(monitor: Monitor) -> tuple[int, Any]:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(monitor.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get("/readyz")

    response = asyncio.run(ask())
    return response.status_code, response.json()


def test_each_part_that_does_not_work_is_named(monitor: Monitor) -> None:
    status, answer = readiness(monitor)
    assert (status, answer["status"]) == (503, "not ready")
    assert answer["reasons"] == [
        "rows cannot be stored: the writer is not running",
        "the rules are not being evaluated",
    ]
    monitor.writer.start()
    monitor.rules.start()
    assert readiness(monitor) == (200, {"status": "ready"})


def test_a_failed_insert_shows_until_one_succeeds(monitor: Monitor, store: Store) -> None:
    monitor.writer.start()
    monitor.rules.start()
    failed = monitor.writer.submit(Load("no_such_table", 1, lambda: {"n": [1]}))
    assert failed.exception(PATIENCE) is not None
    status, answer = readiness(monitor)
    assert status == 503
    [reason] = answer["reasons"]
    assert reason.startswith("rows cannot be stored: ")
    assert "no_such_table" in reason
    monitor.writer.submit(Load("otel_logs", 1, lambda: {"Timestamp": [1]})).result(PATIENCE)
    assert readiness(monitor) == (200, {"status": "ready"})
