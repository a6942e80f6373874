"""Without the piece of code that makes it right, each row fails: no row passes by accident."""

from __future__ import annotations

from collections.abc import Callable

import conformance.scenarios  # noqa: F401, registers the rows
import pytest
from conformance.databases import Database
from conformance.handlings import HANDLINGS
from conformance.model import SCENARIOS
from conformance.observation import Mismatch, check, run
from conformance.servers import DRIVERS, TRAITS, Driver
from support.recorder import Recorder

from trueline.instrumentation import uninstrument

pytestmark = pytest.mark.sqlalchemy_matrix

PAIRS = [(scenario.name, name) for scenario in SCENARIOS.values() for name in scenario.handling]


@pytest.mark.parametrize(("row", "handling"), PAIRS, ids=lambda value: value)
def test_a_row_fails_without_its_handling(
    row: str,
    handling: str,
    database_of: Callable[[Driver], Database],
    record: Callable[..., Recorder],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scenario = SCENARIOS[row]
    HANDLINGS[handling].remove(monkeypatch)
    for driver in DRIVERS.values():
        if not scenario.applies_to(driver):
            continue
        recorder = record(logs=False, **scenario.options)
        app = run(scenario, driver, database_of(driver), recorder)
        try:
            check(scenario, app, recorder)
        except Mismatch:
            return
        finally:
            uninstrument()
    pytest.fail(f"{row} is right on every driver without {handling}")


def test_every_row_names_what_makes_it_right_or_says_why_not() -> None:
    for scenario in SCENARIOS.values():
        assert bool(scenario.handling) != bool(scenario.unproved), scenario.name
        assert set(scenario.handling) <= HANDLINGS.keys(), scenario.name


def test_every_handling_is_needed_by_a_row() -> None:
    assert {name for _, name in PAIRS} == HANDLINGS.keys()


def test_every_row_applies_to_a_driver_and_every_trait_makes_a_difference() -> None:
    for scenario in SCENARIOS.values():
        assert any(scenario.applies_to(driver) for driver in DRIVERS.values()), scenario.name
    asked = {trait for scenario in SCENARIOS.values() for trait in (*scenario.needs, *scenario.where)}
    assert asked == TRAITS.keys()
