"""Runs a scenario and holds what Trueline sent against what the row says and what the table contains."""

from __future__ import annotations

import asyncio
import warnings
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from conformance.application import App
from conformance.databases import Database
from conformance.model import Scenario, Tag
from conformance.servers import Driver
from conformance.synchronous import blocking
from opentelemetry.sdk.trace import ReadableSpan
from support.recorder import Recorder

from trueline.instrumentation import semconv
from trueline.instrumentation.identity import IdentityConfig, IdentityExtractor, IdentityHasher
from trueline.instrumentation.semconv import LEGAL_REASONS, Outcome, Reason
from trueline.instrumentation.setup import status

Attributes = Mapping[str, Any]


class Mismatch(AssertionError):  # noqa: N818, it is no error of the program
    """What was sent is not what the row of the matrix says, or not what the table contains."""


@dataclass(frozen=True)
class Statement:
    """A statement span: its id, its attributes, and its final outcome as a store would resolve it."""

    span_id: str
    attributes: Attributes
    outcome: Outcome
    reason: Reason | None


@dataclass(frozen=True)
class Seen:
    """Everything that one run sent."""

    app: App
    statements: tuple[Statement, ...]
    transactions: tuple[Attributes, ...]
    #: What setup.status() counts of work that was not seen.
    unseen: Mapping[str, int]

    def of(self, write: str) -> list[Statement]:
        """The statements of a named write."""
        values = {_canonical(key) for key in self.app.rows_of.get(write, ())}
        return [s for s in self.statements if values & set(s.attributes.get(semconv.IDENTITY_VALUES, ()))]

    def transaction(self) -> Attributes:
        """The one transaction span."""
        expect(len(self.transactions) == 1, f"{len(self.transactions)} transaction spans")
        return self.transactions[0]


def expect(holds: object, message: str) -> None:
    """An assertion about what was seen."""
    if not holds:
        raise Mismatch(message)


_extractor = IdentityExtractor(IdentityConfig(), IdentityHasher(None))


def _canonical(key: str) -> str:
    return _extractor.bind(key, "user").value


def run(scenario: Scenario, driver: Driver, database: Database, recorder: Recorder) -> App:
    """Run the application of a scenario inside a span, and what an application does when it is done."""
    app = App(driver, database)
    tracer = recorder.provider.get_tracer("application")
    with warnings.catch_warnings(), tracer.start_as_current_span("application"):
        # SQLAlchemy and drivers warn of what some of these applications do.
        warnings.simplefilter("ignore")
        if driver.is_async:
            asyncio.run(_asynchronously(scenario, app))
        else:
            _blocking(scenario, app)
    return app


def _blocking(scenario: Scenario, app: App) -> None:
    try:
        blocking(scenario.body)(app)
    finally:
        for engine in app.engines:
            app.sync(engine).dispose()


async def _asynchronously(scenario: Scenario, app: App) -> None:
    try:
        await scenario.body(app)
    finally:
        for engine in app.engines:
            await engine.dispose()


def check(scenario: Scenario, app: App, recorder: Recorder) -> None:
    """Hold what was sent against the row and the table; raises :class:`Mismatch`."""
    unseen = status()["unseen"]
    seen = collect(app, recorder.spans(), unseen)
    stored = app.database.stored(app.prefix)
    for write, tag in scenario.expected_on(app.driver).items():
        _check_write(seen, write, tag, stored)
    unexpected = app.rows_of.keys() - scenario.expected.keys()
    assert not unexpected, f"the row does not say what becomes of {sorted(unexpected)}"
    _check_transactions(seen, scenario)
    if scenario.also is not None:
        scenario.also(seen)


def _check_write(seen: Seen, write: str, tag: Tag, stored: set[str]) -> None:
    statements = seen.of(write)
    for statement in statements:
        expect(
            (statement.outcome, statement.reason) == (tag.outcome, tag.reason),
            f"{write} is tagged {Tag(statement.outcome, statement.reason)}, not {tag}",
        )
    expect(bool(statements) == (tag.outcome is not None), f"{write} has {len(statements)} statements")
    rows = seen.app.rows_of.get(write, [])
    present = stored & set(rows)
    if tag.stored is not None:
        # What the row of the matrix says of the table, said by the table: an error of the matrix otherwise.
        assert len(present) == (len(rows) if tag.stored else 0), f"{write}: {len(present)} rows are stored"
    for statement in statements:
        if statement.outcome is Outcome.COMMITTED:
            expect(len(present) == len(rows), f"{write} is tagged committed and is not in the table")
        elif statement.outcome is Outcome.ROLLED_BACK:
            expect(not present, f"{write} is tagged rolled back and is in the table")


