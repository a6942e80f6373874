"""What the fence lets through and what it refuses, without the parser that it takes to tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: What a rule may read. ``statements`` is not here: its outcome is not final, the resolved view's is.
RULE_TABLES: Final = frozenset(
    {
        *("statements_resolved", "identity_uses", "identity_arrivals", "transactions", "entries", "ai_calls"),
        *("access", "traffic", "violations", "failed_statements", "exceptions", "otel_logs", "databases"),
        *("declarations", "declarations_in_force", "open_writes", "settlements", "process_ends"),
        "operation_counts",
    }
)


class FenceError(ValueError):
    """The query is refused. ``line`` and ``column`` count from 1 within the query's text; 0 is unknown."""

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


@dataclass(frozen=True, slots=True)
class FencedQuery:
    """A query that passed: ``sql`` is what may run.

    ``columns`` are the names of the result, or None where a ``*`` hides them; ``parameters`` maps each
    parameter to its ClickHouse type; ``tables`` are the tables it reads.
    """

    sql: str
    columns: tuple[str, ...] | None
    parameters: dict[str, str]
    tables: frozenset[str]
