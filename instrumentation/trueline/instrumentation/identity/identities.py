"""Identities once they are found: those of a statement, and those that a request is bound to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from trueline.instrumentation.wire import Part


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


#: Stands for more than one bound identity of a domain.
SEVERAL: Final = BoundIdentity("", None, "", "")
#: No identity at all.
EMPTY: Final = Identities()


def of_domain(bound: tuple[BoundIdentity, ...], domain: str) -> BoundIdentity | None:
    """Return the one bound identity of a domain, None where there is none, ``SEVERAL`` for more than one."""
    found = None
    for one in bound:
        if one.domain == domain:
            if found is not None:
                return SEVERAL
            found = one
    return found
