"""Statements that SQLAlchemy and sqlglot make up, against what their maker knows of them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import sqlglot
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import mysql as mysql_dialect
from sqlalchemy.dialects import postgresql as postgresql_dialect
from sqlalchemy.dialects import sqlite as sqlite_dialect

from trueline.instrumentation.identity import Domain, IdentityConfig, IdentityExtractor, IdentityHasher
from trueline.instrumentation.statement import Plan, Planner, parse, plain, templates
from trueline.instrumentation.statement.scan import scan

CONFIG = IdentityConfig(
    domains={name: Domain(plain=True) for name in ("user", "tenant", "message", "email", "session")},
    columns={r"userId": "user"},
)
EXTRACTOR = IdentityExtractor(CONFIG, IdentityHasher(None), limit=1000)
MADE = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
DIALECTS = ["postgresql+psycopg", "postgresql+psycopg2", "postgresql+asyncpg", "sqlite", "mysql+pymysql"]
CORPUS: list[dict[str, Any]] = [
    entry
    for file in sorted((Path(__file__).parent / "data" / "statements").glob("*.yaml"))
    for entry in yaml.safe_load(file.read_text(encoding="utf-8"))
]
NAMES = {"p": ("postgresql", "postgres"), "s": ("sqlite", "sqlite"), "m": ("mysql", "mysql")}

METADATA = sa.MetaData()
CARTS = sa.Table(
    "carts",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("user_id", sa.String(40)),
    sa.Column("user_id_hash", sa.String(64)),
    sa.Column("tenant_id", sa.String(40)),
    sa.Column("note", sa.String(40)),
    sa.Column("n", sa.Integer),
)
ORDERS = sa.Table(
    "Order",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("user_id", sa.String(40)),
    sa.Column("message_id", sa.String(40)),
    sa.Column("note", sa.String(40)),
    sa.Column("n", sa.Integer),
    schema="shop",
)
NOTES = sa.Table(
    "notes",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("owner_id", sa.String(40)),
    sa.Column("note", sa.String(40)),
    sa.Column("n", sa.Integer),
)
TABLES = [CARTS, ORDERS, NOTES]
IDENTITY_COLUMNS = ("user_id", "user_id_hash", "tenant_id", "message_id", "owner_id")


@dataclass
class Truth:
    """What the maker of a statement knows: identities as (table.column, clause, value), and the tables."""

    identities: set[tuple[str, str, str]] = field(default_factory=set)
    tables: set[str] = field(default_factory=set)
    values: int = 0

    def value(self) -> str:
        """Return a value that stands in the statement once."""
        self.values += 1
        return f"v{self.values}"

    def note(self, table: sa.Table, column: str, clause: str, value: str) -> None:
        if column in IDENTITY_COLUMNS:
            self.identities.add((f"{table.fullname}.{column}", clause, value))


def condition(draw: Any, truth: Truth, source: Any, table: sa.Table, depth: int = 0) -> Any:
    """Make one condition on a table or an alias of it, and note what it says."""
    kinds = ["equal", "mirrored", "list", "unequal", "null", "like", "order", "coalesce", "lower", "tuple"]
    if depth < 2:
        kinds += ["or", "not", "in query", "exists", "scalar"]
    kind = draw(st.sampled_from(kinds))
    text_columns = [c.name for c in table.columns if isinstance(c.type, sa.String)]
    name = draw(st.sampled_from(text_columns))
    column = source.c[name]
    if kind in ("equal", "mirrored"):
        value = truth.value()
        truth.note(table, name, "where", value)
        return column == value if kind == "equal" else sa.literal(value) == column
    if kind == "list":
        values = [truth.value() for _ in range(draw(st.integers(1, 4)))]
        for value in values:
            truth.note(table, name, "where", value)
        return column.in_(values)
    if kind == "unequal":
        return draw(st.sampled_from([column != truth.value(), column.not_in([truth.value()])]))
    if kind == "null":
        return draw(st.sampled_from([column.is_(None), column.is_not(None)]))
    if kind == "like":
        return column.like(truth.value())
    if kind == "order":
        return source.c.n > 5
    if kind == "coalesce":
        other = draw(st.sampled_from(text_columns))
        value = truth.value()
        truth.note(table, name, "where", value)
        truth.note(table, other, "where", value)
        return sa.func.coalesce(column, source.c[other]) == value
    if kind == "lower":
        value = truth.value()
        truth.note(table, name, "where", value)
        return sa.func.lower(column) == value
    if kind == "tuple":
        pairs = [(truth.value(), number) for number in range(draw(st.integers(1, 3)))]
        for value, _ in pairs:
            truth.note(table, name, "where", value)
        return sa.tuple_(column, source.c.n).in_(pairs)
    if kind == "or":
        return sa.or_(*(condition(draw, truth, source, table, depth + 1) for _ in range(2)))
    if kind == "not":
        hidden = Truth(values=truth.values)
        inner = condition(draw, hidden, source, table, depth=2)
        truth.values = hidden.values
        return sa.not_(sa.and_(inner, source.c.n == 3))
    other_table = draw(st.sampled_from(TABLES))
    truth.tables.add(other_table.fullname)
    other = other_table.alias()
    inner = condition(draw, truth, other, other_table, depth + 1)
    if kind == "exists":
        return sa.exists().where(other.c.n == source.c.n, inner)
    query = sa.select(other.c.note).where(inner)
    return source.c.note.in_(query) if kind == "in query" else source.c.note == query.scalar_subquery()


@st.composite
def selects(draw: Any) -> tuple[Any, Truth, str]:
    truth = Truth()
    table = draw(st.sampled_from(TABLES))
    source: Any = draw(st.sampled_from([table, table.alias()]))
    truth.tables.add(table.fullname)
    columns = [source.c.id, source.c.note]
    query: Any = sa.select(*columns)
    if draw(st.booleans()):
        other_table = draw(st.sampled_from(TABLES))
        truth.tables.add(other_table.fullname)
        other = other_table.alias()
        on = other.c.n == source.c.n
        if draw(st.booleans()):
            on = sa.and_(on, condition(draw, truth, other, other_table, depth=2))
        query = query.join_from(source, other, on, isouter=draw(st.booleans()))
        query = query.where(condition(draw, truth, other, other_table))
    for _ in range(draw(st.integers(0, 3))):
        query = query.where(condition(draw, truth, source, table))
    wrap = draw(st.sampled_from(["", "", "", "limit", "subquery", "cte", "union", "count"]))
    if wrap == "limit":
        query = query.order_by(source.c.id).limit(5).offset(2)
    elif wrap == "subquery":
        query = sa.select(query.subquery())
    elif wrap == "cte":
        query = sa.select(query.cte("mine"))
    elif wrap == "union":
        value = truth.value()
        truth.tables.add("carts")
        truth.note(CARTS, "user_id", "where", value)
        carts = sa.select(CARTS.c.id, CARTS.c.note).where(CARTS.c.user_id == value)
        return sa.union_all(query, carts), truth, "SELECT"
    elif wrap == "count":
        query = sa.select(sa.func.count()).select_from(query.subquery())
    return query, truth, "SELECT"


@st.composite
def writes(draw: Any) -> tuple[Any, Truth, str]:
    truth = Truth()
    table = draw(st.sampled_from(TABLES))
    truth.tables.add(table.fullname)
    names = draw(st.lists(st.sampled_from([c.name for c in table.columns]), min_size=1, unique=True))
    kind = draw(st.sampled_from(["INSERT", "rows", "from select", "UPDATE", "DELETE"]))

    def row() -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name in names:
            made[name] = 5 if name in ("id", "n") else truth.value()
            truth.note(table, name, "set", str(made[name]))
        return made

    if kind == "INSERT":
        return sa.insert(table).values(row()), truth, "INSERT"
    if kind == "rows":
        return sa.insert(table).values([row() for _ in range(draw(st.integers(2, 5)))]), truth, "INSERT"
    if kind == "from select":
        other_table = draw(st.sampled_from([one for one in TABLES if one is not table]))
        truth.tables.add(other_table.fullname)
        inner = other_table.alias()
        value = truth.value()
        truth.note(table, names[0], "set", value)
        # the other column is the query's own, and nothing about it is known
        query = sa.select(sa.literal(value), sa.func.max(inner.c.id))
        query = query.where(condition(draw, truth, inner, other_table))
        return (
            sa.insert(table).from_select([names[0], "n" if names[0] != "n" else "id"], query),
            truth,
            "INSERT",
        )
    if kind == "UPDATE":
        values = row()
        return sa.update(table).values(values).where(condition(draw, truth, table, table)), truth, "UPDATE"
    return sa.delete(table).where(condition(draw, truth, table, table)), truth, "DELETE"


def compiled(statement: Any, url: str) -> tuple[str, Any, str]:
    """Return what a driver would get: the text, its parameters, and the dialect's name."""
    dialect = sa.engine.url.make_url(f"{url}://")._get_entrypoint()()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a cartesian product, the empty list: nobody runs these
        done = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    parameters: Any = done.params
    if done.positional:
        parameters = tuple(parameters[name] for name in done.positiontup or ())
    return str(done), parameters, dialect.name


