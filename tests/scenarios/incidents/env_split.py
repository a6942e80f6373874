"""Write-up A: what one side writes, the other looks for in another database or schema."""

from __future__ import annotations

from scenarios.databases import Database
from scenarios.scenario import BOTH, Book
from scenarios.stage import Application, Stage

book = Book("env_split", verdict="environment")

EXPENSES = {"table": "expenses"}
PURCHASES = (350, 1280, 1800)


def spend(web: Application, user: str) -> None:
    """Three expenses of a user."""
    for cents in PURCHASES:
        web("store_expense", user=user, cents=cents)


def lost_summary(stage: Stage, web: Application, reader: Application) -> str:
    """Two users spend money, and the reader sees nothing of it."""
    for user in (stage.user(), stage.user()):
        spend(web, user)
        stage.expect(reader("summary", user=user)["count"] == 0, "the summary is empty")
    return user


# -- incidents -------------------------------------------------------------------------------------------


@book.variant(
    on=BOTH, group=EXPENSES, services=("web", "worker"), versions=("2.4.0",), tells=("DATABASE_URL",)
)
def worker_with_last_years_url(stage: Stage) -> str:
    """The worker was deployed with the DATABASE_URL from before the move."""
    web = stage.deploy("flask", stage.database("main"), version="2.3.0")
    worker = stage.deploy("worker", stage.database("old"), version="2.4.0")
    return lost_summary(stage, web, worker)


@book.variant(on=BOTH, group=EXPENSES, services=("web", "report"), tells=("REPORTS_URL",))
def async_web_and_nightly_report(stage: Stage) -> str:
    """An async web process writes; a report that runs as a script has a URL of its own, a wrong one."""
    web = stage.deploy("fastapi", stage.database("main"))
    report = stage.deploy(
        "script", service="report", SHARDS="REPORTS_URL", REPORTS_URL=stage.database("archive")
    )
    return lost_summary(stage, web, report)


@book.variant(group=EXPENSES, services=("web", "worker"))
def search_path_of_a_role(stage: Stage) -> str:
    """Both use one database; the worker's role has a search_path that leads to another schema."""
    main = stage.database()
    role = stage.role(
        main,
        "reporting",
        "CREATE SCHEMA archive AUTHORIZATION {role}",
        "CREATE TABLE archive.expenses (LIKE public.expenses INCLUDING ALL)",
        "ALTER TABLE archive.expenses OWNER TO {role}",
        "ALTER ROLE {role} SET search_path = archive, public",
    )
    return lost_summary(stage, stage.deploy("flask", main), stage.deploy("worker", role))


@book.variant(group=EXPENSES, services=("web",), tells=("REPORTS_URL",))
def summary_through_a_second_engine(stage: Stage) -> str:
    """One process has two engines, and its summaries go through the one of last year's reports."""
    web = stage.deploy("flask", stage.database("main"))
    reader = stage.deploy(
        "flask", stage.database("main"), service="dashboard", REPORTS_URL=stage.database("reports")
    )
    for user in (stage.user(), stage.user()):
        spend(web, user)
        stage.expect(reader("summary", user=user, database="REPORTS_URL")["count"] == 0, "nothing is found")
    return user


@book.variant(
    on=BOTH, group=EXPENSES, services=("web",), tells=("same variable `DATABASE_URL`, which has a different",)
)
def two_instances_of_one_service(stage: Stage) -> str:
    """One service runs twice; one of the two still has the old URL, and answers for both."""
    stores = stage.deploy("flask", stage.database("main"))
    return lost_summary(stage, stores, stage.deploy("flask", stage.database("old")))


@book.variant(group=EXPENSES, services=("web", "worker"))
def writer_under_zero_code(stage: Stage) -> str:
    """The web process has no line of telemetry in it: it runs under opentelemetry-instrument."""
    web = stage.deploy("zero_code", stage.database("main"))
    return lost_summary(stage, web, stage.deploy("worker", stage.database("old")))


# -- benign twins ----------------------------------------------------------------------------------------


@book.twin("a physical replica is the same database")
def replica(stage: Stage) -> str:
    """The worker reads a replica of what the web process writes."""
    web = stage.deploy("flask", stage.database())
    worker = stage.deploy("worker", stage.replica())
    user = stage.user()
    spend(web, user)
    stage.eventually(lambda: worker("summary", user=user)["count"] == 3, "the replica has the expenses")
    return user


@book.twin("each user is read where he is written", on=BOTH)
def users_on_two_shards(stage: Stage) -> str:
    """Users are spread over two databases."""
    shards = {"SHARD_1": stage.database("one"), "SHARD_2": stage.database("two")}
    web, worker = (
        stage.deploy(style, settings=shards, SHARDS="SHARD_1,SHARD_2") for style in ("flask", "worker")
    )
    for user in [stage.user() for _ in range(6)]:
        spend(web, user)
        stage.expect(worker("summary", user=user)["count"] == 3, "a user is read where he is written")
    return user


