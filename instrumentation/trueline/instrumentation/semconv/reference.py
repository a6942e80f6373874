"""Renders the contract as the reference page docs/reference/telemetry.md.

``python -m trueline.instrumentation.semconv.reference`` prints it; a test holds the page against it.
"""

from __future__ import annotations

from trueline.instrumentation.semconv import (
    ATTRIBUTES,
    CONTRACT_VERSION,
    EVENTS,
    LEGAL_REASONS,
    SCHEMA_URL,
    Attribute,
    Outcome,
    Reason,
    Signal,
)


def render() -> str:
    """The whole page in Markdown."""
    lines = [
        "# Telemetry contract",
        "",
        "Made from the registry in `trueline.instrumentation.semconv`; do not edit by hand.",
        "",
        f"Contract version {CONTRACT_VERSION}, schema URL `{SCHEMA_URL}`.",
        "",
    ]
    for signal in Signal:
        rows = [attribute for attribute in ATTRIBUTES.values() if signal in attribute.signals]
        if signal is Signal.EVENT:
            continue
        lines += [
            f"## {signal.capitalize()}",
            "",
            "| attribute | type | column | meaning |",
            "|---|---|---|---|",
        ]
        lines += [_row(attribute) for attribute in rows]
        lines.append("")
    lines += ["## Log events", "", "| event | attributes | meaning |", "|---|---|---|"]
    lines += [
        f"| `{event.name}` | {', '.join(f'`{name}`' for name in event.attributes)} | {event.meaning} |"
        for event in EVENTS.values()
    ]
    lines += [
        "",
        "## Outcomes and reasons",
        "",
        "A reason exists for a rollback only. Of several, the first of this list is said.",
        "",
        "| reason | when |",
        "|---|---|",
        *(f"| `{reason}` | {_WHEN[reason]} |" for reason in Reason),
        "",
        "| outcome | reasons |",
        "|---|---|",
    ]
    for outcome in Outcome:
        reasons = ", ".join(f"`{reason}`" for reason in Reason if reason in LEGAL_REASONS[outcome])
        lines.append(f"| `{outcome}` | {reasons or 'none'} |")
    return "\n".join(lines) + "\n"


_WHEN = {
    Reason.COMMIT_FAILED: "the database refused the COMMIT, a deferred constraint for instance",
    Reason.COMMIT_OF_ABORTED: "after an earlier error; the server answered COMMIT with a rollback",
    Reason.EXCEPTION: "an exception left the block, or was being handled when rollback() was called",
    Reason.EXPLICIT: "rollback() was called",
    Reason.NOT_COMMITTED: "the session or connection was closed without a commit",
    Reason.ABANDONED: "the holder was garbage-collected or cancelled, or the connection was lost",
    Reason.SAVEPOINT: "of a statement: undone by ROLLBACK TO SAVEPOINT while its transaction went on",
}


def _row(attribute: Attribute) -> str:
    meaning = attribute.meaning
    if attribute.values:
        meaning += " One of " + ", ".join(f"`{value}`" for value in attribute.values) + "."
    if attribute.older:
        meaning += " Also read from " + ", ".join(f"`{name}`" for name in attribute.older) + "."
    column = f"`{attribute.column}`" if attribute.column else ""
    return f"| `{attribute.name}` | {attribute.type} | {column} | {meaning} |"


if __name__ == "__main__":
    print(render(), end="")
