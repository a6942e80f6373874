"""Versions of declarations in the store: written once each, never changed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from trueline.instrumentation.declarations.model import Declarations
from trueline.monitor.store.client import Store

#: Columns of an entry, with what they hold where it has nothing to say.
_EMPTY: Final[Mapping[str, Any]] = {
    "name": "",
    "tables": [],
    "domain": "",
    "words": [],
    "seconds": 0.0,
    "service": "",
    "operation": "",
    "environment": "",
    "starts": None,
    "ends": None,
    "detail": "{}",
}


class StoredDeclarations:
    """The table ``declarations``."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def in_force(self) -> dict[str, tuple[str, datetime]]:
        """Content hash and beginning of each application's newest version; withdrawn ones are left out."""
        rows = self._store.query(
            "SELECT application, content_hash, valid_from FROM declarations_in_force WHERE kind = 'version'"
        )
        return {application: (digest, since) for application, digest, since in rows if digest}

    def add(self, declared: Declarations) -> datetime:
        """Write a version; returns since when it is in force, by the store's clock."""
        since = self._after_all(declared.application)
        self._insert(
            declared.application, declared.content_hash, declared.path, since, list(entries(declared))
        )
        return since

    def withdraw(self, application: str) -> None:
        """Write that nothing is declared any more."""
        self._insert(application, "", "", self._after_all(application), [])

    def _after_all(self, application: str) -> datetime:
        """Now, but later than every version there is: two in one millisecond would be one."""
        now, last = self._store.query(
            "SELECT now64(3, 'UTC'), max(valid_from) FROM declarations WHERE application = {name:String}",
            {"name": application},
        ).rows[0]
        moment: datetime = max(now.astimezone(UTC), last.astimezone(UTC) + timedelta(milliseconds=1))
        return moment

    def _insert(
        self, application: str, digest: str, path: str, since: datetime, found: list[dict[str, Any]]
    ) -> None:
        rows = [{**_EMPTY, "kind": "version", "name": path}, *({**_EMPTY, **entry} for entry in found)]
        columns: dict[str, list[Any]] = {name: [row[name] for row in rows] for name in ("kind", *_EMPTY)}
        columns["application"] = [application] * len(rows)
        columns["content_hash"] = [digest] * len(rows)
        columns["path"] = [path] * len(rows)
        columns["valid_from"] = [since] * len(rows)
        self._store.insert("declarations", columns)


def entries(declared: Declarations) -> Iterator[dict[str, Any]]:
    """The entries of one file as rows of the table; columns left out are empty."""
    for name, domain in declared.domains.items():
        yield _row("domain", name, domain, words=["plain"] if domain.plain else [])
    for name, column in declared.columns.items():
        yield _row("column", name, column, domain=column.domain, words=column.encodings)
    for name in declared.exclude:
        yield _row("exclude", name)
    for name, function in declared.derivations.items():
        yield _row("derivation", name, words=[function])
    for name, function in declared.resolver.items():
        yield _row("resolver", name, domain=name, words=[function])
    for name, space in declared.uuid_namespaces.items():
        yield _row("uuid_namespace", name, words=[space])
    for name in declared.hmac_keys:
        yield _row("hmac_key", name)  # where a key is kept is nobody's business here
    for name, places in declared.databases.items():
        yield _row("database", name, words=places)
    for name, table in declared.tables.items():
        yield _row("table", name, table, service=table.owner, domain=table.sharded_by, words=table.written_by)
    for lineage in declared.lineage:
        words = [lineage.filled_by]
        yield _row(
            "lineage", lineage.derived, lineage, tables=lineage.sources, seconds=lineage.within, words=words
        )
    for one in declared.counterparts:
        yield _row(
            "counterpart", one.table, one, tables=[one.counterpart], domain=one.domain, seconds=one.within
        )
    for budget in declared.budgets:
        yield _row(
            "budget",
            budget.of,
            budget,
            tables=[budget.table] if budget.table else [],
            seconds=budget.at_most,
            service=budget.service,
            operation=budget.operation,
        )
    for event in declared.log_events:
        yield _row(
            "log_event",
            event.event,
            event,
            tables=[event.table] if event.table else [],
            domain=event.domain,
            words=[event.means, event.identity],
            service=event.service,
        )
    for operation in declared.operations:
        yield _row(
            "operation",
            operation.name,
            operation,
            tables=operation.reads,
            words=operation.roles,
            service=operation.service,
            operation=operation.name,
        )
    for move in declared.moves:
        yield _row(
            "move",
            f"{move.source} to {move.target}",
            move,
            tables=move.tables,
            words=[move.source, move.target],
            service=move.service,
            environment=move.environment,
            starts=move.starts.astimezone(UTC),
            ends=move.ends.astimezone(UTC),
        )


def as_json(declared: Declarations) -> dict[str, Any]:
    """What is declared, as JSON values; where keys are kept is left out."""
    found: dict[str, Any] = _plain(dataclasses.asdict(declared))
    for name in ("path", "content_hash", "application"):
        del found[name]
    found["hmac_keys"] = sorted(declared.hmac_keys)
    return found


def _row(kind: str, name: str, entry: Any = None, **columns: Any) -> dict[str, Any]:
    detail = _plain(dataclasses.asdict(entry)) if entry is not None else {}
    given = {key: list(value) if isinstance(value, tuple) else value for key, value in columns.items()}
    return {"kind": kind, "name": name, "detail": json.dumps(detail, ensure_ascii=False), **given}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value.isoformat() if isinstance(value, datetime) else value
