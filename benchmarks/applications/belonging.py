"""Which tables belong to somebody: decided from the declared schema, whatever Trueline recognises.

A recipe names the tables whose rows are people, or groups of people whose data is kept apart (tenants). A
table belongs to somebody when it is one of these, or a chain of foreign keys leads from it to one. The other
tables (settings, roles, lookup tables, an administrator's keys) hold nobody's data: no write into them has an
identity that it could carry.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any


def belonging(
    schema: Mapping[str, Mapping[str, Any]],
    people: Collection[str],
    holding: Collection[str] = (),
    unowned: Collection[str] = (),
) -> dict[str, str]:
    """Return the tables of ``schema`` that belong to somebody, each with the reason in words.

    ``holding``: columns (``table.column``) that hold a person without a foreign key; ``unowned``: foreign
    keys that do not say whose a row is. ValueError names what the schema does not have.
    """
    for table in people:
        if table not in schema:
            raise ValueError(f"people: the application declares no table {table!r}")
    for name in (*holding, *unowned):
        table, _, column = name.rpartition(".")
        if column not in schema.get(table, {}).get("columns", ()):
            raise ValueError(f"the application declares no column {name!r}")
    found = dict.fromkeys(people, "holds people")
    found |= {name.rpartition(".")[0]: f"{name} holds a person" for name in holding}
    while True:
        more = {
            table: f"{table}.{column} leads to {target}"
            for table, facts in schema.items()
            if table not in found
            for column, targets in facts["references"].items()
            if f"{table}.{column}" not in unowned
            for target in targets
            if target in found
        }
        if not more:
            return found
        found |= more
