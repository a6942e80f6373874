"""A chat: models that answer, fail and are asked again."""

from __future__ import annotations

from typing import Final

from scenarios.noise.company import (
    CHAT_SUMMARIES,
    CHAT_WEB,
)
from scenarios.noise.play import Entry, Play

_TIMEOUT: Final = "openai.APITimeoutError"


def _stored(entry: Entry) -> None:
    with entry.transaction() as work:
        work.insert("messages", "message_id raw message", "user_id integer user", "user_id_hash sha256 user")
    entry.says("event_logged")


def message_received() -> Play:
    """Committed before the model is asked; its answer goes into a second transaction."""
    play = Play("message, then model", 20)
    with play.request(CHAT_WEB, "POST /webhook", bound=("user", "message")) as entry:
        _stored(entry)
        entry.asks_model(600)
        with entry.transaction() as work:
            work.update("messages", by="id", owner="user")
    return play


def model_failed_after_commit() -> Play:
    """The model fails, what was sent is stored."""
    play = Play("model fails after commit", 3)
    with play.request(CHAT_WEB, "POST /webhook", bound=("user", "message")) as entry:
        _stored(entry)
        entry.asks_model(3000, error=_TIMEOUT)
        entry.throws(_TIMEOUT)
    return play


def model_failed_and_committed() -> Play:
    """The model fails inside the transaction, and the code commits anyway."""
    play = Play("model fails, committed anyway", 2)
    with (
        play.request(CHAT_WEB, "POST /webhook", bound=("user", "message")) as entry,
        entry.transaction() as work,
    ):
        work.insert("messages", "message_id raw message", "user_id integer user", "user_id_hash sha256 user")
        entry.asks_model(500, error="openai.RateLimitError")
        work.model_failed("")
        work.update("messages", by="id", owner="user")
        entry.says("event_logged")
    return play


def model_asked_again() -> Play:
    """The model's error rolls back, and the retry lands."""
    play = Play("model fails, retry lands", 2)
    with play.request(CHAT_WEB, "POST /expenses", bound=("user",), status=201) as entry:
        with entry.transaction() as work:
            work.insert("expenses", "user_id integer user", "user_id_hash sha256 user")
            entry.asks_model(300, error=_TIMEOUT)
            work.model_failed(_TIMEOUT)
            work.rollback("exception", _TIMEOUT, from_ai=True)
        play.wait(100)
        with entry.transaction() as work:
            work.insert("expenses", "user_id integer user", "user_id_hash sha256 user")
            entry.asks_model(300)
    return play


def expense_written() -> Play:
    """The model is asked first."""
    play = Play("model, then expense", 12)
    with play.request(CHAT_WEB, "POST /expenses", bound=("user",), status=201) as entry:
        entry.asks_model(500)
        with entry.transaction() as work:
            work.insert("expenses", "user_id integer user", "user_id_hash sha256 user")
    return play


def unrelated_error() -> Play:
    """A model's error that was handled, and later another one, which the caller is told of."""
    play = Play("model fails, then something else", 1)
    with (
        play.request(
            CHAT_WEB, "POST /budgets", bound=("user",), status=500, error="builtins.ValueError"
        ) as entry,
        entry.transaction() as work,
    ):
        work.select("expenses", "user_id integer user", rows=4)
        entry.asks_model(400, error=_TIMEOUT)
        work.model_failed("")
        work.insert("budgets", "user_id integer user")
        work.select("budgets", "user_id integer user", rows=1)
        work.rollback("exception", "builtins.ValueError")
    return play


def summarized() -> Play:
    """Read under the second key, which every write fills."""
    play = Play("summary made", 12)
    with play.job(CHAT_SUMMARIES, "summarize", bound=("user",)) as entry:
        with entry.transaction() as work:
            work.select("expenses", "user_id_hash sha256 user", rows=8)
            work.rollback("not_committed")
        entry.asks_model(900)
        with entry.transaction() as work:
            work.insert("summaries", "user_id integer user", conflict="update")
    return play


def summary_shown() -> Play:
    """Read, and the model words it."""
    play = Play("summary shown", 40)
    with play.request(CHAT_WEB, "GET /summary", bound=("user",)) as entry, entry.transaction() as work:
        work.select("summaries", "user_id integer user", rows=1)
        work.select("messages", "user_id raw user", rows=10)
        work.rollback("not_committed")
    return play


PLAYS: Final = (
    message_received,
    model_failed_after_commit,
    model_failed_and_committed,
    model_asked_again,
    expense_written,
    unrelated_error,
    summarized,
    summary_shown,
)
