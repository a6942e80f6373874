"""Which column is the key of which table, by their names."""

from __future__ import annotations

import functools
from typing import Final

_KEYS: Final = ("id", "uuid", "guid", "pk")


@functools.lru_cache(maxsize=4096)
def singulars(table: str) -> frozenset[str]:
    """Return what one row of a table may be called: expenses -> expense, categories -> category."""
    name = table.rpartition(".")[2].lower()
    found = {name}
    if name.endswith("ies"):
        found.add(f"{name[:-3]}y")
    if name.endswith("es"):
        found.add(name[:-2])
    if name.endswith("s"):
        found.add(name[:-1])
    return frozenset(found)


def is_key_of(table: str, column: str) -> bool:
    """Tell whether a column looks like the primary key of a table: id, uuid, <row>_id."""
    name = column.lower()
    if name in _KEYS:
        return True
    row, _, key = name.rpartition("_")
    return key in _KEYS and row in singulars(table)
