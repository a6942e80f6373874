"""The planner's caches: one parse a template, bounded, shared between threads."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import Any

import pytest
import sqlglot

from trueline.instrumentation import guard
from trueline.instrumentation.identity import IdentityConfig, IdentityExtractor, IdentityHasher
from trueline.instrumentation.statement import Later, Plan, Planner, parse
from trueline.instrumentation.statement import later as later_module
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


@pytest.mark.parametrize("long", [False, True])
def test_who_meets_another_thread_on_a_text_waits_for_nobody(long: bool) -> None:
    one = Planner(CONFIG)
    inside, leave = threading.Event(), threading.Event()
    make = one._make

    def slowly(*arguments: Any) -> Plan:
        if not inside.is_set():
            inside.set()
            assert leave.wait(30)
        return make(*arguments)

    one._make = slowly  # type: ignore[assignment]  # the reading itself stays
    text = "UPDATE t SET a = 'secret' WHERE user_id = 'u'" + " " * 5000 * long
    found: list[Plan] = []
    thread = threading.Thread(target=lambda: found.append(one.plan(text, "postgresql")))
    thread.start()
    assert inside.wait(30)
    meanwhile = one.plan(text, "postgresql")
    assert (meanwhile.kind, meanwhile.tables) == ("write", ("t",))
    assert (len(meanwhile.identities), meanwhile.complete) == ((0, False) if long else (1, True))
    assert "secret" not in meanwhile.text
    leave.set()
    thread.join(30)
    assert one.plan(text, "postgresql") is found[0]
    assert len(found[0].identities) == 1
    counts = one.counts()
    assert (counts["made"], counts["read_meanwhile"]) == (1 if long else 2, 1)


def test_a_thread_that_is_gone_is_followed_by_another() -> None:
    """As after a fork in the middle of a plan: what it was making is made after a second."""
    cache: Cache[str, int] = Cache(8)
    inside, leave = threading.Event(), threading.Event()

    def never() -> tuple[int, bool]:
        inside.set()
        leave.wait(30)
        return 1, True

    thread = threading.Thread(target=lambda: cache.get("a", never, lambda: 0), daemon=True)
    thread.start()
    assert inside.wait(30)
    assert cache.get("b", lambda: (3, True), lambda: 0) == 3
    deadline = time.monotonic() + 30
    while cache.get("a", lambda: (2, True), lambda: 0) == 0:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert cache.values["a"] == 2
    leave.set()
    thread.join(30)
    assert cache._makers == {}


def test_making_a_value_while_making_it() -> None:
    """A signal handler or a finalizer that runs the same statement in the middle of its first plan."""
    cache: Cache[str, int] = Cache(8)
    assert cache.get("a", lambda: (cache.get("a", lambda: (1, True), lambda: 5) + 1, True), lambda: 0) == 6
    assert cache.values == {"a": 6}


#: Each is more than the application's thread reads: for the parser, and in tokens.
LONG = {
    "for the parser": "SELECT sum(a) FROM t WHERE user_id = %(u)s AND b IN (SELECT c FROM s) AND ("
    + " OR ".join(f"lower(a) = 'abc{number}'" for number in range(60))
    + ")",
    "in tokens": "SELECT "
    + ", ".join(f"t.c{number} AS t_c{number}" for number in range(200))
    + " FROM t WHERE "
    "t.user_id = %(u)s",
}


@pytest.mark.parametrize("name", LONG)
def test_a_long_text_is_read_by_another_thread(name: str) -> None:
    one, text = Planner(CONFIG, later=Later()), LONG[name]
    first = one.plan(text, "postgresql")
    assert (first.kind, first.operation, first.complete, first.identities) == ("read", "SELECT", False, ())
    deadline = time.monotonic() + 30
    while not (plan := one.plan(text, "postgresql")).complete:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert plan == Planner(CONFIG).plan(text, "postgresql")
    assert [use.column for use in plan.identities] == ["t.user_id"]
    assert one.counts()["read_later"] == one.counts()["made"] == 1


def test_an_insert_of_many_rows_that_sqlalchemy_wrote_is_read_at_once() -> None:
    names = [f"c{number}" for number in range(60)]
    values = ", ".join(f"%({name}__0)s" for name in names)
    text = (
        f"INSERT INTO t (user_id, {', '.join(names)}) SELECT p0::INTEGER, "
        + ", ".join(f"p{number}::VARCHAR" for number in range(1, 61))
        + f" FROM (VALUES (%(user_id__0)s, {values}, 0)) AS imp_sen(p0, "
        + ", ".join(f"p{number}" for number in range(1, 61))
        + ", sen_counter) ORDER BY sen_counter RETURNING t.id, t.id AS id__1"
    )
    one = Planner(CONFIG, later=Later())
    plan = one.plan(text, "postgresql")
    assert plan.complete
    assert [use.column for use in plan.identities] == ["t.user_id"]
    assert one.counts()["read_later"] == 0


def test_where_no_thread_can_be_had_long_texts_are_glanced_at_and_tried_again() -> None:
    class Refusing(Later):
        def do(self, job: Any) -> bool:
            return False

    one = Planner(CONFIG, later=Refusing())
    for _ in range(2):
        assert one.plan(LONG["in tokens"], "postgresql").operation == "SELECT"
    counts = one.counts()
    assert (counts["plans"], counts["read_later"], counts["over_budget"]) == (0, 0, 2)
    assert one.plan("SELECT * FROM t WHERE user_id = 7", "postgresql").complete


def test_the_thread_survives_a_bad_job_and_does_the_next() -> None:
    later, done = Later(), threading.Event()
    before = guard.internal_errors["planner.later"]

    def fails() -> None:
        raise ValueError

    assert later.do(fails)
    assert later.do(done.set)
    assert done.wait(30)
    assert guard.internal_errors["planner.later"] == before + 1


def test_the_thread_ends_when_it_has_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(later_module, "_IDLE", 0.01)
    later, done = Later(), threading.Event()
    assert later.do(done.set)
    assert done.wait(30)
    thread = later._thread
    if thread is not None:
        thread.join(30)
    assert later._thread is None
    again = threading.Event()
    assert later.do(again.set)
    assert again.wait(30)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_a_thread_of_its_own() -> None:
    later, done = Later(), threading.Event()
    assert later.do(done.set)
    assert done.wait(30)
    child = os.fork()
    if child == 0:
        mine = threading.Event()
        os._exit(0 if later.do(mine.set) and mine.wait(30) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


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
        cache.get("a", fails, lambda: 0)
    assert cache.get("a", lambda: (1, True), lambda: 0) == 1


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
