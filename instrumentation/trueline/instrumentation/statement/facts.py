"""What reading a statement finds, whether from its tokens or from its tree."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from trueline.instrumentation.semconv import Clause, Kind

#: Columns that say when or how often a row changed, not what it holds.
BOOKKEEPING: Final = re.compile(
    r"(?:.*_)?(?:updated|modified|changed|touched)(?:_(?:at|on|by|date|time))?|.*_at"
    r"|(?:row_?|lock_)?version|revision|etag"
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A column that equals values in a filter, or is set to them. ``certain``: every row touched has it."""

    table: str
    column: str
    clause: Clause
    slots: tuple[int, ...]
    transform: str = ""
    certain: bool = True


@dataclass(slots=True)
class Facts:
    """Kind, operation, tables (written ones first), filters and the rest of a plan, before its values."""

    kind: Kind
    operation: str
    tables: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()
    lock: bool = False
    self_update: bool = False
    on_conflict: str = ""
    comparisons: list[Comparison] = field(default_factory=list)
