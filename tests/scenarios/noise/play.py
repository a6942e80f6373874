"""One piece of work as it is seen from outside: the requests, transactions, statements, AI calls and log
lines of it,
with blanks for whoever and whenever it is about. :mod:`.expand` fills the blanks in, thousands of times in
one go.

    play = Play("order placed", weight=40)
    with play.request(SHOP_WEB, "POST /orders", bound=("user",)) as entry, entry.transaction() as work:
        work.insert("orders", "user_id integer user")

Identities are ``column encoding whose``: the column, the form in which the key is written in it, and whose it
is. ``user`` and ``tenant`` are people and customers that come again and again (``user+1`` is the next one);
any other word (``order``, ``drop``, ``message``) is a number that only this piece of work has.

Times are milliseconds since its beginning. Time passes with each thing done, and with :meth:`Play.wait`.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from types import TracebackType
from typing import Any, Self

from scenarios.noise.model import Database, Row, Service
from scenarios.noise.work import Work


class Play:
    """One kind of work. ``weight``: how often it comes, beside the others; ``since`` and ``until``: in which
    part of all time, from 0 to 1. ``environment``: where, else wherever; ``version``: of which release, else
    whichever runs.
    """

    def __init__(
        self,
        name: str,
        weight: int = 0,
        *,
        since: float = 0.0,
        until: float = 1.0,
        environment: str = "",
        version: str = "",
        test: bool = False,
    ) -> None:
        self.name = name
        self.weight = weight
        self.since, self.until = since, until
        self.environment = environment
        self.version = version
        self.test = test
        self.now = 0.0
        self.rows: list[Row] = []
        self._numbers = 0

    def within(self, since: float, until: float) -> Play:
        """The same, in this part of all time only."""
        part = copy(self)
        part.since, part.until = max(since, self.since), min(until, self.until)
        return part

    def number(self) -> int:
        """The next id."""
        self._numbers += 1
        return self._numbers

    def wait(self, milliseconds: float) -> None:
        """Let time pass."""
        self.now += milliseconds

    @property
    def reach(self) -> float:
        """Milliseconds after its beginning at which the last of it leaves."""
        return max((row.leaves for row in self.rows), default=0.0)

    @property
    def statements(self) -> int:
        """How many statements it has."""
        return sum(row.table == "statements" for row in self.rows)

    def request(self, service: Service, name: str, **more: Any) -> Entry:
        """An HTTP request: ``status`` is what the caller is told."""
        return Entry(self, service, name, "request", **more)

    def message(self, service: Service, name: str, **more: Any) -> Entry:
        """A message taken from a queue."""
        return Entry(self, service, name, "message", **more)

    def job(self, service: Service, name: str, **more: Any) -> Entry:
        """A background job."""
        return Entry(self, service, name, "job", **more)

    def script(self, service: Service, name: str, **more: Any) -> Entry:
        """A run of a script."""
        return Entry(self, service, name, "script", **more)


class Entry:
    """Work that entered a service: a context, whose end is the end of its span.

    ``trace``: 0 is the play's first trace; ``bound``: whom it is about; ``outcome``: how a job ended;
    ``error``: the exception that left it.
    """

    def __init__(
        self,
        play: Play,
        service: Service,
        name: str,
        kind: str,
        *,
        bound: Sequence[str] = (),
        trace: int = 0,
        status: int = 200,
        outcome: str = "done",
        error: str = "",
        gone: bool = False,
        lasts: float = 0.0,
    ) -> None:
        self.play, self.service, self.name, self.kind = play, service, name, kind
        self.bound, self.trace = tuple(bound), trace
        self.status, self.outcome, self.error, self.gone = status, outcome, error, gone
        self.span = play.number()
        self.began = 0.0
        self._lasts = lasts

    def __enter__(self) -> Self:
        self.began = self.play.now
        self.play.wait(1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            return
        self.play.wait(1 + self._lasts)
        columns: dict[str, Any] = {
            "span_name": self.name,
            "entry_kind": self.kind,
            "failed": bool(self.error),
        }
        columns["span_kind"] = {"request": "server", "message": "consumer"}.get(self.kind, "internal")
        if self.kind == "request":
            method, _, route = self.name.partition(" ")
            columns |= {"http_method": method, "http_route": route, "http_status": self.status}
            columns |= {"failed": self.status >= 500, "client_gone": self.gone}
        if self.kind in ("job", "message"):
            columns["job_outcome"] = self.outcome if self.kind == "job" else ""
        if self.error or columns["failed"]:
            columns |= {"status": "error", "exception_type": self.error, "failed": True}
        self.play.rows.append(
            Row(
                *("entries", self.service, self.trace, columns, self.began, self.play.now, self.play.now),
                span=self.span,
                bound=self.bound,
                version=self.play.version,
            )
        )
        if self.error:
            self.throws(self.error)

    def throws(self, error: str) -> None:
        """An exception is seen on a span."""
        now = self.play.now
        row = {"source": "span", "exception_type": error}
        self.play.rows.append(
            Row("exceptions", self.service, self.trace, row, now, now, now, span=self.play.number())
        )

    def transaction(self, database: Database | None = None, **more: Any) -> Work:
        """A database transaction: it commits where its block is left, unless it has ended before."""
        return Work(self, database or self.service.database, **more)

    def asks_model(self, milliseconds: float = 400.0, error: str = "", problem: str = "") -> None:
        """A call of a model; ``error`` is the class of the exception that left it."""
        began = self.play.now
        self.play.wait(milliseconds)
        columns = {
            "operation": "chat",
            "provider": "openai",
            "model": "gpt-4o-mini",
            "span_name": "chat gpt-4o-mini",
            "span_kind": "client",
            "status": "error" if error else "unset",
            "exception_type": error,
            "problem": problem,
            "failed": bool(error or problem),
            "entry_name": self.name,
        }
        now = self.play.now
        self.play.rows.append(
            Row(
                *("ai_calls", self.service, self.trace, columns, began, now, now),
                span=self.play.number(),
                entry=self.span,
                bound=self.bound,
            )
        )

    def says(self, event: str, level: str = "INFO", **attributes: str) -> None:
        """A line of the log, within the trace. An event name makes it an event."""
        now = self.play.now
        columns = {"Body": event, "EventName": event if " " not in event else "", "SeverityText": level}
        self.play.rows.append(
            Row(
                *("otel_logs", self.service, self.trace, columns, now, now, now),
                span=self.span,
                bound=self.bound,
                attributes=attributes,
            )
        )
