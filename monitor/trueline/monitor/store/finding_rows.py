"""Findings as rows of the table ``findings``, and back."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from trueline.monitor.engine.finding import Cause, Finding, Since, State, Texts
from trueline.monitor.engine.labels import databases, identities, tables

#: What is read of a row. The labels for filters are only written.
COLUMNS: Final = (
    "id, rule, rule_version, rule_revision, title, severity, state, environment, application, service, "
    "services, versions, group_columns, facts, summary, explanation, remediation_now, remediation_then, "
    "remediation_check, first_seen, last_seen, opened_at, last_arrival_at, updated_at, resolved_at, "
    "resolved_by, count, value, trace_ids, span_ids, acknowledged_by, since"
)


def columns_of(finding: Finding) -> dict[str, Any]:
    """All columns but the sequence."""
    return {
        "id": finding.id,
        "rule": finding.rule,
        "rule_version": finding.rule_version,
        "rule_revision": finding.rule_revision,
        "title": finding.title,
        "severity": str(finding.severity),
        "state": finding.state.value,
        "environment": finding.environment,
        "application": finding.application,
        "service": finding.service,
        "services": list(finding.services),
        "versions": list(finding.versions),
        "group_columns": json.dumps(dict(finding.group), ensure_ascii=False),
        "facts": json.dumps(dict(finding.facts), ensure_ascii=False),
        "summary": finding.texts.summary,
        "explanation": finding.texts.explanation,
        "remediation_now": finding.texts.now,
        "remediation_then": finding.texts.then,
        "remediation_check": finding.texts.check,
        "first_seen": finding.first_seen,
        "last_seen": finding.last_seen,
        "opened_at": finding.opened_at,
        "last_arrival_at": finding.last_arrival_at,
        "updated_at": finding.updated_at,
        "resolved_at": finding.resolved_at,
        "resolved_by": finding.resolved_by.value if finding.resolved_by else "",
        "count": finding.count,
        "value": finding.value,
        "trace_ids": list(finding.trace_ids),
        "span_ids": list(finding.span_ids),
        "tables": list(tables(finding)),
        "databases": list(databases(finding)),
        "identities": list(identities(finding)),
        "acknowledged_by": finding.acknowledged_by,
        "since": _since_text(finding.since),
    }


def finding_of(row: dict[str, Any]) -> Finding:
    """A row of COLUMNS, which is used up."""
    texts = Texts(
        row.pop("summary"),
        row.pop("explanation"),
        row.pop("remediation_now"),
        row.pop("remediation_then"),
        row.pop("remediation_check"),
    )
    return Finding(
        state=State(row.pop("state")),
        resolved_by=Cause(cause) if (cause := row.pop("resolved_by")) else None,
        services=tuple(row.pop("services")),
        versions=tuple(row.pop("versions")),
        trace_ids=tuple(row.pop("trace_ids")),
        span_ids=tuple(row.pop("span_ids")),
        group=json.loads(row.pop("group_columns")),
        facts=json.loads(row.pop("facts")),
        texts=texts,
        since=_since(row.pop("since")),
        **row,
    )


def _since_text(since: Since | None) -> str:
    return json.dumps({**asdict(since), "began": since.began.isoformat()}) if since else ""


def _since(text: str) -> Since | None:
    if not text:
        return None
    fields = json.loads(text)
    return Since(**{**fields, "began": datetime.fromisoformat(fields["began"])})