def check(statement: Any, truth: Truth, operation: str, url: str) -> None:
    text, parameters, dialect = compiled(statement, url)
    plan = Planner(CONFIG).plan(text, dialect)
    assert plan.complete, text
    assert (plan.kind, plan.operation) == ("read" if operation == "SELECT" else "write", operation), text
    assert set(plan.tables) == truth.tables, text
    found = EXTRACTOR.extract(plan, parameters)
    listed = set(zip(found.columns, map(str, found.clauses), found.values, strict=True))
    assert listed == truth.identities, text
    agree(text, dialect)


def agree(text: str, dialect: str) -> bool:
    """Compare what tokens alone say with what the tree says; True where tokens alone said anything."""
    scanned = scan(text, dialect)
    facts = plain.read(scanned.pieces)
    if facts is not None:
        assert templates.template_of(facts, CONFIG) == parse.analyse(scanned.templates(), dialect, CONFIG), (
            text
        )
    return facts is not None


@MADE
@given(selects(), st.sampled_from(DIALECTS))
def test_selects_of_sqlalchemy(made: tuple[Any, Truth, str], url: str) -> None:
    check(*made, url)


@MADE
@given(writes(), st.sampled_from(DIALECTS))
def test_writes_of_sqlalchemy(made: tuple[Any, Truth, str], url: str) -> None:
    check(*made, url)


