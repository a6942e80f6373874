"""What became of a rule's mutants, in lines and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mutations.equivalent import Equivalents
from mutations.trial import Trial


@dataclass(frozen=True, slots=True)
class Result:
    """A rule's mutants by name: ``noticed`` by which tests; ``equivalent`` and ``refused`` are not judged."""

    rule: str
    noticed: dict[str, list[str]]
    missed: list[str]
    equivalent: dict[str, str]
    refused: list[str]

    @property
    def judged(self) -> int:
        """How many count."""
        return len(self.noticed) + len(self.missed)

    @property
    def tried(self) -> set[str]:
        """All of them."""
        return {*self.noticed, *self.missed, *self.equivalent, *self.refused}

    def lines(self) -> list[str]:
        """The share, and each mutant that no test notices."""
        share = len(self.noticed) / self.judged if self.judged else 1.0
        return [
            f"{self.rule}: {len(self.noticed)} of {self.judged} noticed ({share:.1%}); "
            f"{len(self.equivalent)} mean the same, {len(self.refused)} cannot be run",
            *(f"  not noticed: {name}" for name in self.missed),
        ]


def judged(trial: Trial, known: Equivalents, earlier: Result | None = None) -> Result:
    """A trial with what is known of its survivors, joined to what an ``earlier`` one noticed."""
    alike = {name: why for name in trial.survivors if (why := known.reason(trial.rule, name))}
    return Result(
        trial.rule,
        (earlier.noticed if earlier is not None else {}) | trial.noticed,
        [name for name in trial.survivors if name not in alike],
        alike,
        trial.refused,
    )


def read_results(path: Path) -> dict[str, Result]:
    """Results by rule, as :func:`write_results` left them."""
    return {one["rule"]: Result(**one) for one in json.loads(path.read_text(encoding="utf-8"))}


def write_results(path: Path, results: Sequence[Result]) -> None:
    """Write them as JSON."""
    path.write_text(json.dumps([asdict(one) for one in results], indent=2) + "\n", encoding="utf-8")
