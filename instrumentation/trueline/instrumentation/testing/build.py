"""From spans, log records and joined sessions to the model of a recording."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opentelemetry.sdk._logs import ReadWriteLogRecord
from opentelemetry.trace import SpanKind, StatusCode

from trueline.instrumentation import semconv
from trueline.instrumentation.ai import is_ai_span
from trueline.instrumentation.identity import IdentityConfig
from trueline.instrumentation.semconv import Outcome, Reason, Rung
from trueline.instrumentation.statement import Control, Planner
from trueline.instrumentation.testing.collector import Seen
from trueline.instrumentation.testing.joined import Join
from trueline.instrumentation.testing.model import (
    AiCall,
    Canonical,
    Entry,
    Identity,
    Log,
    Recording,
    Statement,
    Transaction,
)

_planner = Planner(IdentityConfig())
_CONTROL = frozenset({"SAVEPOINT", "RELEASE", "ROLLBACK", "BEGIN", "START", "COMMIT", "END", "ABORT"})


def build(
    seen: Sequence[Seen], logs: Iterable[ReadWriteLogRecord], joins: Sequence[Join], canonical: Canonical
) -> Recording:
    """Put a recording together; the objects are new each time."""
    return _Builder(seen, joins, canonical).build(logs)


class _Builder:
    def __init__(self, seen: Sequence[Seen], joins: Sequence[Join], canonical: Canonical) -> None:
        self._seen = sorted(seen, key=lambda one: one.started)
        self._joins = joins
        self._canonical = canonical
        self._recording = Recording()
        self._transactions: dict[tuple[str, Join | None], Transaction] = {}
        self._databases: list[tuple[dict[str, str], Any]] = []
        self._numbers = itertools.count(1)
        self._outer_ids: set[str] = set()
        self._settled = {
            attributes[semconv.TRANSACTION_ID]: one
            for one in seen
            if semconv.TRANSACTION_OUTCOME in (attributes := one.attributes)
            and semconv.STATEMENT_KIND not in attributes
        }

    def build(self, logs: Iterable[ReadWriteLogRecord]) -> Recording:
        recording = self._recording
        recording.spans = [one.span for one in self._seen if one.ended is not None]
        statements = [one for one in self._seen if semconv.STATEMENT_KIND in one.attributes]
        undone = _undone(statements)
        joined = [self._join_of(one) for one in statements]
        self._outer_ids = {
            one.attributes[semconv.TRANSACTION_ID]
            for one, join in zip(statements, joined, strict=True)
            if join is not None
        }
        outcomes = self._outcomes(statements, undone)
        starts: list[tuple[int, Statement | AiCall]] = []
        for one, join in zip(statements, joined, strict=True):
            transaction = self._transaction(one, join, outcomes)
            statement = self._statement(one, transaction, undone=id(one) in undone)
            recording.statements.append(statement)
            transaction.statements.append(statement)
            starts.append((one.started, statement))
        for one in self._seen:
            attributes = one.attributes
            if semconv.TRANSACTION_ID in attributes:
                continue
            if is_ai_span(attributes):
                call = self._ai_call(one)
                starts.append((one.started, call))
            elif one.is_entry and one.span.kind not in (SpanKind.CLIENT, SpanKind.PRODUCER):
                recording.entries.append(self._entry(one))
        recording.order = [item for _, item in sorted(starts, key=lambda pair: pair[0])]
        recording.logs = [_log(record) for record in logs]
        return recording

    # -- transactions --------------------------------------------------------------------------------

    def _outcomes(
        self, statements: Sequence[Seen], undone: set[int]
    ) -> dict[str, tuple[Outcome, Reason | None]]:
        """Outcome and reason of each transaction; its own span knows best, and comes for writers only."""
        found: dict[str, tuple[Outcome, Reason | None]] = {}
        for one in statements:
            attributes = one.attributes
            key, said = attributes[semconv.TRANSACTION_ID], _said(attributes)
            alone = id(one) in undone or semconv.ERROR_TYPE in attributes
            if key not in found or (said[0] is not Outcome.OPEN and not alone):
                found[key] = said
        for key, settled in self._settled.items():
            found[key] = _said(settled.attributes)
        return found

    def _join_of(self, one: Seen) -> Join | None:
        attributes = one.attributes
        if _is_control(attributes):
            return None
        session = attributes.get(semconv.ORM_SESSION_ID, "")
        for join in reversed(self._joins):
            ours = (session and session == join.session_id) or attributes[
                semconv.TRANSACTION_ID
            ] in join.outer_ids
            if ours and join.covers(one.started):
                return join
        return None

    def _transaction(
        self, one: Seen, join: Join | None, outcomes: Mapping[str, tuple[Outcome, Reason | None]]
    ) -> Transaction:
        attributes = one.attributes
        identifier: str = attributes[semconv.TRANSACTION_ID]
        found = self._transactions.get((identifier, join))
        if found is not None:
            return found
        is_outer = join is None and identifier in self._outer_ids
        listed = self._recording.outer_transactions if is_outer else self._recording.transactions
        settled = self._settled.get(identifier)
        said: Mapping[str, Any] = {} if settled is None else settled.attributes
        outcome, reason = outcomes[identifier]
        transaction = self._transactions[(identifier, join)] = Transaction(
            number=0 if is_outer else len(listed) + 1,
            id=identifier,
            outcome=outcome,
            reason=reason,
            error_type=said.get(semconv.TRANSACTION_ERROR_TYPE, ""),
            error_chain=tuple(said.get(semconv.TRANSACTION_ERROR_CHAIN, ())),
            error_from_ai=said.get(semconv.TRANSACTION_ERROR_FROM_AI, False),
            autocommit=attributes.get(semconv.TRANSACTION_AUTOCOMMIT, False),
            span=None if settled is None else settled.span,
        )
        listed.append(transaction)
        if join is not None:
            transaction.joined = True
            transaction.ended_by = join.ended_by
            transaction.error_type = join.cause.error_type
            transaction.error_chain = join.cause.chain
            transaction.error_from_ai = join.cause.from_ai
            transaction.outer = self._transaction(one, None, outcomes)
        return transaction

    # -- statements ----------------------------------------------------------------------------------

    def _statement(self, one: Seen, transaction: Transaction, *, undone: bool) -> Statement:
        attributes = one.attributes
        outcome, reason = _said(attributes)
        failed = attributes.get(semconv.ERROR_TYPE, "")
        if outcome is Outcome.OPEN:
            # It left before its transaction ended: what is known by now is what a store would resolve.
            outcome, reason = transaction.outcome, transaction.reason
            if undone and outcome is not Outcome.ROLLED_BACK:
                outcome, reason = Outcome.ROLLED_BACK, Reason.SAVEPOINT
            elif failed and outcome is Outcome.COMMITTED:
                outcome, reason = Outcome.ROLLED_BACK, Reason.EXCEPTION
        return Statement(
            number=0 if _is_control(attributes) else next(self._numbers),
            kind=attributes[semconv.STATEMENT_KIND],
            operation=attributes.get(semconv.DB_OPERATION_NAME, ""),
            summary=attributes.get(semconv.DB_QUERY_SUMMARY, ""),
            tables=tuple(attributes.get(semconv.STATEMENT_TABLES, ())),
            text=attributes.get(semconv.DB_QUERY_TEXT, ""),
            outcome=outcome,
            reason=reason,
            identities=self._identities(attributes),
            filters=tuple(attributes.get(semconv.STATEMENT_FILTERS, ())),
            bound=tuple(attributes.get(semconv.IDENTITY_BOUND, ())),
            rows=attributes.get(semconv.STATEMENT_ROWS),
            database=self._database(attributes),
            error=failed,
            constraint=" ".join(
                attributes[name]
                for name in (semconv.CONSTRAINT_KIND, semconv.CONSTRAINT_NAME)
                if name in attributes
            ),
            entry=attributes.get(semconv.ENTRY_NAME, ""),
            undone=undone,
            is_control=_is_control(attributes),
            transaction=transaction,
            attributes=attributes,
            span=one.span,
        )

    def _identities(self, attributes: Mapping[str, Any]) -> tuple[Identity, ...]:
        lists = (
            semconv.IDENTITY_COLUMNS,
            semconv.IDENTITY_CLAUSES,
            semconv.IDENTITY_ENCODINGS,
            semconv.IDENTITY_DOMAINS,
            semconv.IDENTITY_VALUES,
        )
        aligned = zip(*(attributes.get(name, ()) for name in lists), strict=True)
        return tuple(
            Identity(column, str(clause), encoding, domain, value, self._canonical)
            for column, clause, encoding, domain, value in aligned
        )

    def _database(self, attributes: Mapping[str, Any]) -> int:
        """Its number. Two are different if they differ on a rung that both reported.

        A connection that was made before the recording has none: its URL then decides, as for databases in
        memory, whose rung tells connections apart rather than databases.
        """
        rungs = dict(rung.split(":", 1) for rung in attributes.get(semconv.DATABASE_FINGERPRINTS, ()))
        rungs.pop(Rung.MEMORY, None)
        url = attributes.get(semconv.DATABASE_URL)
        for number, (known, known_url) in enumerate(self._databases, start=1):
            common = rungs.keys() & known.keys()
            if all(rungs[rung] == known[rung] for rung in common) if common else url == known_url:
                known.update(rungs)
                return number
        self._databases.append((rungs, url))
        return len(self._databases)

    # -- what is no statement ------------------------------------------------------------------------

    def _ai_call(self, one: Seen) -> AiCall:
        attributes = one.attributes
        failed = one.span.status.status_code is StatusCode.ERROR or semconv.ERROR_TYPE in attributes
        call = AiCall(
            operation=attributes.get(semconv.GEN_AI_OPERATION_NAME, "") or one.span.name,
            model=attributes.get(semconv.GEN_AI_REQUEST_MODEL, ""),
            provider=attributes.get(semconv.GEN_AI_PROVIDER_NAME, "") or attributes.get("gen_ai.system", ""),
            failed=failed,
            error_type=str(attributes.get(semconv.ERROR_TYPE, "")),
            ended=one.ended is not None,
            span=one.span,
        )
        for (identifier, join), transaction in self._transactions.items():
            is_outer = join is None and identifier in self._outer_ids
            if identifier in one.inside and not is_outer and (join is None or join.covers(one.started)):
                transaction.ai_calls.append(call)
                call.inside.append(transaction)
        self._recording.ai_calls.append(call)
        return call

    def _entry(self, one: Seen) -> Entry:
        context = one.span.get_span_context()
        number = "" if context is None else f"{context.span_id:016x}"
        return Entry(
            name=one.span.name,
            attributes=one.attributes,
            failed=one.span.status.status_code is StatusCode.ERROR,
            statements=[
                statement
                for statement in self._recording.statements
                if statement.attributes.get(semconv.ENTRY_SPAN_ID) == number
            ],
            span=one.span,
        )


def _said(attributes: Mapping[str, Any]) -> tuple[Outcome, Reason | None]:
    reason = attributes.get(semconv.TRANSACTION_REASON)
    return Outcome(attributes[semconv.TRANSACTION_OUTCOME]), None if reason is None else Reason(reason)


def _is_control(attributes: Mapping[str, Any]) -> bool:
    return (
        attributes[semconv.STATEMENT_KIND] == "other"
        and attributes.get(semconv.DB_OPERATION_NAME, "") in _CONTROL
    )


def _undone(statements: Sequence[Seen]) -> set[int]:
    """Statements that ROLLBACK TO SAVEPOINT undid, by following each transaction's savepoints.

    A span that left while its transaction was open does not say so, nor does one of a transaction that was
    rolled back as a whole later.
    """
    undone: set[int] = set()
    ran: dict[str, list[int]] = {}
    savepoints: dict[str, list[tuple[str, int]]] = {}
    for one in statements:
        attributes = one.attributes
        transaction = attributes[semconv.TRANSACTION_ID]
        so_far, open_ones = ran.setdefault(transaction, []), savepoints.setdefault(transaction, [])
        if not _is_control(attributes) or semconv.ERROR_TYPE in attributes:
            so_far.append(id(one))
            continue
        plan = _planner.plan(attributes.get(semconv.DB_QUERY_TEXT, ""), attributes[semconv.DB_SYSTEM_NAME])
        if plan.control is Control.SAVEPOINT:
            open_ones.append((plan.control_name, len(so_far)))
        elif plan.control in (Control.RELEASE_SAVEPOINT, Control.ROLLBACK_TO_SAVEPOINT):
            names = [name for name, _ in open_ones]
            if plan.control_name not in names:
                continue
            index = len(names) - 1 - names[::-1].index(plan.control_name)
            if plan.control is Control.RELEASE_SAVEPOINT:
                del open_ones[index:]
            else:
                undone.update(so_far[open_ones[index][1] :])
                del open_ones[index + 1 :]
    return undone


def _log(record: ReadWriteLogRecord) -> Log:
    told, origin = record.log_record, record.instrumentation_scope
    return Log(
        severity=told.severity_text or "",
        body=str(told.body or ""),
        logger="" if origin is None else origin.name,
        attributes=dict(told.attributes or {}),
        event=told.event_name or "",
        trace_id=told.trace_id or 0,
        span_id=told.span_id or 0,
    )
