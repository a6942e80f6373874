"""The printed matrix is the one that is tested."""

from __future__ import annotations

from pathlib import Path

from conformance.model import SCENARIOS
from conformance.reference import THEMES, render

from trueline.instrumentation.semconv import LEGAL_REASONS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "outcomes.md"


def test_the_page_is_what_the_matrix_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), (
        "run: PYTHONPATH=tests python -m conformance.reference > docs/reference/outcomes.md"
    )


def test_every_theme_is_printed() -> None:
    assert {scenario.theme for scenario in SCENARIOS.values()} == THEMES.keys()


def test_every_expected_pair_is_legal_and_every_legal_pair_is_expected_somewhere() -> None:
    expected = {
        (tag.outcome, tag.reason)
        for scenario in SCENARIOS.values()
        for tags in (scenario.expected, *scenario.where.values())
        for tag in tags.values()
        if tag.outcome is not None
    }
    legal = {
        (outcome, reason)
        for outcome, reasons in LEGAL_REASONS.items()
        for reason in reasons or (None,)
        if outcome != "open"
    }
    assert expected == legal
