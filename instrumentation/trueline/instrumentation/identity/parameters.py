"""Values of identity columns in what goes to the driver's cursor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from trueline.instrumentation.statement.plan import IdentityUse, Literal, Series

#: Values of one column that are looked at; further ones are only counted.
MAX_VALUES: Final = 1000
MANY: Final = (list, tuple, set, frozenset)


def rows_of(parameters: object) -> Sequence[object]:
    """Return the parameter sets of an executemany.

    SQLAlchemy says executemany also of one INSERT whose VALUES it repeated for many rows; its parameters
    are then one flat tuple or mapping, read by the plan's series.
    """
    if isinstance(parameters, list | tuple) and parameters:
        first = parameters[0]
        # a list first in a flat tuple is an array value
        if isinstance(first, tuple | Mapping) or (isinstance(first, list) and isinstance(parameters, list)):
            return parameters
    return (parameters,)


def values_of_rows(use: IdentityUse, rows: Sequence[Any]) -> list[object]:
    """Return the values of one use in the first rows of an executemany."""
    if use.key is not None:
        key = use.key
        try:
            values = [row[key] for row in rows[:MAX_VALUES]]
        except Exception:  # a row with fewer parameters than placeholders, say
            values = []
        if values and not any(isinstance(value, MANY) for value in values):
            return values
    return [value for row in rows[:MAX_VALUES] for value in values_of(use, row, MAX_VALUES)]


def values_of(use: IdentityUse, parameters: Any, limit: int) -> Iterator[object]:
    """Yield the values of one use, arrays element by element; what cannot be found is None."""
    for source in use.sources:
        if isinstance(source, Literal):
            yield source.value
            continue
        keys: Iterable[int | str] = source.keys(limit) if isinstance(source, Series) else (source,)
        for key in keys:
            try:
                value = parameters[key]
            except Exception:  # fewer parameters than placeholders: the database will say so
                value = None
            if isinstance(value, MANY):
                yield from list(value)[:limit]
            else:
                yield value
