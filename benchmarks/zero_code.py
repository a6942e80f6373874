"""Public applications under zero-code: their own tests, and one request on one trace.

    python benchmarks/zero_code.py --app flaskbb [--source DIR] [--only request]

The application's own tests run bare and under ``opentelemetry-instrument`` with Trueline installed; each must
end as it does without. Then it is served under the same command and asked what its file in
``applications/zero_code`` says; of the last request the trace is printed, and has to hold the request's entry
with its status, statements with their outcome, their transaction, and log lines. No line of the application
is changed, and none of it is kept here. Exit status 1 where something of that is not so.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from applications import postgres, recipe
from applications.count import differences
from applications.environment import Environment
from applications.recipe import Recipe
from applications.run import run_tests

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.collector import Collector, Log, Span, collector  # noqa: E402

_FOLDER = Path(__file__).parent / "applications" / "zero_code"
_PATIENCE = 120
_OUTCOME = "trueline.transaction.outcome"


@dataclass(frozen=True)
class Serving:
    """One file of ``applications/zero_code``."""

    packages: list[str]
    serve: list[str]
    requests: list[dict[str, Any]]
    prepare: list[list[str]] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)


def main() -> int:
    """Run what is asked for; the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--app", required=True, choices=sorted(path.stem for path in _FOLDER.glob("*.toml")))
    parser.add_argument("--source", type=Path, help="a checkout; cloned if not given")
    parser.add_argument("--python", default="", help="interpreter for the application's environment")
    parser.add_argument("--only", choices=("tests", "request"), help="one half of it")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or tempfile.gettempdir()) / "trueline-coverage"
    parser.add_argument("--cache", type=Path, default=cache, help="default: %(default)s")
    options = parser.parse_args()
    chosen = recipe.load(options.app)
    serving = Serving(**tomllib.loads((_FOLDER / f"{options.app}.toml").read_text(encoding="utf-8")))
    folder = options.cache / chosen.name
    environment = Environment(chosen, folder, options.source, options.python)
    environment.make(_say)
    _install(environment, serving)
    wrong = False
    with ExitStack() as stack:
        server = stack.enter_context(postgres.server()) if chosen.database == "postgresql" else None
        if options.only != "request":
            wrong |= _tests(chosen, environment, folder, server)
        if options.only != "tests":
            wrong |= _request(chosen, serving, environment, server)
    return 1 if wrong else 0


