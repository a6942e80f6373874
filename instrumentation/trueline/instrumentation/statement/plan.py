"""What is known about a statement from its text alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from trueline.instrumentation.semconv import Clause, Kind

if TYPE_CHECKING:
    from trueline.instrumentation.wire import Part


class Control(StrEnum):
    """Transaction control that was written as SQL text."""

    BEGIN = "begin"
    COMMIT = "commit"
    ROLLBACK = "rollback"
    SAVEPOINT = "savepoint"
    ROLLBACK_TO_SAVEPOINT = "rollback_to_savepoint"
    RELEASE_SAVEPOINT = "release_savepoint"


@dataclass(frozen=True, slots=True)
class Literal:
    """A value that stands in the text itself. It stays in the process, and out of every repr."""

    value: object = field(repr=False)


@dataclass(frozen=True, slots=True)
class Series:
    """One placeholder repeated over the rows of a statement: name0, name1, ... or every n-th position.

    Positional where ``prefix`` and ``suffix`` are empty: ``start`` and ``step`` are then positions.
    """

    start: int
    step: int
    rows: int
    prefix: str = ""
    suffix: str = ""

    def keys(self, limit: int) -> Iterator[int | str]:
        """Yield the keys into the parameters of the first ``limit`` rows."""
        numbers = range(self.start, self.start + self.step * min(self.rows, limit), self.step)
        if not self.prefix and not self.suffix:
            return iter(numbers)
        return (f"{self.prefix}{number}{self.suffix}" for number in numbers)


#: Where a value comes from: position, name, repeated placeholder, or the text itself.
Source = int | str | Series | Literal


@dataclass(frozen=True, slots=True)
class IdentityUse:
    """A column that is compared with values or set to them, and where these come from.

    ``column`` is ``table.column``. ``key`` is the only source where that is one plain placeholder, None
    otherwise. ``transform`` is what the statement does to the value first: ``lower``, ``upper``, ``sha256``
    ... ``more`` counts values beyond those in ``sources``.
    """

    column: str
    domain: str
    clause: Clause
    sources: tuple[Source, ...]
    key: int | str | None = None
    transform: str = ""
    more: int = 0


@dataclass(frozen=True, slots=True)
class Way:
    """How a row leads to an identity that is not in it: its own column first, then columns of loaded rows.

    ``steps``: (table, column), the last one the identity's. ``use`` stands for that one. ``links``: where the
    statement itself says the value of the first.
    """

    steps: tuple[tuple[str, str], ...]
    use: IdentityUse
    links: tuple[IdentityUse, ...] = ()


@dataclass(frozen=True, slots=True)
class Ownership:
    """How to tell whose rows a statement touches where it names nobody.

    ``table``: the table as it is declared, lower-case. ``keys``: the values of its primary key in the WHERE,
    all of them or none. ``ways``: those that a row leads over; they have to agree.
    """

    table: str
    keys: tuple[IdentityUse, ...]
    ways: tuple[Way, ...]
    #: The statement says where a way begins.
    linked: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What a statement does and whose data it names; made once a text.

    ``tables``: lower-case unless quoted, with a schema only where one is written, the written one first,
    no names of common table expressions. ``text`` and ``summary`` carry no literal. ``filters``: columns
    in a WHERE as ``table.column``. ``row_filter``: equality filters on what looks like the primary key of
    ``tables[0]``. ``ownership``: how the row tells whose it is. ``created``: the key of the new row, an
    identity that the statement does not set and the database may.
    ``complete`` is False where the text was read by keywords only.
    """

    kind: Kind
    operation: str
    tables: tuple[str, ...]
    summary: str
    text: str
    filters: tuple[str, ...] = ()
    lock: bool = False
    self_update: bool = False
    on_conflict: str = ""
    returning: bool = False
    control: Control | None = None
    control_name: str = ""
    identities: tuple[IdentityUse, ...] = ()
    row_filter: tuple[IdentityUse, ...] = ()
    ownership: Ownership | None = None
    created: IdentityUse | None = None
    complete: bool = True
    #: What whoever builds spans keeps with the plan: the same for every execution of the text.
    part: Part | None = field(default=None, init=False, repr=False, compare=False)

    def keep(self, part: Part) -> None:
        """Keep ``part``; a second one, made by another thread meanwhile, says the same."""
        object.__setattr__(self, "part", part)
