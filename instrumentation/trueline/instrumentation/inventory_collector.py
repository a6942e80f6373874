"""Counts what was seen: databases, tables, identity columns, and whether a statement names anybody.

Fed by Trueline's own thread where spans are made, before sampling, so that its shares are those of all
statements. Only names are kept, and a bounded number of them.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from trueline.instrumentation import ambient, lifecycle, semconv
from trueline.instrumentation.inventory_report import SeenColumn, SeenDatabase, SeenTable, Sources
from trueline.instrumentation.semconv import Kind

if TYPE_CHECKING:
    from trueline.instrumentation.records import StatementRecord
    from trueline.instrumentation.statement import Plan
    from trueline.instrumentation.wire import Part

MAX_TABLES: Final = 500
MAX_COLUMNS: Final = 500
MAX_DATABASES: Final = 50
#: A longer name is cut.
MAX_NAME: Final = 200
#: Distinct statements that are counted before they are folded into names.
_MAX_CELLS: Final = 512

#: Places in a list of counts by source.
COLUMN, BOUND, NONE, ROW = 0, 1, 2, 3
_ENTRY, _BOUND, _ROW = 1, 2, 4


class _Cell:
    """How often one statement text ran with the same columns, encodings and surroundings."""

    __slots__ = ("clauses", "columns", "count", "database", "domains", "encodings", "entry", "plan", "source")

    def __init__(self, record: StatementRecord, surroundings: int) -> None:
        # Kept, so that the ids in the cell's key stay their own.
        self.plan: Plan = record.plan
        self.database: Part = record.database
        identities = record.identities
        self.columns = identities.columns
        self.clauses = identities.clauses
        self.encodings = identities.encodings
        self.domains = identities.domains
        self.source = NONE
        if identities.count:
            self.source = COLUMN
        elif surroundings & _ROW:
            self.source = ROW
        elif surroundings & _BOUND:
            self.source = BOUND
        self.entry = bool(surroundings & _ENTRY)
        self.count = 0


class Collector:
    """Counts statements of this process. ``add`` is called by one thread at a time, ``read`` by any."""

    def __init__(self) -> None:
        #: Counts up whenever something is seen for the first time.
        self.news = 0
        self._start_afresh()
        lifecycle.survives_fork(self)

    def _start_afresh(self) -> None:
        # Reentrant: a garbage collection in here may run code of the application that asks for the inventory.
        self._lock = threading.RLock()
        self._cells: dict[tuple[Any, ...], _Cell] = {}
        self.since = ambient.now_ns()
        #: When the first statement was counted (ns), 0 before.
        self.first_at = 0
        #: Whether spans of another instrumentation were adopted.
        self.adopts = False
        #: Reads and writes by source, of all tables.
        self._reads, self._writes = [0, 0, 0, 0], [0, 0, 0, 0]
        self._ddl = self._other = self._incomplete = self._with_entry = self._more = 0
        self._databases: dict[tuple[str, str, str, str], _Database] = {}
        self._tables: dict[tuple[str, str], tuple[list[int], list[int]]] = {}
        self._columns: dict[tuple[str, str, str, str], int] = {}

    def after_fork(self) -> None:
        """In a forked child: what the parent saw is the parent's to tell."""
        self._start_afresh()

    def add(self, statements: list[StatementRecord]) -> None:
        """Count statements that are about to become spans."""
        with self._lock:
            cells = self._cells
            if statements and not self.first_at:
                self.first_at = ambient.now_ns()
            for record in statements:
                identities = record.identities
                bound = record.bound
                surroundings = 0 if record.entry is None else _ENTRY
                # A blank identity binds nobody.
                if bound and (bound[0].canonical or bound[-1].canonical):
                    surroundings += _BOUND
                if record.row_owners:
                    surroundings += _ROW
                key = (
                    id(record.plan),
                    id(record.database),
                    identities.columns,
                    identities.encodings,
                    surroundings,
                )
                cell = cells.get(key)
                if cell is None:
                    if len(cells) >= _MAX_CELLS:
                        self._fold()
                    cell = cells[key] = _Cell(record, surroundings)
                    if record.adopted is not None:
                        self.adopts = True
                cell.count += 1

    def fold(self) -> None:
        """Turn what was counted into names; called from time to time, so that no text is kept for long."""
        with self._lock:
            self._fold()

    def _fold(self) -> None:
        for cell in self._cells.values():
            self._name(cell)
        self._cells.clear()

    def _name(self, cell: _Cell) -> None:
        plan, count, source = cell.plan, cell.count, cell.source
        kind = plan.kind
        database = self._database(cell.database.attributes)
        if kind is Kind.WRITE:
            self._writes[source] += count
            tables = plan.tables[:1]
        elif kind is Kind.READ:
            self._reads[source] += count
            tables = plan.tables
        else:
            self._ddl += count * (kind is Kind.DDL)
            self._other += count * (kind is not Kind.DDL)
            tables = ()
        if not plan.complete:
            self._incomplete += count
        if cell.entry:
            self._with_entry += count
        if database is not None:
            database.reads += count * (kind is Kind.READ)
            database.writes += count * (kind is Kind.WRITE)
        fingerprint = "" if database is None else database.fingerprint
        for table in tables:
            place = (fingerprint, table[:MAX_NAME])
            found = self._tables.get(place)
            if found is None:
                if len(self._tables) >= MAX_TABLES:
                    self._more += count
                    continue
                found = self._tables[place] = ([0, 0, 0, 0], [0, 0, 0, 0])
                self.news += 1
            found[kind is Kind.WRITE][source] += count
        # Several values of one column are one use of it.
        for name, domain, clause, encoding in dict.fromkeys(
            zip(cell.columns, cell.domains, cell.clauses, cell.encodings, strict=True)
        ):
            column = (name[:MAX_NAME], domain, str(clause), encoding)
            if column not in self._columns:
                if len(self._columns) >= MAX_COLUMNS:
                    continue
                self._columns[column] = 0
                self.news += 1
            self._columns[column] += count

    def _database(self, said: dict[str, Any]) -> _Database | None:
        key = (
            said.get(semconv.DATABASE_FINGERPRINT, ""),
            said.get(semconv.DATABASE_URL, ""),
            said.get(semconv.DATABASE_SCHEMA, ""),
            said.get(semconv.DATABASE_ROLE, ""),
        )
        found = self._databases.get(key)
        if found is None and len(self._databases) < MAX_DATABASES:
            found = self._databases[key] = _Database(key[0], said)
            self.news += 1
        return found

    def read(self) -> dict[str, Any]:
        """Everything counted so far, as fields of an :class:`~.inventory_report.Inventory`."""
        with self._lock:
            self._fold()
            return {
                "seconds": (ambient.now_ns() - self.since) / 1e9,
                "reads": Sources(*self._reads),
                "writes": Sources(*self._writes),
                "ddl": self._ddl,
                "other": self._other,
                "parsed_by_keywords": self._incomplete,
                "with_entry": self._with_entry,
                "more": self._more,
                "databases": tuple(one.seen() for one in self._databases.values()),
                "tables": tuple(
                    SeenTable(database, table, Sources(*reads), Sources(*writes))
                    for (database, table), (reads, writes) in self._tables.items()
                ),
                "columns": tuple(SeenColumn(*names, count) for names, count in self._columns.items()),
            }


class _Database:
    """Reads and writes of one database."""

    __slots__ = ("_said", "fingerprint", "reads", "writes")

    def __init__(self, fingerprint: str, said: dict[str, Any]) -> None:
        self.fingerprint = fingerprint
        self._said = said
        self.reads = self.writes = 0

    def seen(self) -> SeenDatabase:
        """As the inventory shows it."""
        said = self._said
        return SeenDatabase(
            fingerprint=self.fingerprint,
            rungs=tuple(said.get(semconv.DATABASE_FINGERPRINTS, ())),
            system=said.get(semconv.DB_SYSTEM_NAME, ""),
            namespace=said.get(semconv.DB_NAMESPACE, ""),
            schema=said.get(semconv.DATABASE_SCHEMA, ""),
            role=said.get(semconv.DATABASE_ROLE, ""),
            url=said.get(semconv.DATABASE_URL, ""),
            url_variable=said.get(semconv.DATABASE_URL_VARIABLE, ""),
            reads=self.reads,
            writes=self.writes,
        )
