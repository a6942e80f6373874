"""An application's tests run under the observer: the results of tests, and what they wrote."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from applications.count import count, differences
from applications.environment import Environment
from applications.recipe import Recipe
from applications.run import Run, run_tests

ROOT = Path(__file__).parents[2]
APPLICATION = """
from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine
metadata = MetaData()
orders = Table("orders", metadata, Column("id", Integer, primary_key=True),
               Column("user_id", Integer), Column("buyer", String), Column("note", String))
engine = create_engine("sqlite:///app.db")
metadata.create_all(engine)
"""
TESTS = """
import os
import sys

import pytest
from app import engine, orders

def write(**values):
    with engine.begin() as connection:
        connection.execute(orders.insert().values(**values))

def test_named():
    write(user_id=1, note="x")

def test_by_another_name():
    write(buyer="one", note="x")

def test_by_key():
    with engine.begin() as connection:
        connection.execute(orders.update().where(orders.c.id == 1).values(note="y"))
        assert connection.execute(orders.select().where(orders.c.user_id == 1)).one().note == "y"

def test_fails():
    assert False

@pytest.mark.skip
def test_skipped():
    pass

@pytest.mark.xfail(strict=True)
def test_expected():
    assert False

@pytest.fixture
def broken():
    yield
    raise RuntimeError("in teardown")

def test_error(broken):
    pass

def test_notices_trueline():
    assert not os.environ.get("SHY") or "trueline.instrumentation" not in sys.modules

def test_starts_from_nothing():
    assert not os.path.exists("left-behind")
    open("left-behind", "w").close()
"""
RESULTS = {
    "test_named": "passed",
    "test_by_another_name": "passed",
    "test_by_key": "passed",
    "test_fails": "failed",
    "test_skipped": "skipped",
    "test_expected": "xfailed",
    "test_error": "error",
    "test_notices_trueline": "passed",
    "test_starts_from_nothing": "passed",
}


class Here(Environment):
    """Runs in this interpreter: there is nothing to install."""

    def __init__(self, recipe: Recipe, folder: Path, source: Path) -> None:
        super().__init__(recipe, folder, source)
        self.python = Path(sys.executable)


@pytest.fixture
def application(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    source.mkdir()
    (source / "app.py").write_text(APPLICATION)
    (source / "test_app.py").write_text(TESTS)
    return source


RECIPE = Recipe(
    name="small",
    title="small",
    url="https://example.com/small",
    commit="0" * 40,
    python=">=3.11",
    framework="",
    database="sqlite",
    install=[],
    tests=["test_app.py", "-q"],
    timeout=120,
    identities={"columns": {"orders.buyer": "customer"}, "domains": {"customer": {"plain": True}}},
)


def run(name: str, source: Path, recipe: Recipe = RECIPE) -> Run:
    return run_tests(
        recipe,
        Here(recipe, source.parent, source),
        name,
        folder=source.parent,
        instrumentation=ROOT / "instrumentation",
        server=None,
    )


def test_results_and_writes_of_the_three_runs(application: Path) -> None:
    bare, default, configured = (run(name, application) for name in ("bare", "default", "configured"))
    expected = {f"test_app.py::{name}": result for name, result in RESULTS.items()}
    assert bare.tests == default.tests == configured.tests == expected
    assert bare.statements == []
    assert default.faults == configured.faults == {}
    # The row by another name and the update by primary key; the first is what configuration is for.
    assert count(default.statements, "write").executions == {"column": 1, "none": 2}
    assert count(configured.statements, "write").executions == {"column": 2, "none": 1}
    assert count(default.statements, "read").domains == {"user": 1}
    assert default.outcomes == {"committed": 3}


def test_a_test_that_ends_otherwise_with_trueline_is_told(application: Path) -> None:
    shy = replace(RECIPE, environment={"SHY": "1"})
    bare, default = run("bare", application, shy), run("default", application, shy)
    assert differences(bare.tests, default.tests) == [
        "test_app.py::test_notices_trueline: passed, then failed",
    ]


def test_what_a_user_writes_besides_is_run_too(application: Path, tmp_path: Path) -> None:
    setup = tmp_path / "setup.py"
    setup.write_text("from trueline.instrumentation import bind_identity\nbind_identity(7).__enter__()\n")
    besides = replace(RECIPE, setup=str(setup))
    assert count(run("configured", application, besides).statements, "write").executions["none"] == 0


def test_a_run_that_leaves_no_result_says_how_it_ended(application: Path) -> None:
    (application / "conftest.py").write_text("import os\nos._exit(3)\n")
    with pytest.raises(
        RuntimeError, match=r"bare run of small left no result: pytest ended with 3; .*bare\.log ends"
    ):
        run("bare", application)


def test_a_run_that_could_not_collect_the_tests_is_no_result(application: Path) -> None:
    (application / "test_app.py").write_text("import no_such_module\n")
    with pytest.raises(RuntimeError, match=r"bare run of small left no result: pytest ended with 2;"):
        run("bare", application)
