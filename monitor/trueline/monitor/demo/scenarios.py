"""The four incidents that the demo plays, and the benign twins that look like them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trueline.monitor.demo import plays
from trueline.monitor.demo.judge import Place
from trueline.monitor.demo.stage import Stage


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that goes wrong. ``story`` is one sentence for the reader."""

    place: Place
    title: str
    story: str
    deployments: tuple[str, ...]
    play: Callable[[Stage], None]


@dataclass(frozen=True, slots=True)
class Twin:
    """Something that looks like an incident and is none, and ``why``."""

    place: Place
    title: str
    why: str
    deployments: tuple[str, ...]
    play: Callable[[Stage], None]


def _place(rule: str, city: str, table: str | None = None, environment: str = "production") -> Place:
    return Place(rule, f"expenses-{city}", environment, table)


ENV_SPLIT, KEY_MISMATCH = "env_split", "key_mismatch"
ROLLBACK, CONSTRAINT = "rollback_after_ai_error", "constraint_violation_burst"

INCIDENTS: tuple[Incident, ...] = (
    Incident(
        _place(ENV_SPLIT, "lisbon"),
        "read from another database",
        "Lisbon deploys worker 2.4.0 with last year's DATABASE_URL: users send expenses, summaries are empty",
        ("lisbon/web", "lisbon/worker"),
        plays.env_split,
    ),
    Incident(
        _place(KEY_MISMATCH, "oslo"),
        "read by another key",
        "Oslo deploys worker 2.4.0, which reads user_id_hash; the web process still writes user_id only",
        ("oslo/web", "oslo/worker"),
        plays.key_mismatch,
    ),
    Incident(
        _place(ROLLBACK, "vienna"),
        "AI timeout undoes the write",
        "Vienna's model times out inside the transaction: the webhook answers 200, the expenses are gone",
        ("vienna/web",),
        plays.rollback_after_ai_error,
    ),
    Incident(
        _place(CONSTRAINT, "dublin"),
        "constraint stricter than thought",
        "Dublin imports receipts of two merchants that number them alike; the second one's are refused",
        ("dublin/worker",),
        plays.constraint_violation_burst,
    ),
)

TWINS: tuple[Twin, ...] = (
    Twin(
        _place(ENV_SPLIT, "zurich", "expenses"),
        "worker reads a replica",
        "a replica is the same database",
        ("zurich/web", "zurich/worker"),
        plays.replica,
    ),
    Twin(
        _place(ENV_SPLIT, "madrid"),
        "users on two shards",
        "users are read where written",
        ("madrid/web",),
        plays.shards,
    ),
    Twin(
        _place(ENV_SPLIT, "zurich", "receipts"),
        "a service's own database",
        "it is written and read there",
        ("zurich/worker",),
        plays.own_database,
    ),
    Twin(
        _place(ENV_SPLIT, "zurich", environment="staging"),
        "staging beside production",
        "environments are never compared",
        ("zurich/web", "zurich/worker", "zurich/web-staging"),
        plays.staging,
    ),
    Twin(
        _place(KEY_MISMATCH, "zurich", "expenses"),
        "both key columns written",
        "the column that is read is set",
        ("zurich/web",),
        plays.both_columns,
    ),
    Twin(
        _place(KEY_MISMATCH, "zurich", "budgets"),
        "integer written, text read",
        "the same digits are the same key",
        ("zurich/web", "zurich/worker"),
        plays.digits,
    ),
    Twin(
        _place(KEY_MISMATCH, "madrid"),
        "read by either key",
        "one of the two is written",
        ("madrid/web",),
        plays.either_key,
    ),
    Twin(
        _place(ROLLBACK, "zurich"),
        "AI fails after the commit",
        "nothing was undone",
        ("zurich/web",),
        plays.fails_after_commit,
    ),
    Twin(
        _place(ROLLBACK, "madrid"),
        "AI fails, commits anyway",
        "nothing was undone",
        ("madrid/web",),
        plays.commits_anyway,
    ),
    Twin(
        _place(ROLLBACK, "madrid"),
        "AI error handled, CHECK fails",
        "the rollback has another cause",
        ("madrid/web",),
        plays.unrelated_rollback,
    ),
    Twin(
        _place(ROLLBACK, "athens"),
        "AI fails, message comes again",
        "the second delivery landed",
        ("athens/web",),
        plays.retry_lands,
    ),
    Twin(
        _place(CONSTRAINT, "zurich", "receipts"),
        "import repeated, DO NOTHING",
        "the database refused nothing",
        ("zurich/worker",),
        plays.on_conflict,
    ),
    Twin(
        _place(CONSTRAINT, "zurich", "messages"),
        "one message, five deliveries",
        "the message is stored already",
        ("zurich/web",),
        plays.delivered_twice,
    ),
    Twin(
        _place(CONSTRAINT, "dublin", environment="ci"),
        "test suite breaks constraint",
        "test processes are not judged",
        ("dublin/worker-test",),
        plays.suite_breaks_constraint,
    ),
)