def upserts() -> dict[str, tuple[Any, str]]:
    """Return the upserts of each dialect, which have constructs of their own, and the set values."""
    one = {"user_id": "v1", "n": 5}
    pg = postgresql_dialect.insert(CARTS).values([one, {"user_id": "v2", "n": 6}])
    lite = sqlite_dialect.insert(CARTS).values(one)
    my = mysql_dialect.insert(CARTS).values(one)
    return {
        "postgresql+asyncpg nothing": (pg.on_conflict_do_nothing(index_elements=["user_id"]), "nothing"),
        "postgresql+psycopg update": (
            pg.on_conflict_do_update(index_elements=["user_id"], set_={"n": pg.excluded.n}),
            "update",
        ),
        "sqlite nothing": (lite.on_conflict_do_nothing(), "nothing"),
        "sqlite update": (lite.on_conflict_do_update(index_elements=["user_id"], set_={"n": 6}), "update"),
        "mysql+pymysql update": (my.on_duplicate_key_update(n=my.inserted.n), "update"),
        "mysql+pymysql ignore": (sa.insert(CARTS).values(one).prefix_with("IGNORE"), "nothing"),
    }


@pytest.mark.parametrize("name", upserts())
def test_upserts_of_sqlalchemy(name: str) -> None:
    statement, conflict = upserts()[name]
    text, parameters, dialect = compiled(statement, name.split()[0])
    plan = Planner(CONFIG).plan(text, dialect)
    assert (plan.on_conflict, plan.tables, plan.complete) == (conflict, ("carts",), True)
    found = EXTRACTOR.extract(plan, parameters)
    assert ("carts.user_id", "set", "v1") in zip(found.columns, found.clauses, found.values, strict=True)
    agree(text, dialect)


def test_tokens_and_tree_agree_over_the_corpus() -> None:
    plainly = 0
    for entry in CORPUS:
        if ";" not in entry["q"] and entry["op"] in ("SELECT", "INSERT", "UPDATE", "DELETE"):
            for letter in entry["d"]:
                plainly += agree(entry["q"], NAMES[letter][0])
    assert plainly >= 350


FORMS: list[dict[str, Any]] = [
    {},
    {"pretty": True},
    {"identify": True},
]


def facts_of(plan: Plan) -> tuple[Any, ...]:
    found = EXTRACTOR.extract(plan, ())
    listed = set(zip(found.columns, found.clauses, found.values, strict=True))
    return plan.kind, plan.operation, set(plan.tables), listed, plan.lock, plan.on_conflict


#: sqlglot writes these in a way that says something else, or that the database itself would refuse.
NOT_ROUND = (
    "TRIM(both",
    "_utf8mb4",
    "0042",
    "IS TRUE",
    "IS FALSE",
    "SYSTEM (10)",
    "VALUES ROW",
    "USER_ID",
    "Käufer",
    '= "u1"',
)


@pytest.mark.parametrize("letter", "psm")
@pytest.mark.parametrize("form", range(len(FORMS)))
def test_statements_as_sqlglot_writes_them_say_the_same(letter: str, form: int) -> None:
    """The corpus' statements with literals, parsed and written anew: other blanks, quotes, cases, joins."""
    ours, theirs = NAMES[letter]
    seen = 0
    for entry in CORPUS:
        text = entry["q"]
        if letter not in entry["d"] or "a" in entry or any(mark in text for mark in NOT_ROUND):
            continue
        if entry["op"] not in ("SELECT", "INSERT", "UPDATE", "DELETE", "MERGE") or not entry.get(
            "complete", True
        ):
            continue
        try:
            again = ";".join(sqlglot.transpile(text, read=theirs, write=theirs, **FORMS[form]))
        except sqlglot.errors.SqlglotError:
            continue  # read by us all the same: some of its words were taken out first
        plans = Planner(CONFIG)
        assert facts_of(plans.plan(again, ours)) == facts_of(plans.plan(text, ours)), again
        seen += 1
    assert seen >= 60


@pytest.mark.parametrize("write", ["oracle", "tsql", "duckdb"])
def test_statements_of_other_dialects_never_raise(write: str) -> None:
    name = {"tsql": "mssql"}.get(write, write)
    plans, read = Planner(CONFIG), 0
    for entry in CORPUS:
        theirs = NAMES[entry["d"][0]][1]
        try:
            texts = sqlglot.transpile(
                entry["q"], read=theirs, write=write, unsupported_level=sqlglot.ErrorLevel.IGNORE
            )
        except Exception:  # its parser or its generator, not ours
            continue
        for text in texts:
            parse.analyse(scan(text, name).templates(), name, CONFIG)  # without the planner's guards
            plan = plans.plan(text, name)
            read += plan.complete and bool(plan.tables)
    assert read >= 200
