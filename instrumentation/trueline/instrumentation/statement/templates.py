"""What is known of every statement that shares a template, with the columns that name identities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trueline.instrumentation.identity.config import Domains
from trueline.instrumentation.semconv import Clause, Kind
from trueline.instrumentation.statement.facts import Comparison, Facts
from trueline.instrumentation.statement.keys import is_key_of


@dataclass(frozen=True, slots=True)
class SlotUse:
    """An identity column and the numbers of the value slots that it is compared with or set to."""

    column: str
    domain: str
    clause: Clause
    slots: tuple[int, ...]
    transform: str


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


def template_of(facts: Facts, columns: Domains) -> Template:
    """Return the template of what was read, with the columns that name identities."""
    tables = facts.tables
    return Template(
        kind=facts.kind,
        operation=facts.operation,
        tables=tables,
        filters=facts.filters,
        lock=facts.lock,
        self_update=facts.self_update,
        on_conflict=facts.on_conflict,
        identities=tuple(_identities(facts.comparisons, columns)),
        row_filter=tuple(_row_filter(facts.comparisons, tables[0])) if tables else (),
    )


def _identities(comparisons: Sequence[Comparison], columns: Domains) -> list[SlotUse]:
    uses: dict[SlotUse, None] = {}
    for one in comparisons:
        domain = columns.domain_of(one.table, one.column)
        if domain is not None:
            name = f"{one.table}.{one.column}"
            uses[SlotUse(name, domain, one.clause, one.slots, one.transform)] = None
    return list(uses)


def _row_filter(comparisons: Sequence[Comparison], table: str) -> list[SlotUse]:
    uses: dict[str, SlotUse] = {}
    for one in comparisons:
        where = one.clause is Clause.WHERE and one.certain and one.table == table
        if where and len(one.slots) == 1 and is_key_of(table, one.column):
            name = f"{table}.{one.column}"
            uses.setdefault(name, SlotUse(name, "", Clause.WHERE, one.slots, ""))
    return [uses[name] for name in sorted(uses)]
