"""Every row of the matrix on every driver it applies to, with both sources of spans."""

from __future__ import annotations

from collections.abc import Callable

import conformance.scenarios  # noqa: F401, registers the rows
import pytest
from conformance.databases import Database
from conformance.model import SCENARIOS, Scenario
from conformance.observation import check, run
from conformance.servers import DRIVERS, Driver
from support.matrix import SPAN_SOURCES
from support.recorder import Recorder

pytestmark = pytest.mark.sqlalchemy_matrix

CASES = [
    pytest.param(scenario, driver, id=f"{scenario.name}-{driver.name}")
    for scenario in SCENARIOS.values()
    for driver in DRIVERS.values()
    if scenario.applies_to(driver)
]


@pytest.mark.parametrize("source", SPAN_SOURCES)
@pytest.mark.parametrize(("scenario", "driver"), CASES)
def test_outcome(
    scenario: Scenario,
    driver: Driver,
    source: str,
    database_of: Callable[[Driver], Database],
    record: Callable[..., Recorder],
) -> None:
    database = database_of(driver)
    recorder = record(logs=False, spans=source, **scenario.options)
    app = run(scenario, driver, database, recorder)
    check(scenario, app, recorder)
