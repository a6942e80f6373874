"""The first fence round rule SQL: exactly one SELECT over the tables meant for rules.

A rule is text from somebody else, and ClickHouse's SQL reads files, calls hosts and runs programs. So the
query is parsed, everything that is not known to be harmless is refused, and what runs is not the author's
text but the tree, written out again. The store then runs it read-only and under limits: the second fence.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Final

import sqlglot
from sqlglot import Token, TokenType, exp
from sqlglot.errors import ParseError

from trueline.monitor.engine.fence_tokens import check_calls, position, read_tokens
from trueline.monitor.engine.fenced import RULE_TABLES, FencedQuery, FenceError
from trueline.monitor.engine.parameters import PARAMETER_TYPES, is_parameter_type

__all__ = ["PARAMETER_TYPES", "RULE_TABLES", "FenceError", "FencedQuery", "fence", "is_parameter_type"]
# The parser tells each shifted array index and each statement that it does not know; what matters is raised.
logging.getLogger("sqlglot").setLevel(logging.ERROR)
#: Scalar functions that reach outside the query's rows: files, network, dictionaries, tables, the server.
#: Their names are refused wherever they stand, called or not: ClickHouse takes ``arrayMap(file, ...)`` too.
_DENIED_NAMES: Final = re.compile(
    r"""(?ix)
    file | dictget\w* | dicthas | dictisin | joinget(ornull)? | executable\w*
    | ai(classify|embed|extract|filter|generate|redact|similarity|translate)\w*
    | evalmlmethod | catboostevaluate | naivebayes\w* | region(to\w+|in|hierarchy) | lemmatize | synonyms
    | getsetting\w* | getserversetting | getmergetreesetting | getmacro | getserverport | getclienthttpheader
    | getoskernelversion | getmaxtablenamelengthfordatabase | hostname | fqdn | fullhostname | tcpport
    | serveruuid | buildid | uptime | zookeepersessionuptime | connection_?id | currenthandler
    | (initial_?|current_?)?query_?id
    | currentrequesturl | current_?(user|profiles|roles) | session_user | auth(enticated)?user
    | (default|enabled)(profiles|roles) | globalvariable | showcertificate | filesystem\w+ | hascolumnintable
    | hasthreadfuzzer | addressto\w+ | demangle | logtrace | throwif | sleep\w* | trap | mergetreepartinfo
    | ismergetreepartcoveredby | transaction(id|latestsnapshot|oldestsnapshot) | structureto\w+schema
    | reversedns\w*
    | pg_?get_?userbyid | pg_?table_?is_?visible | timeseries(storetags|idto\w+|groupto\w+|\w*togroup)
    | (global)?(not)?(null)?in(ignoreset)? | __\w+
    """
)
#: How often a query may read tables, with named queries put in wherever they are named: 30 definitions of two
#: lines each can ask for a billion reads, and to plan them is not under the limit of time.
MAX_READS: Final = 200
#: Operands of IN that stand for values. Anything else there, a bare name above all, is read as a table.
_VALUES: Final = (
    exp.Literal,
    exp.Placeholder,
    exp.Tuple,
    exp.Array,
    exp.Cast,
    exp.Neg,
    exp.Null,
    exp.Boolean,
)


def fence(sql: str, tables: Collection[str] = RULE_TABLES) -> FencedQuery:
    """Prove that ``sql`` is one harmless SELECT over ``tables``; raises FenceError naming what is refused."""
    return _fenced(sql, frozenset(tables))


@lru_cache(maxsize=256)
def _fenced(sql: str, tables: frozenset[str]) -> FencedQuery:
    tokens = read_tokens(sql)
    _check_names(tokens)
    select, read = _proved(sql, tokens, tables)
    check_calls(tokens)
    rendered = _written(select)
    # What runs is this text. It is held to the same rules as the author's, and has to mean the same once
    # more: where parser and writer do not agree with themselves, who knows what the engine makes of it.
    tokens = read_tokens(rendered)
    check_calls(tokens)
    again, read_again = _proved(rendered, tokens, tables)
    if _written(again) != rendered or read_again != read:
        raise FenceError("the query cannot be written out again without doubt; write it more simply")
    return FencedQuery(rendered, _columns(select), _parameters(select), frozenset(read))


def _written(select: exp.Select) -> str:
    """The tree as text."""
    try:
        return select.sql(dialect="clickhouse", comments=False)
    except Exception as error:
        raise FenceError(f"the query cannot be written out again: {type(error).__name__}") from None


def _proved(sql: str, tokens: list[Token], tables: Collection[str]) -> tuple[exp.Select, set[str]]:
    """The tree of a text with these words, every node of which is allowed, and the tables that it reads."""
    select = _parse(sql, tokens)
    read: set[str] = set()
    for node in select.walk():
        _check_node(node)
        if isinstance(node, exp.In):
            _check_in(node)
        elif isinstance(node, exp.Table) and (name := _real_table(node, tables)) is not None:
            read.add(name)
    if not read:
        raise FenceError(f"the query reads no table; rules read {', '.join(sorted(tables))}")
    if _reads(select, {}) > MAX_READS:
        raise FenceError(
            f"the query reads tables more than {MAX_READS} times, named queries put in where they are named"
        )
    return select, read


def _reads(node: exp.Expr, known: dict[int, int]) -> int:
    """How often tables are read: the engine puts in a named query wherever it is named."""
    number = 0
    for part in node.walk(prune=lambda one: isinstance(one, exp.With)):
        if isinstance(part, exp.With):
            # Its scalar queries run once; its named ones where they are named.
            number += sum(_reads(one.this, known) for one in part.expressions if one.args.get("scalar"))
        elif isinstance(part, exp.Table | exp.Column):
            definition = _definition(part) if isinstance(part, exp.Table) or _is_operand(part) else None
            if definition is None:
                number += isinstance(part, exp.Table)
            else:
                if id(definition) not in known:
                    known[id(definition)] = 0
                    known[id(definition)] = _reads(definition.this, known)
                number += known[id(definition)]
        if number > MAX_READS * 1000:
            break
    return number


def _is_operand(node: exp.Expr) -> bool:
    """Whether a column's name stands on the right of IN, where it can mean a named query."""
    parent = node.parent
    while isinstance(parent, exp.Paren):
        parent = parent.parent
    return isinstance(parent, exp.In) and node is not parent.this


