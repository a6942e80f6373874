"""What a plan and an extraction cost, as a share of the whole hook: python benchmarks/plan.py [--rounds 9]

Prints medians over the rounds in microseconds, and as a share of what Trueline adds to one SQLite statement
in the same run (measured as benchmarks/hooks.py does: the same transactions with Trueline and without, in
processes that take turns). A first plan is measured over texts that differ in their tables (each is read,
from its tokens where it is a plain statement and by the parser where not) and in their literals only (one
reading serves all), and over texts of a megabyte. Nothing is asserted about time.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from variants import take_turns

from trueline.instrumentation.identity import (
    BoundIdentity,
    IdentityConfig,
    IdentityExtractor,
    IdentityHasher,
)
from trueline.instrumentation.identity.columns import IdentityColumns
from trueline.instrumentation.statement import Later, Planner
from trueline.instrumentation.statement.budget import Budget

INSERT = (
    "INSERT INTO expenses (user_id, amount, note) "
    "VALUES (%(user_id)s, %(amount)s, %(note)s) RETURNING expenses.id"
)
SELECT = (
    "SELECT e.id AS e_id, e.user_id AS e_user_id, e.amount AS e_amount, e.note AS e_note, u.name AS u_name "
    "FROM expenses_{0} AS e JOIN users AS u ON u.id = e.user_id "
    "WHERE e.user_id = %(user_id_1)s AND e.created_at >= %(created_at_1)s ORDER BY e.created_at LIMIT {1}"
)
PARSED = (
    "SELECT e.id AS e_id, coalesce(sum(e.amount), 0) AS total FROM expenses_{0} AS e WHERE e.user_id IN "
    "(SELECT u.id FROM users AS u WHERE u.email = %(email_1)s) GROUP BY e.id HAVING count(*) > 1"
)
ROWS = "INSERT INTO expenses (user_id, amount) VALUES " + ", ".join(
    f"('user-{number * 7919}', {number})" for number in range(40_000)
)
NUMBERED = "INSERT INTO expenses (user_id, amount) VALUES " + ", ".join(
    f"(${2 * number + 1}, ${2 * number + 2})" for number in range(60_000)
)
NAMED = "INSERT INTO expenses (user_id, amount) VALUES " + ", ".join(
    f"(%(user_id_{number})s, %(amount_{number})s)" for number in range(30_000)
)
ORS = "SELECT * FROM expenses WHERE " + " OR ".join(f"id = {number}" for number in range(80_000))
LONG = (
    "SELECT sum(amount) FROM expenses_{0} WHERE user_id IN (SELECT id FROM users WHERE email = %(e)s) AND ("
    + " OR ".join(f"lower(note) = 'n{number}'" for number in range(230))
    + ")"
)
DOCUMENT = "UPDATE expenses SET note = '" + "x" * 1_000_000 + "' WHERE user_id = 'u1'"
MANY = 10_000
TABLES = 300
Run = Callable[[int], None]


def median_us(run: Run, count: int, rounds: int) -> float:
    """Return the median over the rounds of the microseconds that one of ``count`` calls takes."""
    seen = []
    for at in range(rounds):
        start = time.perf_counter()
        run(at)
        seen.append((time.perf_counter() - start) / count * 1e6)
    return statistics.median(seen)


def hook_us(rounds: int) -> float:
    """Return the microseconds of CPU time that Trueline adds to a statement on SQLite."""
    script = str(Path(__file__).with_name("hooks.py"))
    more = ("--drivers", "pysqlite", "--url", "sqlite://", "--statements", "4000")
    medians = take_turns(script, ("bare", "own"), more, rounds, "hook")
    return (medians["own"]["cpu"] - medians["bare"]["cpu"]) * 1e6


def plans(rounds: int) -> list[tuple[str, Run, int]]:
    """Plans: seen before, new, new in its literals only, very long."""
    # as in a service: what is too long for the caller is read by another thread
    planner = Planner(IdentityConfig(), budget=Budget(saved=1e9), later=Later())

    def cached(_: int) -> None:
        for _ in range(20_000):
            planner.plan(INSERT, "postgresql")

    def parsed(at: int) -> None:
        for number in range(50):
            planner.plan(SELECT.format(f"{at}_{number}", 10), "postgresql")

    def by_parser(at: int) -> None:
        for number in range(20):
            planner.plan(PARSED.format(f"{at}_{number}"), "postgresql")

    def rows_of_literals(at: int) -> None:
        planner.plan(ROWS + " " * at, "postgresql")

    def of(text: str) -> Run:
        def run(at: int) -> None:
            planner.plan(text + " " * at, "postgresql")

        return run

    def long(at: int) -> None:
        planner.plan(LONG.format(at), "postgresql")

    def literals(at: int) -> None:
        for number in range(200):
            planner.plan(SELECT.format(0, at * 1000 + number), "postgresql")

    return [
        ("plan, cached", cached, 20_000),
        ("plan, new text, a plain statement", parsed, 50),
        ("plan, new text, for the parser", by_parser, 20),
        ("plan, new literals only", literals, 200),
        ("plan, new text, 40,000 rows in a megabyte", rows_of_literals, 1),
        ("plan, new text, one value of a megabyte", of(DOCUMENT), 1),
        ("plan, new text, 60,000 numbered rows in a megabyte", of(NUMBERED), 1),
        ("plan, new text, 30,000 named rows in a megabyte", of(NAMED), 1),
        ("plan, new text, 80,000 ORs in a megabyte", of(ORS), 1),
        ("plan, new text, too long for the parser now", long, 1),
    ]


def identities(rounds: int) -> list[tuple[str, Run, int]]:
    """Identities of one execution: seen before, bound, new, and of thousands of rows."""
    config = IdentityConfig(derivations={"short": lambda raw: int(str(raw)) % 1000}, hmac_keys={"app": "key"})
    extractor = IdentityExtractor(config, IdentityHasher("secret"))
    plan = Planner(config).plan(INSERT, "postgresql")
    user, message = extractor.bind("12345", "user"), extractor.bind("mid-1", "message")
    known = {"user_id": "12345", "amount": 350, "note": "coffee"}
    digest = {**known, "user_id": user.canonical}
    fresh = [{**known, "user_id": f"user-{number}"} for number in range(rounds * 2000)]
    strangers = [{**known, "user_id": f"stranger-{number}"} for number in range(rounds * 2000)]
    everybody = [extractor.bind(f"new-{number}", "user") for number in range(rounds * 500)]
    rows = [{**known, "user_id": f"row-{number}"} for number in range(MANY)]

    def again(parameters: dict[str, Any], *bound: BoundIdentity) -> Run:
        def run(_: int) -> None:
            for _ in range(20_000):
                extractor.extract(plan, parameters, bound=bound)

        return run

    def new_value(at: int) -> None:
        for parameters in fresh[at * 2000 : at * 2000 + 2000]:
            extractor.extract(plan, parameters)

    def stranger(at: int) -> None:
        for parameters in strangers[at * 2000 : at * 2000 + 2000]:
            extractor.extract(plan, parameters, bound=(user,))

    def first_of_request(at: int) -> None:
        for bound in everybody[at * 500 : at * 500 + 500]:
            extractor.extract(plan, {**known, "user_id": bound.canonical}, bound=(bound,))

    def bind(_: int) -> None:
        for _ in range(20_000):
            extractor.bind("12345", "user")

    def many(_: int) -> None:
        extractor.extract(plan, rows, executemany=True)

    return [
        ("identity, unbound", again(known), 20_000),
        ("identity, bound, as it stands", again(known, user), 20_000),
        ("identity, bound, its hash", again(digest, user), 20_000),
        ("identity, bound to user and message", again(digest, user, message), 20_000),
        ("identity, a new value", new_value, 2000),
        ("identity, a new value, related to nobody bound", stranger, 2000),
        ("identity, first derivation for a new user", first_of_request, 500),
        ("binding a user seen before", bind, 20_000),
        (f"executemany of {MANY:,} rows", many, 1),
    ]


def declarations(rounds: int) -> list[tuple[str, Run, int]]:
    """Foreign keys: read once a process, looked at again with each new text."""
    import sqlalchemy as sa

    metadata = sa.MetaData()
    sa.Table("users", metadata, sa.Column("id", sa.Integer, primary_key=True))
    for number in range(TABLES):
        others = [sa.Column(f"c{at}", sa.Integer) for at in range(12)]
        key = sa.Column("id", sa.Integer, primary_key=True)
        sa.Table(f"t{number}", metadata, key, sa.Column("owner", sa.ForeignKey("users.id")), *others)
    table = metadata.tables["t7"]
    context = SimpleNamespace(compiled=sa.select(table).where(table.c.owner == 1).compile())
    known = IdentityColumns(IdentityConfig())
    known.learn(context)

    def first(_: int) -> None:
        IdentityColumns(IdentityConfig()).learn(context)

    def again(_: int) -> None:
        for _ in range(500):
            known.learn(context)

    return [
        (f"foreign keys of {TABLES} tables, once", first, 1),
        ("foreign keys, with a new text", again, 500),
    ]


def main() -> None:
    """Measure the hook, then its parts, and print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    hook = hook_us(min(rounds, 5))
    print(f"{'the whole hook, one statement on SQLite':50s} {hook:9.2f} us   100.0 %")
    for name, run, count in (*plans(rounds), *identities(rounds), *declarations(rounds)):
        cost = median_us(run, count, rounds)
        print(f"{name:50s} {cost:9.2f} us {cost / hook:7.1%}")


if __name__ == "__main__":
    main()
