"""What a row of the conformance matrix is: an application, and what each of its writes must be tagged with.

An expectation names writes, not statements: a write is one row, or many under one name, and after the
application has run its tag is held against what the table really contains.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from trueline.instrumentation.semconv import Outcome, Reason

if TYPE_CHECKING:
    from conformance.application import App
    from conformance.observation import Seen
    from conformance.servers import Driver


@dataclass(frozen=True)
class Tag:
    """What a write is tagged with: outcome and reason; and whether its rows are in the table afterwards.

    ``outcome`` None: no span tells of the write. ``stored`` None: the table may hold it, or a part of it.
    """

    outcome: Outcome | None
    reason: Reason | None = None
    stored: bool | None = False

    def __str__(self) -> str:
        if self.outcome is None:
            return "not seen, stored" if self.stored else "never sent"
        text = self.outcome.replace("_", " ")
        return f"{text}: {self.reason}" if self.reason else text


COMMITTED: Final = Tag(Outcome.COMMITTED, stored=True)
#: Nobody can know: the tag says so, and the row may or may not be there.
UNKNOWN: Final = Tag(Outcome.UNKNOWN, stored=None)
COMMIT_FAILED: Final = Tag(Outcome.ROLLED_BACK, Reason.COMMIT_FAILED)
COMMIT_OF_ABORTED: Final = Tag(Outcome.ROLLED_BACK, Reason.COMMIT_OF_ABORTED)
EXCEPTION: Final = Tag(Outcome.ROLLED_BACK, Reason.EXCEPTION)
EXPLICIT: Final = Tag(Outcome.ROLLED_BACK, Reason.EXPLICIT)
NOT_COMMITTED: Final = Tag(Outcome.ROLLED_BACK, Reason.NOT_COMMITTED)
ABANDONED: Final = Tag(Outcome.ROLLED_BACK, Reason.ABANDONED)
SAVEPOINT: Final = Tag(Outcome.ROLLED_BACK, Reason.SAVEPOINT)
#: SQLAlchemy never handed the statement to the driver.
NEVER_SENT: Final = Tag(None)
#: Written past SQLAlchemy: the limit of what can be seen.
NOT_SEEN: Final = Tag(None, stored=True)

Expected = Mapping[str, Tag]
Body = Callable[["App"], Awaitable[None]]


@dataclass(frozen=True)
class Scenario:
    """A row of the matrix.

    ``expected``: the tag of each write. ``where``: traits of a driver, and what differs on drivers that have
    them; later ones win. ``needs``: traits without which the row does not apply. ``handling``: names in
    :mod:`conformance.handlings` of what makes the row right; without any of them it fails. ``unproved``
    says why where nothing can be singled out. ``transactions``: how many transaction spans, where it is
    not simply one for each transaction that wrote. ``options``: arguments of instrument().
    """

    name: str
    theme: str
    sentence: str
    body: Body
    expected: Expected
    where: Mapping[str, Expected] = field(default_factory=dict)
    needs: frozenset[str] = frozenset()
    handling: tuple[str, ...] = ()
    unproved: str = ""
    transactions: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    also: Callable[[Seen], None] | None = None

    def applies_to(self, driver: Driver) -> bool:
        """Whether the row makes sense on the driver."""
        return self.needs <= driver.traits

    def expected_on(self, driver: Driver) -> dict[str, Tag]:
        """The tag of each write on one driver."""
        expected = dict(self.expected)
        for trait, different in self.where.items():
            if trait in driver.traits:
                expected.update(different)
        return expected


SCENARIOS: Final[dict[str, Scenario]] = {}


def scenario(
    sentence: str,
    *,
    needs: str = "",
    where: Mapping[str, Expected] | None = None,
    handling: str = "",
    unproved: str = "",
    transactions: int | None = None,
    options: Mapping[str, Any] | None = None,
    also: Callable[[Seen], None] | None = None,
    **expected: Tag,
) -> Callable[[Body], Body]:
    """Make a row of the matrix of an async function; ``needs`` and ``handling`` are words in one string.

    The keyword arguments beyond the named ones are the writes with their tags.
    """

    def register(body: Body) -> Body:
        name = body.__name__
        if name in SCENARIOS:
            raise ValueError(f"two rows are named {name}")
        SCENARIOS[name] = Scenario(
            name=name,
            theme=body.__module__.rpartition(".")[2],
            sentence=sentence,
            body=body,
            expected=expected,
            where=where or {},
            needs=frozenset(needs.split()),
            handling=tuple(handling.split()),
            unproved=unproved,
            transactions=transactions,
            options=options or {},
            also=also,
        )
        return body

    return register
