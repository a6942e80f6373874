"""What is known of one identity, as values: the whole input of the judgement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

from trueline.monitor.engine.last_write import is_elsewhere

#: How far clocks of two machines may be apart before an order of events means nothing.
CLOCK_TOLERANCE: Final = timedelta(milliseconds=50)


@dataclass(frozen=True, slots=True)
class Place:
    """A database and schema as a process sees it."""

    database: str = ""
    database_rungs: tuple[str, ...] = ()
    database_schema: str = ""
    role: str = ""
    url: str = ""
    url_variable: str = ""
    system: str = ""
    name: str = ""

    def __str__(self) -> str:
        """For people: name, schema where it is not the usual one, URL."""
        schema = f", schema {self.database_schema}" if self.database_schema not in ("", "public") else ""
        return f"{self.name or self.system or 'a database'}{schema} ({self.url or self.database})"


@dataclass(frozen=True, slots=True)
class Access:
    """One statement that touched the identity in one table.

    ``columns`` and ``encodings`` are aligned: where the identity stands in the statement; both are empty
    where only the row's owner or the bound identity connects them. ``ended`` is when the statement's work was
    decided: the end of its transaction where that is known. ``rows`` is None where the driver does not
    tell, and of reads that add up, which answer with one row whatever they find.
    ``repeated``: a violation by a message that had been committed before, so that nothing is missing.
    ``accepted_at``: when the trace's first entry had already answered, if that was before this write's end.
    ``snapshot_at``: the beginning of its transaction, if it sees only what was committed by then.
    """

    kind: Literal["read", "write"]
    table: str
    at: datetime
    ended: datetime
    columns: tuple[str, ...] = ()
    encodings: tuple[str, ...] = ()
    rows: int | None = None
    environment: str = ""
    application: str = ""
    service: str = ""
    version: str = ""
    process_kind: str = ""
    entry: str = ""
    place: Place = Place()
    outcome: str = "committed"
    reason: str = ""
    error: str = ""
    constraint: str = ""
    constraint_kind: str = ""
    constraint_columns: tuple[str, ...] = ()
    ai_error: str = ""
    operation: str = ""
    filters: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()
    repeated: bool = False
    failed: bool = False
    accepted_at: datetime | None = None
    snapshot_at: datetime | None = None
    sample_ratio: float = 1.0
    trace_id: str = ""
    span_id: str = ""
    transaction_id: str = ""

    @property
    def who(self) -> str:
        """Service and version."""
        return f"{self.service} {self.version}".strip() or "an unnamed service"

    @property
    def keys(self) -> frozenset[tuple[str, str]]:
        """Columns with encodings, an all-digit text and an integer being one class."""
        return frozenset(
            (column, "digits" if encoding in ("integer", "raw") else encoding)
            for column, encoding in zip(self.columns, self.encodings, strict=True)
        )

    @property
    def spoken_keys(self) -> str:
        """``user_id (integer), user_id_hash (sha256)``."""
        return ", ".join(
            f"{column.rpartition('.')[2]} ({encoding})"
            for column, encoding in zip(self.columns, self.encodings, strict=True)
        )

    @property
    def is_committed(self) -> bool:
        """Whether it is there: decided, and the statement itself had not failed."""
        return self.outcome == "committed" and not self.failed

    @property
    def is_lost(self) -> bool:
        """A write that is not there, though somebody meant it to be."""
        return self.kind == "write" and not self.repeated and (self.outcome == "rolled_back" or self.failed)


@dataclass(frozen=True, slots=True)
class Process:
    """One kind of process of a service on one database: the fingerprint guard."""

    service: str
    process_kind: str
    place: Place
    versions: tuple[str, ...] = ()
    first_seen: datetime | None = None
    last_seen: datetime | None = None
    environment: str = ""
    application: str = ""


@dataclass(frozen=True, slots=True)
class Derived:
    """A lineage: ``table`` is made from ``sources``, at most ``within`` behind them.

    ``learned``: a rule found it out, nobody declared it. ``made_for_all``: when a statement that does not say
    for whom wrote it last. ``unseen_writer``: it was read, and no statement of anybody wrote it lately.
    """

    table: str
    sources: tuple[str, ...]
    within: timedelta
    filled_by: str = "application"
    learned: bool = False
    made_for_all: datetime | None = None
    unseen_writer: bool = False


@dataclass(frozen=True, slots=True)
class OthersRead:
    """How a table is read for whomever it may be: for where this identity's reads are not seen."""

    table: str
    service: str
    columns: tuple[str, ...]
    encodings: tuple[str, ...]
    place: Place
    last: datetime


@dataclass(frozen=True, slots=True)
class Writer:
    """A service that commits writes to a table in a place, for whomever it may be."""

    table: str
    service: str
    environment: str
    place: Place


@dataclass(frozen=True, slots=True)
class Gaps:
    """What may be missing from the facts. ``losses``: lost spans by service. ``key_ids``: other secrets seen.

    ``truncated``: the identity has more statements than were read. ``services``: services that sent any
    statement in the time; none means that no telemetry arrives.
    """

    losses: Mapping[str, int] = field(default_factory=dict)
    key_ids: tuple[str, ...] = ()
    truncated: bool = False
    services: tuple[str, ...] = ()
    sample_ratio: float = 1.0


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything known of one identity between ``since`` and ``now``. ``accesses`` are newest first.

    ``writers`` are known for tables that the identity was seen with in several places.
    ``aliases`` are the operator's names for databases: what one of them lists is one database.
    """

    now: datetime
    since: datetime
    accesses: Sequence[Access] = ()
    processes: Sequence[Process] = ()
    lineage: Sequence[Derived] = ()
    others: Sequence[OthersRead] = ()
    writers: Sequence[Writer] = ()
    aliases: Sequence[frozenset[str]] = ()
    gaps: Gaps = Gaps()

    def tables(self) -> list[str]:
        """Tables that the identity was seen in, the one used last first."""
        return list(dict.fromkeys(one.table for one in self.accesses))

    def writes(self, table: str) -> list[Access]:
        """Writes of a table, newest first, without repetitions of what is there."""
        return [
            one for one in self.accesses if one.table == table and one.kind == "write" and not one.repeated
        ]

    def committed(self, table: str) -> list[Access]:
        """Committed writes of a table, newest first."""
        return [one for one in self.writes(table) if one.is_committed]

    def reads(self, table: str) -> list[Access]:
        """Reads of a table that could find something, newest first."""
        return [one for one in self.accesses if one.table == table and one.kind == "read" and not one.failed]

    def readers(self, table: str) -> list[Access]:
        """The last read of each service and kind of process, newest first."""
        last: dict[tuple[str, str, str], Access] = {}
        for one in self.reads(table):
            last.setdefault((one.environment, one.service, one.process_kind), one)
        return list(last.values())

    def apart(self, one: Place, other: Place) -> bool:
        """Whether two places are different databases or schemas, by what both report and what is declared."""
        if not is_elsewhere(one, other):
            return False
        names = (_names(one), _names(other))
        return not any(all(alias & each for each in names) for alias in self.aliases)


def _names(place: Place) -> frozenset[str]:
    """What an alias may call a place: its fingerprints, or its address without scheme and slashes."""
    address = place.url.partition("://")[2]
    return frozenset(
        {place.database, *(rung.partition(":")[2] for rung in place.database_rungs), address, place.name}
        - {""}
    )
