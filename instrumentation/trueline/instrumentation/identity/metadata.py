"""From SQLAlchemy's metadata to what is known of tables. Reads declarations only.

No mapper is configured, nothing is reflected, no lock of SQLAlchemy's is taken, and no object of the
application is kept. Runs where a statement's text is new, never on the hot path.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from trueline.instrumentation.identity.defaults import snake_case
from trueline.instrumentation.identity.tables import KnownTables, TableFacts

#: A statement names a table among its first elements, or has no table.
_MAX_ELEMENTS: Final = 64
_MAX_REGISTRIES: Final = 64
_MAX_METADATA: Final = 256
_MAX_COLUMNS: Final = 1000


class MetadataReader:
    """Notes tables of every MetaData that statements lead to, each once and again when it has grown."""

    def __init__(self, tables: KnownTables) -> None:
        self._tables = tables
        self._read: dict[int, tuple[weakref.ref[Any], int]] = {}

    def read_from(self, context: Any) -> set[str]:
        """Read what an execution context leads to; the names of tables of which something new was learnt.

        With SQLAlchemy's statement at hand its first table leads to the metadata; of SQL text nothing does,
        and the mapped classes' own are looked at. Never raises.
        """
        changed: set[str] = set()
        try:
            found = _metadata_of(context)
            for metadata in [found] if found is not None else _of_mapped_classes():
                changed |= self._read_metadata(metadata)
        except Exception:  # foreign objects, and private names that another release may lack
            return changed
        return changed

    def _read_metadata(self, metadata: Any) -> set[str]:
        size = len(metadata.tables)
        known = self._read.get(id(metadata))
        if known is not None and known[0]() is metadata and known[1] == size:
            return set()
        if known is None and len(self._read) >= _MAX_METADATA:
            for key in list(self._read)[: _MAX_METADATA // 8]:
                self._read.pop(key, None)
        try:
            tables = list(metadata.tables.values())
            return {facts.name for table in tables if self._tables.learn(facts := _facts_of(table))}
        finally:
            # At the end: another thread must not take for known what is being read just now. Whatever goes
            # wrong goes wrong once.
            self._read[id(metadata)] = (weakref.ref(metadata), size)


def _metadata_of(context: Any) -> Any:
    visitors = sys.modules.get("sqlalchemy.sql.visitors")
    schema = sys.modules.get("sqlalchemy.sql.schema")
    statement = getattr(getattr(context, "compiled", None), "statement", None)
    if visitors is None or schema is None or statement is None:
        return None
    table_class = schema.Table
    for element in islice(visitors.iterate(statement), _MAX_ELEMENTS):
        if isinstance(element, table_class):
            return element.metadata
    return None


def _of_mapped_classes() -> Iterator[Any]:
    # Its public relatives wait for a lock that a thread holds while it configures mappers.
    mapper = sys.modules.get("sqlalchemy.orm.mapper")
    for registry in list(getattr(mapper, "_mapper_registries", ()))[:_MAX_REGISTRIES]:
        yield registry.metadata


def _facts_of(table: Any) -> TableFacts:
    references: dict[str, list[tuple[str, str]]] = {}
    for key in list(table.foreign_keys):
        target, _, column = key.target_fullname.rpartition(".")
        other = table.metadata.tables.get(target)
        if other is not None and column in other.columns:
            column = other.columns[column].name  # its key was declared, which need not be its name
        pair = (str(target).lower(), snake_case(str(column)))
        references.setdefault(snake_case(str(key.parent.name)), []).append(pair)
    return TableFacts(
        str(table.fullname).lower(),  # str: a quoted_name's own lower() leaves it as it is
        tuple(table.columns.keys()[:_MAX_COLUMNS]),
        tuple(snake_case(str(column.name)) for column in table.primary_key.columns),
        {column: tuple(sorted(targets)) for column, targets in sorted(references.items())},
    )
