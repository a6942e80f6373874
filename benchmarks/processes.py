"""What arrives of an application that knows nothing of Trueline, for every process model and every end of it.

    python benchmarks/processes.py [--models uvicorn,celery] [--ends stop,kill]

Each row starts real processes under ``opentelemetry-instrument`` (or with the one line of
docs/guide/zero-code.md, where it says so), lets each write rows through requests or tasks, ends them, and
counts the rows in the database against the statement, transaction and entry spans and log lines that a
receiver got. At ``kill`` half of the rows are written right before the SIGKILL. Prints a table; the exit
status is 1 where something is lost that docs/reference/processes.md does not say.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests")] if str(ROOT / "tests") not in sys.path else []

from support.collector import Collector, collector  # noqa: E402

FOLDER = ROOT / "tests" / "data" / "processes"
PATIENCE = 120
#: Rows written before the end, and right before it.
EARLY, LATE = 4, 2
_UVICORN = ("uvicorn", "--host", "127.0.0.1", "--port", "0", "--timeout-worker-healthcheck", "120")
_GUNICORN = ("gunicorn", "--workers", "2", "--bind", "127.0.0.1:0")
_CELERY = ("celery", "--app", "unaware", "worker", "--pool", "prefork", "--concurrency", "1", "--loglevel",
           "INFO", "--without-gossip", "--without-mingle", "--without-heartbeat")  # fmt: skip
#: Instrumentations whose libraries take long to import and are not used here, and the driver's own spans.
_LEFT_OUT = "openai,anthropic,sqlite3,asyncpg,psycopg,psycopg2,httpx"
_UVICORN_SAYS = r"running on (http://[\d.:]+)"


@dataclass(frozen=True)
class Model:
    """How a server or worker is started, and what it prints when it can work."""

    command: tuple[str, ...]
    says: str = ""
    ready: str = ""
    #: Without the command ``opentelemetry-instrument``: by the one line in the application.
    by_line: bool = False


MODELS = {
    "script": Model((str(FOLDER / "unaware.py"),)),
    "uvicorn": Model((*_UVICORN, "unaware:asgi"), _UVICORN_SAYS, "startup complete"),
    "uvicorn --workers 2": Model(
        (*_UVICORN, "--workers", "2", "unaware:asgi"),
        _UVICORN_SAYS,
        r"(?s)startup complete.*startup complete",
    ),
    "uvicorn --reload": Model((*_UVICORN, "--reload", "unaware:asgi"), _UVICORN_SAYS, "startup complete"),
    "uvicorn --workers 2, one line": Model(
        (*_UVICORN, "--workers", "2", "unaware:asgi"),
        _UVICORN_SAYS,
        r"(?s)startup complete.*startup complete",
        by_line=True,
    ),
    "gunicorn": Model(
        (*_GUNICORN, "unaware:wsgi"), r"Listening at: (http://[\d.:]+)", r"(?s)Booting.*Booting"
    ),
    "gunicorn --preload": Model(
        (*_GUNICORN, "--preload", "unaware:wsgi"), r"Listening at: (http://[\d.:]+)", r"(?s)Booting.*Booting"
    ),
    "celery, prefork": Model((*_CELERY, "--max-tasks-per-child", "2"), r"(ready)\.", "ready"),
}
#: How a script ends, by what it is told; the server's ends are ``stop`` (SIGTERM) and ``kill`` (SIGKILL).
SCRIPT_ENDS = ("end", "os._exit", "term", "kill")
SERVER_ENDS = ("stop", "kill")


@dataclass(frozen=True)
class Counted:
    """``rows`` are in the database; of these so many statements, transactions, entries and lines arrived."""

    rows: int
    statements: int
    transactions: int
    entries: int
    lines: int
    #: Every statement is on the trace of its entry and its line, and nothing came twice.
    joined: bool
    output: str

    @property
    def lost(self) -> int:
        """Rows whose statement did not arrive."""
        return self.rows - self.statements


def allowed(name: str, end: str) -> int:
    """How many rows may be lost: what was written right before an end that gives no notice."""
    if name == "script":
        return 1 if end in ("os._exit", "term", "kill") else 0
    return LATE if end == "kill" else 0


def measure(name: str, end: str, folder: Path) -> Counted:
    """Run one row of the table in ``folder``, which has to be empty."""
    with collector() as received:
        run = _Run(name, end, folder, received)
        try:
            run.work()
        finally:
            run.kill()
        return run.count()


class _Run:
    def __init__(self, name: str, end: str, folder: Path, received: Collector) -> None:
        self.name, self.end, self.received, self.model = name, end, received, MODELS[name]
        self.database, self.output = folder / "rows.db", folder / "output"
        with contextlib.closing(sqlite3.connect(self.database)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, user_id TEXT)")
        broker = folder / "broker"
        broker.mkdir()
        binaries = Path(sys.executable).parent
        self.environment = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("OTEL_", "TRUELINE_"))
            },
            "PATH": f"{binaries}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYTHONPATH": os.pathsep.join(
                [str(FOLDER), *(str(ROOT / one) for one in ("instrumentation", "monitor"))]
            ),
            # As docs/guide/zero-code.md says.
            "OTEL_SERVICE_NAME": "unaware",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint,
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_BSP_SCHEDULE_DELAY": "1000",
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": _LEFT_OUT,
            "TRUELINE_EXIT_WAIT": "60",
            "UNAWARE_DATABASE": str(self.database),
            "UNAWARE_ENDING": end,
            **({"UNAWARE_BROKER": str(broker)} if "celery" in name else {}),
            **({"UNAWARE_LINE": "1"} if self.model.by_line else {}),
        }
        program, *arguments = self.model.command
        command = [sys.executable, program] if program.endswith(".py") else [str(binaries / program)]
        zero_code = [] if self.model.by_line else [str(binaries / "opentelemetry-instrument")]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [*zero_code, *command, *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment,
                cwd=folder,
                start_new_session=True,
            )

    def work(self) -> None:
        """Let it write, and end it."""
        if self.model.says:
            place = self._said(self.model.says)
            self._said(self.model.ready)
            self._write(place, range(EARLY))
            if self.end == "kill":
                self.received.wait_for(lambda: self._statements() >= EARLY, seconds=PATIENCE)
                self._write(place, range(EARLY, EARLY + LATE))
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)

    def _write(self, place: str, numbers: range) -> None:
        if "celery" not in self.name:
            for number in numbers:
                with urllib.request.urlopen(f"{place}/rows/u{number}", timeout=PATIENCE) as answer:
                    answer.read()
            return
        send = f"import unaware\nfor number in {list(numbers)}: unaware.write.delay(number)"
        subprocess.run(
            [sys.executable, "-c", send],
            env=self.environment,
            check=True,
            timeout=PATIENCE,
            cwd=self.database.parent,
        )
        self._until(lambda: self._rows() > numbers[-1], "the tasks")

    def _rows(self) -> int:
        with contextlib.closing(sqlite3.connect(self.database, timeout=60)) as connection:
            count: int = connection.execute("SELECT count(*) FROM t").fetchone()[0]
        return count

    def _statements(self) -> int:
        return len([span for span in self.received.spans() if "INSERT" in span.name])

    def _said(self, pattern: str) -> str:
        """Wait for a line of its output; what it has in brackets, if anything."""
        found: list[str] = []

        def look() -> bool:
            match = re.search(pattern, self.output.read_text())
            found[:] = [] if match is None else [*match.groups(), ""]
            return match is not None

        self._until(look, pattern)
        return found[0]

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name}: {what} did not come: {self.output.read_text()[-2000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """Whatever is left of it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def count(self) -> Counted:
        """Rows against what arrived."""
        spans = self.received.spans("unaware")
        statements = [span for span in spans if "INSERT" in span.name]
        transactions = [span for span in spans if span.name.startswith("TRANSACTION")]
        entries = [
            span
            for span in spans
            if re.match(r"GET /rows/|run/unaware", span.name)
            and not span.name.endswith((" send", " receive"))
        ]
        lines = [line for line in self.received.logs("unaware") if line.body.startswith("stored for ")]
        traces = (
            {span.trace_id for span in entries} if self.model.says else {s.trace_id for s in transactions}
        )
        joined = len({span.span_id for span in spans}) == len(spans)
        if self.end != "kill" and self.model.says:
            joined = joined and {s.trace_id for s in statements} == traces == {one.trace_id for one in lines}
        return Counted(
            self._rows(), len(statements), len(transactions), len(entries), len(lines), joined,
            self.output.read_text(errors="replace"),
        )  # fmt: skip


def main() -> int:
    """Measure what is asked for and print it; the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="", help="separated by semicolons; default: all")
    parser.add_argument("--ends", default="", help="separated by commas; default: all")
    options = parser.parse_args()
    wrong = 0
    print("| process | end | rows | statements | transactions | entries | log lines |\n" + "|---" * 7 + "|")
    for name in options.models.split(";") if options.models else MODELS:
        for end in SCRIPT_ENDS if name == "script" else SERVER_ENDS:
            if options.ends and end not in options.ends.split(","):
                continue
            with tempfile.TemporaryDirectory(prefix="trueline-processes-") as folder:
                got = measure(name, end, Path(folder))
            fine = got.rows and 0 <= got.lost <= allowed(name, end) and got.joined
            wrong += not fine
            print(
                f"| {name} | {end} | {got.rows} | {got.statements} | {got.transactions} | {got.entries} "
                f"| {got.lines} |" + ("" if fine else "  <- not as documented"),
                flush=True,
            )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