def _check_transactions(seen: Seen, scenario: Scenario) -> None:
    by_id = defaultdict(list)
    for transaction in seen.transactions:
        by_id[transaction[semconv.TRANSACTION_ID]].append(transaction)
        _check_legal(transaction)
        wrote = transaction[semconv.TRANSACTION_WRITES] > 0
        failed = any(
            s.attributes[semconv.TRANSACTION_ID] == transaction[semconv.TRANSACTION_ID]
            and semconv.ERROR_TYPE in s.attributes
            for s in seen.statements
        )
        expect(wrote or failed, "a transaction span of a transaction that neither wrote nor failed")
    for statement in seen.statements:
        _check_legal(statement.attributes)
        if statement.attributes[semconv.STATEMENT_KIND] in ("write", "ddl"):
            spans = by_id[statement.attributes[semconv.TRANSACTION_ID]]
            expect(len(spans) == 1, f"{len(spans)} transaction spans for one transaction that wrote")
            _check_agreement(statement, spans[0])
    if scenario.transactions is not None:
        writing = [t for t in seen.transactions if t[semconv.TRANSACTION_WRITES]]
        expect(
            len(writing) == scenario.transactions,
            f"{len(writing)} transaction spans that wrote, not {scenario.transactions}",
        )


def _check_legal(attributes: Attributes) -> None:
    outcome = Outcome(attributes[semconv.TRANSACTION_OUTCOME])
    reason = attributes.get(semconv.TRANSACTION_REASON)
    if outcome is Outcome.ROLLED_BACK:
        expect(reason in LEGAL_REASONS[outcome], f"rolled back without a legal reason: {reason}")
    else:
        expect(reason is None, f"{outcome} with a reason: {reason}")


def _check_agreement(statement: Statement, transaction: Attributes) -> None:
    """A statement has the outcome of its transaction, unless it was undone or failed by itself."""
    own = semconv.ERROR_TYPE in statement.attributes or statement.reason is Reason.SAVEPOINT
    same = (statement.outcome, statement.reason) == (
        transaction[semconv.TRANSACTION_OUTCOME],
        transaction.get(semconv.TRANSACTION_REASON),
    )
    expect(same or own, f"{statement.outcome} in a transaction {transaction[semconv.TRANSACTION_OUTCOME]}")
    expect(
        statement.attributes.get(semconv.ORM_SESSION_ID) in (None, transaction.get(semconv.ORM_SESSION_ID)),
        "the ORM session of a statement is not that of its transaction",
    )
    level = transaction.get(semconv.TRANSACTION_ISOLATION)
    expect(level in ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"), f"isolation level {level}")


def collect(app: App, spans: tuple[ReadableSpan, ...], unseen: Mapping[str, int]) -> Seen:
    """Sort spans into statements and transactions, and resolve statements that had left as `open`."""
    transactions = [s.attributes or {} for s in spans if s.name.startswith("TRANSACTION")]
    by_id = {transaction[semconv.TRANSACTION_ID]: transaction for transaction in transactions}
    undone = {name for t in transactions for name in _names(t.get(semconv.TRANSACTION_UNDONE))}
    statements = []
    for span in sorted(spans, key=lambda span: span.start_time or 0):
        attributes = span.attributes or {}
        if semconv.STATEMENT_KIND not in attributes:
            continue
        assert span.context is not None
        span_id = f"{span.context.span_id:016x}"
        outcome, reason = _said(attributes)
        if attributes[semconv.TRANSACTION_OUTCOME] == Outcome.OPEN:
            outcome, reason = _said(by_id.get(attributes[semconv.TRANSACTION_ID], attributes))
            if span_id in undone and outcome is not Outcome.ROLLED_BACK:
                outcome, reason = Outcome.ROLLED_BACK, Reason.SAVEPOINT
        statements.append(Statement(span_id, attributes, outcome, reason))
    return Seen(app, tuple(statements), tuple(transactions), unseen)


def _said(attributes: Attributes) -> tuple[Outcome, Reason | None]:
    reason = attributes.get(semconv.TRANSACTION_REASON)
    return Outcome(attributes[semconv.TRANSACTION_OUTCOME]), Reason(reason) if reason else None


def _names(value: Any) -> tuple[str, ...]:
    return tuple(value or ())