def _parse(sql: str, tokens: list[Token]) -> exp.Select:
    try:
        # The very words that were checked, and not split a second time: that costs a quarter of the proof.
        parser = sqlglot.Dialect.get_or_raise("clickhouse").parser()
        trees = [tree for tree in parser.parse(tokens, sql) if tree is not None]
    except (ParseError, RecursionError) as error:
        detail = error.errors[0] if isinstance(error, ParseError) and error.errors else {}
        raise FenceError(
            f"the query cannot be parsed: {detail.get('description') or 'nested too deeply'}",
            int(detail.get("line") or 0),
            int(detail.get("col") or 0),
        ) from None
    except Exception as error:
        # The parser indexes and unpacks arguments that may not be there: map('a') is an IndexError.
        raise FenceError(f"the query cannot be parsed: {type(error).__name__} of the parser") from None
    if len(trees) != 1:
        raise FenceError(f"a rule is exactly one SELECT; this text holds {len(trees)} statements")
    if not isinstance(trees[0], exp.Select):
        raise FenceError(f"a rule is exactly one SELECT; this is {trees[0].key.upper()}")
    return trees[0]


def _check_names(tokens: list[Token]) -> None:
    """Refuse names by spelling, before a tree is made: a tree may hide how a name was quoted or called."""
    for token in tokens:
        if token.token_type in (TokenType.STRING, TokenType.IN) or not _DENIED_NAMES.fullmatch(token.text):
            continue
        raise FenceError(
            f"{token.text} is not allowed in a rule: it reaches beyond the rule's rows", *position(token)
        )


def _position(node: exp.Expr) -> tuple[int, int]:
    for part in node.walk():
        if "line" in part.meta:
            return int(part.meta["line"]), max(int(part.meta["col"]) - len(part.name) + 1, 1)
    return 0, 0


