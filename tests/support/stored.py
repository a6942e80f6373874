"""What a store holds, read by a process of its own: python stored.py FOLDER.

A process can open one embedded store only, and the one that runs the tests may have another open. Prints a
line of JSON: ``requests``, by TraceState the number of its rows and of distinct span ids; ``differences``,
the derived tables that are not what their views make of their sources anew.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from trueline.monitor.settings import StoreSettings
from trueline.monitor.store.client import Store, open_store


def differences(store: Store) -> dict[str, object]:
    """Derived tables that are not what their views make of their sources anew."""
    views: dict[str, list[str]] = {}
    for statement, select in store.query(
        "SELECT create_table_query, as_select FROM system.tables "
        "WHERE database = currentDatabase() AND engine = 'MaterializedView'"
    ):
        target = str(statement).partition(" TO ")[2].split()[0].partition(".")[2].strip("`")
        views.setdefault(target, []).append(str(select))
    assert len(views) >= 6
    found: dict[str, object] = {}
    for target, selects in views.items():
        there, anew = compared(store, target, selects)
        if there != anew:
            found[target] = (there, anew)
    return found


#: What an entry did counts once an insert: an entry whose transactions come in two inserts counts twice.
_NOT_SUMS: Final = {"writers"}


def compared(store: Store, table: str, selects: list[str]) -> tuple[object, object]:
    """What tells a table's content in short, and the same of what its views make anew.

    Rows are told by their number and a sum of hashes; where rows are merged, by sums, first and last values.
    """
    types = {
        str(name): str(kind)
        for name, kind in store.query(
            "SELECT name, type FROM system.columns WHERE database = currentDatabase() "
            "AND table = {table:String} ORDER BY position",
            {"table": table},
        )
    }
    # An insert that is repeated after a kill arrives again: tables that had its rows keep the first time.
    types.pop("received_at", None)
    types.pop("last_received_at", None)
    made = [{str(row[0]) for row in store.query(f"DESCRIBE ({select})")} for select in selects]
    merged = {
        name: kind.partition("(")[2].partition(",")[0]
        for name, kind in types.items()
        if kind.startswith("SimpleAggregateFunction")
    }
    if merged:
        # A view that does not make a sum adds nothing to it.
        names = [name for name, function in merged.items() if function == "sum" and name not in _NOT_SUMS]
        names += [
            name
            for name, function in merged.items()
            if function in ("min", "max") and all(name in columns for columns in made)
        ]
        shown = ", ".join(f"{merged[name]}(`{name}`)" for name in names)
    else:
        names = [name for name in types if all(name in columns for columns in made)]
        shown = "count(), sum(cityHash64(*))"
    listed = ", ".join(f"`{name}`" for name in names)
    parts = " UNION ALL ".join(
        "SELECT "
        + ", ".join(f"`{name}`" if name in columns else f"0 AS `{name}`" for name in names)
        + f" FROM ({select})"
        for select, columns in zip(selects, made, strict=True)
    )
    [there] = store.query(f"SELECT {shown} FROM (SELECT {listed} FROM {table})").rows
    [anew] = store.query(f"SELECT {shown} FROM ({parts})").rows
    return there, anew


def main() -> None:
    """Print what is there."""
    store = open_store(StoreSettings(data_dir=Path(sys.argv[1])))
    try:
        requests = {
            str(name): (spans, distinct)
            for name, spans, distinct in store.query(
                "SELECT TraceState, count(), uniqExact(SpanId) FROM otel_traces GROUP BY TraceState"
            )
        }
        print(json.dumps({"requests": requests, "differences": differences(store)}, default=str))
    finally:
        store.close()


if __name__ == "__main__":
    main()
