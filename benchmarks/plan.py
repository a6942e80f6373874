"""What a plan and an extraction cost: python benchmarks/plan.py

Prints the median of several rounds in microseconds. A first plan is measured over texts that differ in
their tables (each is read, from its tokens where it is a plain statement and by the parser where not) and in
their literals only (one reading serves all), and over texts of a megabyte, each of another length.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from trueline.instrumentation.identity import IdentityConfig, IdentityExtractor, IdentityHasher
from trueline.instrumentation.statement import Planner
from trueline.instrumentation.statement.budget import Budget

ROUNDS = 9
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
DOCUMENT = "UPDATE expenses SET note = '" + "x" * 1_000_000 + "' WHERE user_id = 'u1'"


def median_us(run: Callable[[int], None], count: int) -> float:
    """Return the median over the rounds of the microseconds that one of ``count`` calls takes."""
    rounds = []
    for at in range(ROUNDS):
        start = time.perf_counter()
        run(at)
        rounds.append((time.perf_counter() - start) / count * 1e6)
    return statistics.median(rounds)


def main() -> None:
    config = IdentityConfig()
    planner = Planner(config, budget=Budget(saved=1e9))
    extractor = IdentityExtractor(config, IdentityHasher("secret"))
    plan = planner.plan(INSERT, "postgresql")
    bound = (extractor.bind("12345", "user"),)
    known = {"user_id": "12345", "amount": 350, "note": "coffee"}
    digest = {**known, "user_id": bound[0].canonical}
    fresh = [{**known, "user_id": f"user-{number}"} for number in range(ROUNDS * 2000)]

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

    def document(at: int) -> None:
        planner.plan(DOCUMENT + " " * at, "postgresql")

    def literals(at: int) -> None:
        for number in range(200):
            planner.plan(SELECT.format(0, at * 1000 + number), "postgresql")

    def one(_: int) -> None:
        for _ in range(20_000):
            extractor.extract(plan, known)

    def one_bound(_: int) -> None:
        for _ in range(20_000):
            extractor.extract(plan, digest, bound=bound)

    def new_value(at: int) -> None:
        for parameters in fresh[at * 2000 : at * 2000 + 2000]:
            extractor.extract(plan, parameters)

    rows: list[tuple[str, Callable[[int], None], int]] = [
        ("plan, cached", cached, 20_000),
        ("plan, new text, a plain statement", parsed, 50),
        ("plan, new text, for the parser", by_parser, 20),
        ("plan, new literals only", literals, 200),
        ("plan, new text, 40,000 rows in a megabyte", rows_of_literals, 1),
        ("plan, new text, one value of a megabyte", document, 1),
        ("extraction, one identity", one, 20_000),
        ("extraction, one identity, request bound", one_bound, 20_000),
        ("extraction, one identity never seen before", new_value, 2000),
    ]
    for name, run, count in rows:
        print(f"{name:45s} {median_us(run, count):9.2f} us")


if __name__ == "__main__":
    main()
