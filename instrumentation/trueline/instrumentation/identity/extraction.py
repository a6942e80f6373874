"""The identities of one execution: a plan's identity columns met with the parameters."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from trueline.instrumentation.identity.canonical import canonical_of_text, text_of
from trueline.instrumentation.identity.config import IdentityConfig
from trueline.instrumentation.identity.encoding import Relatives, shape_of
from trueline.instrumentation.identity.hashing import IdentityHasher
from trueline.instrumentation.statement.plan import IdentityUse, Literal, Plan, Series

if TYPE_CHECKING:
    from trueline.instrumentation.wire import Part

_MAX_CACHED: Final = 8192
_MAX_RELATIVES: Final = 1024
#: Values of one column that are looked at; further ones are only counted.
_MAX_VALUES: Final = 1000
#: A longer text is content, not an identity.
_MAX_TEXT: Final = 1024
_MANY: Final = (list, tuple, set, frozenset)
_DIGESTS: Final = frozenset({"sha256", "sha1", "md5"})
_TRANSFORMS: Final[dict[str, Callable[[str], str]]] = {"lower": str.lower, "upper": str.upper}


@dataclass(frozen=True, slots=True)
class BoundIdentity:
    """The identity that a request is bound to. ``value`` is the exported form; the others stay inside."""

    domain: str
    raw: object = field(repr=False)
    canonical: str = field(repr=False)
    value: str

    @property
    def exported(self) -> str:
        """As attributes name it: ``domain:value``."""
        return f"{self.domain}:{self.value}"


@dataclass(frozen=True, slots=True)
class Identities:
    """The identities of one execution as five aligned lists, as they are exported.

    ``count`` is how many entries there are in all, distinct by column and value; the lists hold the first.
    """

    columns: tuple[str, ...] = ()
    clauses: tuple[str, ...] = ()
    encodings: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    count: int = 0
    #: What whoever builds spans keeps with them.
    part: Part | None = field(default=None, init=False, repr=False, compare=False)

    def keep(self, part: Part) -> None:
        """Keep ``part``."""
        object.__setattr__(self, "part", part)


#: No identity at all.
EMPTY: Final = Identities()


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
        self._config = config
        self._hasher = hasher
        self._export_hashes = export_hashes
        self._limit = limit
        self._seen: dict[object, tuple[str, str] | None] = {}
        self._singles: dict[tuple[int, object], tuple[IdentityUse, Identities]] = {}
        self._relatives: dict[tuple[str, object, str], Relatives] = {}

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
                if not bound and (value.__class__ is str or value.__class__ is int):
                    # The commonest case by far: one plain value, seen before in the same place.
                    single = self._singles.get((id(use), value))
                    if single is not None:
                        return single[1]
                if not isinstance(value, _MANY):
                    return self._single(use, value, bound)
        try:
            return self._extract_all(uses, parameters, executemany, bound)
        except Exception:  # parameters of a foreign type may raise anything
            return EMPTY

    def _single(self, use: IdentityUse, value: object, bound: tuple[BoundIdentity, ...]) -> Identities:
        found = self._classify(use, value, bound)
        if found is None:
            return EMPTY
        single = Identities((use.column,), (use.clause,), (found[0],), (found[1],), (use.domain,), 1)
        if not bound and (value.__class__ is int or (value.__class__ is str and len(value) <= _MAX_TEXT)):
            if len(self._singles) >= _MAX_CACHED:
                self._singles.clear()
            # The use is kept, so that its id stays its own.
            self._singles[(id(use), value)] = (use, single)
        return single

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
        text = text_of(value)
        canonical = canonical_of_text(text) if text else ""
        return BoundIdentity(domain, value, canonical, self._export(domain, text, canonical) if text else "")

    def _row_key(self, row_filter: tuple[IdentityUse, ...], parameters: object) -> str:
        parts = []
        for use in row_filter:
            values = [text_of(value) for value in _values(use, parameters, 2)]
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
        rows = _rows(parameters) if executemany else (parameters,)
        columns = [list(_values_of_rows(use, rows)) for use in uses]
        entries: dict[tuple[str, str, str, str, str], None] = {}
        # Row by row, so that two columns of one row stay together where the list is cut.
        for values in zip_longest(*columns):
            if len(entries) >= self._limit:
                break
            for use, value in zip(uses, values, strict=True):
                found = self._classify(use, value, bound)
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
            known.update(value if isinstance(value, Hashable) else repr(value) for value in values)
            unseen += use.more + max(0, rows - _MAX_VALUES)
            unseen += sum(
                max(0, source.rows - _MAX_VALUES) for source in use.sources if isinstance(source, Series)
            )
        for known in distinct.values():
            known.discard(None)
        return unseen + sum(len(known) for known in distinct.values())

    def _classify(
        self, use: IdentityUse, value: object, bound: tuple[BoundIdentity, ...]
    ) -> tuple[str, str] | None:
        """Return encoding and exported value, None where the value is no identity."""
        if value is None:
            return None
        of_domain = tuple(one for one in bound if one.domain == use.domain) if bound else ()
        key = (
            use.domain,
            use.transform,
            use.column if self._config.resolver is not None else "",
            value.__class__,
            value,
            *((one.canonical, one.raw) for one in of_domain),
        )
        try:
            return self._seen[key]
        except KeyError:
            found = self._recognise(use, value, of_domain)
            if not isinstance(value, str | bytes) or len(value) <= _MAX_TEXT:
                if len(self._seen) >= _MAX_CACHED:
                    self._seen.clear()
                self._seen[key] = found
            return found
        except TypeError:  # not hashable
            return self._recognise(use, value, of_domain)

    def _recognise(
        self, use: IdentityUse, value: object, bound: tuple[BoundIdentity, ...]
    ) -> tuple[str, str] | None:
        text = text_of(value)
        if not text or len(text) > _MAX_TEXT:
            return None
        change = _TRANSFORMS.get(use.transform)
        if change is not None and isinstance(value, str):
            value = text = change(text)
        digest = use.transform if use.transform in _DIGESTS else ""
        for one in bound:
            relation = self._relatives_of(one).recognise(value, text)
            if relation is not None:
                return digest or relation, one.value
        encoding = digest or shape_of(value)
        resolved = self._resolve(use, value)
        if resolved:
            text = resolved
        return encoding, self._export(use.domain, text, canonical_of_text(text))

    def _resolve(self, use: IdentityUse, value: object) -> str:
        if self._config.resolver is None:
            return ""
        try:
            return text_of(self._config.resolver(use.domain, use.column, value))
        except Exception:  # the application's function; the value then stands for itself
            return ""

    def _relatives_of(self, bound: BoundIdentity) -> Relatives:
        key = (bound.domain, bound.raw.__class__, text_of(bound.raw))
        found = self._relatives.get(key)
        if found is None:
            found = Relatives(
                bound.raw,
                bound.canonical,
                derivations=self._config.derivations,
                hmac_keys=self._config.hmac_keys,
            )
            if len(self._relatives) >= _MAX_RELATIVES:
                self._relatives.clear()
            self._relatives[key] = found
        return found

    def _export(self, domain: str, text: str, canonical: str) -> str:
        if self._config.is_plain(domain):
            return text
        return self._hasher.export(domain, canonical) if self._export_hashes else ""


def _rows(parameters: object) -> Sequence[object]:
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


def _values_of_rows(use: IdentityUse, rows: Sequence[object]) -> Iterator[object]:
    for row in rows[:_MAX_VALUES]:
        yield from _values(use, row, _MAX_VALUES)


def _values(use: IdentityUse, parameters: Any, limit: int) -> Iterator[object]:
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
            if isinstance(value, _MANY):
                yield from list(value)[:limit]
            else:
                yield value
