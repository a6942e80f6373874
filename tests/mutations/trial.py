"""Runs a rule's own tests against mutants of it: which of them no test notices.

Inserting rows and planning queries cost more than running them, so all mutants share the rows. First every
mutant is asked once, over one window with all arrivals, as after a pause of the monitor; a test that the
rule passes so and its mutant does not has noticed it. The mutants that are left then play, as they would
happen, the tests in which it matters when rows arrive: those that name an arrival (``received``), and those
that the rule does not pass over one window. There a mutant is done with at its first finding too many, and
what the engine has answered to the same question in the same window is not asked again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from mutations.mutants import mutants

from trueline.monitor.engine.evaluate import candidates
from trueline.monitor.engine.parameters import value_problem
from trueline.monitor.engine.rule import Rule
from trueline.monitor.engine.rule_rows import TOUCHED_TABLES, Row
from trueline.monitor.engine.rule_tests import (
    Arriving,
    arriving_rows,
    by_test,
    differences,
    group_of,
    played_together,
    shared_parameters,
    windows,
)
from trueline.monitor.errors import TruelineError
from trueline.monitor.store.client import Limits, Store

PATIENT = Limits(seconds=60)
Findings = dict[tuple[str, ...], Row]
#: What was found in one window, by SQL and parameters: many mutants share a trigger, or its candidates.
Asked = dict[tuple[str, str], list[Row]]


@dataclass
class Variant:
    """A rule as it is, or changed in one place."""

    name: str
    trigger: str | None
    query: str
    params: Mapping[str, Any]
    #: Names of tests that failed, and what the engine said if it could not be run.
    noticed_by: set[str] = field(default_factory=set)
    refused: str = ""
    found: Findings = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of a rule's mutants. ``refused`` could not be run by the engine and count for nothing."""

    rule: str
    noticed: dict[str, list[str]]
    survivors: list[str]
    refused: list[str]


def variants(rule: Rule) -> list[Variant]:
    """The mutants of a rule: of its trigger, its query, and the values of its parameters."""
    trigger, query, params = _sql(rule)
    decisive = {*rule.definition.group_by, *(rule.trigger.columns or () if rule.trigger else ())}
    found = []
    if trigger is not None:
        found += [
            Variant(f"trigger, {one.name}", one.sql, query, params) for one in mutants(trigger, decisive)
        ]
    found += [Variant(f"query, {one.name}", trigger, one.sql, params) for one in mutants(query, decisive)]
    for name, param in rule.definition.params.items():
        for words, value in _other_values(param.type, params[name]):
            found.append(Variant(f"params, {name}: {words}", trigger, query, {**params, name: value}))
    return found


