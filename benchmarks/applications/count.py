"""What share of an application's writes carries an identity, from which source, and what carries none."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

_CHANGE = re.compile(r"\s*(?:DELETE|UPDATE)\b", re.IGNORECASE)
_WHERE = re.compile(r"\bWHERE\b(.*)", re.IGNORECASE | re.DOTALL)
#: A condition that says which rows: a column equals something, or is one of several.
_EQUALITY = re.compile(r"(?<![<>!=])=(?!=)|(?<!\bNOT )\bIN\b", re.IGNORECASE)
#: From where a statement's identity comes: a column that it names, the row that it touches (as the ORM
#: session knows it), the request's binding, or nowhere.
SOURCES = ("column", "row", "bound", "none")
#: Those that say one.
NAMED = SOURCES[:-1]


@dataclass
class Table:
    """Writes of one table."""

    name: str
    writes: int = 0
    rows: int = 0
    sources: Counter[str] = field(default_factory=Counter)
    #: ``table.column`` (domain), with the number of writes that name it.
    columns: Counter[str] = field(default_factory=Counter)

    @property
    def without(self) -> int:
        """Writes that carry no identity."""
        return self.sources["none"]


@dataclass
class Count:
    """Statements of one kind, by source: executions, rows, and distinct texts."""

    executions: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    texts: Counter[str] = field(default_factory=Counter)
    domains: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    tables: dict[str, Table] = field(default_factory=dict)
    #: Texts of statements without an identity, with the table and how often they ran.
    missing: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """Executions."""
        return self.executions.total()

    def share(self, *sources: str) -> float:
        """Of executions; 1 where there was none."""
        return share(self.executions, sources or NAMED)

    @property
    def at_large(self) -> int:
        """UPDATE and DELETE that say of no row which one it is; see :func:`is_at_large`."""
        return sum(times for (_, text), times in self.missing.items() if is_at_large(text))

    def of_nobody(self, somebodys: Collection[str], declared: Collection[str]) -> int:
        """Writes into tables that are declared, and do not belong to somebody."""
        return sum(
            table.writes
            for name, table in self.tables.items()
            if name.lower() in declared and name.lower() not in somebodys
        )

    def share_of_somebodys(self, somebodys: Collection[str], declared: Collection[str]) -> float:
        """Share with an identity of the writes into tables that belong to somebody.

        Writes at large are left out. A table that the application does not declare belongs to somebody.
        """
        named = others = 0
        for name, table in self.tables.items():
            if name.lower() in somebodys or name.lower() not in declared:
                named += table.writes - table.without
                others += table.without
        others -= sum(
            times
            for (name, text), times in self.missing.items()
            if (name.lower() in somebodys or name.lower() not in declared) and is_at_large(text)
        )
        return named / (named + others) if named + others else 1.0


def share(counts: Counter[str], sources: Iterable[str]) -> float:
    """The part of ``counts`` that ``sources`` have; 1 of nothing."""
    total = counts.total()
    return 1.0 if not total else sum(counts[source] for source in sources) / total


def is_at_large(text: str) -> bool:
    """Tell whether an UPDATE or DELETE takes rows as they come: all of them, those of an age, all but some.

    No column equals anything in its WHERE, if it has one, nor in a subquery of it.
    """
    if _CHANGE.match(text) is None:
        return False
    where = _WHERE.search(text)
    return where is None or _EQUALITY.search(where[1]) is None


def source_of(statement: dict[str, Any]) -> str:
    """One of SOURCES."""
    if statement["identities"]:
        return "column"
    if statement.get("row"):
        return "row"
    return "bound" if statement["bound"] else "none"


def count(statements: Iterable[dict[str, Any]], kind: str, *, migrations: bool = False) -> Count:
    """Count the statements of one kind (``write``, ``read``) as the observer wrote them down.

    What Alembic's migrations did is counted instead with ``migrations``: it is no work for anybody.
    """
    result = Count()
    for statement in statements:
        if statement["kind"] != kind or statement["migration"] is not migrations:
            continue
        source, times = source_of(statement), statement["count"]
        result.executions[source] += times
        result.rows[source] += statement["rows"]
        result.texts[source] += 1
        result.operations[statement["operation"]] += times
        for domain in {use[1] for use in statement["identities"]}:
            result.domains[domain] += times
        name = statement["tables"][0] if statement["tables"] else "(none)"
        table = result.tables.setdefault(name, Table(name))
        table.writes += times
        table.rows += statement["rows"]
        table.sources[source] += times
        for column in {f"{use[0]} ({use[1]})" for use in statement["identities"]}:
            table.columns[column] += times
        if source == "none":
            result.missing[(name, " ".join(statement["text"].split()))] += times
    return result


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What ended otherwise, or ran in one run only, as lines for people; empty where all is the same."""
    return [
        f"{name}: {before.get(name, 'did not run')}, then {after.get(name, 'did not run')}"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]
