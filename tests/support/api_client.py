"""The monitor's real HTTP application, asked without a socket and without rules that run by themselves."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx

from trueline.monitor.app import Monitor
from trueline.monitor.rule_service import RuleService
from trueline.monitor.settings import load_settings
from trueline.monitor.store.client import Store
from trueline.monitor.store.writer import Writer


class ApiClient:
    """Sends requests to the application over a store. What it raises becomes a 500, as in a server."""

    def __init__(self, store: Store, rules: Path, **settings: Any) -> None:
        chosen = load_settings({"rules": (rules,), "shipped_rules": False, **settings})
        self._app = Monitor(chosen, store, Writer(store), RuleService(store, chosen)).app

    def get(self, path: str, params: Any = None) -> httpx.Response:
        return asyncio.run(self._request("GET", path, params=params))

    def post(self, path: str, json: Any) -> httpx.Response:
        return asyncio.run(self._request("POST", path, json=json))

    def send(self, method: str, path: str, body: Any) -> httpx.Response:
        """Any body: JSON values, or bytes that are taken for JSON as they are."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return asyncio.run(
            self._request(method.upper(), path, content=content, headers={"content-type": "application/json"})
        )

    async def _request(self, method: str, path: str, **more: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, path, **more)
