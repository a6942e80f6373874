"""Which finding is in which incident, in the store. The incidents themselves are computed from that."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from trueline.monitor.engine.incident import Incident, group, survivor
from trueline.monitor.store.client import Store
from trueline.monitor.store.sequence import Sequence

if TYPE_CHECKING:
    from trueline.monitor.store.findings import StoredFindings

#: Findings that were resolved longer ago are looked at only where somebody asks for their incident.
REMEMBERED: Final = timedelta(days=30)
#: Findings that are grouped, those seen last first: twice what all rules together may have active.
MAX_GROUPED: Final = 10_000
#: Longest time that a grouping is handed out again, seconds: by then others have been resolved long enough.
_KEPT: Final = 300.0


@dataclass(frozen=True, slots=True)
class _Grouping:
    """Incidents as they follow from the findings at one moment, which ``mark`` stands for."""

    mark: tuple[int, int]
    made_at: float
    incidents: list[Incident]
    homes: Mapping[str, str]
    merged: Mapping[str, str]


class StoredIncidents:
    """Groups findings and remembers how; any thread may use it.

    A grouping is made once and handed out until a finding changes: reading and grouping ten thousand takes a
    second, and every list of findings wants to know of their incidents.
    """

    def __init__(self, store: Store, findings: StoredFindings) -> None:
        self._store = store
        self._findings = findings
        self._guard = threading.Lock()
        self._sequence = Sequence()
        self._latest: _Grouping | None = None

    def all(self) -> list[Incident]:
        """Incidents with a finding that is active or was until lately, likely causes first.

        What is new in the grouping is written down, so that ids stay.
        """
        return self._grouping().incidents

    def homes(self) -> Mapping[str, str]:
        """The incident of each finding, of those resolved long ago too."""
        return self._grouping().homes

    def find(self, incident_id: str) -> Incident | None:
        """The incident of this id, or that into which it was merged; None if there is none."""
        latest = self._grouping()
        wanted = survivor(incident_id, latest.merged)
        found = next((one for one in latest.incidents if one.id == wanted), None)
        if found is not None:
            return found
        members = {finding: home for finding, home in latest.homes.items() if home == wanted}
        old = group(self._findings.load(members).values(), members, latest.merged)
        return old[0] if old else None

    def _grouping(self) -> _Grouping:
        with self._guard:
            # Read before the findings are: what changes meanwhile is seen the next time.
            latest_row, rows = self._store.query("SELECT max(sequence), count() FROM findings").rows[0]
            mark, latest = (latest_row, rows), self._latest
            if latest is None or latest.mark != mark or time.monotonic() - latest.made_at > _KEPT:
                latest = self._latest = self._group(mark)
            return latest

    def _group(self, mark: tuple[int, int]) -> _Grouping:
        since = (datetime.now(UTC) - REMEMBERED).strftime("%Y-%m-%d %H:%M:%S")
        findings = self._findings.select(
            "state != 'resolved' OR resolved_at > {since:DateTime64(3)}", {"since": since}, limit=MAX_GROUPED
        )
        known, merged = self._known()
        incidents = group(findings, known, merged)
        self._remember(incidents, known, merged)
        merged |= {old: incident.id for incident in incidents for old in incident.merged}
        homes = {finding: survivor(incident, merged) for finding, incident in known.items()}
        homes |= {one.id: incident.id for incident in incidents for one in incident.findings}
        return _Grouping(mark, time.monotonic(), incidents, homes, merged)

    def history(self, incident_id: str) -> list[dict[str, Any]]:
        """What happened to an incident, oldest first: at, finding_id (empty for a merge), merged_from."""
        return self._store.query(
            "SELECT at, finding_id, merged_from FROM incident_members WHERE incident_id = {id:String} "
            "ORDER BY sequence",
            {"id": incident_id},
        ).dicts()

    def _known(self) -> tuple[dict[str, str], dict[str, str]]:
        rows = self._store.query(
            "SELECT finding_id, incident_id, merged_from FROM incident_members ORDER BY sequence"
        )
        known: dict[str, str] = {}
        merged: dict[str, str] = {}
        for finding_id, incident_id, merged_from in rows:
            if finding_id:
                known[finding_id] = incident_id
            else:
                merged[merged_from] = incident_id
        return known, merged

    def _remember(self, incidents: list[Incident], known: dict[str, str], merged: dict[str, str]) -> None:
        changes: list[tuple[str, str, str]] = []
        for incident in incidents:
            changes += [
                ("", incident.id, old) for old in incident.merged if survivor(old, merged) != incident.id
            ]
            changes += [(one.id, incident.id, "") for one in incident.findings if one.id not in known]
        now = datetime.now(UTC)
        self._store.insert(
            "incident_members",
            {
                "finding_id": [finding for finding, _, _ in changes],
                "incident_id": [incident for _, incident, _ in changes],
                "merged_from": [old for _, _, old in changes],
                "sequence": [self._sequence.next() for _ in changes],
                "at": [now for _ in changes],
            },
        )
