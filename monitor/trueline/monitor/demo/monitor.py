"""The demo's monitor: `trueline serve` as a process, and its API as on-call people use it."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Collection
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from trueline.monitor.demo.judge import Finding, Place
from trueline.monitor.demo.processes import Child, Children, DemoError

#: Seconds that the monitor may take to start on a slow machine.
START_SECONDS = 90.0
#: Seconds between two looks at the findings.
LOOK_SECONDS = 0.1
#: Seconds that spans may be on their way: held for their transaction's outcome, queued, exported.
ARRIVAL_SECONDS = 3.0
#: Seconds that rules may take to have judged what has arrived.
JUDGE_SECONDS = 60.0


#: A process as the monitor knows it: environment, application, service.
Process = tuple[str, str, str]


class DemoMonitor:
    """Starts with the object; ends with ``children``. Findings are read from /api/v1/findings."""

    def __init__(self, folder: Path, children: Children, secret: str) -> None:
        command = [sys.executable, "-m", "trueline.monitor.main", "serve"]
        arguments = ["--data-dir", str(folder / "store"), "--port", "0"]
        self._child: Child = children.start(
            "monitor",
            [*command, *arguments],
            {"TRUELINE_HASH_SECRET": secret, "TRUELINE_LOG_LEVEL": "warning"},
        )
        self._http: httpx.Client | None = None
        self.url = ""

    def wait_until_ready(self) -> str:
        """Wait until it takes telemetry and runs rules; its URL."""
        announced = re.search(r"http://\S+", self._child.line(START_SECONDS))
        if announced is None:
            raise self._child.failure("did not say where it listens")
        self.url = announced[0]
        self._http = httpx.Client(base_url=self.url, timeout=20)
        deadline = time.monotonic() + START_SECONDS
        while self._http.get("/readyz").status_code != httpx.codes.OK:
            self._child.check()
            if time.monotonic() > deadline:
                raise self._child.failure("did not get ready")
            time.sleep(LOOK_SECONDS)
        return self.url

    def findings(self) -> list[Finding]:
        """All findings there are."""
        return self._all("/api/v1/findings")

    def together(self) -> list[list[str]]:
        """The ids of findings that are told of as one incident, the likely cause first."""
        return [list(incident["findings"]) for incident in self._all("/api/v1/incidents")]

    def _all(self, path: str) -> list[Any]:
        items: list[Any] = []
        cursor: str | None = None
        while True:
            page = self._get(path, {"cursor": cursor} if cursor else {})
            items += page["items"]
            cursor = page["next"]
            if cursor is None:
                return items

    def finding(self, finding_id: str) -> dict[str, Any]:
        """One finding in full, with its evidence."""
        return self._get(f"/api/v1/findings/{finding_id}", {})

    def wait_for(self, place: Place, patience: float) -> bool:
        """Look until there is a finding on ``place``, for ``patience`` seconds at most."""
        deadline = time.monotonic() + patience
        while not any(place.holds(finding) for finding in self.findings()):
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK_SECONDS)
        return True

    def wait_until_seen(self, processes: Collection[Process]) -> None:
        """Wait until statements of all these processes have arrived: silence means nothing before that."""
        deadline = time.monotonic() + JUDGE_SECONDS
        missing = set(processes)
        while missing:
            if time.monotonic() > deadline:
                raise self._child.failure(f"has seen no statement of {', '.join(map(str, sorted(missing)))}")
            for row in self._get("/api/v1/databases", {})["items"]:
                if row["reads"] + row["writes"] > 0:
                    missing.discard((row["environment"], row["application"], row["service"]))
            time.sleep(LOOK_SECONDS)

    def wait_until_judged(self, played: datetime, rules: Collection[str] = ()) -> None:
        """Wait until these rules, or all, have judged what services had to tell at the time ``played``."""
        deadline = time.monotonic() + JUDGE_SECONDS
        arrived = played + timedelta(seconds=ARRIVAL_SECONDS)
        while behind := [
            rule
            for rule in self._get("/api/v1/rules", {})["items"]
            if (not rules or rule["id"] in rules) and not _covers(rule, arrived)
        ]:
            if time.monotonic() > deadline:
                names = ", ".join(f"{rule['id']} {rule['error']}".strip() for rule in behind)
                raise self._child.failure(f"has rules that do not keep up ({names})")
            time.sleep(LOOK_SECONDS)

    def _get(self, path: str, parameters: dict[str, str]) -> dict[str, Any]:
        assert self._http is not None
        try:
            answer = self._http.get(path, params=parameters)
        except httpx.TransportError as error:
            self._child.check()
            raise self._child.failure(f"did not answer ({error})") from error
        if answer.status_code != httpx.codes.OK:
            raise DemoError(f"the monitor answered {answer.status_code} to {path}: {answer.text[:300]}")
        content: dict[str, Any] = answer.json()
        return content


def _covers(rule: dict[str, Any], moment: datetime) -> bool:
    if rule["state"] == "off":
        return True
    covered = rule["covered_until"]
    return covered is not None and datetime.fromisoformat(covered) >= moment
