"""Write-ups A and C: a deploy comes without its migration, or a migration runs twice."""

from __future__ import annotations

from scenarios.scenario import BOTH, Book
from scenarios.stage import Stage

book = Book("schema_mismatch_errors", verdict=None)

#: What could not be written is lost as well.
ALSO = ("acknowledged_but_lost", "expected_write_missing", "constraint_violation_burst", "poisoned_session")


# -- incidents -------------------------------------------------------------------------------------------


@book.variant(
    on=BOTH,
    group={"fault": "column missing", "object": "expenses.person_ref"},
    services=("web",),
    versions=("5.0",),
    also=ALSO,
)
def deploy_without_its_migration(stage: Stage) -> None:
    """The new version writes a column that no migration has made."""
    web = stage.deploy("flask", stage.database(), version="5.0", KEY_COLUMN="person_ref")
    for _ in range(4):
        stage.expect(web.ask("store_by_name", user=stage.user()).status == 500, "it fails")


@book.variant(
    on=BOTH, group={"fault": "table missing", "object": "expense_summaries"}, services=("worker",), also=ALSO
)
def job_needs_a_table_that_is_gone(stage: Stage) -> None:
    """A migration dropped a table that a worker still needs."""
    database = stage.database()
    worker = stage.deploy("worker", database)
    stage.sql(database, "DROP TABLE expense_summaries")
    for _ in range(4):
        stage.expect(worker.ask("rebuild_summary", user=stage.user()).status == 500, "it fails")


@book.variant(on=BOTH, group={"fault": "there already"}, services=("script",), also=ALSO)
def migration_that_runs_twice(stage: Stage) -> None:
    """A migration script runs once more, and stops where what it makes is there."""
    script = stage.deploy("script", stage.database())
    script("migrate")
    stage.expect(script.ask("migrate").status == 500, "the second run stops")


@book.variant(group={"fault": "column missing"}, services=("web",), also=ALSO)
def renamed_under_an_async_service(stage: Stage) -> None:
    """The migration that renames a column runs before the deploy that knows of it."""
    database = stage.database()
    web = stage.deploy("fastapi", database)
    web("store_expense", user=stage.user())
    stage.sql(database, "ALTER TABLE expenses RENAME COLUMN user_id TO owner_id")
    for _ in range(4):
        web("store_expense", user=stage.user())


# -- benign twins ----------------------------------------------------------------------------------------


@book.twin("a tool asks whether the table exists, and makes it", on=BOTH, verdict=None)
def tool_that_looks_first(stage: Stage) -> None:
    """A worker asks three times for a table that is not there, and makes it."""
    stage.deploy("worker", stage.database())("archive")


@book.twin("the script goes on", on=BOTH, verdict=None)
def migration_that_is_idempotent(stage: Stage) -> None:
    """A migration script runs twice, and does not mind."""
    script = stage.deploy("script", stage.database())
    for _ in range(2):
        script("migrate", tolerant="yes")


@book.twin("schemas come and go in test environments", on=BOTH, verdict=None)
def test_environment(stage: Stage) -> None:
    """A test run meets a database without its migrations."""
    web = stage.deploy("flask", stage.database(), environment="ci", KEY_COLUMN="person_ref")
    for _ in range(4):
        stage.expect(web.ask("store_by_name", user=stage.user()).status == 500, "it fails")


@book.twin("twice is no deploy", on=BOTH, verdict=None)
def two_calls_by_hand(stage: Stage) -> None:
    """Somebody mistypes the name of a column twice."""
    web = stage.deploy("flask", stage.database(), KEY_COLUMN="user_idd")
    for _ in range(2):
        stage.expect(web.ask("store_by_name", user=stage.user()).status == 500, "it fails")