def _check_node(node: exp.Expr) -> None:
    if isinstance(node, exp.Command | exp.DML | exp.DDL | exp.Into) and not isinstance(node, exp.Query):
        raise FenceError(f"{node.key.upper()} is not allowed in a rule", *_position(node))
    for clause in ("settings", "format", "into"):
        if node.args.get(clause) and isinstance(node, exp.Query):
            raise FenceError(f"{clause.upper()} is not allowed in a rule", *_position(node))
    if isinstance(node, exp.With) and node.recursive:
        raise FenceError("WITH RECURSIVE is not allowed in a rule", *_position(node))
    if isinstance(node, exp.From) or (isinstance(node, exp.Join) and node.kind != "ARRAY"):
        source = node.this.this if isinstance(node.this, exp.Final) else node.this
        # Where the parser took a source for an expression, a table's name would pass for a column's.
        if not isinstance(source, exp.Table | exp.Subquery):
            raise FenceError(f"{source.sql('clickhouse')} is not a table", *_position(source))
    if isinstance(node, exp.Identifier | exp.Anonymous) and _DENIED_NAMES.fullmatch(node.name):
        raise FenceError(f"{node.name} is not allowed in a rule", *_position(node))
    if isinstance(node, exp.Parameter | exp.SessionParameter):
        raise FenceError("@ is not allowed in a rule: it reads the server's settings", *_position(node))
    if isinstance(node, exp.Values):
        raise FenceError("VALUES is not a table for rules", *_position(node))


def _real_table(node: exp.Table, tables: Collection[str]) -> str | None:
    """The table that is read, or None for a name that the query itself defines."""
    if not isinstance(node.this, exp.Identifier):
        raise FenceError(
            f"{node.this.sql('clickhouse')} is not a table but makes one; rules cannot", *_position(node)
        )
    if node.args.get("db") or node.args.get("catalog"):
        raise FenceError(
            f"{node.sql('clickhouse')} names a database; write the table alone", *_position(node)
        )
    name = node.name
    if name in _visible_ctes(node):
        return None
    if name in tables:
        return name
    if name == "statements":
        raise FenceError(
            "statements is not for rules; read statements_resolved, where outcomes are final",
            *_position(node),
        )
    close = difflib.get_close_matches(name, tables, n=1)
    there = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(tables))}"
    raise FenceError(f"{name} is not a table for rules; {there}", *_position(node))


def _check_in(node: exp.In) -> None:
    """``x IN name``, ``x IN (name)`` and ``x IN name(...)`` read the table of that name."""
    field = node.args.get("field")
    operands = [field] if field is not None else node.expressions if len(node.expressions) == 1 else []
    for operand in operands:
        value = operand.unnest()
        named_query = isinstance(value, exp.Column) and not value.table and value.name in _visible_ctes(node)
        # tuple(...) is parsed as a struct; both are values.
        if named_query or isinstance(value, (*_VALUES, exp.Struct)):
            continue
        text = value.sql("clickhouse")
        raise FenceError(
            f"IN {text} is read as a table; write has({text}, ...) for an array, = for a value",
            *_position(value),
        )


def _definition(node: exp.Expr) -> exp.CTE | None:
    """The query by name that ``node`` means, if it means one."""
    return next((one for one in _visible(node) if one.alias == node.name), None)


def _visible_ctes(node: exp.Expr) -> Iterator[str]:
    """Names of the queries by name that ``node`` can mean."""
    return (definition.alias for definition in _visible(node))


def _visible(node: exp.Expr) -> Iterator[exp.CTE]:
    """Queries by name that ``node`` can mean: of enclosing WITHs, defined before the place where it stands.

    A definition that reads its own name, or that of a later one, means the real table of that name: it must
    not pass for the query's own. ``WITH (SELECT ...) AS name`` is a value, not a table.
    """
    child: exp.Expr = node
    while child.parent is not None:
        parent = child.parent
        definitions = parent.expressions if isinstance(parent, exp.With) else []
        with_ = parent.args.get("with_")
        if isinstance(with_, exp.With) and with_ is not child:
            definitions = with_.expressions
        for definition in definitions:
            if definition is child:
                break
            if not definition.args.get("scalar") and isinstance(definition.this, exp.Query):
                yield definition
        child = parent


def _columns(select: exp.Select) -> tuple[str, ...] | None:
    if any(item.is_star for item in select.expressions):
        return None
    return tuple(item.alias_or_name for item in select.expressions)


def _parameters(select: exp.Select) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in select.find_all(exp.Placeholder):
        name, kind = node.name, node.args.get("kind")
        declared = kind.sql("clickhouse") if isinstance(kind, exp.DataType) else str(kind or "")
        if not name or not declared:
            raise FenceError("a query parameter is written as {name:Type}", *_position(node))
        if not is_parameter_type(declared):
            raise FenceError(
                f"parameter {name} has type {declared}, which a rule cannot have", *_position(node)
            )
        if found.setdefault(name, declared) != declared:
            raise FenceError(
                f"parameter {name} is declared as {found[name]} and as {declared}", *_position(node)
            )
    return found
