"""What the user says about identities: which columns hold one, of which domain, and how it is derived."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

from trueline.instrumentation.identity import defaults
from trueline.instrumentation.identity.forms import UUID_NAMESPACES
from trueline.instrumentation.identity.functions import NamedFunction, function_of

if TYPE_CHECKING:
    from trueline.instrumentation.identity.ownership import Path
    from trueline.instrumentation.identity.tables import TableFacts

#: A function of the application that turns the raw identity into what it writes into a column.
Derivation = Callable[[object], object]
#: Called with domain, "table.column" and value; returns the raw identity that the value stands for, or None.
Resolver = Callable[[str, str, object], object]

_NAME: Final = re.compile(r"\w[\w.-]*")
_EXACT: Final = re.compile(r"[\w$]+(?:\.[\w$]+)*")
_MAX_CACHED: Final = 16384


class Domains(Protocol):
    """Whatever answers which columns hold identities."""

    def domain_of(self, table: str, column: str) -> str | None:
        """Return the domain whose identities a column holds, or None. ``table`` may carry a schema."""

    def ways_from(self, table: str) -> tuple[TableFacts | None, tuple[Path, ...]]:
        """Return what is declared of a table, and how its rows lead to somebody."""


@dataclass(frozen=True, slots=True)
class Domain:
    """A kind of identity. ``plain`` exports the value itself instead of its hash: business numbers only."""

    plain: bool = False


class IdentityConfig:
    """Names identity columns, domains, derivations and the resolver. Immutable; the defaults need none.

    - ``columns`` maps column patterns to domain names. ``"user_ref"`` and ``"expenses.user_ref"`` (also
      with a schema in front) are names; anything else is a regular expression that must match the whole
      column name, or the whole ``table.column`` where it contains ``\\.``. Case is ignored. They go before
      the defaults, which find ``user_id``, ``psid_hash``, ``tenant_id`` and the like.
    - ``domains`` declares properties of domains: ``{"drop": Domain(plain=True)}``.
    - ``derivations`` are functions of the application by name; a column that holds ``f(raw identity)``
      gets the encoding ``fn:NAME``. A function is given as such or as ``"package.module:function"``, which
      is looked up when it is needed and never imported. ``hmac_keys`` are keys by name; a column that holds
      the HMAC-SHA-256 of the raw identity gets ``hmac:NAME``. ``uuid_namespaces`` are namespaces by name,
      beside the standard ones; a column that holds the UUID5 of the raw identity gets ``fn:uuid5.NAME``.
      All are recognised against the bound identity.
    - ``resolver`` translates values that cannot be derived (an internal number, say) to the raw identity:
      one function for all domains, called with domain, ``table.column`` and value, or one for each domain.
      It runs beside the statement: look up what is in memory, and return None for what is not known there.
      What it says is kept; None and exceptions are not.
    - ``exclude`` are patterns of columns that are no identities.

    Raises ValueError with one sentence for a pattern, domain, name, key or function that cannot be used.
    """

    __slots__ = (
        "_cache",
        "_exact",
        "_excluded",
        "_patterns",
        "_resolvers",
        "derivations",
        "domains",
        "hmac_keys",
        "resolver",
        "uuid_namespaces",
    )

    def __init__(
        self,
        columns: Mapping[str, str] | None = None,
        domains: Mapping[str, Domain] | None = None,
        derivations: Mapping[str, Derivation | str] | None = None,
        resolver: Resolver | str | Mapping[str, Resolver | str] | None = None,
        exclude: Iterable[str] = (),
        hmac_keys: Mapping[str, str | bytes] | None = None,
        uuid_namespaces: Mapping[str, uuid.UUID | str] | None = None,
    ) -> None:
        self._exact: dict[str, str] = {}
        self._patterns: list[tuple[re.Pattern[str], bool, str]] = []
        for pattern, domain in (columns or {}).items():
            if not isinstance(domain, str) or not _NAME.fullmatch(domain):
                raise ValueError(
                    f"identity column {pattern!r}: {domain!r} is not a domain name such as 'user'"
                )
            if _EXACT.fullmatch(pattern):
                self._exact[pattern.lower()] = domain
            else:
                self._patterns.append((*_compile(pattern), domain))
        if isinstance(exclude, str):
            raise ValueError(f"exclude takes a list of column patterns: write exclude=[{exclude!r}]")
        self._excluded = tuple(_compile(_as_regex(pattern)) for pattern in exclude)
        self.domains: Final[Mapping[str, Domain]] = MappingProxyType(dict(domains or {}))
        self.derivations: Final[Mapping[str, Derivation]] = MappingProxyType(
            {
                name: function_of(function, f"derivation {name!r}")
                for name, function in (derivations or {}).items()
            }
        )
        self.hmac_keys: Final[Mapping[str, bytes]] = MappingProxyType(
            {name: _key(name, key) for name, key in (hmac_keys or {}).items()}
        )
        self.uuid_namespaces: Final[Mapping[str, uuid.UUID]] = MappingProxyType(
            {
                **UUID_NAMESPACES,
                **{name: _namespace(name, space) for name, space in (uuid_namespaces or {}).items()},
            }
        )
        by_domain = resolver if isinstance(resolver, Mapping) else {"": resolver} if resolver else {}
        self._resolvers: Final[dict[str, Resolver]] = {
            domain: function_of(function, f"resolver of domain {domain!r}" if domain else "resolver")
            for domain, function in by_domain.items()
        }
        self.resolver: Final = resolver
        for name, declared in self.domains.items():
            if not isinstance(declared, Domain):
                raise ValueError(f"domain {name!r} must be declared as Domain(...), not {declared!r}")
        for name in (*self.derivations, *self.hmac_keys, *self.uuid_namespaces):
            if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name):
                raise ValueError(
                    f"derivation {name!r}: a name may have letters, digits, '_', '.' and '-' only"
                )
        self._cache: dict[tuple[str, str], str | None] = {}

    def is_plain(self, domain: str) -> bool:
        """Tell whether values of the domain are exported as they are."""
        declared = self.domains.get(domain)
        return declared is not None and declared.plain

    def resolver_of(self, domain: str) -> Resolver | None:
        """Return what translates values of a domain, None where nothing does."""
        return self._resolvers.get(domain) or self._resolvers.get("")

    def mistakes(self) -> list[str]:
        """Return one sentence for each function by name that this process cannot have. Imports nothing."""
        functions: list[object] = [*self.derivations.values(), *self._resolvers.values()]
        named = [function for function in functions if isinstance(function, NamedFunction)]
        return [mistake for function in named if (mistake := function.mistake())]

    def domain_of(self, table: str, column: str) -> str | None:
        """Return the domain whose identities a column holds, or None. ``table`` may carry a schema."""
        key = (table, column)
        try:
            return self._cache[key]
        except KeyError:
            found = self._find(table, column)
            if len(self._cache) >= _MAX_CACHED:
                self._cache.clear()
            self._cache[key] = found
            return found

    def ways_from(self, table: str) -> tuple[TableFacts | None, tuple[Path, ...]]:
        """Nothing: what leads from row to row is declared elsewhere."""
        return None, ()

    def explicit(self, table: str, column: str) -> tuple[bool, str | None]:
        """Return whether the configuration itself says something of a column, and which domain it says."""
        if not self._excluded and not self._exact and not self._patterns:
            return False, None
        table, column = table.lower(), column.lower()
        names = (f"{table}.{column}", f"{table.rpartition('.')[2]}.{column}", column)
        if any(_fits(pattern, qualified, names) for pattern, qualified in self._excluded):
            return True, None
        for name in names:
            if name in self._exact:
                return True, self._exact[name]
        for pattern, qualified, domain in self._patterns:
            if _fits(pattern, qualified, names):
                return True, domain
        return False, None

    def _find(self, table: str, column: str) -> str | None:
        explicit, domain = self.explicit(table, column)
        if explicit:
            return domain
        column = defaults.snake_case(column)
        if column == "id":
            known = defaults.table_named(table)
            return known.domain if known is not None else None
        named = defaults.named(column)
        if named is not None:
            return named.domain
        of_users = defaults.table_named(table) if column in defaults.LOGIN_NAMES else None
        return "username" if of_users is not None and of_users.noun == "user" else None


def _key(name: str, key: object) -> bytes:
    if isinstance(key, str):
        key = key.encode("utf-8")
    if not isinstance(key, bytes | bytearray) or not key:
        raise ValueError(f"hmac_keys: the key {name!r} must be text or bytes, and not empty")
    return bytes(key)


def _namespace(name: str, space: object) -> uuid.UUID:
    if isinstance(space, uuid.UUID):
        return space
    try:
        return uuid.UUID(space)  # type: ignore[arg-type]  # what is no text is refused
    except (ValueError, TypeError, AttributeError):
        raise ValueError(f"uuid_namespaces: {name!r} is not a UUID") from None


def _as_regex(pattern: str) -> str:
    return pattern.replace(".", r"\.") if _EXACT.fullmatch(pattern) else pattern


def _compile(pattern: str) -> tuple[re.Pattern[str], bool]:
    """Return the compiled pattern and whether it is about ``table.column`` rather than the column alone."""
    try:
        return re.compile(pattern, re.IGNORECASE), r"\." in pattern
    except re.error as error:
        raise ValueError(
            f"identity column {pattern!r} is neither a column name nor a regular expression: {error}"
        ) from None


def _fits(pattern: re.Pattern[str], qualified: bool, names: tuple[str, str, str]) -> bool:
    if qualified:
        return pattern.fullmatch(names[0]) is not None or pattern.fullmatch(names[1]) is not None
    return pattern.fullmatch(names[2]) is not None
