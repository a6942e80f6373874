"""The planner's caches: one parse a template, bounded, shared between threads."""

from __future__ import annotations

import logging
import os
import threading
import time

import pytest
import sqlglot

from trueline.instrumentation.identity import IdentityConfig, IdentityExtractor, IdentityHasher
from trueline.instrumentation.statement import Plan, Planner, parse
from trueline.instrumentation.statement.budget import Budget
from trueline.instrumentation.statement.once import Cache

CONFIG = IdentityConfig()
EXTRACTOR = IdentityExtractor(CONFIG, IdentityHasher("secret"))


def readings(one: Planner) -> int:
    """How many statements were really read, by the parser or without it."""
    counts = one.counts()
    return counts["parsed"] + counts["read_plainly"]


def test_the_same_text_gives_the_same_plan() -> None:
    one = Planner(CONFIG)
    assert one.plan("SELECT 1", "sqlite") is one.plan("SELECT 1", "sqlite")
    assert one.plan("SELECT 1", "mysql") is not one.plan("SELECT 1", "sqlite")


def test_literals_share_one_reading() -> None:
    one = Planner(CONFIG)
    values: set[str] = set()
    for number in range(50):
        plan = one.plan(f"SELECT * FROM t WHERE user_id = 'u{number}' LIMIT {number}", "postgresql")
        values.update(EXTRACTOR.extract(plan, ()).values)
    assert readings(one) == 1
    assert len(values) == 50


def test_row_counts_and_list_lengths_share_one_reading() -> None:
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
    assert readings(one) == 2


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
    assert all(sum(len(part) for part in key if isinstance(part, str)) <= 4200 for key in one._plans)
    assert plan is not one.plan(text + " WHERE a = 1", "sqlite")


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


class Clock:
    """Time that goes on when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_beyond_the_budget_only_first_words_are_read() -> None:
    clock = Clock()
    budget = Budget(share=0.1, saved=1.0, clock=clock)
    one = Planner(CONFIG, budget=budget)
    known = one.plan("SELECT * FROM t WHERE user_id = ?", "sqlite")
    budget.spend(2.0)
    assert one.plan("SELECT * FROM t WHERE user_id = ?", "sqlite") is known
    glance = one.plan("UPDATE s SET a = 'secret' WHERE user_id = 'u1'", "sqlite")
    assert (glance.kind, glance.operation, glance.tables) == ("write", "UPDATE", ("s",))
    assert (glance.complete, glance.identities) == (False, ())
    assert "secret" not in glance.text
    assert one.plan("ROLLBACK TO SAVEPOINT a", "sqlite").control == "rollback_to_savepoint"
    assert one.plan("SELECT 'unfinished" + "x" * 1000, "sqlite").text == "SELECT ?"
    assert one.counts()["over_budget"] == 3
    clock.now = 15.0  # a tenth of it: what was spent too much, and a little
    whole = one.plan("UPDATE s SET a = 'secret' WHERE user_id = 'u1'", "sqlite")
    assert (whole.complete, len(whole.identities)) == (True, 1)


def test_a_thousand_new_texts_stay_within_the_budget() -> None:
    """Frozen time, so that nothing is earned: what is spent is what was saved, and then glances."""
    one = Planner(CONFIG, budget=Budget(share=0.1, saved=0.02, clock=Clock()))
    for number in range(1000):
        one.plan(f"SELECT a FROM t{number} WHERE user_id IN (SELECT id FROM u{number})", "postgresql")
    counts = one.counts()
    assert counts["over_budget"] > 500
    assert counts["made"] + counts["over_budget"] == 1000
    assert counts["made"] == counts["parsed"]


@pytest.mark.parametrize("rounds", range(3))
def test_threads_that_meet_read_a_text_once(rounds: int) -> None:
    one = Planner(CONFIG)
    start = threading.Barrier(4)
    columns = ", ".join(f"coalesce(c{number}, {number})" for number in range(60))
    text = f"SELECT {columns} FROM t{rounds} WHERE user_id = 'u'"  # milliseconds for the parser
    found: list[Plan] = []

    def work() -> None:
        start.wait()
        found.append(one.plan(text, "postgresql"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(plan) for plan in found}) == 1
    assert (one.counts()["made"], len(found)) == (1, 4)


def test_nobody_waits_for_a_thread_that_is_gone() -> None:
    """As after a fork in the middle of a plan: the value is made after a moment."""
    cache: Cache[str, int] = Cache(8)
    inside, leave = threading.Event(), threading.Event()

    def never() -> tuple[int, bool]:
        inside.set()
        leave.wait(30)
        return 1, True

    thread = threading.Thread(target=lambda: cache.get("a", never), daemon=True)
    thread.start()
    assert inside.wait(30)
    begun = time.monotonic()
    assert cache.get("a", lambda: (2, True)) == 2
    assert cache.get("b", lambda: (3, True)) == 3
    assert time.monotonic() - begun < 5
    leave.set()
    thread.join(30)


def test_making_a_value_while_making_it() -> None:
    """A signal handler or a finalizer that runs the same statement in the middle of its first plan."""
    cache: Cache[str, int] = Cache(8)
    begun = time.monotonic()
    assert cache.get("a", lambda: (cache.get("a", lambda: (1, True)) + 1, True)) == 2
    assert time.monotonic() - begun < 5
    assert cache.values == {"a": 2}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_plans_after_a_fork() -> None:
    one = Planner(CONFIG)
    one.plan("SELECT * FROM t WHERE user_id = ?", "sqlite")
    child = os.fork()
    if child == 0:
        ok = one.plan("SELECT * FROM s WHERE user_id = ?", "sqlite").tables == ("s",)
        os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_failure_to_make_leaves_nothing_behind() -> None:
    cache: Cache[str, int] = Cache(8)

    def fails() -> tuple[int, bool]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.get("a", fails)
    assert cache.get("a", lambda: (1, True)) == 1


def test_what_the_parser_says_stays_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="sqlglot")
    text = "UPDATE t SET a = 1 WHERE CURRENT OF c; WITH x AS (SELECT 1) SELECT * FROM x; SELECT 1 REPLACE"
    Planner(CONFIG).plan("(SELECT 1) UNION (ALTER TABLE a ADD b); " + text, "mysql")
    sqlglot.parse_one("REPLACE t (a) VALUES (1)", read="mysql")  # the application's own
    # Other tests' threads may have something to say at the same time.
    said = [record.getMessage() for record in caplog.records if record.name.startswith("sqlglot")]
    assert len(said) == 1
    assert "REPLACE t" in said[0]
    caplog.clear()
    parse.analyse(["ALTER TABLE a ADD b INTO c"], "mysql", CONFIG)
    assert not [record for record in caplog.records if record.name.startswith("sqlglot")]
