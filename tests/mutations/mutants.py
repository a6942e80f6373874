"""Mutants of a rule's SQL: the same query with one condition taken away, weakened or turned round. Pure.

What only words the finding is left alone: of the columns of the result, those that the rule groups by or
counts with are mutated, and whatever the last HAVING reads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final

import sqlglot
from sqlglot import exp

#: Changes a node of a copied tree, in place.
Change = Callable[[exp.Expr], object]

_OPPOSITE: Final[dict[type[exp.Expr], type[exp.Expr]]] = {
    exp.EQ: exp.NEQ, exp.NEQ: exp.EQ, exp.GT: exp.LTE, exp.LTE: exp.GT, exp.LT: exp.GTE, exp.GTE: exp.LT,
}  # fmt: skip
_BOUNDARY: Final[dict[type[exp.Expr], type[exp.Expr]]] = {
    exp.GT: exp.GTE, exp.GTE: exp.GT, exp.LT: exp.LTE, exp.LTE: exp.LT,
}  # fmt: skip
#: Columns of the result that decide, besides those of ``group_by``.
_DECISIVE: Final = frozenset({"count", "value", "first_seen", "last_seen"})
_LONGEST: Final = 160


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of a query. ``name`` says where and what, and stays the same while that text does."""

    name: str
    sql: str


def mutants(sql: str, decisive: Collection[str] = ()) -> Iterator[Mutant]:
    """All mutants of a query in ClickHouse's SQL; ``decisive`` are the columns of its result that count."""
    tree = sqlglot.parse_one(sql, dialect="clickhouse")
    plain = tree.sql(dialect="clickhouse")
    left_alone = _of_words(tree, _DECISIVE | frozenset(decisive))
    named: Counter[str] = Counter()
    for number, node in enumerate(tree.walk()):
        if id(node) in left_alone:
            continue
        for what, change in _changes(node):
            copy = tree.copy()
            change(_at(copy, number))
            changed = copy.sql(dialect="clickhouse")
            if changed == plain:
                continue
            name = f"{_place(node)}: {what}"
            named[name] += 1
            yield Mutant(name if named[name] == 1 else f"{name} ({named[name]})", changed)


def _at(tree: exp.Expr, number: int) -> exp.Expr:
    return next(node for at, node in enumerate(tree.walk()) if at == number)


def _of_words(tree: exp.Expr, decisive: frozenset[str]) -> set[int]:
    """Nodes of the result's columns that only word the finding."""
    if not isinstance(tree, exp.Select):
        return set()
    counted = set(decisive)
    having = tree.args.get("having")
    pending = [having] if having is not None else []
    columns = {one.alias_or_name: one for one in tree.expressions}
    while pending:
        for column in pending.pop().find_all(exp.Column):
            if column.name in columns and column.name not in counted:
                counted.add(column.name)
                pending.append(columns[column.name])
    return {id(node) for name, one in columns.items() if name not in counted for node in one.walk()}


def _place(node: exp.Expr) -> str:
    """The named query that a node stands in."""
    around = node.find_ancestor(exp.CTE)
    return str(around.alias) if isinstance(around, exp.CTE) else "result"


