"""What an inventory says: typed facts about one process, and the same as text for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

#: Whether values of identities leave the process: as keyed hashes, as unkeyed ones, or not at all.
Hashes = Literal["keyed", "unkeyed", "left_out"]

_LISTED: Final = 12


@dataclass(frozen=True, slots=True)
class Sources:
    """Statements by what names the identity in them.

    ``column``: an identity column does. ``row``: the row, as the ORM session has it loaded. ``bound``: only
    the identity that the work was bound to. ``none``: nothing.
    """

    column: int = 0
    bound: int = 0
    none: int = 0
    row: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.column + self.row + self.bound + self.none

    @property
    def share(self) -> float:
        """Share that carries an identity from any source, 0 to 1; 1 where there is no statement."""
        return 1 - self.none / self.total if self.total else 1.0


@dataclass(frozen=True, slots=True)
class SeenDatabase:
    """One database, role, schema and URL. ``rungs`` are names with digits, the best first."""

    fingerprint: str
    rungs: tuple[str, ...]
    system: str
    namespace: str
    schema: str
    role: str
    url: str
    url_variable: str
    reads: int
    writes: int

    @property
    def rung(self) -> str:
        """Name of the best rung, "" where nothing could be read."""
        return self.rungs[0].partition(":")[0] if self.rungs else ""


@dataclass(frozen=True, slots=True)
class SeenTable:
    """One table of one database. A write counts where it writes, a read for each table that it names."""

    database: str
    table: str
    reads: Sources
    writes: Sources


@dataclass(frozen=True, slots=True)
class SeenColumn:
    """One identity column (``table.column``) in one clause (``where``, ``set``) and one encoding."""

    column: str
    domain: str
    clause: str
    encoding: str
    statements: int


@dataclass(frozen=True, slots=True)
class Inventory:
    """What Trueline saw in this process since it was switched on, or since the fork that made the process.

    ``seconds``: for how long. ``parsed_by_keywords``: statements too odd to be parsed wholly. ``with_entry``:
    statements with an entry span. ``more``: statements on tables beyond those that are listed.
    ``sample``: share of identities whose statements leave. ``unseen``, ``lost``, ``internal_errors``: as in
    ``setup.status()``. ``ai_calls``: calls of models that were seen; ``ai_clients``: libraries for such calls
    that the process has loaded.
    """

    seconds: float = 0.0
    process_kind: str = ""
    spans: str = "own"
    key_id: str = ""
    hashes: Hashes = "keyed"
    sample: float = 1.0
    follows_trace_sampler: bool = False
    reads: Sources = Sources()
    writes: Sources = Sources()
    ddl: int = 0
    other: int = 0
    parsed_by_keywords: int = 0
    with_entry: int = 0
    more: int = 0
    databases: tuple[SeenDatabase, ...] = ()
    tables: tuple[SeenTable, ...] = ()
    columns: tuple[SeenColumn, ...] = ()
    unseen: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    internal_errors: dict[str, int] = field(default_factory=dict)
    ai_calls: int = 0
    ai_clients: tuple[str, ...] = ()

    @property
    def statements(self) -> int:
        """All statements, of every kind."""
        return self.reads.total + self.writes.total + self.ddl + self.other

    @property
    def nameless_tables(self) -> tuple[SeenTable, ...]:
        """Tables that are written and of which no write carries an identity, busiest first."""
        found = [one for one in self.tables if one.writes.total and one.writes.none == one.writes.total]
        return tuple(sorted(found, key=lambda one: -one.writes.total))

    def describe(self) -> str:
        """The inventory in plain sentences, one a line."""
        return "\n".join(_sentences(self))


def _sentences(seen: Inventory) -> Iterable[str]:
    if not seen.statements:
        yield "Trueline has seen no statement in this process."
        return
    yield (
        f"Seen in {seen.seconds:.0f} seconds: {_count(seen.statements, 'statement')}, "
        f"{_count(seen.writes.total, 'write')} and {_count(seen.reads.total, 'read')}, in "
        f"{_count(len(seen.databases), 'database')}."
    )
    for database in seen.databases:
        place = f", schema {database.schema}" if database.schema not in ("", "public") else ""
        variable = f" (from {database.url_variable})" if database.url_variable else ""
        yield (
            f"Database {database.namespace or database.system}{place}: {database.url}{variable}, "
            f"{database.role}, recognised by {database.rung.replace('_', ' ') or 'nothing'}."
        )
    for name, sources in (("Writes", seen.writes), ("Reads", seen.reads)):
        if sources.total:
            yield (
                f"{name} with an identity: {percent(sources.share)}; {sources.column} by a column, "
                f"{sources.row} by their row, {sources.bound} by the bound identity only, "
                f"{sources.none} by nothing."
            )
    if seen.nameless_tables:
        named = (f"{one.table} ({one.writes.total})" for one in seen.nameless_tables)
        yield f"Tables of which no write names anybody: {_few(list(named))}."
    if seen.columns:
        yield f"Identity columns: {_few(_columns(seen.columns))}."
    yield from _blind(seen)


def _blind(seen: Inventory) -> Iterable[str]:
    if seen.more:
        yield f"{_count(seen.more, 'statement')} named tables beyond the {len(seen.tables)} that are listed."
    if seen.with_entry < seen.statements:
        outside = _count(seen.statements - seen.with_entry, "statement")
        yield (
            f"{outside} ran outside of any span: bind_identity(), bind_message() or an instrumentation of "
            "the web framework opens one."
        )
    if seen.ai_clients and not seen.ai_calls:
        yield (
            f"{_few(seen.ai_clients)}: loaded, and no call of a "
            "model was seen: a GenAI or HTTP client instrumentation, or ai_call(), tells of them."
        )
    if seen.parsed_by_keywords:
        yield f"{_count(seen.parsed_by_keywords, 'statement')} could be read by keywords only."
    if seen.hashes == "left_out":
        yield "No identity leaves this process: set TRUELINE_HASH_SECRET, the same in every service."
    elif seen.hashes == "unkeyed":
        yield "Identities are hashed without a secret, which is good for this machine only."
    if seen.sample < 1:
        yield f"{percent(seen.sample)} of identities is kept (TRUELINE_SAMPLE)."
    if seen.unseen.get("transactions"):
        yield (
            f"{_count(seen.unseen['transactions'], 'transaction')} ran on raw driver connections, past "
            "SQLAlchemy, and could not be seen."
        )
    if seen.lost:
        reasons = _few([f"{reason} {count}" for reason, count in seen.lost.items()])
        yield f"{_count(sum(seen.lost.values()), 'span')} got lost: {reasons}."
    if seen.internal_errors:
        times = _count(sum(seen.internal_errors.values()), "time")
        yield f"Trueline itself failed {times}; the logger trueline has said where."


def _columns(columns: Sequence[SeenColumn]) -> list[str]:
    """Each column once, with its domain and the encodings seen in it."""
    ways: dict[tuple[str, str], dict[str, None]] = {}
    for one in columns:
        ways.setdefault((one.column, one.domain), {})[one.encoding] = None
    return [f"{column} ({domain}; {' and '.join(found)})" for (column, domain), found in ways.items()]


def _few(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _LISTED} more" if len(texts) > _LISTED else ""
    return ", ".join(texts[:_LISTED]) + more


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"


def percent(share: float) -> str:
    """A share as text that never rounds up to all or down to nothing."""
    if 0.995 <= share < 1:
        return "over 99 %"
    if 0 < share < 0.01:
        return f"{share * 100:.2g} %"
    return f"{share * 100:.0f} %"
