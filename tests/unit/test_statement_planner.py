"""The planner's caches: one parse a template, bounded, shared between threads."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from trueline.instrumentation.identity import IdentityConfig, IdentityExtractor, IdentityHasher
from trueline.instrumentation.statement import Plan, Planner, parse, planner

CONFIG = IdentityConfig()
EXTRACTOR = IdentityExtractor(CONFIG, IdentityHasher("secret"))


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Templates that really went to the parser."""
    seen: list[str] = []

    def counting(texts: Any, dialect: str, config: IdentityConfig) -> Any:
        seen.extend(texts)
        return parse.analyse(texts, dialect, config)

    monkeypatch.setattr(planner, "analyse", counting)
    return seen


def test_the_same_text_gives_the_same_plan() -> None:
    one = Planner(CONFIG)
    assert one.plan("SELECT 1", "sqlite") is one.plan("SELECT 1", "sqlite")
    assert one.plan("SELECT 1", "mysql") is not one.plan("SELECT 1", "sqlite")


def test_literals_share_one_parse(parses: list[str]) -> None:
    one = Planner(CONFIG)
    values: set[str] = set()
    for number in range(50):
        plan = one.plan(f"SELECT * FROM t WHERE user_id = 'u{number}' LIMIT {number}", "postgresql")
        values.update(EXTRACTOR.extract(plan, ()).values)
    assert len(parses) == 1
    assert len(values) == 50


def test_row_counts_and_list_lengths_share_one_parse(parses: list[str]) -> None:
    one = Planner(CONFIG)
    for rows in (1, 2, 3, 500):
        users = [f"u{row}" for row in range(rows)]
        marks = ", ".join(["(?, ?)"] * rows)
        plan = one.plan(f"INSERT INTO t (user_id, n) VALUES {marks} RETURNING id", "sqlite")
        found = EXTRACTOR.extract(plan, tuple(value for user in users for value in (user, 1)))
        assert found.count == rows
        assert found.values == tuple(EXTRACTOR.bind(user, "user").value for user in users[:16])
        names = ", ".join(f"%(user_id_1_{row + 1})s" for row in range(rows))
        plan = one.plan(f"SELECT * FROM t WHERE user_id IN ({names})", "postgresql")
        assert (
            EXTRACTOR.extract(plan, {f"user_id_1_{row + 1}": u for row, u in enumerate(users)}).count == rows
        )
    assert len(parses) == 2


def test_thousands_of_rows_are_counted() -> None:
    rows = 5000
    names = ", ".join(f"(%(user_id__{row})s, %(n__{row})s)" for row in range(rows))
    plan = Planner(CONFIG).plan(f"INSERT INTO t (user_id, n) VALUES {names}", "postgresql")
    parameters = {f"user_id__{row}": f"u{row}" for row in range(rows)}
    found = EXTRACTOR.extract(plan, parameters)
    assert (len(found.values), found.count) == (16, rows)
    many = Planner(CONFIG).plan("INSERT INTO t (user_id) VALUES (?)", "sqlite")
    assert EXTRACTOR.extract(many, [(f"u{row}",) for row in range(rows)], executemany=True).count == rows


def test_one_user_in_many_rows_is_one() -> None:
    plan = Planner(CONFIG).plan("INSERT INTO t (user_id) VALUES (?)", "sqlite")
    assert EXTRACTOR.extract(plan, [("u1",)] * 900, executemany=True).count == 1


def test_two_columns_of_a_row_stay_together_where_the_list_is_cut() -> None:
    plan = Planner(CONFIG).plan("INSERT INTO t (user_id, user_id_hash) VALUES (?, ?)", "sqlite")
    found = EXTRACTOR.extract(plan, [(f"u{row}", f"h{row}") for row in range(100)], executemany=True)
    assert found.columns == ("t.user_id", "t.user_id_hash") * 8
    assert found.count == 200


def test_caches_are_bounded() -> None:
    one = Planner(CONFIG, max_plans=64)
    for number in range(1000):
        one.plan(f"SELECT * FROM t{number} WHERE user_id = ?", "sqlite")
    assert len(one._plans) <= 64
    assert len(one._templates) <= 64


def test_long_texts_are_not_kept_as_keys() -> None:
    one = Planner(CONFIG)
    text = "SELECT " + ", ".join(f"column_number_{number}" for number in range(500)) + " FROM t"
    plan = one.plan(text, "sqlite")
    assert plan is one.plan(str(text.encode(), "utf-8"), "sqlite")
    assert all(len(key) <= 4096 for _, key in one._plans)


def test_threads_agree() -> None:
    one = Planner(CONFIG, max_plans=32)
    texts = [f"SELECT * FROM t{number} WHERE user_id = ?" for number in range(80)]
    found: list[list[Plan]] = [[] for _ in range(4)]
    failed: list[BaseException] = []

    def work(mine: list[Plan]) -> None:
        try:
            for _ in range(3):
                mine.extend(one.plan(text, "sqlite") for text in texts)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(mine,)) for mine in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert found[0] == found[1] == found[2] == found[3]


def test_row_keys() -> None:
    one = Planner(CONFIG)
    update = one.plan("UPDATE expenses SET n = ? WHERE id = ?", "sqlite")
    select = one.plan("SELECT n FROM expenses WHERE expenses.id = %(id_1)s FOR UPDATE", "postgresql")
    key = EXTRACTOR.row_key(update, (1, 7))
    assert len(key) == 16
    assert EXTRACTOR.row_key(select, {"id_1": "7"}) == key
    assert EXTRACTOR.row_key(update, (1, 8)) != key
    assert EXTRACTOR.row_key(update, (1,)) == ""
    either = one.plan("UPDATE expenses SET n = ? WHERE id = ? OR id = ?", "sqlite")
    assert EXTRACTOR.row_key(either, (1, 7, 8)) == ""
    other = one.plan("UPDATE budgets SET n = ? WHERE id = ?", "sqlite")
    assert EXTRACTOR.row_key(other, (1, 7)) != key
