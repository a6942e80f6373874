"""Text of findings: jinja2 in its sandbox, where a name that the row does not have is an error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

import jinja2
from jinja2 import StrictUndefined, TemplateError, meta
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

#: Longest text that a template may produce, in characters.
MAX_TEXT: Final = 20_000


def utc(moment: datetime | str | None) -> str:
    """``2026-11-20 10:51:46 UTC`` for a datetime or its ISO form; without a zone it is taken for UTC."""
    if not moment:
        return "unknown"
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return aware.strftime("%Y-%m-%d %H:%M:%S UTC")


def few(items: Iterable[Any], limit: int = 3, empty: str = "none") -> str:
    """The first items of a list, and how many more there are: ``a, b, c and 4 more``."""
    values = [str(item) for item in items]
    if not values:
        return empty
    shown = ", ".join(values[:limit])
    return shown if len(values) <= limit else f"{shown} and {len(values) - limit} more"


def plural(number: int, one: str, many: str | None = None) -> str:
    """``1 row``, ``2 rows``."""
    return f"{number} {one if number == 1 else many or one + 's'}"


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox, without powers and products of text: ``'x' * 10 ** 10`` takes a process down."""

    intercepted_binops = frozenset({"**", "*"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Multiply plain numbers and nothing else."""
        if operator == "*" and isinstance(left, int | float) and isinstance(right, int | float):
            return left * right
        raise SecurityError(f"templates may not use {operator} here")


_environment = _Environment(
    undefined=StrictUndefined,
    autoescape=False,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=False,
)
_environment.filters.update(utc=utc, few=few, plural=plural)


class Template:
    """One template, compiled when it is needed. ``variables`` are the names that it reads."""

    def __init__(self, source: str) -> None:
        """Raises jinja2's TemplateSyntaxError (with ``lineno``) on a mistake, an unknown filter too."""
        # All rules are read at each start, and few have findings: what finds the variables finds mistakes.
        self.variables = frozenset(meta.find_undeclared_variables(_environment.parse(source)))
        self._source = source

    @cached_property
    def _template(self) -> jinja2.Template:
        return _environment.from_string(self._source)

    def render(self, values: Mapping[str, Any]) -> str:
        """The text, cut at MAX_TEXT characters.

        A template that fails on these values must not cost the finding: the text then says so.
        """
        try:
            return self._template.render(values).strip()[:MAX_TEXT]
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            return f"(this text could not be made: {error})"
