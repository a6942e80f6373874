"""The running monitor as people see it: findings, incidents, rules and diagnoses over its HTTP interface."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import httpx
from scenarios.processes import Trouble
from scenarios.scenario import DECLARATIONS, Whom
from scenarios.stage import SECRET
from support.monitor_process import MonitorProcess

Finding = dict[str, Any]
#: Seconds between two looks at the findings.
LOOK = 0.5


class Monitor:
    """``trueline serve`` as a process, from the beginning of the block to its end; ``url`` says where.

    ``asked_for`` are experimental rules that are switched on, as people do it: by a file among their own
    rules; ``unsampled`` are rules that are to judge all identities of a busy moment and not some of them.
    ``declared`` are contents of files of declarations, one an application.
    """

    def __init__(
        self,
        folder: Path,
        asked_for: Collection[str] = (),
        declared: Collection[str] = (),
        unsampled: Collection[str] = (),
    ) -> None:
        rules = folder / "rules"
        rules.mkdir()
        for rule in {*asked_for, *unsampled}:
            changed = "enabled: true\n" if rule in asked_for else ""
            changed += "params: {most_identities: 10000}\n" if rule in unsampled else ""
            (rules / f"{rule}.yaml").write_text(f"override: {rule}\nreason: it is on trial\n{changed}")
        files = [DECLARATIONS]
        for number, content in enumerate(declared):
            files.append(folder / f"declared-{number}.yaml")
            files[-1].write_text(content)
        self._process = MonitorProcess(
            folder / "store",
            *("--rules", str(rules)),
            *(word for file in files for word in ("--config", str(file))),
            environment={"TRUELINE_HASH_SECRET": SECRET, "TRUELINE_LOG_LEVEL": "warning"},
        )
        self.url = self._process.url
        self._http = httpx.Client(base_url=self.url, timeout=60)
        self._changed = threading.Condition()
        self._seen: dict[str, float] = {}
        self._rules: dict[str, set[str]] = {}
        self._over = threading.Event()
        self._error: Exception | None = None
        self._watch = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self.until(lambda: self._http.get("/readyz").status_code == 200, "the monitor did not get ready", 120)
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watch.join()
        self._http.close()
        self._process.end()

    # -- findings as they come -----------------------------------------------------------------------------

    def _look(self) -> None:
        while not self._over.wait(LOOK):
            try:
                items = self.findings()
            except (httpx.HTTPError, Trouble) as error:
                self._error = error
                return
            now = time.monotonic()
            with self._changed:
                for item in items:
                    self._seen.setdefault(item["id"], now)
                    self._rules.setdefault(item["application"], set()).add(item["rule"])
                self._changed.notify_all()

    def wait_for(self, application: str, rules: Collection[str], seconds: float) -> bool:
        """Wait until an application has findings of all these rules, ``seconds`` at most."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._error is not None or set(rules) <= self._rules.get(application, set()), seconds
            )

    @property
    def seen(self) -> dict[str, float]:
        """When (time.monotonic) each finding was first there, by its id."""
        with self._changed:
            return dict(self._seen)

    def findings(self, **filters: str) -> list[Finding]:
        """All of them, or those that a filter of GET /api/v1/findings lets through."""
        items: list[Finding] = []
        cursor: str | None = None
        while True:
            page = self.get(
                "/api/v1/findings",
                {**filters, "order": "opened_at", "limit": "200", **({"cursor": cursor} if cursor else {})},
            )
            items += page["items"]
            cursor = page["next"]
            if cursor is None:
                return items

    def in_full(self, finding_id: str) -> Finding:
        """One finding with its explanation."""
        found: Finding = self.get(f"/api/v1/findings/{finding_id}")
        return found

    def incidents(self) -> list[dict[str, Any]]:
        """All incidents."""
        items: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            page = self.get("/api/v1/incidents", {"limit": "200", **({"cursor": cursor} if cursor else {})})
            items += page["items"]
            cursor = page["next"]
            if cursor is None:
                return items

    # -- what silence means --------------------------------------------------------------------------------

    def wait_until_judged(self, moment: datetime, seconds: float) -> list[str]:
        """Wait until every rule that is on has judged what had arrived by ``moment``; those that have not."""
        behind: list[str] = []

        def judged() -> bool:
            behind[:] = [rule["id"] for rule in self.rules() if not _covers(rule, moment)]
            return not behind

        deadline = time.monotonic() + seconds
        while not judged() and time.monotonic() < deadline:
            time.sleep(LOOK)
        return behind

    def rules(self) -> list[dict[str, Any]]:
        """All rules and how they do."""
        items: list[dict[str, Any]] = self.get("/api/v1/rules")["items"]
        return items

    # -- diagnoses -----------------------------------------------------------------------------------------

    def diagnose(self, whom: Whom, environment: str) -> tuple[str, str]:
        """The verdict on one identity, and the sentence that says it."""
        question = {"environment": whom.environment or environment}
        if whom.domain == "message":
            question["message"] = whom.value
        else:
            question |= {"identity": whom.value, "domain": whom.domain}
        answer = self._http.post("/api/v1/diagnose", json=question)
        if answer.status_code != 200:
            raise Trouble(f"the monitor answered {answer.status_code} to a diagnosis: {answer.text[:300]}")
        said = answer.json()
        return str(said["verdict"]), str(said["sentence"])

    def send(self, path: str, body: bytes, headers: dict[str, str]) -> None:
        """Telemetry, as a service sends it."""
        answer = self._http.post(path, content=body, headers=headers)
        if answer.status_code != 200:
            raise Trouble(f"the monitor answered {answer.status_code} to telemetry: {answer.text[:300]}")

    def get(self, path: str, parameters: dict[str, str] | None = None) -> Any:
        """The content of an answer."""
        answer = self._http.get(path, params=parameters or {})
        if answer.status_code != 200:
            raise Trouble(f"the monitor answered {answer.status_code} to {path}: {answer.text[:300]}")
        return answer.json()

    def check(self) -> None:
        """Raise what went wrong while watching."""
        if self._error is not None:
            raise self._error

    @staticmethod
    def until(holds: Callable[[], bool], what: str, seconds: float) -> None:
        """Wait for something, or raise Trouble."""
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                raise Trouble(what)
            time.sleep(0.05)


def _covers(rule: dict[str, Any], moment: datetime) -> bool:
    if rule["state"] == "off":
        return True
    covered = rule["covered_until"]
    return covered is not None and datetime.fromisoformat(covered) >= moment
