"""Repeated rows: what is probed says the same as what is compared row by row."""

from __future__ import annotations

import random

import pytest

from trueline.instrumentation.identity import IdentityConfig
from trueline.instrumentation.statement import Planner, folding
from trueline.instrumentation.statement.folding import find_repeats
from trueline.instrumentation.statement.plan import Series

NAMES = ("p_%s", "%%%%(a_%s)s", "$%s", ":q%s")
ROWS = (2, 31, 255, 256, 257, 288, 289, 1000, 3000, 12_011)


@pytest.mark.parametrize("seed", range(60))
def test_rows_are_counted_alike(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    starts = [chance.choice([0, 1, 7, 95, 998, 99_990, 123_456]) for _ in range(chance.randint(1, 3))]
    steps = [chance.choice([0, 1, 2, 3, 10, 97]) for _ in starts]
    steps[0] = steps[0] or 1
    width = [chance.choice(["%d", "%05d"]) for _ in starts]
    unit = "(" + ", ".join(chance.choice(NAMES) % one for one in width) + ")"
    rows, separator = chance.choice(ROWS), chance.choice([", ", ",", ",\n"])

    def row(number: int) -> str:
        return unit % tuple(start + step * number for start, step in zip(starts, steps, strict=True))

    tails = ["", " RETURNING id", f"{separator}(p_x)", separator + row(rows + 1), ")", separator + row(0)]
    text = separator.join(map(row, range(rows))) + chance.choice(tails)
    probed = find_repeats(text, 0, len(row(0)))
    monkeypatch.setattr(folding, "_MAX_COMPARED", 10**9)
    compared = find_repeats(text, 0, len(row(0)))
    assert probed == compared
    assert probed is not None
    assert probed.rows == rows


@pytest.mark.parametrize("other", [300, 5000, 29_999])
def test_a_row_that_is_otherwise_ends_the_rows(other: int) -> None:
    rows = [f"(%(user_id_{number})s, %(b_{number})s)" for number in range(30_000)]
    rows[other] = f"(%(user_id_{other})s, DEFAULT)"
    found = find_repeats(", ".join(rows), 0, len(rows[0]))
    assert found is not None
    assert found.rows == other


@pytest.mark.parametrize(
    ("dialect", "row"),
    [
        ("sqlite", "(?{0}, ?{1})"),
        ("postgresql", "(${0}, ${1})"),
        ("postgresql", "(${0}::INTEGER, ${1}::VARCHAR)"),
        ("postgresql", "(%(user_id_m{0})s, %(b_m{1})s)"),
        ("oracle", "(:user_id_{0}, :b_{1})"),
    ],
)
def test_a_megabyte_of_rows_is_read_to_its_end(dialect: str, row: str) -> None:
    rows = ", ".join(row.format(2 * number + 1, 2 * number + 2) for number in range(40_000))
    text = f"INSERT INTO t (user_id, b) VALUES {rows} ON CONFLICT (user_id) DO NOTHING"
    plan = Planner(IdentityConfig()).plan(text, dialect)
    assert plan.complete
    assert plan.on_conflict
    (use,) = plan.identities
    (series,) = use.sources
    assert isinstance(series, Series)
    assert series.rows == 40_000
