"""From the store's rows to facts. With `lineage`, the only part of the diagnosis that reads anything."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from trueline.monitor.diagnose.facts import Access, Facts, Gaps, OthersRead, Place, Process, Writer
from trueline.monitor.diagnose.lineage import derived_tables
from trueline.monitor.store.client import Store
from trueline.monitor.store.identities import Span, Uses, committed_messages, read_uses
from trueline.monitor.store.surroundings import (
    losses_by_service,
    read_declared,
    read_others,
    read_processes,
    read_senders,
    read_writers,
)

#: How far back other readers, senders and losses are looked at: what holds for a day holds for the rest.
_LATELY: Final = timedelta(days=1)
#: Isolation levels at which a transaction reads what was committed when it began.
_FROZEN: Final = ("REPEATABLE READ", "SERIALIZABLE", "SNAPSHOT")


def gather(store: Store, span: Span, now: datetime, key_id: str) -> Facts:
    """All facts on the identities of ``span``; ``key_id`` is the secret that they were hashed under."""
    uses = read_uses(store, span, now)
    accesses = _without_test_runs(accesses_of(uses))
    accesses = _without_repetitions(accesses, _repetitions(store, accesses, span.since))
    applications = sorted({one.application for one in accesses})
    lately = max(span.since, now - _LATELY)
    declared = read_declared(store, applications)
    return Facts(
        now=now,
        since=span.since,
        accesses=accesses,
        processes=processes_of(read_processes(store, span.environment, applications)),
        lineage=derived_tables(
            store,
            [row for row in declared if row["kind"] == "lineage"],
            accesses,
            span.environment,
            applications,
            lately,
        ),
        aliases=[frozenset(row["words"]) for row in declared if row["kind"] == "database"],
        others=_others(store, accesses, span.environment, applications, lately),
        writers=_writers(store, accesses, span.environment, applications, lately),
        gaps=_gaps(store, span, accesses, uses, key_id, lately),
    )


def accesses_of(uses: Uses) -> list[Access]:
    """One access for each statement and table, newest first: its identity columns come together."""
    grouped: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for row in uses.rows:
        grouped.setdefault((row["span_id"], row["table"], row["access"]), []).append(row)
    found = [_access(rows, uses) for rows in grouped.values()]
    return sorted(found, key=lambda one: (one.at, one.span_id), reverse=True)


def processes_of(rows: Sequence[Mapping[str, Any]]) -> list[Process]:
    """Rows of the view databases as processes."""
    return [
        Process(
            environment=row["environment"],
            application=row["application"],
            service=row["service"],
            process_kind=row["process_kind"],
            place=place_of(row),
            versions=tuple(sorted(row["versions"])),
            first_seen=_aware(row["first_seen"]),
            last_seen=_aware(row["last_seen"]),
        )
        for row in rows
        if row["process_kind"] != "test"
    ]


def place_of(row: Mapping[str, Any]) -> Place:
    """The database of a row."""
    return Place(
        database=row["database"],
        database_rungs=tuple(row["database_rungs"]),
        database_schema=row["database_schema"],
        role=row["database_role"],
        url=row["database_url"],
        url_variable=row["database_url_variable"],
        system=row["db_system"],
        name=row["db_namespace"],
    )


def _access(rows: Sequence[Mapping[str, Any]], uses: Uses) -> Access:
    row = rows[0]
    keys = dict.fromkeys((one["column"], one["encoding"]) for one in rows if one["column"])
    detail = uses.details.get(row["span_id"], {})
    ending = uses.transactions.get(row["transaction_id"], {})
    outcome, reason = row["outcome"], detail.get("reason") or row["reason"] or ending.get("reason", "")
    at, ended = _aware(row["started_at"]), _aware(row["ended_at"])
    if ending:
        ended = max(ended, _aware(ending["ended_at"]))
    answered = uses.answered.get(row["trace_id"])
    from_ai = outcome == "rolled_back" and bool(ending.get("error_from_ai"))
    ai_error = uses.ai_errors.get(row["trace_id"], "") or ending.get("transaction_error_type", "")
    return Access(
        kind=row["access"],
        table=row["table"],
        at=at,
        ended=ended,
        columns=tuple(column for column, _ in keys),
        encodings=tuple(encoding for _, encoding in keys),
        rows=row["rows"] if row["rows"] >= 0 and not row["adds_up"] else None,
        environment=row["environment"],
        application=row["application"],
        service=row["service"],
        version=row["version"],
        process_kind=row["process_kind"],
        entry=row["entry_name"],
        place=place_of(row),
        outcome=outcome,
        reason=reason if outcome == "rolled_back" else "",
        error=detail.get("status_message", ""),
        constraint=detail.get("constraint_name", ""),
        constraint_kind=detail.get("constraint_kind", ""),
        constraint_columns=tuple(detail.get("constraint_columns", ())),
        ai_error=ai_error if from_ai else "",
        operation=detail.get("operation", ""),
        filters=tuple(detail.get("filters", ())),
        messages=_messages(detail),
        failed=row["status"] == "error",
        accepted_at=_aware(answered) if answered and _aware(answered) < ended else None,
        snapshot_at=_snapshot_of(ending),
        sample_ratio=detail.get("sample_ratio") or 1.0,
        trace_id=row["trace_id"],
        span_id=row["span_id"],
        transaction_id=row["transaction_id"],
    )


def _snapshot_of(transaction: Mapping[str, Any]) -> datetime | None:
    """When a transaction began that sees nothing of what others commit after that."""
    frozen = transaction.get("isolation_level") in _FROZEN and transaction["db_system"] != "sqlite"
    return _aware(transaction["started_at"]) if frozen else None


def _without_test_runs(accesses: list[Access]) -> list[Access]:
    """A test run works on scratch databases on purpose; it is looked at only where there is nothing else."""
    return [one for one in accesses if one.process_kind != "test"] or accesses


def _messages(detail: Mapping[str, Any]) -> tuple[str, ...]:
    """The messages that a statement belongs to, by column or because the request was bound to them."""
    bound = [one.partition(":")[2] for one in detail.get("identity_bound", ()) if one.startswith("message:")]
    named = [
        value
        for value, domain in zip(
            detail.get("identity_values", ()), detail.get("identity_domains", ()), strict=False
        )
        if domain == "message"
    ]
    return tuple(dict.fromkeys([*bound, *named]))


def _repetitions(store: Store, accesses: Sequence[Access], since: datetime) -> set[tuple[str, str]]:
    violations = [one for one in accesses if one.failed and one.constraint_kind == "unique" and one.messages]
    return committed_messages(store, {message for one in violations for message in one.messages}, since)


def _without_repetitions(accesses: Sequence[Access], known: Collection[tuple[str, str]]) -> list[Access]:
    return [
        replace(one, repeated=True)
        if one.failed
        and one.constraint_kind == "unique"
        and any((one.table, message) in known for message in one.messages)
        else one
        for one in accesses
    ]


def _others(
    store: Store,
    accesses: Sequence[Access],
    environment: str,
    applications: Collection[str],
    since: datetime,
) -> list[OthersRead]:
    """How others' rows are read, of tables that were written and not read for this identity."""
    read = {one.table for one in accesses if one.kind == "read"}
    unread = list(
        dict.fromkeys(one.table for one in accesses if one.kind == "write" and one.table not in read)
    )
    return [
        OthersRead(
            table=row["table"],
            service=row["service"],
            columns=tuple(column for column, _ in row["keys"]),
            encodings=tuple(encoding for _, encoding in row["keys"]),
            place=Place(
                database=row["database"],
                database_rungs=tuple(row["database_rungs"]),
                database_schema=row["schema"],
                url=row["url"],
                name=row["name"],
            ),
            last=_aware(row["last"]),
        )
        for row in read_others(store, unread[:20], environment, applications, since)
    ]


