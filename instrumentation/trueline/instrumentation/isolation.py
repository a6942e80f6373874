"""The isolation level of a transaction as far as it is known without a query."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trueline.instrumentation.statement import Plan

_AUTOCOMMIT = "AUTOCOMMIT"
_SETTING = frozenset({"SET", "BEGIN", "START"})
_LEVEL = re.compile(
    r"\bISOLATION\s+LEVEL\s+(READ\s+UNCOMMITTED|READ\s+COMMITTED|REPEATABLE\s+READ|SERIALIZABLE)\b",
    re.IGNORECASE,
)
_WHOLE_SESSION = re.compile(r"\bSESSION\b|\bdefault_transaction_isolation\b", re.IGNORECASE)


def level_of(connection: Any) -> str:
    """The level at which a SQLAlchemy connection begins its transactions; "" where nothing tells.

    The connection's execution options (which an engine's are merged into) come first, then create_engine()'s
    ``isolation_level``, then what the server said when SQLAlchemy first connected. A statement that commits
    by itself runs at the server's own level.
    """
    dialect = connection.dialect
    level = connection.get_execution_options().get("isolation_level")
    if level is None:
        level = getattr(dialect, "_on_connect_isolation_level", None)
    level = _normal(level)
    if level in ("", _AUTOCOMMIT):
        level = _normal(getattr(dialect, "default_isolation_level", None))
    return "" if level == _AUTOCOMMIT else level


def _normal(level: object) -> str:
    return level.replace("_", " ").upper() if isinstance(level, str) else ""


def level_in(plan: Plan) -> tuple[str, bool]:
    """The level that a statement's text sets, and whether for the whole session: `SET TRANSACTION ...`."""
    if plan.operation not in _SETTING:
        return "", False
    found = _LEVEL.search(plan.text)
    level = " ".join(found[1].upper().split()) if found is not None else ""
    return level, _WHOLE_SESSION.search(plan.text) is not None
