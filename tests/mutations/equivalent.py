"""What is known of mutants that no test can notice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

FILE = Path(__file__).with_name("equivalent.yaml")
#: Entries under this name hold for every rule.
_ALL = "all"


@dataclass(frozen=True, slots=True)
class Equivalents:
    """Patterns of mutants by rule, each with the reason."""

    patterns: dict[str, dict[str, str]]

    def reason(self, rule: str, mutant: str) -> str:
        """Why a mutant means the same as the rule; "" if nobody says so."""
        for of in (rule, _ALL):
            for pattern, reason in self.patterns.get(of, {}).items():
                if fits(pattern, mutant):
                    return reason
        return ""

    def unused(self, rule: str, survivors: Iterable[str]) -> list[str]:
        """Patterns of this rule that fit no survivor: the rule has changed, or a test notices it now."""
        left = list(survivors)
        return [
            pattern for pattern in self.patterns.get(rule, {}) if not any(fits(pattern, one) for one in left)
        ]


def fits(pattern: str, mutant: str) -> bool:
    """Whether a pattern means a mutant; * stands at its beginning or its end only."""
    core = pattern.removeprefix("*").removesuffix("*")
    if pattern.startswith("*") and pattern.endswith("*"):
        return core in mutant
    if pattern.startswith("*"):
        return mutant.endswith(core)
    return mutant.startswith(core) if pattern.endswith("*") else mutant == core


def read_equivalents(path: Path = FILE) -> Equivalents:
    """Read the file."""
    held = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return Equivalents(
        {rule: {one["mutant"]: one["reason"] for one in listed} for rule, listed in held.items()}
    )
