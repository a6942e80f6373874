"""Where in the noise the incidents happen: as the seed decides."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from scenarios.noise.expand import Happening, Span
from scenarios.noise.incidents import INCIDENTS, Incident
from scenarios.noise.play import Play


@dataclass
class Plan:
    """Plays, and happenings, and what must come of them."""

    plays: list[Play]
    happenings: list[Happening] = field(default_factory=list)
    incidents: list[Incident] = field(default_factory=list)


def inject(plan: Plan, span: Span, rules: Sequence[str]) -> None:
    """Add every incident of these rules to the plan, each at a place of its own."""
    places = random.Random(f"places {span.seed}")
    for make in INCIDENTS:
        incident = make()
        at = places.uniform(0.3, 0.45)
        if incident.expected.rule not in rules or (span.sample and not incident.survives):
            continue
        plan.incidents.append(incident)
        if incident.instead:
            plan.plays = _instead(plan.plays, incident, at)
            continue
        times = max(incident.times, incident.sampled if span.sample else 0)
        length = timedelta(minutes=incident.minutes) if times == incident.times else span.length / 10
        if incident.minutes <= 0:
            length = span.length / 2
        begin = span.at(at)
        plan.happenings += [
            Happening(incident.play, begin + length * ((number + places.random() / 2) / times))
            for number in range(times)
        ]


def _instead(plays: Sequence[Play], incident: Incident, since: float) -> list[Play]:
    """The plays, with the incident's in the place of one of them from then on."""
    (healthy,) = [one for one in plays if one.name == incident.instead]
    wrong = incident.play.within(since, 1.0)
    wrong.weight = healthy.weight
    return [*(one for one in plays if one is not healthy), healthy.within(0.0, since), wrong]
