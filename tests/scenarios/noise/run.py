"""One run: a store, a company, perhaps its incidents, and the rules that watch it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from scenarios.noise.expand import Company, Happening, Span
from scenarios.noise.healthy import healthy, once
from scenarios.noise.incidents import Incident
from scenarios.noise.judge import Verdict, judge
from scenarios.noise.plan import Plan, inject
from scenarios.noise.watch import Seen, Watch

from trueline.monitor.engine.load import load_rules
from trueline.monitor.engine.rule import Rule
from trueline.monitor.resources import rule_paths
from trueline.monitor.store.client import Store


@dataclass(frozen=True)
class Settings:
    """``statements`` in ``length``, as ``seed`` decides; rules judge every ``step``."""

    statements: int
    length: timedelta
    step: timedelta
    seed: int = 7
    sample: float = 0.0
    incidents: bool = False
    experimental: bool = False


@dataclass
class Outcome:
    """What a run has shown, and whether that is right."""

    settings: Settings
    rules: list[Rule]
    incidents: list[Incident]
    seen: Seen
    verdict: Verdict

    @property
    def experimental(self) -> list[str]:
        """The rules that are not judged."""
        return [rule.id for rule in self.rules if rule.definition.status != "stable"]


#: The declared log event of the chat application.
_DECLARED: Final = {
    "application": "chat",
    "content_hash": "declared",
    "kind": "log_event",
    "name": "event_logged",
    "tables": ["messages"],
    "domain": "user",
    "words": ["write_committed", ""],
}


def shipped_rules(*, experimental: bool) -> list[Rule]:
    """All stable rules, and the others too where they are asked for."""
    rules = load_rules(rule_paths(())).rules
    return [rule for rule in rules if experimental or rule.definition.status == "stable"]


def run(store: Store, settings: Settings, progress: Callable[[float], None] = lambda share: None) -> Outcome:
    """Play it in a store with an empty schema. The time ends at today's midnight: rows must be young, and not
    in the future, for the store's own clock.
    """
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    span = Span(end - settings.length, end, settings.statements, settings.seed, settings.sample)
    rules = shipped_rules(experimental=settings.experimental)
    plan = Plan(healthy(), [Happening(play, span.at(at)) for play, at in once()])
    if settings.incidents:
        inject(plan, span, [rule.id for rule in rules if rule.definition.status == "stable"])
    declared = _DECLARED | {"valid_from": span.start - timedelta(days=1)}
    store.insert("declarations", {name: [value] for name, value in declared.items()})
    watch = Watch(store, rules, span.start)
    company = Company(store, span, plan.plays, plan.happenings)
    try:
        seen = watch.over(company, span, settings.step, progress)
    finally:
        company.close()
    outcome = Outcome(settings, rules, plan.incidents, seen, Verdict())
    return replace(outcome, verdict=judge(seen, plan.incidents, outcome.experimental))
