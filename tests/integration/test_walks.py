"""Walks of somebody on call through the demo's incidents, with real processes; healthy twins too."""

from __future__ import annotations

import re

import pytest
from support.walks import EXAMPLES, SCENES, Walk, walk


def check(found: Walk) -> None:
    scene = found.scene
    assert found.verdict == scene.verdict, found.text
    assert found.status == (0 if scene.verdict == "healthy" else 1)
    if scene.rule:
        assert "STEP BY STEP" in found.text
        assert "LAST WRITE BESIDE LAST READ" in found.text


@pytest.mark.nightly
def test_an_ai_timeout_and_a_retry_that_landed() -> None:
    """The short form: one incident and its twin."""
    chosen = [scene for scene in SCENES if scene.name in ("rollback_after_ai_error", "retry_lands")]
    walks = list(walk(chosen))

    for found in walks:
        check(found)
    text = re.sub(r"[\s│]+", " ", walks[0].text)  # without the terminal's line ends
    assert "the AI call failed with httpx.ReadTimeout" in text
    assert "while the transaction is open" in text


@pytest.mark.nightly
def test_every_incident_and_every_twin() -> None:
    walks = list(walk(SCENES))

    assert [one.verdict for one in walks] == [scene.verdict for scene in SCENES]
    for one in walks:
        check(one)


def test_the_examples_are_there_and_end_in_the_right_verdict() -> None:
    for scene in SCENES:
        if scene.rule:
            text = (EXAMPLES / f"walk_{scene.name}.txt").read_text(encoding="utf-8")
            assert f"\n{scene.verdict.upper()}: " in text, scene.name
