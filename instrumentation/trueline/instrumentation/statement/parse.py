"""Statements read by a parser: those that are not plain enough to be read from their tokens.

Only this module leads to the parser, which takes longer to load than everything else of Trueline: it is
imported when it is needed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Final

import sqlglot
from sqlglot import exp

from trueline.instrumentation.identity.config import Domains
from trueline.instrumentation.statement.analysis import Analysis
from trueline.instrumentation.statement.templates import Template, template_of

_DIALECTS: Final[dict[str, str]] = {
    "postgresql": "postgres",
    "cockroachdb": "postgres",
    "redshift": "redshift",
    "mysql": "mysql",
    "mariadb": "mysql",
    "sqlite": "sqlite",
    "mssql": "tsql",
    "oracle": "oracle",
    "snowflake": "snowflake",
    "duckdb": "duckdb",
    "bigquery": "bigquery",
}


def analyse(texts: Sequence[str], dialect: str, columns: Domains) -> Template | None:
    """Parse the statements of one text; None where the parser does not understand one of them."""
    analysis = Analysis()
    for text in texts:
        # the parser knows REPLACE only as INSERT OR REPLACE
        replace = text[:8].upper() == "REPLACE "
        tree = _parse(f"INSERT{text[7:]}" if replace else text, dialect)
        if tree is None:
            return None
        analysis.add(tree, replace=replace)
    return template_of(analysis.facts(), columns)


class _Quiet(logging.Filter):
    """Keeps what the parser says of our texts out of the application's log; its own use of it speaks on."""

    def __init__(self) -> None:
        super().__init__()
        self.parsing = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record is to be logged."""
        return not getattr(self.parsing, "ours", False)


_quiet: Final = _Quiet()
logging.getLogger("sqlglot").addFilter(_quiet)


def _parse(text: str, dialect: str) -> exp.Expression | None:
    _quiet.parsing.ours = True
    try:
        tree = sqlglot.parse_one(text, read=_DIALECTS.get(dialect))
    except Exception:  # its own errors, RecursionError, and what a parser of foreign text may hold
        return None
    finally:
        _quiet.parsing.ours = False
    return tree if isinstance(tree, exp.Expression) else None
