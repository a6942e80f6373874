"""From a plan and the parameters of one execution to the identities that it names. On the hot path."""

from __future__ import annotations

from collections.abc import Hashable
from itertools import zip_longest

from trueline.instrumentation.identity.canonical import text_of
from trueline.instrumentation.identity.config import IdentityConfig
from trueline.instrumentation.identity.hashing import IdentityHasher
from trueline.instrumentation.identity.identities import (
    EMPTY,
    SEVERAL,
    BoundIdentity,
    Identities,
    of_domain,
)
from trueline.instrumentation.identity.parameters import (
    MANY,
    MAX_VALUES,
    rows_of,
    values_of,
    values_of_rows,
)
from trueline.instrumentation.identity.recognition import MAX_TEXT, Recogniser, make_room
from trueline.instrumentation.identity.rows import RowOwners
from trueline.instrumentation.statement.plan import IdentityUse, Plan, Series


class IdentityExtractor:
    """Resolves the identities that an execution names. Thread-safe; never raises for any input.

    ``export_hashes=False`` leaves every value of a hashed domain empty: there is no secret and the
    telemetry leaves the machine. ``limit`` bounds the entries of one statement.
    """

    def __init__(
        self,
        config: IdentityConfig,
        hasher: IdentityHasher,
        *,
        export_hashes: bool = True,
        limit: int = 16,
    ) -> None:
        self._hasher = hasher
        self._export_hashes = export_hashes
        self._limit = limit
        self._recogniser = Recogniser(config, hasher, export_hashes=export_hashes)
        #: Whose rows statements touch that name nobody.
        self.rows = RowOwners(self._recogniser)
        self._singles: dict[tuple[int, object], tuple[IdentityUse, Identities]] = {}
        self._bound_singles: dict[
            tuple[int, object, int], tuple[IdentityUse, BoundIdentity | None, Identities]
        ] = {}

    def extract(
        self,
        plan: Plan,
        parameters: object,
        *,
        executemany: bool = False,
        bound: tuple[BoundIdentity, ...] = (),
    ) -> Identities:
        """Return the identities of one execution.

        ``parameters`` is what goes to the cursor: a mapping, a sequence, or a list of these with
        ``executemany``. ``bound`` are the identities that the request is bound to: a value that is derived
        from one of them counts as that one.
        """
        uses = plan.identities
        if not uses:
            return EMPTY
        if len(uses) == 1 and not executemany:
            use = uses[0]
            key = use.key
            if key is not None:
                try:
                    value = parameters[key]  # type: ignore[index]  # whatever the driver takes
                except Exception:
                    return EMPTY
                # The commonest case by far: one plain value, seen before in the same place.
                kind = value.__class__
                if not bound:
                    if kind is str or kind is int:
                        single = self._singles.get((id(use), value))
                        if single is not None:
                            return single[1]
                elif kind is str or kind is int:
                    one = bound[0] if len(bound) == 1 else of_domain(bound, use.domain)
                    known = self._bound_singles.get((id(use), value, id(one)))
                    if known is not None:
                        return known[2]
                if not isinstance(value, MANY):
                    return self._single(use, value, bound)
        try:
            return self._extract_all(uses, parameters, executemany, bound)
        except Exception:  # parameters of a foreign type may raise anything
            return EMPTY

    def _single(self, use: IdentityUse, value: object, bound: tuple[BoundIdentity, ...]) -> Identities:
        found, lasting = self._recogniser.classify(use, value, bound)
        if found is None:
            return EMPTY
        single = Identities((use.column,), (use.clause,), (found[0],), (found[1],), (use.domain,), 1)
        short = value.__class__ is int or (value.__class__ is str and len(value) <= MAX_TEXT)
        if not short or not lasting:
            return single
        # The use and the identity are kept, so that their ids stay their own.
        if not bound:
            make_room(self._singles)
            self._singles[(id(use), value)] = (use, single)
        else:
            one = bound[0] if len(bound) == 1 else of_domain(bound, use.domain)
            if one is not SEVERAL:
                make_room(self._bound_singles)
                self._bound_singles[(id(use), value, id(one))] = (use, one, single)
        return single

    def with_values(
        self,
        identities: Identities,
        use: IdentityUse,
        values: list[object],
        bound: tuple[BoundIdentity, ...],
        *,
        unseen: int = 0,
    ) -> Identities:
        """Return ``identities`` and the ``values`` of one more column; ``unseen`` further ones only count."""
        entries = dict.fromkeys(
            zip(
                identities.columns,
                identities.clauses,
                identities.encodings,
                identities.values,
                identities.domains,
                strict=True,
            )
        )
        before = len(entries)
        for value in values[: self._limit]:
            found, _ = self._recogniser.classify(use, value, bound)
            if found is not None:
                entries[(use.column, use.clause, *found, use.domain)] = None
        if len(entries) == before:
            return identities
        aligned = tuple(zip(*list(entries)[: self._limit], strict=True))
        more = max(0, len(values) - self._limit) + unseen
        count = identities.count + len(entries) - before + more
        return Identities(aligned[0], aligned[1], aligned[2], aligned[3], aligned[4], count)

    def row_key(self, plan: Plan, parameters: object) -> str:
        """Return 16 hex digits that are equal for equal primary key filters, "" where there is none."""
        if not plan.row_filter or not self._export_hashes:
            return ""
        try:
            return self._row_key(plan.row_filter, parameters)
        except Exception:  # parameters of a foreign type may raise anything
            return ""

    def bind(self, value: object, domain: str) -> BoundIdentity:
        """Return the identity that a request is to be bound to; blank values give an empty canonical form."""
        return self._recogniser.bind(value, domain)

    def _row_key(self, row_filter: tuple[IdentityUse, ...], parameters: object) -> str:
        parts = []
        for use in row_filter:
            values = [text_of(value) for value in values_of(use, parameters, 2)]
            if len(values) != 1 or not values[0]:
                return ""
            parts.append(f"{use.column}={values[0]}")
        return self._hasher.digest("row", "\0".join(parts))[:16]

    def _extract_all(
        self,
        uses: tuple[IdentityUse, ...],
        parameters: object,
        executemany: bool,
        bound: tuple[BoundIdentity, ...],
    ) -> Identities:
        rows = rows_of(parameters) if executemany else (parameters,)
        columns = [values_of_rows(use, rows) for use in uses]
        entries: dict[tuple[str, str, str, str, str], None] = {}
        # Row by row, so that two columns of one row stay together where the list is cut.
        for values in zip_longest(*columns):
            if len(entries) >= self._limit:
                break
            for use, value in zip(uses, values, strict=True):
                found, _ = self._recogniser.classify(use, value, bound)
                if found is not None:
                    entries[(use.column, use.clause, *found, use.domain)] = None
        if not entries:
            return EMPTY
        listed = list(entries)[: self._limit]
        count = len(entries)
        if count >= self._limit:
            count = max(count, self._count(uses, columns, len(rows)))
        aligned = tuple(zip(*listed, strict=True))
        return Identities(aligned[0], aligned[1], aligned[2], aligned[3], aligned[4], count)

    def _count(self, uses: tuple[IdentityUse, ...], columns: list[list[object]], rows: int) -> int:
        """Count distinct values by column and clause; what was not looked at counts once a value."""
        distinct: dict[tuple[str, str], set[object]] = {}
        unseen = 0
        for use, values in zip(uses, columns, strict=True):
            known = distinct.setdefault((use.column, use.clause), set())
            try:
                known.update(values)
            except TypeError:  # not hashable
                known.update(value if isinstance(value, Hashable) else repr(value) for value in values)
            unseen += use.more + max(0, rows - MAX_VALUES)
            unseen += sum(
                max(0, source.rows - MAX_VALUES) for source in use.sources if isinstance(source, Series)
            )
        for known in distinct.values():
            known.discard(None)
        return unseen + sum(len(known) for known in distinct.values())
