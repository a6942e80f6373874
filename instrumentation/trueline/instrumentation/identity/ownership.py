"""Over which foreign keys a table's rows lead to somebody, where no column of theirs says to whom.

A table can lead to several people: an item of an order to who ordered it and to who sells the product. The
parent that the table is named after decides (``order_items`` and ``orders``); where none is, users go before
groups and short ways before long ones. What is left then has to agree, row by row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trueline.instrumentation.identity.defaults import is_latest
from trueline.instrumentation.statement.keys import singulars

if TYPE_CHECKING:
    from trueline.instrumentation.identity.columns import IdentityColumns
    from trueline.instrumentation.identity.tables import TableFacts

#: Columns from a row to whose it is, the identity column among them.
MAX_STEPS: Final = 4
_MAX_TABLES: Final = 64
_MAX_WAYS: Final = 4

#: ``(("order_items.order_id", "orders.user_id"), "user")``: columns, and the domain of the last one.
Path = tuple[tuple[str, ...], str]


def ways_from(columns: IdentityColumns, facts: TableFacts) -> tuple[Path, ...]:
    """Return the ways that count for a table, each beginning with another column; () where there is none.

    Only references to a whole primary key are followed: a loaded row is found by nothing else.
    """
    found: list[Path] = []
    seen = {facts.name}
    reached: list[tuple[tuple[str, ...], TableFacts]] = [((), facts)]
    for path, at in reached:
        ends = [
            (column, domain)
            for column in dict.fromkeys((*at.references, *at.columns))
            if column != "id" and (domain := columns.domain_of(at.name, column)) is not None
        ]
        if ends:
            # a user says more than the group that the user is in
            column, domain = next((one for one in ends if one[1] == "user"), ends[0])
            found.append(((*path, f"{at.name}.{column}"), domain))
            continue
        if len(path) >= MAX_STEPS - 1:
            continue
        for column, targets in at.references.items():
            if is_latest(column):
                continue  # a forum is not its last poster's
            for name, key in targets:
                other = columns.tables.get(name)
                if other is None or other.primary_key != (key,) or len(reached) >= _MAX_TABLES:
                    continue
                # Two columns of the table itself may lead to one parent; further on, once is enough.
                if name in seen and (path or name == facts.name):
                    continue
                seen.add(name)
                reached.append(((*path, f"{at.name}.{column}"), other))
    if not found:
        return ()
    ranks = {way: _rank(facts.name, way) for way in found}
    best = min(ranks.values())
    first: dict[str, Path] = {}
    for way in found:
        if ranks[way] == best:
            first.setdefault(way[0][0], way)
    return tuple(first.values()) if len(first) <= _MAX_WAYS else ()


def _rank(table: str, way: Path) -> tuple[bool, bool, int]:
    path, domain = way
    named_after = False
    if len(path) > 1:
        bare = table.rpartition(".")[2]
        named_after = any(bare.startswith(name) for name in singulars(path[1].rpartition(".")[0]))
    return not named_after, domain != "user", len(path)
