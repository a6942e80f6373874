"""Whose row a statement touches that names nobody: told by what the ORM session has loaded.

``UPDATE orders SET ... WHERE id = ?`` names no user, but the order with that key is loaded and has a
``user_id``; ``INSERT INTO order_items (order_id, ...)`` names an order that is. Runs beside statements of ORM
sessions that carry no identity, and looks at no more than the first rows of a batch.
"""

from __future__ import annotations

import weakref
from typing import Any, Final

from trueline.instrumentation.guard import swallow
from trueline.instrumentation.identity.identities import BoundIdentity
from trueline.instrumentation.identity.mapped import MappedTables
from trueline.instrumentation.identity.parameters import MANY, rows_of, values_of
from trueline.instrumentation.identity.recognition import Recogniser
from trueline.instrumentation.statement.plan import IdentityUse, Ownership, Way

#: Rows of one statement that are looked at.
_MAX_ROWS: Final = 8

#: Domain and exported value of each owner; the value is "" where hashes do not leave the process.
Owners = tuple[tuple[str, str], ...]


class RowOwners:
    """Finds the owners of rows. Thread-safe; never raises for any input."""

    def __init__(self, recogniser: Recogniser) -> None:
        self._recogniser = recogniser
        self._tables = MappedTables()

    def find(
        self,
        session_ref: weakref.ref[Any],
        ownership: Ownership,
        parameters: object,
        *,
        executemany: bool,
        bound: tuple[BoundIdentity, ...],
        dialect: Any,
    ) -> Owners:
        """Return whose rows one execution touches, each once, as far as the session knows; else ()."""
        try:
            session = session_ref()
            if session is None:
                return ()
            search = _Search(self._tables, self._recogniser, session, bound, dialect)
            if not executemany:
                return search.owners(ownership, parameters)
            found: dict[tuple[str, str], None] = {}
            for row in rows_of(parameters)[:_MAX_ROWS]:
                found.update(dict.fromkeys(search.owners(ownership, row)))
            return tuple(found)
        except TypeError:
            return ()  # a value that cannot be a key
        except Exception as error:
            swallow("identity.rows", error)
            return ()


class _Search:
    """One execution's search."""

    __slots__ = ("_bound", "_dialect", "_recogniser", "_session", "_tables")

    def __init__(
        self,
        tables: MappedTables,
        recogniser: Recogniser,
        session: Any,
        bound: tuple[BoundIdentity, ...],
        dialect: Any,
    ) -> None:
        self._tables = tables
        self._recogniser = recogniser
        self._session = session
        self._bound = bound
        self._dialect = dialect

    def owners(self, ownership: Ownership, parameters: object) -> Owners:
        """Return the owners of what one set of parameters touches."""
        found = self._of_parents(ownership.ways, parameters) if ownership.linked else ()
        keys = ownership.keys
        if found or not keys:
            return found
        if len(keys) == 1:
            each = [(value,) for value in _values(keys, parameters)]
        else:
            each = list(zip(*[_values((use,), parameters) for use in keys], strict=False))
        if len(each) == 1:
            owner = self._of_row(ownership, each[0])
            return () if owner is None else (owner,)
        owners = dict.fromkeys(self._of_row(ownership, key) for key in each)
        return tuple(owner for owner in owners if owner is not None)

    def _of_parents(self, ways: tuple[Way, ...], parameters: object) -> Owners:
        """The owners of the rows that the statement's own values refer to."""
        if len(ways) == 1:
            (way,) = ways
            values = _values(way.links, parameters)
            if len(values) == 1:  # nearly always
                owner = None if values[0] is None else self._follow(way, values[0])
                return () if owner is None else (owner,)
        columns = [_values(way.links, parameters) if way.links else [] for way in ways]
        owners = [
            self._agreed(ways, [column[place] if place < len(column) else None for column in columns])
            for place in range(max(map(len, columns)))
        ]
        return tuple(owner for owner in dict.fromkeys(owners) if owner is not None)

    def _of_row(self, ownership: Ownership, key: tuple[object, ...]) -> tuple[str, str] | None:
        """The owner of the row with this key."""
        tables, table = self._tables, ownership.table
        state = tables.find(self._session, table, key, self._dialect)
        if state is None:
            return None
        ways = ownership.ways
        if len(ways) == 1:
            (way,) = ways
            steps = way.steps
            value, attribute = tables.value_of(state, table, steps[0][1])
            if value is None:
                return None
            return self._follow(way, value if len(steps) > 1 else self._written(value, attribute))
        values = []
        for way in ways:
            value, attribute = tables.value_of(state, table, way.steps[0][1])
            if value is not None and len(way.steps) == 1:
                value = self._written(value, attribute)
            values.append(value)
        return self._agreed(ways, values)

    def _agreed(self, ways: tuple[Way, ...], values: list[Any]) -> tuple[str, str] | None:
        """The owner that all ways lead to that lead anywhere; None where one of them cannot be followed."""
        found = None
        for way, value in zip(ways, values, strict=True):
            if value is None:
                continue
            owner = self._follow(way, value)
            if owner is None or (found is not None and owner != found):
                return None
            found = owner
        return found

    def _follow(self, way: Way, value: Any) -> tuple[str, str] | None:
        """Go from the first column's value over loaded rows to the identity."""
        steps = way.steps
        for table, column in steps[1:]:
            state = self._tables.find(self._session, table, (value,), self._dialect)
            if state is None:
                return None
            value, attribute = self._tables.value_of(state, table, column)
            if value is None:
                return None
        if len(steps) > 1:
            value = self._written(value, attribute)
        classified, _ = self._recogniser.classify(way.use, value, self._bound)
        return None if classified is None else (way.use.domain, classified[1])

    def _written(self, value: Any, attribute: Any) -> Any:
        """The value as statements give it to the driver: an identity looks the same from either side."""
        column = None if attribute is None else attribute.column()
        if column is None:
            return None
        process = column.type._cached_bind_processor(self._dialect)
        return value if process is None else process(value)


def _values(uses: tuple[IdentityUse, ...], parameters: Any) -> list[object]:
    found: list[object] = []
    for use in uses:
        if use.key is not None:
            try:
                value = parameters[use.key]
            except Exception:  # fewer parameters than placeholders: the database says so
                return found
            if not isinstance(value, MANY):
                found.append(value)
                continue
        found.extend(values_of(use, parameters, _MAX_ROWS))
    return found[:_MAX_ROWS]