@book.twin("each tenant is read in the schema that it is written in")
def tenants_by_schema(stage: Stage) -> str:
    """Tenants have schemas of their own in one database."""
    main = stage.database()
    places: dict[str, Database] = {}
    for number in (1, 2):
        places[f"SHARD_{number}"] = stage.role(
            main,
            f"tenant{number}",
            f"CREATE SCHEMA tenant{number} AUTHORIZATION {{role}}",
            f"CREATE TABLE tenant{number}.expenses (LIKE public.expenses INCLUDING ALL)",
            f"ALTER TABLE tenant{number}.expenses OWNER TO {{role}}",
            f"ALTER ROLE {{role}} SET search_path = tenant{number}, public",
        )
    web = stage.deploy("flask", settings=places, SHARDS="SHARD_1,SHARD_2")
    worker = stage.deploy("worker", settings=places, SHARDS="SHARD_1,SHARD_2")
    for user in [stage.user() for _ in range(4)]:
        spend(web, user)
        stage.expect(worker("summary", user=user)["count"] == 3, "a tenant is read where it is written")
    return user


@book.twin("the table is written and read by its owner only", on=BOTH, verdict=None)
def a_services_own_database(stage: Stage) -> None:
    """The worker keeps drops in a database of its own; expenses are elsewhere."""
    web = stage.deploy("flask", stage.database("main"))
    worker = stage.deploy(
        "worker", stage.database("main"), DROPS_IN="DROPS_URL", DROPS_URL=stage.database("drops")
    )
    user = stage.user()
    spend(web, user)
    worker("take_drops", numbers=["DR-1", "DR-2"], day="2026-11-20")
    stage.expect(worker("find_drop", number="DR-2")["photos"] == 1, "a drop is found")
    stage.expect(worker("summary", user=user)["count"] == 3, "expenses are found")


@book.twin("environments are never compared", on=BOTH)
def staging_beside_production(stage: Stage) -> str:
    """The same user tries the next version in staging, which has a database of its own."""
    web = stage.deploy("flask", stage.database("main"))
    staging = stage.deploy("flask", stage.database("staging"), version="2.5.0rc1", environment="staging")
    user = stage.user()
    spend(web, user)
    stage.expect(staging("summary", user=user)["count"] == 0, "staging has nothing yet")
    staging("store_expense", user=user)
    stage.expect(staging("summary", user=user)["count"] == 1, "staging has its own")
    stage.expect(web("summary", user=user)["count"] == 3, "production has its own")
    return user


@book.twin("both sides move, one shortly after the other", on=BOTH)
def planned_cut_over(stage: Stage) -> str:
    """The application moves to a new database: first the web process, then the worker."""
    old, new, user = stage.database("old"), stage.database("new"), stage.user()
    web, worker = stage.deploy("flask", old), stage.deploy("worker", old)
    spend(web, user)
    stage.expect(worker("summary", user=user)["count"] == 3, "before the move")
    web = stage.deploy("flask", new, version="2.0")
    spend(web, user)
    worker("summary", user=user)  # still the old one, while the deploy is under way
    worker = stage.deploy("worker", new, version="2.0")
    stage.expect(worker("summary", user=user)["count"] == 3, "after the move")
    return user


@book.twin("it is another table that happens to have the same name")
def same_name_in_another_services_database(stage: Stage) -> str:
    """An accounting service has expenses of its own, put there by its own import."""
    web = stage.deploy("flask", stage.database("main"))
    accounting = stage.database("accounting")
    importer = stage.deploy("script", accounting, service="accounting-import")
    reader = stage.deploy("worker", accounting, service="accounting")
    user = stage.user()
    importer("store_expense", user=user, cents=99)
    spend(web, user)
    stage.expect(web("summary", user=user)["count"] == 3, "the web process reads its own")
    stage.expect(reader("summary", user=user)["count"] == 1, "accounting reads its own")
    return user


@book.twin("each engine's tables are read where they are written", on=BOTH)
def service_with_two_engines(stage: Stage) -> str:
    """One process has expenses in one database and drops in another."""
    web = stage.deploy(
        "flask", stage.database("main"), DROPS_IN="DROPS_URL", DROPS_URL=stage.database("drops")
    )
    user = stage.user()
    spend(web, user)
    web("take_drops", numbers=["DR-1"], day="2026-11-20", user=user)
    stage.expect(web("find_drop", number="DR-1", user=user)["photos"] == 1, "the drop is found")
    stage.expect(web("summary", user=user)["count"] == 3, "the expenses are found")
    return user


@book.twin("it is one database, of which one role can tell less")
def a_role_that_may_not_ask(stage: Stage) -> str:
    """The worker's role may not read the system identifier."""
    main = stage.database()
    stage.sql(main, "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
    worker = stage.deploy("worker", stage.role(main, "limited"))
    web = stage.deploy("flask", main)
    user = stage.user()
    spend(web, user)
    stage.expect(worker("summary", user=user)["count"] == 3, "the worker sees the expenses")
    return user


@book.twin("test processes are not judged", on=BOTH)
def test_run_beside_it(stage: Stage) -> str:
    """A test run works on a scratch database, in the same environment."""
    web = stage.deploy("flask", stage.database("main"))
    tests = stage.deploy("worker", stage.database("scratch"), service="worker", TRUELINE_PROCESS_KIND="test")
    user = stage.user()
    spend(web, user)
    stage.expect(tests("summary", user=user)["count"] == 0, "the scratch database is empty")
    stage.expect(web("summary", user=user)["count"] == 3, "the web process reads what it wrote")
    return user
