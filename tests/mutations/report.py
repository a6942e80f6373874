"""What became of a rule's mutants, in lines and as JSON."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
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

    def of(self, names: Collection[str]) -> Result:
        """What is said of these mutants: the rule may have changed since."""
        return Result(
            self.rule,
            {name: tests for name, tests in self.noticed.items() if name in names},
            [name for name in self.missed if name in names],
            {name: why for name, why in self.equivalent.items() if name in names},
            [name for name in self.refused if name in names],
        )

    def settled(self, known: Equivalents) -> set[str]:
        """Those that need not be tried again: noticed, of known reason, or beyond the engine."""
        alike = (name for name in (*self.missed, *self.equivalent) if known.reason(self.rule, name))
        return {*self.noticed, *self.refused, *alike}

    def lines(self) -> list[str]:
        """The share, and each mutant that no test notices."""
        share = len(self.noticed) / self.judged if self.judged else 1.0
        return [
            f"{self.rule}: {len(self.noticed)} of {self.judged} noticed ({share:.1%}); "
            f"{len(self.equivalent)} mean the same, {len(self.refused)} cannot be run",
            *(f"  not noticed: {name}" for name in self.missed),
        ]


def result_of(trial: Trial, known: Equivalents, earlier: Result | None = None) -> Result:
    """A trial with what is known of its survivors, joined to an ``earlier`` one that had left them."""
    before = earlier or Result(trial.rule, {}, [], {}, [])
    settled = {*trial.noticed, *trial.survivors, *trial.refused}
    survivors = [
        *trial.survivors,
        *(name for name in (*before.missed, *before.equivalent) if name not in settled),
    ]
    alike = {name: why for name in survivors if (why := known.reason(trial.rule, name))}
    return Result(
        trial.rule,
        before.noticed | trial.noticed,
        [name for name in survivors if name not in alike],
        alike,
        [*before.refused, *trial.refused],
    )


def read_results(path: Path) -> dict[str, Result]:
    """Results by rule, as :func:`write_results` left them."""
    return {one["rule"]: Result(**one) for one in json.loads(path.read_text(encoding="utf-8"))}


def write_results(path: Path, results: Sequence[Result]) -> None:
    """Write them as JSON."""
    path.write_text(json.dumps([asdict(one) for one in results], indent=2) + "\n", encoding="utf-8")
