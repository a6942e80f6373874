"""The last write and the last read of one identity, side by side, and one sentence on what that means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, Protocol

from trueline.monitor.engine.describe import outcome_text

#: The newest statement of each sort that touches one of the identities, whatever the table.
#: A row's owner and a bound identity count for writes, which often name their row by primary key only.
QUERY: Final = """
SELECT
    kind, started_at, environment, application, service, version, entry_name, tables, rows, filters, database,
    database_rungs, database_schema, database_url, database_url_variable, db_system, db_namespace,
    identity_columns, identity_clauses, identity_encodings, identity_values, hash_key_id, outcome, reason,
    status_message, trace_id, span_id, kind = 'write' AND outcome = 'committed' AS is_committed
FROM statements_resolved
WHERE kind IN ('read', 'write')
    AND (
        hasAny(identity_values, {values:Array(String)})
        OR kind = 'write' AND hasAny(arrayConcat(identity_row, identity_bound), {bound:Array(String)})
    )
    AND started_at >= {since:DateTime64(3)}
    AND ({environment:String} = '' OR environment = {environment:String})
    AND ({table:String} = '' OR has(tables, {table:String}))
ORDER BY started_at DESC
LIMIT 1 BY kind, is_committed
"""


class Verdict(StrEnum):
    """What the last write and the last read of an identity say together."""

    NOTHING = "nothing"
    NEVER_WRITTEN = "never_written"
    NOT_COMMITTED = "not_committed"
    NEVER_READ = "never_read"
    OTHER_DATABASE = "other_database"
    OTHER_KEY = "other_key"
    READ_BEFORE_WRITE = "read_before_write"
    NOT_FOUND = "not_found"
    AGREES = "agrees"


@dataclass(frozen=True, slots=True)
class Access:
    """One statement that touched the identity. ``rows`` is None where the driver does not tell.

    ``columns`` and ``encodings`` are aligned; both are empty where only the row's owner or the bound identity
    connects them.
    """

    when: datetime
    table: str
    tables: tuple[str, ...]
    columns: tuple[str, ...]
    encodings: tuple[str, ...]
    rows: int | None
    environment: str
    application: str
    service: str
    version: str
    entry: str
    database: str
    database_rungs: tuple[str, ...]
    database_schema: str
    database_name: str
    database_system: str
    database_url: str
    database_url_variable: str
    outcome: str
    reason: str
    error: str
    hash_key_id: str
    trace_id: str
    span_id: str

    @property
    def place(self) -> str:
        """The database for people: its name, its schema where that is not the usual one, and its URL."""
        schema = f", schema {self.database_schema}" if self.database_schema not in ("", "public") else ""
        named = self.database_name or self.database_system or "a database"
        return f"{named}{schema} ({self.database_url or self.database})"


def access(row: Mapping[str, Any], values: Sequence[str]) -> Access:
    """Read one row of :data:`QUERY`."""
    wanted = set(values)
    keys = [
        (column, encoding)
        for column, encoding, value in zip(
            row["identity_columns"], row["identity_encodings"], row["identity_values"], strict=False
        )
        if value in wanted
    ]
    keys = list(dict.fromkeys(keys))
    return Access(
        when=row["started_at"],
        table=row["tables"][0] if row["tables"] else "",
        tables=tuple(row["tables"]),
        columns=tuple(column for column, _ in keys),
        encodings=tuple(encoding for _, encoding in keys),
        rows=row["rows"] if row["rows"] >= 0 else None,
        environment=row["environment"],
        application=row["application"],
        service=row["service"],
        version=row["version"],
        entry=row["entry_name"],
        database=row["database"],
        database_rungs=tuple(row["database_rungs"]),
        database_schema=row["database_schema"],
        database_name=row["db_namespace"],
        database_system=row["db_system"],
        database_url=row["database_url"],
        database_url_variable=row["database_url_variable"],
        outcome=row["outcome"],
        reason=row["reason"],
        error=row["status_message"],
        hash_key_id=row["hash_key_id"],
        trace_id=row["trace_id"],
        span_id=row["span_id"],
    )


def compare(
    last: Access | None, committed: Access | None, read: Access | None, days: int
) -> tuple[Verdict, str]:
    """The verdict and its sentence. ``read`` is the last read of the table that ``committed`` wrote."""
    span = "day" if days == 1 else f"{days} days"
    if last is None:
        if read is None:
            return Verdict.NOTHING, f"No statement touched this identity in the last {span}."
        return Verdict.NEVER_WRITTEN, (
            f"{_who(read)} read {read.table} for it at {_time(read)}, but nothing was written in the "
            f"last {span}."
        )
    lost = ""
    if committed is None or committed.when < last.when:
        lost = (
            f"The last write, to {last.table} by {_who(last)} at {_time(last)}, is not there: "
            f"{outcome_text(last.outcome, last.reason)}."
        )
    if committed is None:
        return Verdict.NOT_COMMITTED, f"{lost} No write of the last {span} was committed."
    where = f"written to {committed.place} by {_who(committed)}"
    if read is None:
        verdict, said = (
            Verdict.NEVER_READ,
            f"Last {where} at {_time(committed)}; {committed.table} was not read since.",
        )
    elif is_elsewhere(committed, read):
        verdict = Verdict.OTHER_DATABASE
        said = f"Last {where}, but read from {read.place} by {_who(read)}: these are different databases."
    elif committed.columns and read.columns and not _keys(committed) & _keys(read):
        verdict = Verdict.OTHER_KEY
        said = (
            f"{committed.table} was {where} under {_spoken(committed)}, but is read by {_who(read)} under "
            f"{_spoken(read)}: the reader does not find what is written."
        )
    elif read.when < committed.when:
        verdict = Verdict.READ_BEFORE_WRITE
        said = f"Last {where} at {_time(committed)}; the last read was earlier, at {_time(read)}."
    elif read.rows == 0:
        verdict = Verdict.NOT_FOUND
        said = (
            f"Last {where} at {_time(committed)}, but {_who(read)} found no row there at {_time(read)}, "
            "under the same key."
        )
    else:
        rows = "" if read.rows is None else f" ({read.rows} row{'' if read.rows == 1 else 's'})"
        verdict = Verdict.AGREES
        said = (
            f"Last {where} at {_time(committed)} and read from there by {_who(read)} at {_time(read)}{rows}."
        )
    if lost:
        return (Verdict.NOT_COMMITTED, f"{lost} Before that: {said[:1].lower()}{said[1:]}")
    return verdict, said


class Located(Protocol):
    """Something with a database."""

    @property
    def database_rungs(self) -> Sequence[str]:
        """``rung:hex`` of every rung that could be read."""

    @property
    def database_schema(self) -> str:
        """The schema that names without one lead to."""


def is_elsewhere(write: Located, read: Located) -> bool:
    """Whether two accesses went to different databases or schemas: they differ on the best rung of both."""
    if write.database_schema != read.database_schema and write.database_schema and read.database_schema:
        return True
    of_write = dict(rung.partition(":")[::2] for rung in write.database_rungs)
    of_read = dict(rung.partition(":")[::2] for rung in read.database_rungs)
    for rung in ("configured", "system_identifier", "server_uuid", "file", "endpoint"):
        if rung in of_write and rung in of_read:
            return of_write[rung] != of_read[rung]
    return False


def _keys(one: Access) -> set[tuple[str, str]]:
    """Columns with encodings, an all-digit text and an integer being one."""
    return {
        (column, "digits" if encoding in ("integer", "raw") else encoding)
        for column, encoding in zip(one.columns, one.encodings, strict=True)
    }


def _spoken(one: Access) -> str:
    return ", ".join(
        f"{column} ({encoding})" for column, encoding in zip(one.columns, one.encodings, strict=True)
    )


def _who(one: Access) -> str:
    return f"{one.service}{f' {one.version}' if one.version else ''}" or "an unnamed service"


def _time(one: Access) -> str:
    return one.when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
