"""What a recording shows: transactions, their statements, identities, AI calls, entries, logs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from trueline.instrumentation.semconv import Outcome, Reason
from trueline.instrumentation.testing.joined import EndedBy

#: Canonical value of a raw identity in a domain.
Canonical = Callable[[object, str], str]


@dataclass(frozen=True, slots=True)
class Identity:
    """An identity that a statement names.

    ``column`` is ``table.column``; ``clause`` is ``where`` or ``set``; ``encoding`` tells how the identity is
    written there (``raw``, ``integer``, ``sha256`` ...); ``value`` is the canonical value, as it would leave
    the process.
    """

    column: str
    clause: str
    encoding: str
    domain: str
    value: str
    _canonical: Canonical = field(repr=False, compare=False)

    def of(self, raw: object) -> bool:
        """Whether this is the identity whose raw form is ``raw``: ``"12345"``, ``12345``, a UUID ..."""
        return bool(self.value) and self._canonical(raw, self.domain) == self.value


@dataclass(slots=True, kw_only=True)
class Statement:
    """One executed statement.

    ``outcome`` and ``reason`` are the database's truth; ``fate`` is what became of it as far as the code
    under test can tell. ``number`` counts from 1, SAVEPOINT and its like have 0; ``database`` numbers the
    databases of the recording likewise. ``rows`` is None where the driver does not tell. ``error`` is the
    SQLSTATE, vendor code or exception class of one that failed; ``constraint`` the kind of the constraint
    that it violated, then its name where the driver tells.
    """

    number: int
    kind: str
    operation: str
    summary: str
    tables: tuple[str, ...]
    text: str
    outcome: Outcome
    reason: Reason | None
    identities: tuple[Identity, ...]
    filters: tuple[str, ...]
    bound: tuple[str, ...]
    rows: int | None
    database: int
    error: str
    constraint: str
    entry: str
    #: Undone by ROLLBACK TO SAVEPOINT.
    undone: bool
    #: SAVEPOINT, RELEASE, ROLLBACK TO and their like.
    is_control: bool = field(repr=False)
    transaction: Transaction = field(repr=False, compare=False)
    #: The attributes of its span, as they would leave the process.
    attributes: Mapping[str, Any] = field(repr=False, compare=False)
    span: ReadableSpan = field(repr=False, compare=False)

    @property
    def fate(self) -> Outcome:
        """Like ``outcome``, but of a session that joined a test's outer transaction: see Transaction.fate."""
        if not self.transaction.joined:
            return self.outcome
        if self.undone or self.error:
            return Outcome.ROLLED_BACK
        return self.transaction.fate


@dataclass(slots=True, kw_only=True)
class AiCall:
    """A call to a model. ``inside`` are the transactions that its task held open when it began."""

    operation: str
    model: str
    provider: str
    #: It ended with an error, whose class or code ``error_type`` is.
    failed: bool
    error_type: str
    #: False while it is under way.
    ended: bool
    inside: list[Transaction] = field(default_factory=list, repr=False, compare=False)
    span: ReadableSpan = field(repr=False, compare=False)


@dataclass(slots=True, kw_only=True)
class Transaction:
    """One transaction as the code under test sees it.

    Usually that is the database's. A session that joined an outer transaction on its connection (``outer``)
    sees each of its own transactions, although the database knows the outer one only: ``joined`` is then
    True, ``outcome`` is what the database makes of it, and ``ended_by`` what the session did: ``commit``,
    ``rollback``, ``close`` (without a commit), "" while it goes on.
    ``number`` counts from 1; outer ones have 0.
    """

    number: int
    id: str
    outcome: Outcome
    reason: Reason | None
    error_type: str
    error_chain: tuple[str, ...]
    error_from_ai: bool
    autocommit: bool
    joined: bool = False
    ended_by: EndedBy = ""
    outer: Transaction | None = field(default=None, repr=False)
    statements: list[Statement] = field(default_factory=list, repr=False)
    ai_calls: list[AiCall] = field(default_factory=list, repr=False)
    #: Its own span; None while it is open, and for one that only read.
    span: ReadableSpan | None = field(default=None, repr=False, compare=False)

    @property
    def reads(self) -> list[Statement]:
        """Its statements that read."""
        return [statement for statement in self.statements if statement.kind == "read"]

    @property
    def writes(self) -> list[Statement]:
        """Its statements that wrote."""
        return [statement for statement in self.statements if statement.kind == "write"]

    @property
    def tables(self) -> tuple[str, ...]:
        """Tables that it wrote."""
        return tuple(dict.fromkeys(statement.tables[0] for statement in self.writes if statement.tables))

    @property
    def fate(self) -> Outcome:
        """What became of it as far as the code under test can tell.

        The same as ``outcome``, except in a session that joined an outer transaction. That is committed if
        the session committed it, although the outer one is open or is rolled back on purpose, as a test's is;
        not if the outer one was lost to an exception, a failed commit or a lost connection.
        """
        outer = self.outer
        if not self.joined or outer is None:
            return self.outcome
        effective = [statement for statement in self.statements if not statement.is_control]
        if self.ended_by in ("rollback", "close") or (effective and all(s.undone for s in effective)):
            return Outcome.ROLLED_BACK
        if outer.outcome is Outcome.ROLLED_BACK and outer.reason in (Reason.EXPLICIT, Reason.NOT_COMMITTED):
            return Outcome.COMMITTED if self.ended_by == "commit" else Outcome.ROLLED_BACK
        if outer.outcome is Outcome.OPEN and self.ended_by == "commit":
            return Outcome.COMMITTED
        return outer.outcome


@dataclass(slots=True, kw_only=True)
class Entry:
    """A span at which work entered: a request, a message, a job."""

    name: str
    attributes: Mapping[str, Any]
    failed: bool
    statements: list[Statement] = field(default_factory=list, repr=False)
    span: ReadableSpan = field(repr=False, compare=False)


@dataclass(slots=True, kw_only=True)
class Log:
    """A log record as it would leave the process; ``event`` is set for Trueline's own events."""

    severity: str
    body: str
    logger: str
    attributes: Mapping[str, Any]
    event: str
    trace_id: int
    span_id: int


@dataclass(slots=True, kw_only=True)
class Recording:
    """Everything recorded, each list in the order in which things began."""

    transactions: list[Transaction] = field(default_factory=list)
    #: Transactions that sessions joined; not among ``transactions``.
    outer_transactions: list[Transaction] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    ai_calls: list[AiCall] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    logs: list[Log] = field(default_factory=list)
    spans: list[ReadableSpan] = field(default_factory=list)
    #: Statements, transactions and AI calls in the order in which they began.
    order: list[Statement | AiCall] = field(default_factory=list)
