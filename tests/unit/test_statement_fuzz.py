"""Whatever the text and the parameters: no exception, no long silence, no value in anything exported."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trueline.instrumentation.descriptions import clean_description
from trueline.instrumentation.identity import IdentityConfig, IdentityExtractor, IdentityHasher
from trueline.instrumentation.semconv import ENCODING_PATTERN
from trueline.instrumentation.statement import Plan, Planner, parse
from trueline.instrumentation.statement.scan import scan

CORPUS: list[dict[str, Any]] = [
    entry
    for file in sorted((Path(__file__).parent / "data" / "statements").glob("*.yaml"))
    for entry in yaml.safe_load(file.read_text(encoding="utf-8"))
]
DIALECTS = st.sampled_from(["postgresql", "sqlite", "mysql", "oracle", "mssql", "no such dialect"])
CONFIG = IdentityConfig()
PLANNER = Planner(CONFIG, max_plans=256)
EXTRACTOR = IdentityExtractor(CONFIG, IdentityHasher("secret"))
FUZZ = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])

FRAGMENTS = st.sampled_from(
    [
        "SELECT",
        "INSERT",
        "INTO",
        "UPDATE",
        "DELETE",
        "FROM",
        "WHERE",
        "user_id",
        "expenses",
        "=",
        "?",
        "%s",
        "%(a)s",
        "$1",
        ":a",
        "(",
        ")",
        ",",
        ";",
        "'",
        '"',
        "`",
        "$$",
        "--",
        "/*",
        "*/",
        "VALUES",
        "IN",
        "NOT",
        "AND",
        "OR",
        "NULL",
        "CASE",
        "WHEN",
        "END",
        "WITH",
        "AS",
        "ON",
        "CONFLICT",
        "SET",
        "'x'",
        "12",
        "1.5e3",
        ".",
        "*",
        "::",
        "[",
        "]",
        "{",
        "}",
        "\\",
        "E'",
        "x'",
        "#",
        "\n",
    ]
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.decimals(allow_nan=True),
    st.uuids(),
    st.dates(),
    st.lists(st.text(), max_size=3),
    st.builds(object),
    st.dictionaries(st.text(), st.integers(), max_size=2),
)
PARAMETERS = st.one_of(
    st.none(),
    st.integers(),
    st.lists(VALUES, max_size=6),
    st.lists(VALUES, max_size=6).map(tuple),
    st.dictionaries(st.sampled_from(["a", "user_id", "u"]), VALUES),
    st.lists(st.dictionaries(st.sampled_from(["a", "user_id"]), VALUES), max_size=3),
)


def check(text: str, dialect: str, parameters: Any, many: bool) -> None:
    parse.analyse(scan(text, dialect).templates(), dialect, CONFIG)  # without the planner's guards
    plan = PLANNER.plan(text, dialect)
    assert isinstance(plan, Plan)
    assert len(plan.text) <= 4096
    assert len(plan.summary) <= 255
    bound = (EXTRACTOR.bind("12345", "user"),)
    found = EXTRACTOR.extract(plan, parameters, executemany=many, bound=bound)
    sizes = {
        len(found.columns),
        len(found.clauses),
        len(found.encodings),
        len(found.values),
        len(found.domains),
    }
    assert len(sizes) == 1
    assert len(found.values) <= min(16, found.count)
    assert all(ENCODING_PATTERN.fullmatch(encoding) for encoding in found.encodings)
    assert len(EXTRACTOR.row_key(plan, parameters)) in (0, 16)


@FUZZ
@given(st.text(max_size=300), DIALECTS, PARAMETERS, st.booleans())
def test_any_text(text: str, dialect: str, parameters: Any, many: bool) -> None:
    check(text, dialect, parameters, many)


@FUZZ
@given(st.lists(FRAGMENTS, max_size=40).map(" ".join), DIALECTS, PARAMETERS, st.booleans())
def test_sql_like_text(text: str, dialect: str, parameters: Any, many: bool) -> None:
    check(text, dialect, parameters, many)


@FUZZ
@given(st.sampled_from(CORPUS), DIALECTS, PARAMETERS, st.booleans(), st.data())
def test_mutated_statements(
    entry: dict[str, Any], dialect: str, parameters: Any, many: bool, data: Any
) -> None:
    text = entry["q"]
    for _ in range(data.draw(st.integers(0, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 8)))
        text = text[:start] + data.draw(FRAGMENTS) + text[end:]
    check(text, dialect, parameters, many)


@pytest.mark.parametrize("value", [None, 7, b"SELECT 1", [], pytest.param(object(), id="object")], ids=repr)
def test_what_is_no_text(value: Any) -> None:
    assert PLANNER.plan(value, "postgresql").complete is False


@FUZZ
@given(st.text())
def test_descriptions(text: str) -> None:
    assert len(clean_description(text)) <= 200


PATHOLOGICAL = {
    "parentheses": "SELECT " + "(" * 5000 + "1" + ")" * 5000,
    "nested 50 deep": "SELECT * FROM t WHERE user_id = " + "(" * 50 + "1" + ")" * 50,
    "open parentheses": "SELECT * FROM t WHERE user_id IN " + "(" * 50_000,
    "case": "SELECT " + "CASE WHEN 1 THEN " * 2000 + "1" + " END" * 2000,
    "not": "SELECT * FROM t WHERE " + "NOT " * 4000 + "a = 1",
    "minus": "SELECT " + "- " * 20_000 + "1",
    "and": "SELECT * FROM t WHERE " + " AND ".join(f"c{n} = {n}" for n in range(20_000)),
    "or 1000": "SELECT * FROM t WHERE " + " OR ".join(f"user_id = {n}" for n in range(1000)),
    "union": " UNION ALL ".join(["SELECT a FROM t"] * 3000),
    "union of 150": " UNION ALL ".join(["SELECT a FROM t WHERE user_id = 'u'"] * 150),
    "joins": "SELECT * FROM t " + " ".join(f"JOIN t{n} ON t{n}.id = t.id" for n in range(3000)),
    "subqueries": "SELECT * FROM " + "(SELECT * FROM " * 40 + "t" + ") AS x" * 40 + " WHERE user_id = 1",
    "quotes": "SELECT " + "'" * 100_001,
    "dollars": "SELECT " + "$a" * 50_000,
    "comment": "SELECT /*" + "/* " * 100_000,
    "literal rows": "INSERT INTO t (user_id, n) VALUES "
    + ", ".join(f"('u{n * 7919}', {n})" for n in range(40_000)),
    "one megabyte": "INSERT INTO t (user_id) VALUES ('" + "x" * 1_000_000 + "')",
    "placeholders": "INSERT INTO t (user_id, n) VALUES " + ", ".join(["(?, ?)"] * 100_000),
    "columns": "SELECT "
    + ", ".join(f"t.c{n} AS t_c{n}" for n in range(5000))
    + " FROM t WHERE user_id = 'u'",
    "dots": "SELECT " + "a." * 20_000 + "a",
    "brackets": "SELECT a" + "[" * 20_000,
    "casts": "SELECT a" + "::int" * 3000 + " FROM t",
}


@pytest.mark.parametrize("dialect", ["postgresql", "sqlite", "mysql"])
@pytest.mark.parametrize("name", PATHOLOGICAL)
def test_pathological_texts_are_given_up_on(name: str, dialect: str) -> None:
    """CPU time, not the clock: other processes do not count, and the bound is generous on purpose."""
    text = PATHOLOGICAL[name]
    start = time.thread_time()
    plan = Planner(CONFIG).plan(text, dialect)
    assert time.thread_time() - start < 2.0
    assert plan.kind == ("write" if text.startswith("INSERT") else "read")
    assert len(plan.text) <= 4096
    assert len(plan.identities) <= 2000


def test_a_megabyte_of_rows_still_names_its_table_and_first_users() -> None:
    plan = PLANNER.plan(PATHOLOGICAL["literal rows"], "postgresql")
    assert (plan.tables, plan.complete) == (("t",), False)
    found = EXTRACTOR.extract(plan, ())
    assert found.values[0] == EXTRACTOR.bind("u0", "user").value
    assert found.count > 1000


CANARY = "canary7731secret"


@pytest.mark.parametrize("dialect", ["postgresql", "sqlite", "mysql"])
def test_no_value_in_anything_exported(dialect: str) -> None:
    texts = [
        f"SELECT * FROM expenses WHERE user_id = '{CANARY}' AND note LIKE '%{CANARY}' -- {CANARY}",
        f"INSERT INTO expenses (user_id, note) VALUES ('{CANARY}', '{CANARY}'), (N'{CANARY}', x'{CANARY}')",
        f"UPDATE expenses SET note = '{CANARY}' /* {CANARY} */ WHERE id IN ('{CANARY}', '{CANARY}2')",
        f"DELETE FROM expenses WHERE user_id = 'it''s {CANARY}'",
        f"SELECT * FROM expenses WHERE note = '{CANARY}",
        f"SELECT broken broken FROM ((( WHERE '{CANARY}' = = '{CANARY}'",
        f"CREATE TABLE t (a TEXT DEFAULT '{CANARY}')",
        f"CALL f('{CANARY}')",
        f"COPY t FROM '{CANARY}'",
        f"COMMIT PREPARED '{CANARY}'",
        "SELECT * FROM expenses WHERE user_id = %(user)s AND psid = :user",
    ]
    if dialect == "postgresql":
        texts += [
            f"SELECT * FROM expenses WHERE user_id = $${CANARY}$$ AND note = $x$ {CANARY} $y$ $x$",
            f"SELECT * FROM expenses WHERE user_id = E'\\'{CANARY}' AND note = U&'{CANARY}'",
            f"SELECT * FROM expenses /* /* */ {CANARY} */ WHERE user_id = 1",
        ]
    if dialect == "mysql":
        texts += [f'SELECT * FROM expenses WHERE user_id = "{CANARY}" # {CANARY}', f"SELECT '\\'{CANARY}'"]
    if dialect == "sqlite":
        texts += [f'SELECT * FROM t WHERE user_id = "{CANARY}" AND psid IN ("{CANARY}", "b")']
        texts += [f'INSERT INTO t (user_id, note) VALUES (?, "{CANARY}"), (?, "{CANARY}")']
    for text in texts:
        plan = PLANNER.plan(text, dialect)
        found = EXTRACTOR.extract(plan, {"user": CANARY, 0: CANARY, 1: CANARY})
        exported = (
            plan.text,
            plan.summary,
            plan.operation,
            plan.tables,
            plan.filters,
            plan.control_name,
            found,
        )
        assert CANARY not in repr(exported), text
        assert CANARY not in repr(plan), text


def test_numbers_are_masked() -> None:
    plan = PLANNER.plan(
        "SELECT * FROM t WHERE a = 77310077 AND b = -77310077.5 AND c = 0x77310077 LIMIT 5", "mysql"
    )
    assert plan.text == "SELECT * FROM t WHERE a = ? AND b = ? AND c = ? LIMIT ?"