def _other_values(kind: str, value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, list):
        if value:
            yield "empty", []
    elif isinstance(value, int | float) and not isinstance(value, bool):
        whole = isinstance(value, int)
        for words, other in (("doubled", value * 2), ("halved", value // 2 if whole else value / 2)):
            if other != value and not value_problem(kind, other):
                yield words, other


def attempt(rule: Rule, store: Store, chosen: Sequence[Variant] | None = None) -> Trial:
    """Let a rule's tests look at mutants of it, all of them unless some are ``chosen``."""
    trials = list(variants(rule) if chosen is None else chosen)
    now = datetime.now(UTC)
    arriving, problems = arriving_rows(rule, now)
    assert not problems, problems
    numbered = rule.definition.tests
    later = {number for number in arriving if _names_arrivals(numbered[number].model_extra or {})}
    for numbers in played_together(rule, arriving):
        _clear(store)
        rows = [row for number in numbers for row in arriving[number]]
        later |= _all_at_once(rule, store, _left(trials), numbers, rows, now)
    for numbers in played_together(rule, sorted(later)) if later else []:
        _clear(store)
        rows = [row for number in numbers for row in arriving[number]]
        _as_it_happens(rule, store, _left(trials), numbers, rows, now)
    _clear(store)
    return Trial(
        rule.id,
        {one.name: sorted(one.noticed_by) for one in trials if one.noticed_by and not one.refused},
        [one.name for one in _left(trials)],
        [one.name for one in trials if one.refused],
    )


def _names_arrivals(test: Mapping[str, Any]) -> bool:
    return any("received" in row for listed in test["rows"].values() for row in listed)


def _left(trials: Iterable[Variant]) -> list[Variant]:
    return [one for one in trials if not one.noticed_by and not one.refused]


def _sql(rule: Rule) -> tuple[str | None, str, dict[str, Any]]:
    params = rule.parameters | shared_parameters(rule, len(rule.definition.tests))
    return (rule.trigger.sql if rule.trigger is not None else None), rule.query.sql, params


def _original(rule: Rule) -> Variant:
    return Variant("original", *_sql(rule))


def _all_at_once(
    rule: Rule,
    store: Store,
    trials: Sequence[Variant],
    numbers: Sequence[int],
    rows: list[Arriving],
    now: datetime,
) -> set[int]:
    """Returns the numbers of tests that the rule itself does not pass so."""
    bounds: dict[str, Any] = {}
    for bound in windows(rule, rows, now, store.insert):
        bounds = {
            "start": bounds.get("start", bound["start"]),
            "end": bound["end"],
            "since": bound["since"],
        }
    original = _original(rule)
    asked: Asked = {}
    for one in (original, *trials):
        one.found = {}
        _ask(rule, store, one, bounds, asked)
    wrong = _failed(rule, original, numbers)
    for one in trials:
        for number in _failed(rule, one, numbers) - wrong:
            one.noticed_by.add(rule.definition.tests[number].name)
    return wrong


def _as_it_happens(
    rule: Rule,
    store: Store,
    trials: Sequence[Variant],
    numbers: Sequence[int],
    rows: list[Arriving],
    now: datetime,
) -> None:
    original = _original(rule)
    for one in trials:
        one.found = {}
    for bound in windows(rule, rows, now, store.insert):
        bounds = {name: bound[name] for name in ("start", "end", "since")}
        asked: Asked = {}
        for one in (original, *_left(trials)):
            _ask(rule, store, one, bounds, asked)
        for one in _left(trials):
            for number in _too_many(rule, one, numbers):
                one.noticed_by.add(rule.definition.tests[number].name)
    wrong = _failed(rule, original, numbers)
    assert not wrong, f"tests of {rule.id} fail as it is: {wrong}"
    for one in _left(trials):
        for number in _failed(rule, one, numbers):
            one.noticed_by.add(rule.definition.tests[number].name)


def _ask(rule: Rule, store: Store, one: Variant, bounds: Mapping[str, Any], asked: Asked) -> None:
    """Evaluate one window, as the engine does; the same question is asked once."""
    bound = {**one.params, **bounds}

    def answer(sql: str) -> list[Row]:
        key = (sql, repr(bound))
        if key not in asked:
            asked[key] = store.query_read_only(sql, bound, PATIENT).dicts()
        return asked[key]

    try:
        if one.trigger is not None:
            found = answer(one.trigger)
            if not found:
                return
            bound |= candidates(rule, found)
        for row in answer(one.query):
            one.found[group_of(rule, row)] = dict(row)
    except (TruelineError, KeyError) as error:
        one.refused = str(error).partition("\n")[0][:200]


def _too_many(rule: Rule, one: Variant, numbers: Sequence[int]) -> set[int]:
    """Numbers of the tests that cannot pass any more: a finding is never taken back."""
    found = by_test(rule, one.found.values(), numbers)
    return {number for number in numbers if len(found[number]) > len(rule.definition.tests[number].expect)}


def _failed(rule: Rule, one: Variant, numbers: Sequence[int]) -> set[int]:
    """Numbers of the tests that fail with what was found."""
    found = by_test(rule, one.found.values(), numbers)
    return {
        number
        for number in numbers
        if differences(rule, found.get(number, []), rule.definition.tests[number].expect)
    }


def _clear(store: Store) -> None:
    for table in TOUCHED_TABLES:
        store.command(f"TRUNCATE TABLE {table}")
