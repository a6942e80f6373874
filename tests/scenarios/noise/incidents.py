# ruff: noqa: SIM117 - a transaction stands inside its request
"""Incidents of the stable rules, in the same company: each happens once, at a place that the seed decides.

Some put a healthy play's place for a while (a release that reads elsewhere), others happen a few times beside
it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from scenarios.noise.company import (
    CHAT_SUMMARIES,
    CHAT_WEB,
    CRM_API,
    CRM_BILLING,
    DROPS,
    DROPS_BOARD,
    DROPS_BOT,
    DROPS_IMPORTER,
    QUALITY,
    SHOP_WEB,
    SHOP_WORKER,
)
from scenarios.noise.play import Play

#: The release that has the fault: healthy ones are 1.0 and so on.
BAD: Final = "9.1"
_TIMEOUT: Final = "openai.APITimeoutError"
_INTEGRITY: Final = "sqlalchemy.exc.IntegrityError"


@dataclass(frozen=True)
class Expected:
    """A finding: its rule and what of its group has to be so; the services that it must name, the first in
    that release.
    """

    rule: str
    group: Mapping[str, Any]
    services: Sequence[str] = ()
    release: str = BAD


@dataclass(frozen=True)
class Incident:
    """``play`` happens ``times`` times within ``minutes`` (0: half of all time), or, with ``instead``, takes
    that play's place from then on. ``also``: findings of other rules that may tell of it too. ``sampled``:
    how often it has to happen to be found among one per cent of the people; 0: it happens no more often.
    """

    name: str
    play: Play
    expected: Expected
    times: int = 1
    minutes: float = 4.0
    instead: str = ""
    also: Sequence[Expected] = ()
    sampled: int = 0
    #: Is found in a service that samples.
    survives: bool = True


def _play(name: str) -> Play:
    return Play(name, environment="prod", version=BAD)


def another_database() -> Incident:
    """Write-up A: the worker's variable names another database."""
    old = replace(CHAT_SUMMARIES.database, name="chat_old")
    play = _play("summaries from another database")
    with play.job(CHAT_SUMMARIES, "summarize", bound=("user",)) as entry, entry.transaction(old) as work:
        work.select("expenses", "user_id_hash sha256 user", rows=0)
        work.rollback("not_committed")
    group = {
        "table": "expenses",
        "write_database": "chat",
        "read_database": "chat_old",
        "application": "chat",
    }
    return Incident(
        "another database",
        play,
        Expected("env_split", group, ["chat-summaries", "chat-web"]),
        instead="summary made",
    )


def another_schema() -> Incident:
    """Write-up A: the same database, another search path."""
    play = _play("board with another search path")
    with play.message(DROPS_BOT, "photo", bound=("message",)) as entry, entry.transaction() as work:
        work.insert("drops", "number raw drop")
    play.wait(3000)
    with play.request(DROPS_BOARD, "GET /drops/{number}", trace=1) as entry:
        with entry.transaction(replace(DROPS, schema="reporting")) as work:
            work.select("drops", "number raw drop", rows=0)
            work.rollback("not_committed")
    group = {"table": "drops", "write_schema": "public", "read_schema": "reporting"}
    return Incident(
        "another schema",
        play,
        Expected("env_split", group, ["drops-board", "drops-bot"]),
        instead="drop posted and shown",
    )


def another_column() -> Incident:
    """Write-ups A and B: written under the id, read under its hash."""
    play = _play("profile read by hash")
    with play.request(SHOP_WEB, "GET /profile", bound=("user",)) as entry, entry.transaction() as work:
        work.select("profiles", "user_id_hash sha256 user", rows=0)
        work.rollback("not_committed")
    group = {"table": "profiles", "written_keys": "user_id (integer)", "read_keys": "user_id_hash (sha256)"}
    return Incident(
        "another column", play, Expected("key_mismatch", group, ["shop-web"]), instead="profile read"
    )


def another_form() -> Incident:
    """Write-up A: one column, the raw id on one side and its hash on the other."""
    play = _play("statement read by hash")
    with (
        play.request(CRM_BILLING, "GET /statements", bound=("tenant",)) as entry,
        entry.transaction() as work,
    ):
        work.select("accounts_due", "tenant_id sha256 tenant", rows=0)
        work.rollback("not_committed")
    group = {"table": "accounts_due", "written_keys": "tenant_id (raw)", "read_keys": "tenant_id (sha256)"}
    return Incident(
        "another form",
        play,
        Expected("key_mismatch", group, ["crm-billing"]),
        instead="statement of account read",
    )


