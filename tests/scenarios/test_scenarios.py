"""The lab's scenarios: recorded ones replayed and one played by default, all of them played at night."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from scenarios.catalogue import all_scenarios, available, choose
from scenarios.judge import Result
from scenarios.lab import RECORDED, recording_of, run
from scenarios.scenario import Scenario

from trueline.instrumentation.declarations.reading import load

SCENARIOS, _ = available(all_scenarios())
LIVE = "env_split/worker_with_last_years_url[sqlite]"
#: By default diagnoses are asked for about these: each takes half a second of work.
DIAGNOSED = ("env_split", "rollback_after_ai_error")


def wrong(results: Sequence[Result]) -> list[str]:
    """What is not as it should be, in sentences."""
    return [
        f"{one.scenario.name}: missed {one.missed}, false {one.false}, verdict {one.verdict}, "
        f"incidents {one.incidents}, {one.trouble or one.notes}"
        for one in results
        if not one.right
    ]


def quiet(scenario: str, state: str) -> None:
    """Progress that nobody looks at."""


def recorded() -> list[Scenario]:
    """The first incident and the first twin of each subject; of two of them somebody is diagnosed."""
    asked: set[tuple[str, str]] = set()
    found = []
    for one in SCENARIOS:
        if one.name == LIVE or not recording_of(one).exists() or (one.about, one.kind) in asked:
            continue
        asked.add((one.about, one.kind))
        found.append(one if one.about in DIAGNOSED else replace(one, verdict=None))
    return found


def test_what_was_recorded_is_judged_as_it_was() -> None:
    """Recorded scenarios sent to one monitor, and one scenario with real processes beside them."""
    results = run(choose(SCENARIOS, words=[LIVE]), quiet, replayed=recorded())
    assert not wrong(results)
    assert {one.scenario.kind for one in results} == {"incident", "twin"}


@pytest.mark.nightly
def test_every_recorded_diagnosis() -> None:
    assert not wrong(run((), quiet, replayed=[one for one in SCENARIOS if recording_of(one).exists()]))


def test_what_owners_declare_can_be_read(tmp_path: Path) -> None:
    """By services, which would go on without it, and by the monitor, which would not start."""
    declaring = [one for one in SCENARIOS if one.declares]
    assert declaring
    for one in declaring:
        (tmp_path / "trueline.yaml").write_text(one.declarations)
        declared = load(tmp_path / "trueline.yaml")
        assert declared.application == one.application
        assert declared.lineage or declared.counterparts or declared.columns, one.name


def test_recordings_belong_to_scenarios_and_are_small() -> None:
    files = sorted(RECORDED.glob("*.otlp.xz"))
    assert {recording_of(one).name for one in SCENARIOS} >= {file.name for file in files}
    assert sum(file.stat().st_size for file in files) < 3_000_000


@pytest.mark.nightly
def test_every_scenario() -> None:
    assert not wrong(run(SCENARIOS, quiet))
