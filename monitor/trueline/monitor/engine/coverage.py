"""What each rule can see of each service: from facts to sentences, without any I/O.

"No finding" is worth as much as what could have been found. A rule is *blind* for a service where it cannot
find anything however bad things are, *degraded* where it may miss or not tell apart some of it, *idle* where
there is nothing that it judges, and *ok* otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from trueline.instrumentation import semconv
from trueline.instrumentation.inventory_report import Sources, percent
from trueline.monitor.engine.coverage_reasons import Cause, Reason, Status, reason
from trueline.monitor.engine.rule import Rule
from trueline.monitor.engine.templates import few, plural

#: Below this share of statements that carry an identity, rules that compare identities are degraded.
ENOUGH_IDENTITIES: Final = 0.9
#: Above this share of statements read by keywords only, likewise.
TOO_MANY_UNPARSED: Final = 0.1
#: One connection taken without a statement is nothing to speak of in so many statements.
MANY_STATEMENTS: Final = 100
NO_STATEMENTS: Final = Sources()
#: Services of one environment that are named in a sentence.
_NAMED: Final = 4


class Sends(StrEnum):
    """What a service sends, by what it is worth to rules."""

    TRUELINE = "trueline"
    FOREIGN = "foreign_database_spans"
    SPANS = "spans"
    LOGS = "logs"


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """What is known of one service of one environment and application, over some time.

    ``rungs``: the best rung of each database, by fingerprint. ``keys_of_others``: the other services of the
    same environment and application, by the key ids under which they hash. ``sample`` and
    ``parsed_by_keywords`` are shares. ``ran``: statements that its processes say they counted;
    ``ever_arrived``: whether one was ever received.
    """

    environment: str
    application: str
    service: str
    sends: Sends = Sends.TRUELINE
    process_kinds: frozenset[str] = frozenset()
    reads: Sources = NO_STATEMENTS
    writes: Sources = NO_STATEMENTS
    statements: int = 0
    ran: int = 0
    ever_arrived: bool = False
    with_entry: int = 0
    ai_calls: int = 0
    key_ids: tuple[str, ...] = ()
    keys_of_others: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rungs: Mapping[str, str] = field(default_factory=dict)
    sample: float = 1.0
    follows_trace_sampler: bool = False
    hashes_left_out: bool = False
    parsed_by_keywords: float = 0.0
    unseen_transactions: int = 0
    unseen_checkouts: int = 0
    lost: Mapping[str, int] = field(default_factory=dict)
    internal_errors: int = 0
    nameless_tables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleNeeds:
    """What a rule reads, as far as it matters here; ``error``: why it fails just now."""

    id: str
    title: str
    statements: bool
    compares_identities: bool
    compares_columns: bool
    compares_databases: bool
    needs_entries: bool
    names_entries: bool
    needs_ai: bool
    skips_tests: bool
    ignored_environments: tuple[str, ...] = ()
    on: bool = True
    error: str = ""


@dataclass(frozen=True, slots=True)
class RuleCoverage:
    """What one rule can see of one service. ``reasons`` are worst first; none where all is well."""

    rule: str
    title: str
    status: Status
    reasons: tuple[Reason, ...]


def needs_of(rule: Rule, error: str = "") -> RuleNeeds:
    """What ``rule`` reads: from its declared needs, its query and its parameters."""
    definition = rule.definition
    attributes, tables = definition.needs.attributes, set(definition.needs.tables)
    entry = re.search(r"\bentry_name\b", definition.query) is not None
    ignored = rule.parameters.get("ignored_environments", ())
    return RuleNeeds(
        id=definition.id,
        title=definition.title,
        statements=bool(tables & _STATEMENT_TABLES) or any(name in _STATEMENT for name in attributes),
        compares_identities=semconv.IDENTITY_VALUES in attributes,
        compares_columns=bool({semconv.IDENTITY_COLUMNS, semconv.IDENTITY_ENCODINGS} & set(attributes)),
        compares_databases=bool(
            {semconv.DATABASE_FINGERPRINT, semconv.DATABASE_FINGERPRINTS} & set(attributes)
        ),
        needs_entries="entries" in tables
        or bool({semconv.ENTRY_NAME, semconv.ENTRY_SPAN_ID} & set(attributes)),
        names_entries=entry,
        needs_ai="ai_calls" in tables or any(name.startswith("gen_ai.") for name in attributes),
        skips_tests="process_kind != 'test'" in definition.query,
        ignored_environments=tuple(map(str, ignored)) if isinstance(ignored, list | tuple) else (),
        on=rule.enabled,
        error=error,
    )


def judge(facts: ServiceFacts, rules: Sequence[RuleNeeds]) -> tuple[RuleCoverage, ...]:
    """What each of ``rules`` can see of the service."""
    return tuple(_judged(facts, rule) for rule in rules)


def _judged(facts: ServiceFacts, rule: RuleNeeds) -> RuleCoverage:
    reasons = sorted(_reasons(facts, rule), key=lambda one: _ORDER.index(one.status))
    # Where nothing can be judged, how well it would be judged is of no interest.
    if reasons and reasons[0].status is Status.IDLE:
        reasons = [one for one in reasons if one.status is Status.IDLE]
    return RuleCoverage(rule.id, rule.title, reasons[0].status if reasons else Status.OK, tuple(reasons))


def _reasons(facts: ServiceFacts, rule: RuleNeeds) -> Iterator[Reason]:
    idle = _idle(facts, rule)
    if idle is not None:
        yield idle
        return
    if rule.error:
        yield reason(Cause.RULE_FAILS, error=rule.error)
    if rule.statements and facts.sends is not Sends.TRUELINE:
        yield reason(_NOT_OURS[facts.sends])
        return
    if facts.lost:
        lost = few([f"{count} {why.replace('_', ' ')}" for why, count in facts.lost.items()])
        yield reason(Cause.LOSSES, spans=plural(sum(facts.lost.values()), "span"), lost=lost)
    if facts.internal_errors:
        yield reason(Cause.INTERNAL_ERRORS, times=plural(facts.internal_errors, "time"))
    if rule.statements and not facts.statements:
        yield reason(Cause.NOTHING_ARRIVED, statements=plural(facts.ran, "statement"))
        return
    if rule.statements:
        yield from _unseen(facts)
        yield from _entries(facts, rule)
    if rule.compares_databases:
        yield from _databases(facts)
    if rule.compares_identities or rule.compares_columns:
        yield from _identities(facts, rule)


def _idle(facts: ServiceFacts, rule: RuleNeeds) -> Reason | None:
    """Why there is nothing to judge."""
    if not rule.on:
        return reason(Cause.RULE_IS_OFF)
    if facts.environment in rule.ignored_environments:
        return reason(Cause.ENVIRONMENT_IGNORED, environment=facts.environment)
    if rule.skips_tests and facts.process_kinds == {"test"}:
        return reason(Cause.TESTS_IGNORED)
    if facts.sends is Sends.TRUELINE and rule.statements and not facts.statements:
        return None if facts.ran and not facts.ever_arrived else reason(Cause.NO_STATEMENT)
    if rule.needs_ai and not facts.ai_calls and facts.sends is Sends.TRUELINE:
        return reason(Cause.NO_AI_CALL)
    return None


def _unseen(facts: ServiceFacts) -> Iterator[Reason]:
    if facts.unseen_transactions:
        yield reason(Cause.RAW_CONNECTIONS, transactions=plural(facts.unseen_transactions, "transaction"))
    elif facts.unseen_checkouts * MANY_STATEMENTS > facts.ran:
        yield reason(Cause.IDLE_CHECKOUTS, times=plural(facts.unseen_checkouts, "time"))
    if facts.follows_trace_sampler:
        yield reason(Cause.FOLLOWS_TRACE_SAMPLER)


def _entries(facts: ServiceFacts, rule: RuleNeeds) -> Iterator[Reason]:
    outside = facts.statements - facts.with_entry
    if not facts.with_entry and rule.needs_entries:
        yield reason(Cause.NO_ENTRY)
    elif not facts.with_entry and rule.names_entries:
        yield reason(Cause.NO_ENTRY_NAMES)
    elif outside > facts.statements / 2 and (rule.needs_entries or rule.names_entries):
        yield reason(Cause.FEW_ENTRIES, outside=percent(outside / facts.statements))


def _databases(facts: ServiceFacts) -> Iterator[Reason]:
    rungs = set(facts.rungs.values())
    if not rungs or rungs <= {"", "memory"}:
        yield reason(Cause.NO_FINGERPRINT if rungs <= {""} else Cause.MEMORY_FINGERPRINT)
    elif rungs & {"", "memory", "endpoint"}:
        weak = sum(rung in ("", "memory", "endpoint") for rung in facts.rungs.values())
        yield reason(Cause.WEAK_FINGERPRINT, databases=f"{weak} of {plural(len(facts.rungs), 'database')}")


def _identities(facts: ServiceFacts, rule: RuleNeeds) -> Iterator[Reason]:
    by_column = facts.reads.column + facts.writes.column
    by_any = by_column + facts.reads.row + facts.writes.row + facts.reads.bound + facts.writes.bound
    if facts.hashes_left_out:
        yield reason(Cause.HASHES_LEFT_OUT)
        return
    if not by_any:
        yield reason(Cause.NO_IDENTITY)
        return
    if rule.compares_columns and not by_column:
        yield reason(Cause.NO_IDENTITY_COLUMN)
        return
    yield from _keys(facts)
    if facts.writes.share < ENOUGH_IDENTITIES:
        tables = few(facts.nameless_tables, _NAMED)
        which = f"; none of those to {tables} does" if facts.nameless_tables else ""
        yield reason(Cause.FEW_IDENTITIES, share=percent(facts.writes.share), which=which)
    if facts.sample < 1:
        yield reason(Cause.SAMPLED, share=percent(facts.sample))
    if facts.parsed_by_keywords > TOO_MANY_UNPARSED:
        yield reason(Cause.UNPARSED, share=percent(facts.parsed_by_keywords))


def _keys(facts: ServiceFacts) -> Iterator[Reason]:
    if len(facts.key_ids) > 1:
        yield reason(Cause.TWO_KEYS, keys=" and ".join(map(key_text, facts.key_ids)))
    others = {key: names for key, names in facts.keys_of_others.items() if key not in facts.key_ids}
    if not facts.key_ids or not others:
        return
    told = ", ".join(f"{few(names, _NAMED)} ({key_text(key)})" for key, names in sorted(others.items()))
    alone = not any(key in facts.key_ids for key in facts.keys_of_others)
    cause = Cause.OTHER_KEY if alone else Cause.OTHERS_HAVE_ANOTHER_KEY
    yield reason(cause, key=key_text(facts.key_ids[0]), others=told)


def key_text(key_id: str) -> str:
    """A key id for people."""
    return "without a secret" if key_id == "unkeyed" else f"under key id {key_id}"


#: Worst first; idle before all, since it makes the rest pointless.
_ORDER: Final = (Status.IDLE, Status.BLIND, Status.DEGRADED, Status.OK)
_NOT_OURS: Final = {
    Sends.FOREIGN: Cause.FOREIGN_SPANS,
    Sends.SPANS: Cause.NO_DATABASE_SPANS,
    Sends.LOGS: Cause.ONLY_LOGS,
}
_STATEMENT_TABLES: Final = {"statements", "statements_resolved", "transactions"} | {
    "identity_statements", "identity_uses", "identity_arrivals", "access", "databases",
}  # fmt: skip
_STATEMENT: Final = frozenset(
    name
    for name, one in semconv.ATTRIBUTES.items()
    if one.ours and {semconv.Signal.STATEMENT, semconv.Signal.TRANSACTION} & set(one.signals)
)
