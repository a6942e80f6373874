"""What is known of the application's tables: keys and references, as names only.

Nothing of the application is kept alive by it, and nothing is asked of a database. Bounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

_MAX_TABLES: Final = 5000
_MAX_REFERRING: Final = 1000
#: A table that is declared differently again and again (by throwaway metadata) is left as it is.
_MAX_CHANGES: Final = 8


@dataclass(frozen=True, slots=True)
class TableFacts:
    """One table. Names of tables are in lower case, with the schema that they declare. Columns are in snake
    case, except in ``columns``, where they are as SQLAlchemy keeps them.

    ``references`` are the columns with a foreign key, and the (table, column) that each may lead to.
    """

    name: str
    columns: tuple[str, ...] = ()
    primary_key: tuple[str, ...] = ()
    references: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)


class KnownTables:
    """Tables by name, and which columns refer to them. Thread-safe: a race learns the same thing twice."""

    def __init__(self) -> None:
        self._tables: dict[str, TableFacts] = {}
        self._by_bare_name: dict[str, tuple[str, ...]] = {}
        #: Target table: (table, column) that refer to it.
        self._referring: dict[str, dict[tuple[str, str], None]] = {}
        self._changes: dict[str, int] = {}

    def learn(self, facts: TableFacts) -> bool:
        """Note a table; True where something about it is new."""
        before = self._tables.get(facts.name)
        if before is not None and (before == facts or len(facts.columns) < len(before.columns)):
            # Migrations declare the few columns that they change, under the same name, often in the process
            # of the application: they do not know more than the application's own classes.
            return False
        if before is None and len(self._tables) >= _MAX_TABLES:
            return False
        changes = self._changes.get(facts.name, 0)
        if changes >= _MAX_CHANGES:
            return False
        self._changes[facts.name] = changes + 1
        if before is not None:
            for column, targets in before.references.items():
                for table, _ in targets:
                    self._referring.get(table, {}).pop((facts.name, column), None)
        self._tables[facts.name] = facts
        bare = facts.name.rpartition(".")[2]
        known = self._by_bare_name.get(bare, ())
        if facts.name not in known:
            self._by_bare_name[bare] = (*known, facts.name)
        for column, targets in facts.references.items():
            for table, _ in targets:
                referring = self._referring.setdefault(table, {})
                if len(referring) < _MAX_REFERRING:
                    referring[(facts.name, column)] = None
        return True

    def called(self, name: str) -> list[TableFacts]:
        """Return the tables that a name in a statement may mean: with its schema, or in whatever schema."""
        name = name.lower()
        exact = self._tables.get(name)
        if exact is not None:
            return [exact]
        bare = name.rpartition(".")[2]
        return [self._tables[one] for one in self._by_bare_name.get(bare, ()) if one in self._tables]

    def get(self, name: str) -> TableFacts | None:
        """Return the table of exactly this name."""
        return self._tables.get(name)

    def referring_to(self, name: str) -> list[tuple[str, str]]:
        """Return (table, column) of the foreign keys that lead to a table."""
        return list(self._referring.get(name, ()))

    def __iter__(self) -> Iterator[TableFacts]:
        """All tables that are known now."""
        return iter(list(self._tables.values()))

    def __len__(self) -> int:
        """How many tables are known."""
        return len(self._tables)
