"""Every incident of the stable rules is found in healthy traffic, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from scenarios.noise.healthy import healthy, once
from scenarios.noise.run import Outcome, Settings, run
from support.engine_bench import schema_store

from trueline.monitor.store.client import Store


@pytest.fixture
def quiet_store(store_folder: Path) -> Iterator[Store]:
    with schema_store(store_folder, "noise") as store:
        yield store


def told(outcome: Outcome) -> list[str]:
    """What is not as it has to be."""
    verdict = outcome.verdict
    return [
        *(f"missed {one.name}" for one in verdict.missed),
        *(f"false {one.rule}: {one.texts.summary}" for one in verdict.false),
        *verdict.errors,
    ]


@pytest.mark.nightly
def test_every_incident_is_found_in_the_noise_and_nothing_else(quiet_store: Store) -> None:
    outcome = run(
        quiet_store, Settings(100_000, timedelta(minutes=36), step=timedelta(minutes=10), incidents=True)
    )
    assert told(outcome) == []
    assert {one.expected.rule for one in outcome.incidents} == {rule.id for rule in outcome.rules}
    assert 80_000 < outcome.seen.statements < 120_000


@pytest.mark.nightly
@pytest.mark.parametrize("seed", [7, 11])
@pytest.mark.parametrize("kind", ["noise", "incidents", "sampled"])
def test_hours_of_noise(quiet_store: Store, kind: str, seed: int) -> None:
    outcome = run(
        quiet_store,
        Settings(
            *(1_000_000, timedelta(hours=6), timedelta(minutes=5), seed),
            sample=0.01 if kind == "sampled" else 0.0,
            incidents=kind != "noise",
        ),
    )
    assert told(outcome) == []
    assert bool(outcome.incidents) is (kind != "noise")


def test_the_same_seed_is_the_same_traffic() -> None:
    first, second = ([(one.name, one.reach, one.statements) for one in healthy()] for _ in range(2))
    assert first == second
    assert len({name for name, *_ in first}) == len(first)
    assert all(0 <= at < 1 for _, at in once())
