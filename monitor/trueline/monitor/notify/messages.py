"""What is told: findings as Alertmanager's alerts, and incidents in its webhook format, version 4. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from trueline.monitor.engine.finding import Finding, State
from trueline.monitor.engine.labels import labels
from trueline.monitor.engine.since import sentence

#: How often Alertmanager is told again what goes on.
RESEND: Final = timedelta(minutes=1)
#: Alertmanager takes an alert for resolved at its endsAt: several times what passes between two messages, so
#: that one that is lost resolves nothing.
LASTS: Final = 4 * RESEND
#: So long it is told again that something is resolved, should the first message have been lost.
RESOLVED_FOR: Final = timedelta(minutes=15)
#: Alerts in one webhook message; how many more there were is said.
MAX_ALERTS: Final = 50
_NEVER: Final = "0001-01-01T00:00:00Z"
_MAX_TEXT: Final = 1000
#: Labels are an alert's identity: nothing that changes while the fault stays.
_LABELS: Final = ("environment", "application", "service", "table", "database")


@dataclass(frozen=True, slots=True)
class Told:
    """A finding to be told of. ``resolved_at`` is None while it goes on."""

    finding: Finding
    incident: str
    resolved_at: datetime | None


def is_firing(finding: Finding, silenced: bool) -> bool:
    """Whether somebody is to be called: not resolved and under no silence."""
    return finding.state is not State.RESOLVED and not silenced


def alert(told: Told, external_url: str | None, ends_at: datetime | None) -> dict[str, Any]:
    """One alert, as both interfaces want it."""
    finding = told.finding
    made: dict[str, Any] = {
        "labels": alert_labels(finding),
        "annotations": _annotations(told),
        "startsAt": _rfc3339(finding.first_seen),
        # Alertmanager refuses an end before the beginning, which a skewed clock could make.
        "endsAt": _rfc3339(max(ends_at, finding.first_seen)) if ends_at else _NEVER,
    }
    if external_url:
        made["generatorURL"] = f"{external_url}/api/v1/findings/{finding.id}"
    return made


def alert_labels(finding: Finding) -> dict[str, str]:
    """What an alert is known by: the same for the same finding for ever."""
    known = labels(finding)
    chosen = {
        name: finding.group.get(name) or (known[name][0] if known.get(name) else "") for name in _LABELS
    }
    # The first of several services may change with each sighting: a label only if it is grouped by.
    if "service" not in finding.group and len(finding.services) > 1:
        chosen["service"] = ""
    return {
        "alertname": finding.rule,
        "severity": str(finding.severity),
        "finding": finding.id,
        **{name: str(value)[:200] for name, value in chosen.items() if value},
    }


def alertmanager_alerts(
    told: Sequence[Told], now: datetime, external_url: str | None
) -> list[dict[str, Any]]:
    """The body of POST /api/v2/alerts."""
    alerts = []
    for one in sorted(told, key=lambda one: one.finding.id):
        made = alert(one, external_url, one.resolved_at or now + LASTS)
        if "generatorURL" not in made:
            made["generatorURL"] = ""
        alerts.append(made)
    return alerts


def webhook_message(
    incident: str, told: Sequence[Told], receiver: str, external_url: str | None
) -> dict[str, Any]:
    """Alertmanager's webhook format, version 4: one message for each incident, the likely cause first."""
    shown = told[:MAX_ALERTS]
    alerts = []
    for one in shown:
        made = alert(one, external_url, one.resolved_at)
        made.setdefault("generatorURL", "")
        made["status"] = "resolved" if one.resolved_at else "firing"
        made["fingerprint"] = one.finding.id
        alerts.append(made)
    return {
        "version": "4",
        "groupKey": f'{{}}:{{incident="{incident}"}}',
        "truncatedAlerts": len(told) - len(shown),
        "status": status(told),
        "receiver": receiver,
        "groupLabels": {"incident": incident},
        "commonLabels": _common([one["labels"] for one in alerts]),
        "commonAnnotations": _common([one["annotations"] for one in alerts]),
        "externalURL": external_url or "",
        "alerts": alerts,
    }


def status(told: Sequence[Told]) -> str:
    """``firing`` while anything goes on, else ``resolved``."""
    return "resolved" if all(one.resolved_at for one in told) else "firing"


def digest(told: Sequence[Told]) -> str:
    """What goes on, without counts and times that grow: equal digests are no news."""
    said = sorted((one.finding.id, str(one.finding.severity)) for one in told if not one.resolved_at)
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


def _annotations(told: Told) -> dict[str, str]:
    finding = told.finding
    made = {
        "summary": finding.texts.summary,
        "description": finding.texts.explanation,
        "runbook": finding.texts.now,
        "incident": told.incident,
        "since": sentence(finding.since) if finding.since else "",
        "count": str(finding.count),
        "trace_ids": " ".join(finding.trace_ids[:3]),
        "command": f"trueline findings show {finding.id}",
    }
    return {name: text[:_MAX_TEXT] for name, text in made.items() if text}


def _common(items: Sequence[Mapping[str, str]]) -> dict[str, str]:
    if not items:
        return {}
    first = items[0]
    return {name: value for name, value in first.items() if all(one.get(name) == value for one in items)}


def _rfc3339(moment: datetime) -> str:
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
