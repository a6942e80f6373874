"""Which table a column belongs to: aliases, derived tables, common table expressions, VALUES lists."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from sqlglot import exp

from trueline.instrumentation.statement.keys import singulars
from trueline.instrumentation.statement.names import (
    alias_columns,
    alias_of,
    identifier,
    output_name,
    table_name,
)
from trueline.instrumentation.statement.trees import slot_of, sources_of, unwrapped

_MAX_DEPTH: Final = 12
#: Wrappers that leave a value what it is, for the purpose of naming whose it is.
_TRANSPARENT: Final = (exp.Paren, exp.Cast, exp.TryCast, exp.Collate, exp.Trim, exp.Alias, exp.Any)
_UNWRAPPED_FUNCTIONS: Final = frozenset({"uuid_to_bin", "unhex", "to_uuid", "uuid"})


@dataclass(frozen=True, slots=True)
class ColumnName:
    """A column of a real table."""

    table: str
    column: str


@dataclass(frozen=True, slots=True)
class Values:
    """Value slots, and what the statement does to the values first."""

    slots: tuple[int, ...]
    transform: str = ""


@dataclass(slots=True)
class Scope:
    """The sources of one query: alias to table name, or to the query, VALUES or nothing known behind it."""

    parent: Scope | None = None
    sources: dict[str, str | exp.Expression | None] = field(default_factory=dict)
    using: set[str] = field(default_factory=set)


class Scopes:
    """Scopes of one syntax tree, and the resolution of columns and values in them."""

    def __init__(self, tree: exp.Expression) -> None:
        self.tables: dict[str, None] = {}
        self._ctes = {alias_of(cte): cte for cte in tree.find_all(exp.CTE)}
        self._made: dict[int, Scope] = {}
        self._qualifiers: dict[str, set[str]] = {}
        for column in tree.find_all(exp.Column):
            qualifier = identifier(column.args.get("table"))
            if qualifier:
                self._qualifiers.setdefault(identifier(column.this), set()).add(qualifier)

    def of(self, query: exp.Expression, parent: Scope | None) -> Scope:
        """Return the scope of a SELECT, INSERT, UPDATE, DELETE or MERGE; made once."""
        scope = self._made.get(id(query))
        if scope is None:
            scope = self._made[id(query)] = Scope(parent)
            for source in sources_of(query):
                self._add(scope, source)
            self._join(scope, query)
            for source in query.args.get("laterals") or ():
                self._add(scope, source)
        return scope

    def _add(self, scope: Scope, source: object) -> None:
        if isinstance(source, exp.Schema):
            source = source.this
        if isinstance(source, exp.Table):
            name = table_name(source)
            cte = self._cte(source, name)
            last = identifier(source.this)
            if cte is not None:
                scope.sources[alias_of(source) or last] = cte
            else:
                scope.sources[alias_of(source) or last] = name or None
                if name:
                    self.tables[name] = None
        elif isinstance(source, exp.Subquery) and isinstance(source.this, exp.Table):
            self._add(scope, source.this)  # a parenthesised join
        elif isinstance(source, exp.Lateral):
            scope.sources[alias_of(source)] = source if isinstance(source.this, exp.Subquery) else None
        elif isinstance(source, exp.Expression):
            scope.sources[alias_of(source)] = source
        if isinstance(source, exp.Expression):
            self._join(scope, source)

    def _join(self, scope: Scope, node: exp.Expression) -> None:
        for join in node.args.get("joins") or ():
            self._add(scope, join.this)
            scope.using.update(identifier(column) for column in join.args.get("using") or ())

    def _cte(self, table: exp.Table, name: str) -> exp.CTE | None:
        cte = self._ctes.get(name)
        if cte is None:
            return None
        # WITH expenses AS (SELECT ... FROM expenses): inside, the name is still the table's
        within = table.find_ancestor(exp.CTE)
        while within is not None:
            if within is cte:
                with_ = cte.find_ancestor(exp.With)
                return cte if with_ is not None and with_.args.get("recursive") else None
            within = within.find_ancestor(exp.CTE)
        return cte

    # -- columns ----------------------------------------------------------------------------------------

    def resolve(self, column: exp.Column, scope: Scope, depth: int = 0) -> ColumnName | Values | None:
        """Return the real column or the values behind a column, None where that cannot be told."""
        name = identifier(column.this)
        if not name or depth > _MAX_DEPTH:
            return None
        qualifier = identifier(column.args.get("table"))
        if qualifier:
            at: Scope | None = scope
            while at is not None:
                if qualifier in at.sources:
                    return self._in_source(at.sources[qualifier], name, at, depth)
                at = at.parent
            return None
        at = scope
        while at is not None and not at.sources:
            at = at.parent
        if at is None:
            return None
        owner = self._owner(at, name)
        return None if owner is None else self._in_source(at.sources[owner], name, at, depth)

    def _owner(self, scope: Scope, name: str) -> str | None:
        """Return the source that an unqualified column most likely belongs to."""
        aliases = list(scope.sources)
        if len(aliases) == 1 or name in scope.using:
            return aliases[0]
        qualified = [alias for alias in aliases if alias in self._qualifiers.get(name, ())]
        if len(qualified) == 1:
            return qualified[0]
        giving = [alias for alias in aliases if self._gives(scope.sources[alias], name)]
        if len(giving) == 1:
            return giving[0]
        # user_id stands in the tables that refer to users, not in users
        row = name.rpartition("_")[0]
        referring = [
            alias
            for alias in giving
            if not (isinstance(table := scope.sources[alias], str) and row in singulars(table))
        ]
        return referring[0] if row and len(referring) == 1 else None

    def _gives(self, source: str | exp.Expression | None, name: str) -> bool:
        """Tell whether a source may have a column of that name."""
        if source is None:
            return False
        if isinstance(source, str):
            return True
        names = alias_columns(source)
        query = unwrapped(source)
        if names:
            return name in names
        if isinstance(query, exp.Select):
            outputs = query.expressions
            return any(
                isinstance(one, exp.Star) or one.is_star or output_name(one) == name for one in outputs
            )
        return True

    def _in_source(
        self, source: str | exp.Expression | None, name: str, scope: Scope, depth: int
    ) -> ColumnName | Values | None:
        if source is None:
            return None
        if isinstance(source, str):
            return ColumnName(source, name)
        names = alias_columns(source)
        position = names.index(name) if name in names else -1
        if names and position < 0:
            return None
        return self._in_query(unwrapped(source), name, position, scope, depth + 1)

    def _in_query(
        self, query: exp.Expression, name: str, position: int, scope: Scope, depth: int
    ) -> ColumnName | Values | None:
        if depth > _MAX_DEPTH:  # a recursive query that only names itself
            return None
        while isinstance(query, exp.SetOperation):
            query = unwrapped(query.this)
        if isinstance(query, exp.Values):
            rows = [row.expressions for row in query.expressions if isinstance(row, exp.Tuple)]
            found = [self.values(row[position], scope, depth) for row in rows if -1 < position < len(row)]
            if not found or any(one is None for one in found):
                return None
            return Values(tuple(slot for one in found if one is not None for slot in one.slots))
        if isinstance(query, exp.Insert | exp.Update | exp.Delete):
            inner = self.of(query, None)
            return self.resolve(exp.column(exp.to_identifier(name, quoted=True)), inner, depth)
        if not isinstance(query, exp.Select):
            return None
        inner = self.of(query, scope)
        outputs = query.expressions
        if position >= 0 and len(outputs) == 1 and outputs[0].is_star and len(inner.sources) == 1:
            # WITH t(a, b) AS (VALUES ...) is read as SELECT * FROM (VALUES ...)
            source = next(iter(inner.sources.values()))
            if not isinstance(source, exp.Expression):
                return None
            return self._in_query(unwrapped(source), name, position, inner, depth + 1)
        if position >= 0:
            chosen = outputs[position] if position < len(outputs) else None
        else:
            chosen = next((one for one in outputs if output_name(one) == name), None)
        if chosen is None:
            if (
                not any(isinstance(one, exp.Star) or one.is_star for one in outputs)
                or len(inner.sources) != 1
            ):
                return None
            return self.resolve(exp.column(exp.to_identifier(name, quoted=True)), inner, depth)
        expression = chosen.this if isinstance(chosen, exp.Alias) else chosen
        if isinstance(expression, exp.Column):
            return self.resolve(expression, inner, depth)
        return self.values(expression, inner, depth)

    # -- values -----------------------------------------------------------------------------------------

    def values(self, node: object, scope: Scope, depth: int = 0) -> Values | None:
        """Return the slots of an expression that is nothing but values, None for anything else."""
        transform = ""
        for _ in range(_MAX_DEPTH):
            if isinstance(node, _TRANSPARENT):
                node = node.this
            elif isinstance(node, exp.Introducer):  # _utf8mb4'...'
                node = node.expression
            elif isinstance(node, exp.Lower | exp.Upper):
                transform = transform or ("lower" if isinstance(node, exp.Lower) else "upper")
                node = node.this
            elif isinstance(node, exp.MD5 | exp.MD5Digest | exp.SHA):
                transform, node = ("sha1" if isinstance(node, exp.SHA) else "md5"), node.this
            elif isinstance(node, exp.Encode) and isinstance(node.this, exp.SHA2Digest):
                transform, node = "sha256", node.this.this
            elif isinstance(node, exp.Anonymous) and node.name.lower() in _UNWRAPPED_FUNCTIONS:
                node = next(iter(node.expressions), None)
            else:
                break
        if isinstance(node, exp.Literal):
            slot = slot_of(node)
            return None if slot is None else Values((slot,), transform)
        if isinstance(node, exp.Array | exp.Tuple):
            found = (
                [self.values(one, scope, depth + 1) for one in node.expressions] if depth < _MAX_DEPTH else []
            )
            if not found or any(one is None for one in found):
                return None
            return Values(tuple(slot for one in found if one is not None for slot in one.slots), transform)
        if isinstance(node, exp.Column):
            resolved = self.resolve(node, scope, depth)
            if isinstance(resolved, Values):
                return Values(resolved.slots, transform or resolved.transform)
        return None

    def columns(self, node: object, scope: Scope) -> Iterator[ColumnName]:
        """Yield the columns that an expression compares as such: itself, case-folded, or all of COALESCE."""
        for _ in range(_MAX_DEPTH):
            if not isinstance(node, (*_TRANSPARENT, exp.Lower, exp.Upper)):
                break
            node = node.this
        if isinstance(node, exp.Column):
            resolved = self.resolve(node, scope)
            if isinstance(resolved, ColumnName):
                yield resolved
        elif isinstance(node, exp.Coalesce):
            for one in (node.this, *node.expressions):
                if not isinstance(one, exp.Coalesce):
                    yield from self.columns(one, scope)
        elif isinstance(node, exp.Nullif):
            yield from self.columns(node.this, scope)