def model_error() -> Incident:
    """Write-up B: logging and AI share a transaction."""
    play = _play("model error rolls back")
    with play.request(CHAT_WEB, "POST /notes", bound=("user",), status=500, error=_TIMEOUT) as entry:
        with entry.transaction() as work:
            work.insert("notes", "user_id integer user")
            entry.asks_model(900, error=_TIMEOUT)
            work.model_failed(_TIMEOUT)
            work.rollback("exception", _TIMEOUT, from_ai=True)
    group = {"service": "chat-web", "entry_name": "POST /notes", "lost_tables": "notes"}
    return Incident(
        *("model error", play, Expected("rollback_after_ai_error", group, ["chat-web"]), 3), sampled=800
    )


def model_error_unseen() -> Incident:
    """The same, where nobody saw the exception: the failed call was the last thing before the rollback."""
    play = _play("model error, then a rollback by hand")
    with (
        play.job(CHAT_SUMMARIES, "tag", bound=("user",), outcome="failed") as entry,
        entry.transaction() as work,
    ):
        work.insert("tags", "user_id integer user")
        entry.asks_model(700, error="anthropic.APIStatusError")
        work.rollback("explicit")
    group = {"service": "chat-summaries", "entry_name": "tag", "lost_tables": "tags"}
    return Incident(
        "model error, unseen", play, Expected("rollback_after_ai_error", group, ["chat-summaries"])
    )


def constraint_burst() -> Incident:
    """Write-up E: stored here, refused there, and nobody is told."""
    play = _play("quality photo refused")
    with play.message(DROPS_BOT, "photo", bound=("message",)) as entry:
        with entry.transaction() as work:
            work.insert("drops", "number raw drop")
        with entry.transaction(QUALITY) as work:
            work.refused(
                *("quality_photos", "drop_number raw drop"),
                constraint="quality_photos_key",
                columns=["drop_number"],
            )
            work.rollback("exception", _INTEGRITY)
    group = {"service": "drops-bot", "table": "quality_photos", "constraint": "quality_photos_key"}
    lost = {"service": "drops-bot", "entry_name": "photo", "lost_tables": "quality_photos"}
    return Incident(
        *("constraint burst", play, Expected("constraint_violation_burst", group, ["drops-bot"]), 4),
        also=[Expected("acknowledged_but_lost", lost)],
        sampled=800,
    )


def constraint_drip() -> Incident:
    """Write-up E: four in all that time."""
    play = _play("import refused now and then")
    with (
        play.job(SHOP_WORKER, "import_loyalty", bound=("user",), outcome="failed", error=_INTEGRITY) as entry,
        entry.transaction() as work,
    ):
        work.refused(
            "loyalty_cards", "user_id integer user", constraint="loyalty_cards_number", columns=["number"]
        )
        work.rollback("exception", _INTEGRITY)
    group = {"service": "shop-worker", "table": "loyalty_cards", "constraint": "loyalty_cards_number"}
    return Incident(
        "constraint drip",
        play,
        Expected("constraint_violation_burst", group, ["shop-worker"]),
        times=4,
        minutes=0,
    )


def constraint_logged() -> Incident:
    """Write-up C: a service that only logs."""
    play = _play("row refused (log only)")
    said = {
        "db.response.status_code": "23505",
        "trueline.constraint.name": "imports_number_key",
        "trueline.constraint.kind": "unique",
        "trueline.constraint.table": "imports",
        "trueline.constraint.columns": '["number"]',
    }
    play.job(DROPS_IMPORTER, "import").says("a row was refused", "ERROR", **said)
    group = {"service": "drops-importer", "table": "imports", "constraint": "imports_number_key"}
    return Incident(
        "constraint, log only",
        play,
        Expected("constraint_violation_burst", group, ["drops-importer"]),
        times=4,
    )


def error_swallowed() -> Incident:
    """Write-up B: return EVENT_RECEIVED anyway."""
    play = _play("error swallowed")
    with play.request(SHOP_WEB, "POST /returns", bound=("user",)) as entry, entry.transaction() as work:
        work.insert("returns", "user_id integer user")
        work.rollback("exception", "builtins.KeyError")
    group = {"service": "shop-web", "entry_name": "POST /returns", "lost_tables": "returns"}
    return Incident(
        "error swallowed", play, Expected("acknowledged_but_lost", group, ["shop-web"]), sampled=800
    )