def _install(environment: Environment, serving: Serving) -> None:
    """What the guide tells a user to install, in the release that is there."""
    release = environment.version_of("opentelemetry-instrumentation")
    wanted = [f"{name}=={release}" for name in ("opentelemetry-distro", *serving.packages)]
    pip = [str(environment.python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    _say(f"installing {' '.join(wanted)} and Trueline ...")
    subprocess.run([*pip, *wanted], check=True, stderr=subprocess.DEVNULL)
    subprocess.run([*pip, "--no-deps", "--force-reinstall", str(ROOT)], check=True, stderr=subprocess.DEVNULL)


def _telemetry(received: Collector) -> dict[str, str]:
    # As docs/guide/zero-code.md says.
    return {
        "OTEL_SERVICE_NAME": "application",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint,
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "1000",
    }


# -- the application's own tests ----------------------------------------------------------------------


def _tests(chosen: Recipe, environment: Environment, folder: Path, server: postgres.Server | None) -> bool:
    runs = {}
    with collector() as received:
        for name in ("bare", "zero-code"):
            _say(f"{chosen.name}: its tests, {name}, output in {folder / name}.log ...")
            runs[name] = run_tests(
                chosen,
                environment,
                name,
                folder=folder,
                instrumentation=ROOT / "instrumentation",
                server=server,
                command=[str(environment.python.parent / "opentelemetry-instrument")] * (name != "bare"),
                more=_telemetry(received) if name != "bare" else {},
            )
        spans = received.spans()
    kinds = Counter(
        span.attributes.get(_OUTCOME) for span in spans if "trueline.statement.kind" in span.attributes
    )
    ends = {name: dict(Counter(run.tests.values())) for name, run in runs.items()}
    print(f"tests, bare:      {ends['bare']}")
    print(
        f"tests, zero-code: {ends['zero-code']}; {len(spans)} spans received, "
        f"statements by outcome {dict(kinds)}"
    )
    lines = differences(runs["bare"].tests, runs["zero-code"].tests)
    for line in lines[:20]:
        print(f"  {line}")
    faults = runs["zero-code"].faults
    for where, count in faults.items():
        print(f"  Trueline's own fault, {count} times: {where}")
    return bool(lines or faults or not kinds)


# -- one request ---------------------------------------------------------------------------------------


def _request(
    chosen: Recipe, serving: Serving, environment: Environment, server: postgres.Server | None
) -> bool:
    environment.fresh_copy()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trueline-zero-code-")))
        received = stack.enter_context(collector())
        places = {
            "work": str(environment.work),
            "python": str(environment.python),
            "bin": str(environment.python.parent),
            "folder": str(folder),
        }
        if server is not None:
            places |= stack.enter_context(postgres.new_database(server))
        declared = {**chosen.environment, **serving.environment}
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith(("TRUELINE_", "OTEL_", "PYTHON"))
        }
        variables = {
            **inherited,
            **{key: value.format_map(places) for key, value in declared.items()},
            "PATH": f"{environment.python.parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        where = environment.work / chosen.folder
        for command in [*chosen.prepare, *serving.prepare]:
            filled = [part.format_map(places) for part in command]
            subprocess.run(filled, cwd=where, env=variables, check=True, stdout=subprocess.DEVNULL)
        variables |= _telemetry(received)
        port = _free_port()
        command = [part.format_map({**places, "port": port}) for part in serving.serve]
        before: set[str] = set()
        with (
            _served(command, where, variables, folder / "output", port) as output,
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=_PATIENCE) as client,
        ):
            for number, asked in enumerate(serving.requests):
                if number == len(serving.requests) - 1:
                    time.sleep(4)  # what came before has arrived, or would count for this one
                    before = {span.trace_id for span in received.spans()}
                answer = client.request(
                    asked["method"], asked["path"], data=asked.get("form"), json=asked.get("json")
                )
                print(f"{asked['method']} {asked['path']}: {answer.status_code}")
        if answer.status_code >= 400:
            print(answer.text[:500], output.read_text()[-3000:], sep="\n")
        return _show(received, before)


@contextmanager
def _served(
    command: list[str], where: Path, variables: dict[str, str], output: Path, port: int
) -> Iterator[Path]:
    """The application under the command, until the end of the block; then it is asked to stop."""
    with output.open("wb") as file:
        process = subprocess.Popen(
            ["opentelemetry-instrument", *command],
            executable=str(Path(command[0]).parent / "opentelemetry-instrument"),
            cwd=where,
            env=variables,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + _PATIENCE
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{' '.join(command)} did not start:\n{output.read_text()[-3000:]}")
            time.sleep(0.1)
        yield output
        # The worker first says goodbye; what it holds leaves at its end, or within two seconds.
        time.sleep(3)
        process.send_signal(signal.SIGTERM)
        process.wait(_PATIENCE)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def _show(received: Collector, before: set[str]) -> bool:
    """Print the trace of the last request; whether something of it is missing."""
    spans = [span for span in received.spans() if span.trace_id not in before]
    traces = {span.trace_id for span in spans if _outcome(span)}
    print(f"{len(traces)} trace with statements")
    if len(traces) != 1:
        return True
    (trace,) = traces
    of_it = sorted((span for span in spans if span.trace_id == trace), key=lambda span: span.started_at)
    logs = [line for line in received.logs() if line.trace_id == trace]
    children: dict[str, list[Span]] = {}
    ids = {span.span_id for span in of_it}
    for span in of_it:
        children.setdefault(span.parent_id if span.parent_id in ids else "", []).append(span)
    _tree(children, "", 0)
    for line in logs:
        print(f"  log: {line.event_name or line.body[:100]}")
    return bool(_missing(of_it, children, logs))


def _missing(spans: list[Span], children: dict[str, list[Span]], logs: list[Log]) -> list[str]:
    transactions = [span for span in spans if span.name.startswith("TRANSACTION")]
    writes = [span for span in spans if span.attributes.get("trueline.statement.kind") == "write"]
    status = [
        s.attributes.get("http.response.status_code", s.attributes.get("http.status_code"))
        for s in children[""]
    ]
    missing = [
        text
        for text, there in {
            "one entry": len(children[""]) == 1,
            "its status": status == [200],
            "a write that was committed": any(_outcome(span) == "committed" for span in writes),
            "its transaction": any(_outcome(span) == "committed" for span in transactions),
            "a line of the application's": any(not line.event_name for line in logs),
        }.items()
        if not there
    ]
    print(f"missing: {', '.join(missing) or 'nothing'}")
    return missing


def _outcome(span: Span) -> str:
    return str(span.attributes.get(_OUTCOME, ""))


def _tree(children: dict[str, list[Span]], parent: str, depth: int) -> None:
    for span in children.get(parent, ()):
        print(f"  {'  ' * depth}{span.name[:80]} {_outcome(span)}".rstrip())
        _tree(children, span.span_id, depth + 1)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
