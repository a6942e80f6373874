"""From the store's rows to facts on derived tables; more is asked only where one seems to be behind."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from trueline.monitor.diagnose.facts import Access, Derived
from trueline.monitor.store.client import Store
from trueline.monitor.store.lineage import read_learned, read_made_for_all, read_written


def derived_tables(
    store: Store,
    declared: Sequence[Mapping[str, Any]],
    accesses: Sequence[Access],
    environment: str,
    applications: Collection[str],
    lately: datetime,
) -> list[Derived]:
    """Declared and learned ones; what is declared goes before what was learned."""
    found = [_derived(row, learned=False) for row in declared]
    known = {one.table for one in found}
    found += [
        _derived(row, learned=True)
        for row in read_learned(store, environment, applications)
        if row["name"] not in known
    ]
    pending = {one.table: at for one in found if (at := _pending_since(one, accesses)) is not None}
    if not pending:
        return found
    written = read_written(store, pending, environment, applications, lately)
    since = max(lately, min(pending.values()))
    made = read_made_for_all(store, pending, environment, applications, since)
    return [
        replace(
            one,
            made_for_all=_aware(made[one.table]) if one.table in made else None,
            unseen_writer=one.table not in written and not _committed(accesses, one.table),
        )
        if one.table in pending
        else one
        for one in found
    ]


def _pending_since(derived: Derived, accesses: Sequence[Access]) -> datetime | None:
    """When a source was written last, if the table was not written for this identity since."""
    source = max((one.ended for name in derived.sources for one in _committed(accesses, name)), default=None)
    made = max((one.ended for one in _committed(accesses, derived.table)), default=None)
    return source if source is not None and (made is None or made < source) else None


def _committed(accesses: Sequence[Access], table: str) -> list[Access]:
    return [one for one in accesses if one.table == table and one.kind == "write" and one.is_committed]


def _derived(row: Mapping[str, Any], *, learned: bool) -> Derived:
    words = row.get("words") or ()
    return Derived(
        table=row["name"],
        sources=tuple(row["tables"]),
        within=timedelta(seconds=row["seconds"]),
        filled_by=words[0] if words else "application",
        learned=learned,
    )


def _aware(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
