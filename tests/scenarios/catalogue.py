"""All scenarios there are, and choosing some of them."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from pathlib import Path

import yaml
from scenarios import incidents
from scenarios.scenario import Book, Scenario

RULES = Path(__file__).resolve().parents[2] / "rules"


def all_scenarios() -> list[Scenario]:
    """Those of every module under ``incidents``, in order of module and line."""
    found: list[Scenario] = []
    for module in sorted(pkgutil.iter_modules(incidents.__path__), key=lambda one: one.name):
        book = importlib.import_module(f"scenarios.incidents.{module.name}").book
        assert isinstance(book, Book), module.name
        found += book.scenarios
    names = [scenario.name for scenario in found]
    assert len(set(names)) == len(names), "two scenarios have one name"
    return found


def experimental(scenarios: Iterable[Scenario]) -> set[str]:
    """Rules that these scenarios are about and that are off until somebody asks for them."""
    wanted = {expected.rule for one in scenarios for expected in one.expected} | {
        one.about for one in scenarios
    }
    return wanted & {rule for rule, status in rules().items() if status == "experimental"}


def rules() -> dict[str, str]:
    """The shipped rules and their status."""
    files = (yaml.safe_load(path.read_text()) for path in sorted(RULES.glob("*.yaml")))
    return {str(content["id"]): str(content["status"]) for content in files}


def available(scenarios: Iterable[Scenario]) -> tuple[list[Scenario], list[Scenario]]:
    """Those whose rules there are, and those that wait for a rule."""
    there = set(rules())
    listed = list(scenarios)
    ready = [one for one in listed if {expected.rule for expected in one.expected} <= there]
    return ready, [one for one in listed if one not in ready]


def choose(
    scenarios: Iterable[Scenario], about: Iterable[str] = (), words: Iterable[str] = ()
) -> list[Scenario]:
    """Those about one of these, and with one of these words in the name; all if none are given."""
    wanted, parts = set(about), tuple(words)
    return [
        one
        for one in scenarios
        if (not wanted or one.about in wanted) and (not parts or any(part in one.name for part in parts))
    ]
