"""What share of an application's writes carries an identity, from which source, and what carries none."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

_WHOLE = re.compile(r"\s*(?:DELETE|UPDATE)\b(?!.*\bWHERE\b)", re.IGNORECASE | re.DOTALL)
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
    def of_whole_tables(self) -> int:
        """DELETE and UPDATE without any condition: they can name nobody. Tests empty tables so."""
        return sum(times for (_, text), times in self.missing.items() if is_whole_table(text))

    def share_beside(self, rest: Iterable[str]) -> float:
        """Share with an identity, leaving out writes without one that belong to nobody.

        Those are DELETE and UPDATE of whole tables, and what ``rest`` names, by table or by the whole text.
        """
        names = set(rest)
        nobodys = sum(
            times
            for (table, text), times in self.missing.items()
            if table in names or text in names or is_whole_table(text)
        )
        belonging = self.total - nobodys
        return 1.0 if not belonging else (self.total - self.executions["none"]) / belonging


def share(counts: Counter[str], sources: Iterable[str]) -> float:
    """The part of ``counts`` that ``sources`` have; 1 of nothing."""
    total = counts.total()
    return 1.0 if not total else sum(counts[source] for source in sources) / total


def is_whole_table(text: str) -> bool:
    """Tell whether a write is a DELETE or UPDATE without a WHERE, not even in a subquery of it."""
    return _WHOLE.match(text) is not None


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
