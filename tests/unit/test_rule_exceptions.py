"""Exceptions take out what is accepted, and nothing beside it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from trueline.monitor.engine.exceptions import RuleException, matches, sift

ROW = {
    "environment": "staging",
    "table": "tmp_copy",
    "services": ["web", "worker"],
    "one_database": False,
    "identities": 3,
    "some": [],
    "last_seen": datetime(2026, 11, 20, 23, 59, 59, tzinfo=UTC),
}


def exception(until: str | None = None, **match: Any) -> RuleException:
    return RuleException.model_validate({"match": match, "reason": "known", "until": until})


@pytest.mark.parametrize(
    "match",
    [
        {"environment": "staging"},
        {"environment": "stag*", "table": "tmp_????"},
        {"environment": ["qa", "staging"]},
        {"environment": {"not": "prod"}},
        {"environment": {"not": ["prod", "canary"]}},
        {"services": "w*"},
        {"services": ["web", "worker", "other"]},
        {"services": {"not": "billing"}},
        {"one_database": False},
        {"identities": 3},
    ],
    ids=str,
)
def test_what_matches(match: dict[str, Any]) -> None:
    assert matches(exception(**match), ROW)


@pytest.mark.parametrize(
    "match",
    [
        {"environment": "stagin"},
        {"environment": "staging", "table": "expenses"},
        {"environment": {"not": ["prod", "staging"]}},
        {"services": "web"},  # the worker is not accepted
        {"services": {"not": "web"}},
        {"some": "*"},  # an empty list is nobody's
        {"some": {"not": "web"}},
        {"nothing": "x"},
        {"one_database": True},
    ],
    ids=str,
)
def test_what_does_not(match: dict[str, Any]) -> None:
    assert not matches(exception(**match), ROW)


@pytest.mark.parametrize(("until", "holds"), [("2026-11-20", True), ("2026-11-19", False), (None, True)])
def test_an_exception_ends_with_its_day(until: str | None, holds: bool) -> None:
    assert matches(exception(until, environment="staging"), ROW) is holds


def test_rows_are_counted_for_the_first_exception_that_matches() -> None:
    first, second = exception(table="tmp_*"), exception(environment="staging")
    rows = [ROW, ROW, {**ROW, "table": "expenses"}, {**ROW, "table": "expenses", "environment": "prod"}]

    sifted = sift([first, second], rows)

    assert sifted.rows == [rows[3]]
    assert sifted.excepted == {0: 2, 1: 1}
