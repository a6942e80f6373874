"""One executed statement, as it waits for the outcome of its transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trueline.instrumentation import ambient

if TYPE_CHECKING:
    from opentelemetry.trace import Span, SpanContext

    from trueline.instrumentation.database_errors import ErrorFacts
    from trueline.instrumentation.identity import BoundIdentity, Identities
    from trueline.instrumentation.statement import Plan


class StatementRecord:
    """Everything a statement span will say, without the outcome. Times are ns since the epoch."""

    __slots__ = (
        "_span_id",
        "adopted",
        "batch",
        "bound",
        "database",
        "ended_at",
        "entry",
        "error",
        "failed",
        "identities",
        "left",
        "many",
        "orm_session_id",
        "parent",
        "plan",
        "position",
        "row_key",
        "rows",
        "started_at",
        "undone",
        "writes",
    )

    def __init__(
        self,
        *,
        plan: Plan,
        database: dict[str, Any],
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
        adopted: Any,
        writes: bool,
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
        self.rows = rows
        self.batch = batch
        self.error = error
        #: The span of another instrumentation that stands for this statement; None for our own.
        self.adopted = adopted
        self.writes = writes
        self.failed = error is not None
        self.many = batch > 1
        self.undone = False
        self.left = False
        self.position = 0
        self._span_id = 0

    @property
    def span_number(self) -> int:
        """The span id as a number, chosen when it is first asked for."""
        if not self._span_id:
            if self.adopted is not None:
                self._span_id = self.adopted.get_span_context().span_id
            else:
                self._span_id = ambient.new_span_id()
        return self._span_id

    @property
    def span_id(self) -> str:
        """The span id as 16 hex digits."""
        return f"{self.span_number:016x}"