def commit_of_aborted() -> Incident:
    """Write-up C: COMMIT of a transaction in which a statement had failed."""
    play = _play("commit of an aborted transaction")
    with (
        play.request(CRM_API, "POST /calls", bound=("tenant",), status=201) as entry,
        entry.transaction() as work,
    ):
        work.insert("calls", "tenant_id raw tenant")
        work.refused("call_tags", "tenant_id raw tenant", code="22001")
        work.rollback("commit_of_aborted")
    group = {"service": "crm-api", "entry_name": "POST /calls", "lost_tables": "call_tags, calls"}
    return Incident(
        "commit of aborted", play, Expected("acknowledged_but_lost", group, ["crm-api"]), sampled=800
    )


def commit_failed() -> Incident:
    """The COMMIT itself fails, and its error is swallowed."""
    play = _play("commit fails")
    with play.job(SHOP_WORKER, "restock", bound=("user",)) as entry, entry.transaction() as work:
        work.insert("restock_orders", "user_id integer user")
        work.rollback("commit_failed", _INTEGRITY)
    group = {"service": "shop-worker", "entry_name": "restock", "lost_tables": "restock_orders"}
    return Incident(
        "commit failed", play, Expected("acknowledged_but_lost", group, ["shop-worker"]), sampled=800
    )


def flushed_only() -> Incident:
    """Write-up A: flushed, never committed, and the pool rolls back quietly."""
    play = _play("flushed only")
    with play.request(CHAT_WEB, "POST /feedback", bound=("user",)) as entry, entry.transaction() as work:
        work.insert("feedback", "user_id integer user")
        work.rollback("not_committed")
    group = {"service": "chat-web", "entry_name": "POST /feedback", "lost_tables": "feedback"}
    return Incident(
        *("flushed only", play, Expected("uncommitted_write", group, ["chat-web"])),
        also=[Expected("acknowledged_but_lost", group)],
        sampled=800,
    )


def killed() -> Incident:
    """Write-up B: a worker dies with its transaction open, and says nothing more."""
    # A release of its own: other processes of the service go on working.
    play = Play("killed", environment="prod", version="9.2")
    entry = play.job(CHAT_SUMMARIES, "rebuild", bound=("user",))
    with entry.transaction() as work:
        work.insert("rebuilds", "user_id integer user")
        work.vanish()
    group = {"service": "chat-summaries", "entry_name": "rebuild", "lost_tables": "rebuilds"}
    return Incident("killed", play, Expected("uncommitted_write", group, ["chat-summaries"], "9.2"))


def ended_open() -> Incident:
    """A process ends in good order, with a transaction open."""
    play = _play("ended with a transaction open")
    entry = play.script(SHOP_WORKER, "nightly", bound=("user",))
    with entry.transaction() as work:
        work.insert("nightly_marks", "user_id integer user")
        work.vanish()
    play.wait(3000)
    entry.says("trueline.inventory", **{"trueline.inventory.trigger": "end"})
    group = {"service": "shop-worker", "entry_name": "nightly", "lost_tables": "nightly_marks"}
    return Incident("ended with it open", play, Expected("uncommitted_write", group, ["shop-worker"]))


def returned_early() -> Incident:
    """Write-up B: the model does not answer, and the handler returns before it writes."""
    play = _play("returned early")
    with play.request(CHAT_WEB, "POST /webhook", bound=("user", "message")) as entry:
        entry.asks_model(8000, error=_TIMEOUT)
        entry.throws(_TIMEOUT)
    group = {"service": "chat-web", "entry_name": "POST /webhook", "table": "messages"}
    return Incident(
        *("returned early", play, Expected("expected_write_missing", group, ["chat-web"]), 5),
        survives=False,
    )


def log_claims() -> Incident:
    """Write-up B: the log says event_logged, and the row is not there."""
    # Of people who write nothing else there: another message of theirs would be taken for the claimed one.
    who = "user+50000000"
    play = _play("log claims a write")
    with (
        play.request(
            CHAT_WEB, "POST /webhook/v2", bound=(who, "message"), status=500, error=_INTEGRITY
        ) as entry,
        entry.transaction() as work,
    ):
        work.insert(
            "messages", "message_id raw message", f"user_id integer {who}", f"user_id_hash sha256 {who}"
        )
        entry.says("event_logged")
        work.rollback("exception", _INTEGRITY)
    group = {"service": "chat-web", "event": "event_logged", "table": "messages"}
    return Incident(
        "log claims a write", play, Expected("log_claims_write", group, ["chat-web"]), sampled=800
    )


INCIDENTS: Final[tuple[Callable[[], Incident], ...]] = (
    *(another_database, another_schema, another_column, another_form, model_error, model_error_unseen),
    *(
        constraint_burst,
        constraint_drip,
        constraint_logged,
        error_swallowed,
        commit_of_aborted,
        commit_failed,
    ),
    *(flushed_only, killed, ended_open, returned_early, log_claims),
)
