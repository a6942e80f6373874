"""Renders the matrix as the reference page docs/reference/outcomes.md.

``PYTHONPATH=tests python -m conformance.reference`` prints it; a test holds the page against it.
"""

from __future__ import annotations

import conformance.scenarios  # noqa: F401, registers the rows
from conformance.handlings import HANDLINGS
from conformance.model import SCENARIOS, Scenario
from conformance.servers import DRIVERS, TRAITS, Driver

from trueline.instrumentation.semconv import LEGAL_REASONS, Outcome, Reason

THEMES = {
    "commits": "Commits",
    "rollbacks": "Rollbacks, and closing without a commit",
    "exceptions": "Exceptions",
    "cancelled": "Cancelled tasks",
    "abandoned": "Abandoned connections",
    "lost": "Lost connections",
    "savepoints": "Savepoints",
    "autocommit": "Autocommit",
    "textual": "Transactions as SQL text",
    "batches": "Many rows",
    "streams": "Streamed results",
    "joined": "Sessions joined to a connection",
    "twophase": "Two-phase transactions",
    "pools": "Pools",
    "transactions": "Isolation level, several databases, DDL",
    "raw": "Past SQLAlchemy",
}

_INTRODUCTION = """\
# Outcomes and reasons

Made from the conformance matrix in `tests/conformance`; do not edit by hand.

Each row is an application. It runs on every driver in whose column it has an entry, on SQLAlchemy 2.0
and 2.1, with Trueline's own spans and with those of `opentelemetry-instrumentation-sqlalchemy`, and after
each run the tag of every write is held against what the table really contains. The test suite also takes
away the piece of code that makes a row right, and expects the row to fail: the last section says which.

`committed`: the rows are in the table. `rolled back`: they are not. `unknown`: nobody on this side of the
connection can know. `never sent`: no span, nothing stored. `not seen`: stored, and no span tells of it.
Where writes of one application differ they are listed by name. A statement that was exported before its
transaction ended says `open`; the transaction span then settles it as listed here.
"""

_LIMITS = """\
## Limits

- What is written past SQLAlchemy, on `raw_connection()` or a driver's own cursor, has no span.
  `trueline.instrumentation.setup.status()["unseen"]` counts `checkouts` of connections on which no
  statement of SQLAlchemy's ran, and `transactions` that the driver had open when such a connection was
  rolled back. A transaction of SQLAlchemy's that the driver's connection itself commits or rolls back is
  `unknown`.
- The reason of a rollback is the exception being handled at that moment, whatever it has to do with the
  transaction: `rollback()` in an `except` block is `exception`.
- A generator that is closed early ends its transaction as `not_committed`, also where its own code then
  says `rollback()`.
- ROLLBACK as SQL text in an `except` block of asyncio code is `explicit`: SQLAlchemy runs statements where
  the exception is not visible. `rollback()` and the ends of blocks are not affected.
- Transaction control in the middle of a text with several statements is not read.
- On drivers that do not tell their transaction status (others than those above), autocommit by the driver,
  an error that ends a transaction and an end past SQLAlchemy are not noticed.
- The isolation level is what SQLAlchemy or the SQL text says; it is never asked for. Where `SET SESSION
  CHARACTERISTICS` or `default_transaction_isolation` changes it, it is left out from then on.
- After PREPARE TRANSACTION, a transaction whose commit or rollback raises is `unknown`: the server keeps it
  for whoever decides. One that another process decides stays `unknown` or `open`.
"""


def render() -> str:
    """The whole page in Markdown."""
    lines = [_INTRODUCTION, *_pairs(), *_drivers()]
    for theme, title in THEMES.items():
        rows = [scenario for scenario in SCENARIOS.values() if scenario.theme == theme]
        lines += [f"## {title}", "", _header(), "|---|---|" + "---|" * len(DRIVERS)]
        lines += [_row(scenario) for scenario in rows]
        lines.append("")
    lines += [_LIMITS, *_handlings()]
    return "\n".join(lines) + "\n"


def _pairs() -> list[str]:
    lines = [
        "## Legal pairs",
        "",
        "A reason exists for a rollback only, and every rollback has one. Of several, the first is said.",
        "",
        "| outcome | reasons |",
        "|---|---|",
    ]
    for outcome in Outcome:
        reasons = ", ".join(f"`{reason}`" for reason in Reason if reason in LEGAL_REASONS[outcome])
        lines.append(f"| `{outcome}` | {reasons or 'none'} |")
    return [*lines, ""]


def _drivers() -> list[str]:
    lines = [
        "## Drivers",
        "",
        "What is true of a driver and its server, as far as outcomes depend on it.",
        "",
        "| | " + " | ".join(driver.title for driver in DRIVERS.values()) + " |",
        "|---|" + "---|" * len(DRIVERS),
    ]
    for trait, meaning in TRAITS.items():
        marks = ("yes" if trait in driver.traits else "" for driver in DRIVERS.values())
        lines.append(f"| {meaning} | {' | '.join(marks)} |")
    return [*lines, ""]


def _header() -> str:
    return "| row | application | " + " | ".join(driver.title for driver in DRIVERS.values()) + " |"


def _row(scenario: Scenario) -> str:
    sentence = scenario.sentence
    if scenario.options:
        sentence += " (" + ", ".join(f"`{name}={value}`" for name, value in scenario.options.items()) + ")"
    cells = (_cell(scenario, driver) for driver in DRIVERS.values())
    return f"| `{scenario.name}` | {sentence} | {' | '.join(cells)} |"


def _cell(scenario: Scenario, driver: Driver) -> str:
    if not scenario.applies_to(driver):
        return ""
    tags = scenario.expected_on(driver)
    if not tags:
        return "no transaction span"
    if len(set(tags.values())) == 1:
        return str(next(iter(tags.values())))
    return "<br>".join(f"{write}: {tag}" for write, tag in tags.items())


def _handlings() -> list[str]:
    lines = ["## What makes the rows right", "", "| code | what for | rows |", "|---|---|---|"]
    for handling in HANDLINGS.values():
        rows = [s.name for s in SCENARIOS.values() if handling.name in s.handling]
        names = ", ".join(f"`{name}`" for name in rows)
        lines.append(f"| `{handling.where}` | {handling.meaning} | {names} |")
    lines += ["", "Rows for which nothing can be singled out:", ""]
    lines += [f"- `{s.name}`: {s.unproved}." for s in SCENARIOS.values() if s.unproved]
    return lines


if __name__ == "__main__":
    print(render(), end="")
