"""What people read of a finding: lines of its timeline, and the page as a whole."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from trueline.monitor.engine.describe import describe
from trueline.monitor.render import MAX_ITEMS, render_finding

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def item(attributes: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """A span of a timeline; lists among its attributes are written as the store keeps them."""
    kept = {
        name: json.dumps(value) if isinstance(value, list) else str(value)
        for name, value in (attributes or {}).items()
    }
    return {
        "kind": "span",
        "named": True,
        "at": "2026-11-20T11:59:00.000+00:00",
        "duration_ms": 5.0,
        "service": "web",
        "version": "1.0",
        "name": "span",
        "text": "writes expenses",
        "status": "unset",
        "status_message": "",
        "outcome": "",
        "reason": "",
        "trace_id": "ab" * 16,
        "span_id": "cd" * 8,
        "attributes": kept,
        **fields,
    }


WRITE = {
    "trueline.statement.kind": "write",
    "trueline.statement.tables": ["expenses"],
    "trueline.identity.columns": ["expenses.user_id"],
    "trueline.identity.encodings": ["integer"],
    "db.namespace": "main",
    "trueline.statement.rows": 1,
}
AI = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m-1", "gen_ai.provider.name": "acme"}


@pytest.mark.parametrize(
    ("described", "text"),
    [
        (
            item(WRITE, outcome="committed"),
            "writes expenses with user_id as integer on main (1 row): committed",
        ),
        (
            item({**WRITE, "trueline.database.schema": "old"}, outcome="rolled_back", reason="not_committed"),
            "writes expenses with user_id as integer on main, schema old (1 row): "
            "rolled back (nobody committed it)",
        ),
        (
            item(
                {**WRITE, "trueline.statement.kind": "read", "trueline.statement.rows": 0},
                outcome="rolled_back",
            ),
            "reads expenses by user_id as integer on main (0 rows)",
        ),
        (
            item(
                {**WRITE, "trueline.constraint.name": "uq_drop", "trueline.statement.rows": -1},
                status="error",
            ),
            "writes expenses with user_id as integer on main and violates uq_drop",
        ),
        (
            item(
                {
                    "trueline.transaction.outcome": "rolled_back",
                    "trueline.transaction.writes": 2,
                    "trueline.statement.tables": ["a", "b"],
                    "trueline.transaction.error_type": "TimeoutError",
                    "trueline.transaction.error_from_ai": "true",
                },
                outcome="rolled_back",
                reason="exception",
            ),
            "transaction with 2 writes (a, b): rolled back (an exception left the transaction's block), "
            "by TimeoutError out of the AI call",
        ),
        (item(AI), "AI call (chat) to m-1 at acme: answered"),
        (
            item({**AI, "error.type": "TimeoutError"}, status="error", status_message="no answer"),
            "AI call (chat) to m-1 at acme: failed with TimeoutError: no answer",
        ),
        (item({"http.response.status_code": 200}, name="POST /hook"), "POST /hook: answers 200"),
        (item(kind="log", status="warn", status_message="late"), "logs warn: late"),
        (item({"trueline.statement.kind": "write", "trueline.statement.tables": "[broken"}), "writes span"),
    ],
)
def test_a_line_says_who_did_what_and_what_came_of_it(described: dict[str, Any], text: str) -> None:
    assert describe(described) == text


def finding(**fields: Any) -> dict[str, Any]:
    return {
        "id": "0123456789abcdef",
        "rule": "lost_writes",
        "rule_version": 1,
        "title": "Writes are lost",
        "severity": "critical",
        "state": "open",
        "environment": "production",
        "application": "shop",
        "services": ["web"],
        "versions": ["1.0", "1.1"],
        "summary": "It is so.",
        "explanation": "Because.",
        "remediation": {
            "now": "1. Stop it.",
            "then": "Mend it:\n```sql\nUPDATE  a\n    SET b\n```",
            "check": "Look.",
        },
        "false_positives": ["a dry run"],
        "first_seen": "2026-11-20T09:00:00+00:00",
        "last_seen": "2026-11-20T11:59:00+00:00",
        "count": 3,
        "evidence": [item()],
        "events": [{"at": "2026-11-20T11:59:01+00:00", "action": "opened", "who": "trueline", "why": "new"}],
        **fields,
    }


def page(width: int = 100, **fields: Any) -> str:
    out = io.StringIO()
    render_finding(finding(**fields), Console(file=out, width=width), now=NOW)
    return out.getvalue()


def test_the_page_answers_what_somebody_on_call_asks() -> None:
    text = page(width=120)
    for part in (
        "CRITICAL  Writes are lost",
        "open · finding 0123456789abcdef · rule lost_writes version 1",
        "First seen 2026-11-20 09:00:00 UTC (3 hours ago), last seen 2026-11-20 11:59:00 UTC (1 minute ago)",
        "First seen with version 1.0; later with 1.1.",
        "environment  production",
        "services     web 1.0",
        "> +0.000 s  web 1.0  writes expenses",
        "DO NOW\n  1. Stop it.",
        "MEND FOR GOOD",
        "SEE THAT IT IS MENDED",
        "IT IS NO FAULT IF\n  - a dry run",
        "opened by trueline: new",
    ):
        assert part in text, part


def test_code_can_be_copied_and_prose_is_wrapped() -> None:
    text = page(width=60, explanation="word " * 40)
    assert "    UPDATE  a\n        SET b\n" in text
    assert max(len(line) for line in text.splitlines() if line.startswith("  word")) <= 60


def test_tables_are_set() -> None:
    text = page(explanation="| | writes | reads |\n|---|---|---|\n| service | web | worker |")
    assert "           writes  reads\n  service  web     worker\n" in text


def test_what_services_say_is_never_taken_for_markup_or_escape_sequences() -> None:
    text = page(summary="[bold]x[/nothing] \x1b[31mred\x07", services=["[red]web"])
    assert "[bold]x[/nothing] ?[31mred?" in text
    assert "[red]web" in text
    assert "\x1b" not in text


def test_the_people_affected_are_counted() -> None:
    whom = {"trueline.identity.domains": ["user", "drop"], "trueline.identity.values": ["0f" * 16, "DROP-17"]}
    text = page(
        evidence=[
            item(whom),
            item(whom),
            item({"trueline.identity.bound": ["user:" + "aa" * 16]}, named=False),
        ]
    )
    assert f"1 user in the evidence: {'0f' * 16}" in text
    assert "1 drop in the evidence: DROP-17" in text
    assert "trueline last-write" in text


def test_a_long_timeline_keeps_what_the_rule_named() -> None:
    many = [item(named=False, text=f"step {number}") for number in range(60)]
    late = item(at="2026-11-20T12:05:00+00:00", text="the proof")
    text = page(evidence=[*many, late])
    assert "> +6 min 0 s  web 1.0  the proof" in text
    assert text.count("step ") == MAX_ITEMS - 1
    assert "and 31 more spans and log lines" in text


def test_a_finding_without_evidence_is_still_a_page() -> None:
    text = page(evidence=[], versions=[], false_positives=[], services=[])
    assert "WHAT HAPPENED" not in text
    assert "DO NOW" in text
