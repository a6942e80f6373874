"""Reading single nodes of a syntax tree, where the parser's spelling needs an explanation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlglot import exp

from trueline.instrumentation.statement.names import identifier, table_name
from trueline.instrumentation.statement.scan import MARKER_PREFIX, NUMBER_BASE

_MAX_DEPTH: Final = 12


def slot_of(literal: exp.Literal) -> int | None:
    """Return the number of the value slot that a marker stands for, None for another literal."""
    text = str(literal.this)
    if literal.is_string:
        digits = text.removeprefix(MARKER_PREFIX)
        return int(digits) if digits != text and digits.isdecimal() else None
    return int(text) - NUMBER_BASE if text.isdecimal() and int(text) >= NUMBER_BASE else None


def unwrapped(node: exp.Expression) -> exp.Expression:
    """Return the query inside parentheses, a subquery, a LATERAL or a common table expression."""
    for _ in range(_MAX_DEPTH):
        if not isinstance(node, exp.Subquery | exp.CTE | exp.Paren | exp.Lateral):
            break
        node = node.this
    return node


def clause(query: exp.Expression, name: str) -> object:
    """Return an argument of a query whose name the parser has spelled in two ways over its releases."""
    return query.args.get(f"{name}_") or query.args.get(name)


def sources_of(query: exp.Expression) -> Iterator[object]:
    """Yield what a query reads or writes: its target, FROM and USING; joins are not among them."""
    if isinstance(query, exp.Insert | exp.Update | exp.Delete | exp.Merge):
        yield query.this
    origin = clause(query, "from")
    if isinstance(origin, exp.From):
        yield origin.this
    using = query.args.get("using")
    yield from using if isinstance(using, list) else [using]


def insert_target(node: exp.Insert) -> tuple[str, list[str]]:
    """Return the table of an INSERT and the columns that it names."""
    schema = node.this
    if isinstance(schema, exp.Schema) and isinstance(schema.this, exp.Table):
        return table_name(schema.this), [identifier(one) for one in schema.expressions]
    return (table_name(schema), []) if isinstance(schema, exp.Table) else ("", [])


def assignments_of(nodes: list[exp.Expression]) -> Iterator[tuple[exp.Column, exp.Expression]]:
    """Yield column and value of ``a = 1`` and of ``(a, b) = (1, 2)``."""
    for node in nodes:
        if not isinstance(node, exp.EQ):
            continue
        left, right = node.this, node.expression
        if isinstance(left, exp.Column):
            yield left, right
        elif isinstance(left, exp.Tuple | exp.Paren) and (isinstance(right, exp.Tuple) or _is_row(right)):
            columns = left.expressions if isinstance(left, exp.Tuple) else [left.this]
            for one, value in zip(columns, right.expressions, strict=False):
                if isinstance(one, exp.Column):
                    yield one, value


def _is_row(node: exp.Expression) -> bool:
    return isinstance(node, exp.Anonymous) and node.name.upper() == "ROW"


def depends_on_input(value: exp.Expression) -> bool:
    """Tell whether an assigned value comes from the application or another column: not a bare now()."""
    return value.find(exp.Literal, exp.Column) is not None


def is_false(node: exp.Expression) -> bool:
    """Tell whether a node is ``... IS FALSE``."""
    compared = node.expression if isinstance(node, exp.Is) else None
    return isinstance(compared, exp.Boolean) and not compared.this


def operation_of(tree: exp.Expression) -> str:
    """Return INSERT, UPDATE, DELETE, MERGE, or SELECT for everything else."""
    for kind in (exp.Insert, exp.Update, exp.Delete, exp.Merge):
        if isinstance(tree, kind):
            return kind.__name__.upper()
    return "SELECT"