def _writers(
    store: Store,
    accesses: Sequence[Access],
    environment: str,
    applications: Collection[str],
    since: datetime,
) -> list[Writer]:
    """Who writes the tables that the identity was seen with in several places."""
    places: dict[str, set[tuple[str, str]]] = {}
    for one in accesses:
        places.setdefault(one.table, set()).add((one.place.database, one.place.database_schema))
    tables = [table for table, seen in places.items() if len(seen) > 1]
    return [
        Writer(
            table=row["table"],
            service=row["service"],
            environment=row["environment"],
            place=Place(
                database=row["database"],
                database_rungs=tuple(row["rungs"]),
                database_schema=row["database_schema"],
            ),
        )
        for row in read_writers(store, tables[:20], environment, applications, since)
    ]


def _gaps(
    store: Store, span: Span, accesses: Sequence[Access], uses: Uses, key_id: str, since: datetime
) -> Gaps:
    senders = read_senders(store, span.environment, since)
    ours = {one.service for one in accesses}
    losses = losses_by_service(store, span.environment, {one.application for one in accesses}, since)
    key_ids = {key for row in senders for key in row["keys"] if key and key != key_id}
    return Gaps(
        losses={name: lost for name, lost in losses.items() if not ours or name in ours},
        key_ids=tuple(sorted(key_ids)),
        truncated=uses.truncated,
        services=tuple(row["service"] for row in senders),
        sample_ratio=min(
            (row["ratio"] for row in senders if not ours or row["service"] in ours), default=1.0
        ),
    )


def _aware(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
