"""A walk over a syntax tree that notes tables, filters, comparisons with values, and assignments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from sqlglot import exp

from trueline.instrumentation.semconv import Clause, Kind
from trueline.instrumentation.statement.facts import BOOKKEEPING, Comparison, Facts
from trueline.instrumentation.statement.names import identifier, table_name
from trueline.instrumentation.statement.scopes import ColumnName, Scope, Scopes, Values
from trueline.instrumentation.statement.trees import (
    assignments_of,
    depends_on_input,
    insert_target,
    is_false,
    operation_of,
)

_QUERIES: Final = (exp.Select, exp.Insert, exp.Update, exp.Delete, exp.Merge)


@dataclass(frozen=True, slots=True)
class _Context:
    """Where in a query a node stands."""

    filter: bool = False
    join: bool = False
    equal: bool = True
    certain: bool = True


_OUTSIDE: Final = _Context()


class Analysis:
    """Collects over the statements of one text."""

    def __init__(self) -> None:
        self.filters: dict[str, None] = {}
        self.comparisons: list[Comparison] = []
        self.operation = ""
        self.kind = Kind.READ
        self.lock = False
        self.self_update = False
        self.on_conflict = ""
        self._written: dict[str, None] = {}
        self._read: dict[str, None] = {}
        self._certain: dict[tuple[int, ColumnName], Values] = {}
        self._copies: list[tuple[list[ColumnName], exp.Expression]] = []
        self._scopes: Scopes

    def facts(self) -> Facts:
        """Return what was found.

        Tables: the written ones, then the others, those of a query before those of queries inside it.
        """
        return Facts(
            kind=self.kind,
            operation=self.operation,
            tables=(*self._written, *(table for table in self._read if table not in self._written)),
            filters=tuple(self.filters),
            lock=self.lock,
            self_update=self.self_update,
            on_conflict=self.on_conflict,
            comparisons=self.comparisons,
        )

    def add(self, tree: exp.Expression, *, replace: bool = False) -> None:
        """Note one statement. ``replace``: it was a REPLACE, rewritten for the parser."""
        self._scopes = Scopes(tree)
        self._copies.clear()
        operation = "REPLACE" if replace else operation_of(tree)
        stack: list[tuple[exp.Expression, Scope | None, _Context]] = [(tree, None, _OUTSIDE)]
        while stack:
            node, scope, context = stack.pop()
            stack.extend(reversed(list(self._visit(node, scope, context))))
        for columns, query in self._copies:
            self._copy(columns, query)
        self._read.update(self._scopes.tables)
        if replace:
            self.on_conflict = "update"
        writes = next((one for one in tree.find_all(exp.Insert, exp.Update, exp.Delete, exp.Merge)), None)
        if writes is not None and not isinstance(tree, _QUERIES[1:]):
            operation = operation_of(writes)
        if self.kind is Kind.READ:
            if writes is not None:
                self.kind, self.operation = Kind.WRITE, operation
            elif tree.find(exp.Into) is not None:
                self.kind, self.operation = Kind.DDL, operation
        self.operation = self.operation or operation

    def _visit(
        self, node: exp.Expression, scope: Scope | None, context: _Context
    ) -> Iterator[tuple[exp.Expression, Scope | None, _Context]]:
        """Note one node and yield its children, each with where it stands."""
        if isinstance(node, _QUERIES):
            scope = self._scopes.of(node, scope)
            context = _OUTSIDE
            self._query(node, scope)
        elif isinstance(node, exp.Subquery | exp.SetOperation | exp.Values | exp.CTE):
            context = _OUTSIDE
        elif isinstance(node, exp.Where | exp.Having):
            context = _Context(filter=True)
        elif isinstance(node, exp.Join):
            outer = bool(node.args.get("side"))
            yield node.this, scope, _OUTSIDE
            if isinstance(on := node.args.get("on"), exp.Expression):
                yield on, scope, _Context(join=True, certain=not outer)
            return
        elif scope is not None and (context.filter or context.join):
            context = self._condition(node, scope, context)
        for child in node.iter_expressions():
            if isinstance(node, exp.Merge) and child is node.args.get("on"):
                yield child, scope, _Context(join=True)
            else:
                yield child, scope, context

    def _condition(self, node: exp.Expression, scope: Scope, context: _Context) -> _Context:
        if isinstance(node, exp.Column):
            resolved = self._scopes.resolve(node, scope)
            if context.filter and isinstance(resolved, ColumnName):
                self.filters[f"{resolved.table}.{resolved.column}"] = None
        elif isinstance(node, exp.Or):
            return replace(context, certain=False)
        elif isinstance(node, exp.EQ | exp.NullSafeEQ):
            if context.equal:
                self._equal(node.this, node.expression, scope, context)
        elif isinstance(node, exp.In):
            if context.equal:
                self._listed(node, scope, context)
        elif isinstance(node, exp.Not | exp.Case | exp.If | exp.Xor) or is_false(node):
            return replace(context, equal=False, certain=False)
        return context

    def _equal(self, left: object, right: object, scope: Scope, context: _Context) -> None:
        if isinstance(left, exp.Tuple) and isinstance(right, exp.Tuple):
            for one, other in zip(left.expressions, right.expressions, strict=False):
                self._equal(one, other, scope, context)
            return
        for one, other in ((left, right), (right, left)):
            values = self._scopes.values(other, scope)
            if values is not None:
                columns = list(self._scopes.columns(one, scope))
                for column in columns:
                    self._compared(column, values, scope, context, alone=len(columns) == 1)
                if columns:
                    return

    def _listed(self, node: exp.In, scope: Scope, context: _Context) -> None:
        listed = node.expressions or [node.args.get("field")]
        if isinstance(listed[0], exp.Values):  # SQLite's spelling: (a, b) IN (VALUES (?, ?), ...)
            listed = listed[0].expressions
        if isinstance(node.this, exp.Tuple):
            rows = [row.expressions for row in listed if isinstance(row, exp.Tuple)]
            for at, part in enumerate(node.this.expressions):
                self._one_of(part, [row[at] for row in rows if at < len(row)], scope, context)
        else:
            self._one_of(node.this, listed, scope, context)

    def _one_of(self, left: object, listed: list[object], scope: Scope, context: _Context) -> None:
        found = [values for one in listed if (values := self._scopes.values(one, scope)) is not None]
        slots = tuple(slot for values in found for slot in values.slots)
        if slots:
            columns = list(self._scopes.columns(left, scope))
            for column in columns:
                values = Values(slots, found[0].transform)
                self._compared(column, values, scope, context, alone=len(columns) == 1)

    def _compared(
        self, column: ColumnName, values: Values, scope: Scope, context: _Context, *, alone: bool
    ) -> None:
        certain = context.certain and alone
        self.comparisons.append(
            Comparison(column.table, column.column, Clause.WHERE, values.slots, values.transform, certain)
        )
        if context.join:
            self.filters[f"{column.table}.{column.column}"] = None
        if certain:
            self._certain.setdefault((id(scope), column), values)

    # -- queries ----------------------------------------------------------------------------------------

    def _query(self, node: exp.Expression, scope: Scope) -> None:
        if isinstance(node, exp.Select):
            locks = node.args.get("locks") or ()
            self.lock = self.lock or any(lock.args.get("update") for lock in locks)
        elif isinstance(node, exp.Insert):
            self._insert(node, scope)
        elif isinstance(node, exp.Update):
            self._update(node, scope)
        elif isinstance(node, exp.Delete):
            self._delete(node, scope)
        elif isinstance(node, exp.Merge):
            self._merge(node, scope)

    def _insert(self, node: exp.Insert, scope: Scope) -> None:
        target, names = insert_target(node)
        if not target:
            return  # an INSERT inside MERGE, which names its columns itself
        self._written[target] = None
        self._set_rows([ColumnName(target, name) for name in names], node.args.get("expression"), scope)
        alternative = str(node.args.get("alternative") or "").upper()
        if node.args.get("ignore") or alternative == "IGNORE":
            self.on_conflict = "nothing"
        elif alternative == "REPLACE":
            self.on_conflict = "update"
        conflict = node.args.get("conflict")
        if isinstance(conflict, exp.OnConflict):
            does = str(conflict.args.get("action") or "").upper()
            self.on_conflict = "nothing" if "NOTHING" in does else "update"
            self._assign(conflict.expressions, scope, target)

    def _set_rows(self, columns: list[ColumnName], rows: object, scope: Scope) -> None:
        if isinstance(rows, exp.Values):
            for row in rows.expressions:
                self._set_row(columns, row.expressions if isinstance(row, exp.Tuple) else [row], scope)
        elif isinstance(rows, exp.Expression):
            self._copies.append((columns, rows))

    def _set_row(self, columns: list[ColumnName], row: list[exp.Expression], scope: Scope) -> None:
        for column, value in zip(columns, row, strict=False):
            self._set(column, self._scopes.values(value, scope))

    def _set(self, column: ColumnName, values: Values | None) -> None:
        if values is not None:
            self.comparisons.append(
                Comparison(column.table, column.column, Clause.SET, values.slots, values.transform)
            )

    def _copy(self, columns: list[ColumnName], query: exp.Expression) -> None:
        """INSERT ... SELECT: a column is set to a value, or to one that the SELECT's filter holds fixed."""
        stack = [query]
        while stack:
            query = stack.pop()
            if isinstance(query, exp.Subquery | exp.SetOperation):
                # of INTERSECT and EXCEPT only the first query gives rows
                both = isinstance(query, exp.Union) and isinstance(query.expression, exp.Expression)
                stack.extend([query.expression, query.this] if both else [query.this])
            elif isinstance(query, exp.Select):
                self._copy_select(columns, query)

    def _copy_select(self, columns: list[ColumnName], query: exp.Select) -> None:
        scope = self._scopes.of(query, None)
        for column, output in zip(columns, query.expressions, strict=False):
            values = self._scopes.values(output, scope)
            if values is None:
                fixed = {self._certain.get((id(scope), one)) for one in self._scopes.columns(output, scope)}
                values = fixed.pop() if len(fixed) == 1 else None
            self._set(column, values)

    def _update(self, node: exp.Update, scope: Scope) -> None:
        if not isinstance(node.this, exp.Table):
            return  # an UPDATE inside MERGE
        self._assign(node.expressions, scope, table_name(node.this))

    def _delete(self, node: exp.Delete, scope: Scope) -> None:
        targets = [one for one in node.args.get("tables") or () if isinstance(one, exp.Table)]
        for one in targets or ([node.this] if isinstance(node.this, exp.Table) else []):
            source = scope.sources.get(identifier(one.this))
            name = source if isinstance(source, str) else table_name(one)
            if name:
                self._written[name] = None

    def _merge(self, node: exp.Merge, scope: Scope) -> None:
        target = table_name(node.this) if isinstance(node.this, exp.Table) else ""
        if not target:
            return
        self._written[target] = None
        for when in node.find_all(exp.When):
            then = when.args.get("then")
            if isinstance(then, exp.Update):
                self._assign(then.expressions, scope, target)
            elif isinstance(then, exp.Insert) and isinstance(then.this, exp.Tuple):
                names = [identifier(one.this) for one in then.this.expressions]
                row = then.args.get("expression")
                if isinstance(row, exp.Tuple):
                    self._set_row([ColumnName(target, name) for name in names], row.expressions, scope)

    def _assign(self, assignments: list[exp.Expression], scope: Scope, target: str) -> None:
        """Note SET a = b, ...; ``target`` is the table of the columns that do not name theirs."""
        pairs = list(assignments_of(assignments))
        own, others = 0, 0
        for left, value in pairs:
            resolved = self._scopes.resolve(left, scope) if left.args.get("table") else None
            column = (
                resolved if isinstance(resolved, ColumnName) else ColumnName(target, identifier(left.this))
            )
            self._written[column.table] = None
            values = self._scopes.values(value, scope)
            self._set(column, values)
            if values is None and self._mentions(value, column, scope):
                own += 1
            elif not BOOKKEEPING.fullmatch(column.column.lower()) and depends_on_input(value):
                others += 1
        if not pairs:
            self._written[target] = None
        self.self_update = self.self_update or (own > 0 and others == 0)

    def _mentions(self, value: exp.Expression, column: ColumnName, scope: Scope) -> bool:
        """Tell whether a value is computed from the column that it is assigned to."""
        elsewhere = {id(one) for query in value.find_all(exp.Select) for one in query.find_all(exp.Column)}
        return any(
            not one.args.get("table") or self._scopes.resolve(one, scope) == column
            for one in value.find_all(exp.Column)
            if identifier(one.this) == column.column and id(one) not in elsewhere
        )
