"""How writes of foreign applications are counted, and that every recipe can be read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from applications import recipe
from applications.belonging import belonging
from applications.count import count, differences
from applications.recipe import constraints

from trueline.instrumentation import Domain, IdentityConfig


def statement(
    table: str,
    *columns: str,
    times: int = 1,
    rows: int | None = None,
    bound: bool = False,
    kind: str = "write",
    migration: bool = False,
    text: str = "",
) -> dict[str, Any]:
    return {
        "kind": kind,
        "operation": "INSERT" if kind == "write" else "SELECT",
        "tables": [table] if table else [],
        "identities": [[column, "user", "set"] for column in columns],
        "bound": bound,
        "migration": migration,
        "text": text or f"statement on {table}",
        "count": times,
        "rows": times if rows is None else rows,
    }


WRITES = [
    statement("orders", "orders.user_id", times=6, rows=60),
    statement("orders", times=1, text="DELETE FROM orders WHERE id = ?"),
    statement("lines", times=2, bound=True),
    statement("alembic_version", times=1),
    statement("orders", "orders.user_id", kind="read", times=100),
]


def test_a_statement_counts_as_often_as_it_ran_and_under_one_source() -> None:
    writes = count(WRITES, "write")
    assert writes.total == 10
    assert writes.executions == {"column": 6, "bound": 2, "none": 2}
    assert writes.rows == {"column": 60, "bound": 2, "none": 2}
    assert writes.texts == {"column": 1, "bound": 1, "none": 2}
    assert writes.share() == 0.8
    assert writes.share("column") == 0.6
    assert count(WRITES, "read").total == 100


def test_migrations_are_counted_by_themselves() -> None:
    statements = [*WRITES, statement("orders", times=50, migration=True)]
    assert count(statements, "write").total == 10
    assert count(statements, "write", migrations=True).executions == {"none": 50}


def test_a_column_is_a_stronger_source_than_the_binding() -> None:
    writes = count([statement("orders", "orders.user_id", bound=True)], "write")
    assert writes.executions == {"column": 1}


def test_tables_tell_what_they_lack() -> None:
    tables = count(WRITES, "write").tables
    orders = tables["orders"]
    assert (orders.writes, orders.without, orders.columns) == (7, 1, {"orders.user_id (user)": 6})
    assert tables["lines"].without == 0
    assert count([statement("")], "write").tables.keys() == {"(none)"}


SCHEMA: dict[str, Any] = {
    "users": {"columns": ["id", "name"], "references": {}},
    "orders": {"columns": ["id", "user_id"], "references": {"user_id": ["users"]}},
    "lines": {"columns": ["id", "order_id"], "references": {"order_id": ["orders"]}},
    "forums": {"columns": ["id", "last_post_id"], "references": {"last_post_id": ["posts"]}},
    "posts": {"columns": ["id", "author", "forum_id"], "references": {"forum_id": ["forums"]}},
    "alembic_version": {"columns": ["version_num"], "references": {}},
}


def test_a_table_belongs_to_somebody_by_a_chain_of_foreign_keys() -> None:
    assert belonging(SCHEMA, ["users"]) == {
        "users": "holds people",
        "orders": "orders.user_id leads to users",
        "lines": "lines.order_id leads to orders",
    }
    assert belonging(SCHEMA, []) == {}


def test_a_column_may_hold_a_person_without_a_foreign_key_and_lead_to_one_without_owning() -> None:
    assert {"posts", "forums"} <= belonging(SCHEMA, ["users"], ["posts.author"]).keys()
    found = belonging(SCHEMA, ["users"], ["posts.author"], ["forums.last_post_id"])
    assert found["posts"] == "posts.author holds a person"
    assert "forums" not in found
    for wrong in ((["user"], []), (["users"], ["posts.writer"]), (["users"], ["post.author"])):
        with pytest.raises(ValueError, match=r"'user'|writer|post\.author"):
            belonging(SCHEMA, *wrong)


def test_the_second_share_is_of_tables_that_belong_to_somebody() -> None:
    writes = count(WRITES, "write")
    somebodys = belonging(SCHEMA, ["users"])
    assert writes.share_of_somebodys(somebodys, SCHEMA) == 8 / 9
    assert writes.of_nobody(somebodys, SCHEMA) == 1
    # A table that nobody declared is not left out.
    assert writes.share_of_somebodys(somebodys, {}) == 8 / 10
    # Nor are writes that carry an identity counted where no table belongs to anybody.
    assert writes.share_of_somebodys({}, SCHEMA) == 1
    assert writes.of_nobody({}, SCHEMA) == 10


def test_writes_at_large_are_left_out_of_the_second_share_only() -> None:
    emptied = [
        *WRITES,
        statement("orders", times=7, text="DELETE FROM orders"),
        statement("lines", times=3, text="update lines\nset note = ?"),
        statement("alembic_version", times=2, text="DELETE FROM alembic_version"),
    ]
    writes = count(emptied, "write")
    assert writes.at_large == 12
    assert writes.share() == 8 / 22
    assert writes.share_of_somebodys(belonging(SCHEMA, ["users"]), SCHEMA) == 8 / 9


@pytest.mark.parametrize(
    ("text", "at_large"),
    [
        ("DELETE FROM orders WHERE id = ?", False),
        ("UPDATE orders SET a = (SELECT b FROM c WHERE c.id = ?)", False),
        ("INSERT INTO orders SELECT * FROM old", False),
        ("DELETE FROM orders\nWHERE id = ?", False),
        ("UPDATEs are no statement", False),
        ("DELETE FROM orders WHERE id IN (?)", False),
        ("DELETE FROM orders WHERE at < ? AND id = ?", False),
        ("DELETE FROM orders", True),
        ("UPDATE orders SET a = ?", True),
        ("DELETE FROM sessions WHERE expires_at < $1::TIMESTAMP WITH TIME ZONE", True),
        ("DELETE FROM sessions WHERE (sessions.user_id NOT IN (?))", True),
        ("update orders set a = ? where b <= ? and c != ? and d is null", True),
    ],
)
def test_a_write_at_large_says_of_no_row_which(text: str, at_large: bool) -> None:
    assert count([statement("orders", text=text)], "write").at_large == int(at_large)


def test_nothing_written_is_nothing_missed() -> None:
    assert count([], "write").share() == 1
    assert count([], "write").share_of_somebodys(["users"], SCHEMA) == 1


def test_missing_texts_are_listed_by_how_often_they_ran() -> None:
    missing = count(
        [*WRITES, statement("orders", times=5, text="DELETE FROM orders WHERE id = ?")], "write"
    ).missing
    assert missing.most_common(1) == [(("orders", "DELETE FROM orders WHERE id = ?"), 6)]


def test_tests_that_end_otherwise_or_did_not_run_are_named() -> None:
    bare = {"a": "passed", "b": "failed", "c": "skipped"}
    assert differences(bare, dict(bare)) == []
    assert differences(bare, {"a": "passed", "b": "passed", "d": "passed"}) == [
        "b: failed, then passed",
        "c: skipped, then did not run",
        "d: did not run, then passed",
    ]


def test_a_lock_becomes_constraints_without_the_project_itself() -> None:
    lock = """
        [[package]]
        name = "app"
        version = "0.1"
        source = { editable = "." }
        [[package]]
        name = "two"
        version = "1.0"
        [[package]]
        name = "two"
        version = "2.0"
        [[package]]
        name = "one"
        version = "3.1"
        source = { registry = "https://pypi.org/simple" }
    """
    assert constraints(lock) == ["one==3.1"]


@pytest.mark.parametrize("name", recipe.names())
def test_every_recipe_can_be_read_and_repeated(name: str) -> None:
    one = recipe.load(name)
    assert re.fullmatch(r"[0-9a-f]{40}", one.commit)
    assert one.url.startswith("https://")
    assert one.tests
    assert one.people
    assert not one.setup or (recipe.RECIPES / one.setup).is_file()
    places = dict.fromkeys(("host", "port", "user", "password", "database", "url", "work", "python"), "")
    for part in [*one.environment.values(), *(part for command in one.prepare for part in command)]:
        part.format_map(places)
    identities = dict(one.identities)
    identities["domains"] = {name: Domain(**said) for name, said in identities.get("domains", {}).items()}
    IdentityConfig(**identities)


def test_a_recipe_with_an_unknown_field_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "odd.toml").write_text('colour = "red"\n')
    monkeypatch.setattr(recipe, "RECIPES", tmp_path)
    with pytest.raises(ValueError, match="colour"):
        recipe.load("odd")
    with pytest.raises(ValueError, match="no recipe for 'missing': there are odd"):
        recipe.load("missing")
