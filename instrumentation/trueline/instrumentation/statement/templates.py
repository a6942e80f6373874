"""What is known of every statement that shares a template, with the columns that name identities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from trueline.instrumentation.identity.config import Domains
from trueline.instrumentation.identity.defaults import snake_case
from trueline.instrumentation.semconv import Clause, Kind
from trueline.instrumentation.statement.facts import Comparison, Facts
from trueline.instrumentation.statement.keys import is_key_of

#: Their names of columns, and of tables nearly everywhere, mean the same in any case, quoted or not.
_CASELESS: Final = frozenset({"sqlite", "mysql", "mariadb", "mssql"})


@dataclass(frozen=True, slots=True)
class SlotUse:
    """An identity column and the numbers of the value slots that it is compared with or set to."""

    column: str
    domain: str
    clause: Clause
    slots: tuple[int, ...]
    transform: str


@dataclass(frozen=True, slots=True)
class SlotOwnership:
    """As :class:`~.plan.Ownership`; a way is its path, its domain, and what says the value of its start."""

    table: str
    keys: tuple[SlotUse, ...]
    ways: tuple[tuple[tuple[str, ...], str, tuple[SlotUse, ...]], ...]


@dataclass(frozen=True, slots=True)
class Template:
    """What is known of a statement before its values are: the fields of a plan."""

    kind: Kind
    operation: str
    tables: tuple[str, ...]
    filters: tuple[str, ...]
    lock: bool
    self_update: bool
    on_conflict: str
    identities: tuple[SlotUse, ...]
    row_filter: tuple[SlotUse, ...]
    ownership: SlotOwnership | None = None
    created: SlotUse | None = None


def folds_names(dialect: str) -> bool:
    """Tell whether quoted names mean the same in another case: ``"Users"`` and ``users``."""
    return dialect in _CASELESS


def template_of(facts: Facts, columns: Domains, dialect: str) -> Template:
    """Return the template of what was read, with the columns that name identities."""
    fold = folds_names(dialect)
    tables = tuple(dict.fromkeys(map(str.lower, facts.tables))) if fold else facts.tables
    filters = tuple(dict.fromkeys(map(str.lower, facts.filters))) if fold else facts.filters
    return Template(
        kind=facts.kind,
        operation=facts.operation,
        tables=tables,
        filters=filters,
        lock=facts.lock,
        self_update=facts.self_update,
        on_conflict=facts.on_conflict,
        identities=tuple(_identities(facts.comparisons, columns, fold)),
        row_filter=tuple(_row_filter(facts.comparisons, facts.tables[0], fold)) if tables else (),
        ownership=_ownership(facts, columns) if tables else None,
        created=_created(facts, columns, fold) if tables else None,
    )


def _name(one: Comparison, fold: bool) -> str:
    name = f"{one.table}.{one.column}"
    return name.lower() if fold else name


def _identities(comparisons: Sequence[Comparison], columns: Domains, fold: bool) -> list[SlotUse]:
    uses: dict[SlotUse, None] = {}
    for one in comparisons:
        # As it is written: in ownerId the capital parts two words.
        domain = columns.domain_of(one.table, one.column)
        if domain is not None:
            name = _name(one, fold)
            uses[SlotUse(name, domain, one.clause, one.slots, one.transform)] = None
    return list(uses)


def _row_filter(comparisons: Sequence[Comparison], table: str, fold: bool) -> list[SlotUse]:
    uses: dict[str, SlotUse] = {}
    for one in comparisons:
        where = one.clause is Clause.WHERE and one.certain and one.table == table
        if where and len(one.slots) == 1 and is_key_of(table, one.column):
            name = _name(one, fold)
            uses.setdefault(name, SlotUse(name, "", Clause.WHERE, one.slots, ""))
    return [uses[name] for name in sorted(uses)]


def _created(facts: Facts, columns: Domains, fold: bool) -> SlotUse | None:
    """The key of the row that an INSERT makes, where it is an identity and the statement does not set it."""
    if facts.operation != "INSERT":
        return None
    table = facts.tables[0]
    declared, _ = columns.ways_from(table)
    if declared is None or len(declared.primary_key) != 1:
        return None
    (key,) = declared.primary_key
    domain = columns.domain_of(table, key)
    if domain is None or any(
        one.table == table and one.clause is Clause.SET and snake_case(one.column) == key
        for one in facts.comparisons
    ):
        return None
    name = f"{table}.{key}"
    return SlotUse(name.lower() if fold else name, domain, Clause.SET, (), "")


def _ownership(facts: Facts, columns: Domains) -> SlotOwnership | None:
    """How the rows of the first table lead to somebody, where what was declared of the table says so."""
    if facts.kind not in (Kind.READ, Kind.WRITE):
        return None
    table = facts.tables[0]
    declared, paths = columns.ways_from(table)
    if declared is None or not paths:
        return None
    # What every row has that is touched, by the names that declarations are known by.
    said: dict[str, list[SlotUse]] = {}
    for one in facts.comparisons:
        if one.table == table and one.certain and not one.transform:
            name = snake_case(one.column)
            said.setdefault(name, []).append(SlotUse(f"{table}.{name}", "", one.clause, one.slots, ""))
    keys: tuple[SlotUse, ...] = ()
    # A row that is read by its key is only about to be loaded.
    if facts.kind is Kind.WRITE and declared.primary_key:
        filtered = [
            next((use for use in said.get(name, ()) if use.clause is Clause.WHERE), None)
            for name in declared.primary_key
        ]
        keys = tuple(use for use in filtered if use is not None)
        if len(keys) < len(filtered):
            keys = ()
    ways = tuple(
        (path, domain, tuple(said.get(path[0].rpartition(".")[2], ())) if len(path) > 1 else ())
        for path, domain in paths
    )
    if not keys and not any(links for _, _, links in ways):
        return None
    return SlotOwnership(declared.name, keys, ways)
