"""Keys that the database makes on INSERT: the new row's own, once SQLAlchemy has read it back.

``INSERT INTO users (nick) VALUES (?) RETURNING users.id`` names no user, and every later statement does.
SQLAlchemy reads such keys itself right after the statement ran, and keeps them for the caller. They are taken
from there: no row is fetched, and rows that the application fetches itself (``returning()``) are left alone.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Final

from trueline.instrumentation.guard import swallow

if TYPE_CHECKING:
    from trueline.instrumentation.identity.extraction import IdentityExtractor
    from trueline.instrumentation.records import StatementRecord

#: Where SQLAlchemy makes the result of an execution, and by then has read what it asked for.
_METHOD: Final = "_setup_result_proxy"
#: Keys of one execution that are looked at; further ones are only counted.
_MAX_KEYS: Final = 1000


class _Reading:
    """Stands in front of one execution context's own method, for one call. Refers to the context weakly."""

    __slots__ = ("_context", "_extractor", "_waiting")

    def __init__(self, context: Any, extractor: IdentityExtractor) -> None:
        self._context = weakref.ref(context)
        self._extractor = extractor
        #: A record, and how many rows SQLAlchemy had read before its statement ran.
        self._waiting: list[tuple[StatementRecord, int]] = []

    def add(self, record: StatementRecord, before: int) -> None:
        """Another statement of the execution: large batches are several."""
        self._waiting.append((record, before))

    def __call__(self) -> Any:
        context = self._context()
        context.__dict__.pop(_METHOD, None)
        result = getattr(context, _METHOD)()
        try:
            self._read(context)
        except Exception as error:
            swallow("identity.created", error)
        return result

    def _read(self, context: Any) -> None:
        compiled = context.compiled
        if not (context._is_implicit_returning or compiled.postfetch_lastrowid):
            return
        rows = context.inserted_primary_key_rows
        key = next(iter(compiled.statement.table.primary_key.columns))
        process = key.type._cached_bind_processor(context.dialect)
        ends = [before for _, before in self._waiting[1:]]
        for (record, start), end in zip(self._waiting, [*ends, len(rows)], strict=True):
            use = record.plan.created
            if use is None:
                continue
            values = [row[0] for row in rows[start : min(end, start + _MAX_KEYS)]]
            if process is not None:  # the form in which statements give it to the driver
                values = [None if value is None else process(value) for value in values]
            record.identities = self._extractor.with_values(
                record.identities, use, values, record.bound, unseen=max(0, end - start - _MAX_KEYS)
            )


def watch(context: Any, record: StatementRecord, extractor: IdentityExtractor) -> None:
    """A statement of ``context`` ran that makes keys: put them into its record once they are read."""
    try:
        values = context.__dict__
        if context.compiled is None:
            return
        reading = values.get(_METHOD)
        if reading is None:
            reading = values[_METHOD] = _Reading(context, extractor)
        elif not isinstance(reading, _Reading):
            return
        reading.add(record, len(values.get("_insertmanyvalues_rows") or ()))
    except Exception as error:
        swallow("identity.created", error)
