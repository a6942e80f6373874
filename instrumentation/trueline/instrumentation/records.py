"""One executed statement, as it waits for the outcome of its transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trueline.instrumentation import ambient
from trueline.instrumentation.semconv import Kind

if TYPE_CHECKING:
    from opentelemetry.trace import Span, SpanContext

    from trueline.instrumentation.adopted import Adopted
    from trueline.instrumentation.database_errors import ErrorFacts
    from trueline.instrumentation.identity import BoundIdentity, Identities
    from trueline.instrumentation.statement import Plan
    from trueline.instrumentation.wire import Part


class StatementRecord:
    """Everything a statement span will say, without the outcome. Times are ns since the epoch.

    Made on the request path: positional arguments, and nothing computed that can wait.
    """

    __slots__ = (
        "adopted",
        "batch",
        "bound",
        "database",
        "ended_at",
        "entry",
        "error",
        "failed",
        "identities",
        "kept_nothing",
        "left",
        "orm_session_id",
        "parent",
        "plan",
        "position",
        "reads",
        "row_key",
        "row_owners",
        "rows",
        "span_number_or_0",
        "started_at",
        "tables",
        "undone",
        "writes",
    )

    def __init__(
        self,
        plan: Plan,
        database: Part,
        orm_session_id: str,
        started_at: int,
        ended_at: int,
        parent: SpanContext | None,
        entry: Span | None,
        bound: tuple[BoundIdentity, ...],
        identities: Identities,
        row_key: str,
        rows: int | None,
        batch: int,
        error: ErrorFacts | None,
        adopted: Adopted | None,
        row_owners: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.plan = plan
        #: The attributes that every statement of the connection carries.
        self.database = database
        self.orm_session_id = orm_session_id
        self.started_at = started_at
        self.ended_at = ended_at
        #: The span that was current when the statement began.
        self.parent = parent
        #: The span at which the work entered this service.
        self.entry = entry
        self.bound = bound
        self.identities = identities
        self.row_key = row_key
        #: Domain and exported value of whom the rows belong to, where the statement itself names nobody.
        self.row_owners = row_owners
        self.rows = rows
        self.batch = batch
        self.error = error
        #: The span of another instrumentation that stands for this statement; None for our own.
        self.adopted = adopted
        kind = plan.kind
        self.writes = kind is Kind.WRITE or kind is Kind.DDL
        self.reads = kind is Kind.READ
        self.tables = plan.tables
        self.failed = error is not None
        self.undone = False
        self.left = False
        #: It failed, and the database says that none of its parameter sets changed anything.
        self.kept_nothing = False
        self.position = 0
        self.span_number_or_0 = 0

    @property
    def span_number(self) -> int:
        """The span id as a number, chosen when it is first asked for."""
        number = self.span_number_or_0
        if not number:
            adopted = self.adopted
            number = ambient.new_span_id() if adopted is None else adopted.context.span_id
            self.span_number_or_0 = number
        return number

    @property
    def many(self) -> bool:
        """Several parameter sets in one execution, of which some may have been kept though it failed."""
        return self.batch > 1 and not self.kept_nothing

    @property
    def span_id(self) -> str:
        """The span id as 16 hex digits."""
        return f"{self.span_number:016x}"