def _text(node: exp.Expr) -> str:
    text = " ".join(node.sql(dialect="clickhouse").split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _changes(node: exp.Expr) -> Iterator[tuple[str, Change]]:
    """What can be done to one node, in words and as a change of its copy."""
    if isinstance(node, exp.And | exp.Or):
        for side, other in (("this", "expression"), ("expression", "this")):
            if not isinstance(node.args[side], type(node)):
                yield f"without `{_text(node.args[side])}`", _keeping(other)
    if isinstance(node, exp.Where | exp.Having) and not isinstance(node.this, exp.And):
        yield f"without `{_text(node)}`", lambda one: one.pop()
    if type(node) in _OPPOSITE:
        yield f"turned round `{_text(node)}`", _as(_OPPOSITE[type(node)])
    if type(node) in _BOUNDARY and _has_number(node):
        yield f"boundary of `{_text(node)}`", _as(_BOUNDARY[type(node)])
    if isinstance(node, exp.Not):
        yield f"without NOT `{_text(node)}`", lambda one: one.replace(one.this)
    if isinstance(node, exp.In) and len(node.expressions) > 1:
        for place, value in enumerate(node.expressions):
            yield f"`{_text(value)}` is not in `{_text(node)}`", _without_value(place)
    if isinstance(node, exp.Tuple) and isinstance(node.parent, exp.In) and node.arg_key == "this":
        yield from _narrower_keys(node)
    if isinstance(node, exp.Select) and node.args.get("distinct"):
        yield f"without DISTINCT `{_text(node.expressions[0])}`", lambda one: one.set("distinct", None)
    if isinstance(node, exp.Limit):
        yield f"without `{_text(node)}`", lambda one: one.pop()
    if isinstance(node, exp.SetOperation):
        yield f"only the first of `{_text(node)}`", lambda one: one.replace(one.this)
        yield f"only the second of `{_text(node)}`", lambda one: one.replace(one.expression)
    if isinstance(node, exp.Join):
        yield from _joins(node)
    yield from _branches(node)


def _keeping(side: str) -> Change:
    def change(one: exp.Expr) -> None:
        one.replace(one.args[side])

    return change


def _as(kind: type[exp.Expr]) -> Change:
    def change(one: exp.Expr) -> None:
        one.replace(kind(this=one.this, expression=one.args["expression"]))

    return change


def _has_number(node: exp.Expr) -> bool:
    """Whether a bound is a number or a parameter of one: the very nanosecond of a time never matters."""
    for side in (node.this, node.args["expression"]):
        if isinstance(side, exp.Literal) and not side.is_string:
            return True
        if isinstance(side, exp.Placeholder) and "DateTime" not in side.sql(dialect="clickhouse"):
            return True
    return False


def _without_value(place: int) -> Change:
    def change(one: exp.Expr) -> None:
        one.set("expressions", [value for at, value in enumerate(one.expressions) if at != place])

    return change


def _narrower_keys(node: exp.Tuple) -> Iterator[tuple[str, Change]]:
    """``(a, b) IN (SELECT a, b ...)``: one key less on both sides."""
    around = node.parent
    query = around.args.get("query") if around is not None else None
    inner = query.this if isinstance(query, exp.Subquery) else query
    if not isinstance(inner, exp.Select) or len(inner.expressions) != len(node.expressions):
        return
    for place, key in enumerate(node.expressions):

        def change(one: exp.Expr, place: int = place) -> None:
            asked = one.parent
            assert asked is not None
            select = asked.args["query"]
            select = select.this if isinstance(select, exp.Subquery) else select
            one.set("expressions", [part for at, part in enumerate(one.expressions) if at != place])
            select.set("expressions", [part for at, part in enumerate(select.expressions) if at != place])

        yield f"`{_text(key)}` is no key of `{_text(node)} IN`", change


def _joined_by(side: str | None, kind: str | None) -> Change:
    def change(one: exp.Expr) -> None:
        one.set("side", side)
        one.set("kind", kind)

    return change


def _joins(node: exp.Join) -> Iterator[tuple[str, Change]]:
    name = _text(node.this)
    if node.side == "LEFT" and node.kind != "ANTI":
        yield f"INNER JOIN `{name}`", _joined_by(None, "INNER")
    elif node.kind == "INNER":
        yield f"LEFT JOIN `{name}`", _joined_by("LEFT", None)
    using = node.args.get("using") or []
    for place, key in enumerate(using if len(using) > 1 else []):

        def change(one: exp.Expr, place: int = place) -> None:
            one.set("using", [part for at, part in enumerate(one.args["using"]) if at != place])

        yield f"`{_text(key)}` does not join `{name}`", change


def _branches(node: exp.Expr) -> Iterator[tuple[str, Change]]:
    """Branches of if and multiIf, and conditions of counting functions."""
    if isinstance(node, exp.If):
        yield f"never `{_text(node.this)}`", lambda one: one.set("this", exp.false())
        if not isinstance(node.parent, exp.Case) or len(node.parent.args["ifs"]) == 1:
            yield f"always `{_text(node.this)}`", lambda one: one.set("this", exp.true())
    if isinstance(node, exp.Anonymous) and node.name.lower() == "multiif":
        for place in range(0, len(node.expressions) - 1, 2):

            def change(one: exp.Expr, place: int = place) -> None:
                parts = list(one.expressions)
                parts[place] = exp.false()
                one.set("expressions", parts)

            yield f"never `{_text(node.expressions[place])}`", change
    if isinstance(node, exp.CountIf):
        yield f"without the condition of `{_text(node)}`", lambda one: one.set("this", exp.true())
    name = str(node.this) if isinstance(node, exp.CombinedAggFunc | exp.CombinedParameterizedAgg) else ""
    if name.endswith("If"):

        def always(one: exp.Expr) -> None:
            listed = "params" if isinstance(one, exp.CombinedParameterizedAgg) else "expressions"
            one.set(listed, [*one.args[listed][:-1], exp.true()])

        yield f"without the condition of `{_text(node)}`", always
