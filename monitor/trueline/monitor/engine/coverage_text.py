"""The coverage of one service in a few words."""

from __future__ import annotations

from collections.abc import Sequence

from trueline.instrumentation.inventory_report import percent
from trueline.monitor.engine.coverage import RuleCoverage, Sends, ServiceFacts
from trueline.monitor.engine.coverage_reasons import Status
from trueline.monitor.engine.templates import few, plural


def sentence_of(facts: ServiceFacts, rules: Sequence[RuleCoverage]) -> str:
    """What is seen of the service, and how many rules see it how well."""
    return f"{_seen(facts)} {_rules(rules)}".strip()


def _seen(facts: ServiceFacts) -> str:
    if facts.sends is Sends.LOGS:
        return "It sends logs only."
    if facts.sends is Sends.SPANS:
        return "It sends spans, but none of a database."
    if facts.sends is Sends.FOREIGN:
        return "Its database spans are another instrumentation's alone."
    if not facts.statements:
        return "It ran no statement."
    if not facts.writes.total:
        carried = percent(facts.reads.share) if facts.reads.total else "none"
        return f"It wrote nothing; {carried} of {_carry(facts.reads.total, 'read')} an identity."
    return f"{percent(facts.writes.share)} of {_carry(facts.writes.total, 'write')} an identity."


def _carry(number: int, name: str) -> str:
    return f"{plural(number, name)} {'carries' if number == 1 else 'carry'}"


def _rules(rules: Sequence[RuleCoverage]) -> str:
    said = []
    for status in (Status.BLIND, Status.DEGRADED):
        names = [one.rule for one in rules if one.status is status]
        if names:
            said.append(f"{status.capitalize()}: {few(names, 6)}.")
    if not said:
        judged = sum(one.status is Status.OK for one in rules)
        return f"{plural(judged, 'rule')} {'sees' if judged == 1 else 'see'} it well." if judged else ""
    return " ".join(said)
