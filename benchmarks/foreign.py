"""What share of the writes of applications that we did not write carries an identity.

    python benchmarks/foreign.py --app mealie [--source DIR] [--runs bare,default,configured]

Each application's own tests run three times: bare, with Trueline without any configuration, and with the
IdentityConfig of its recipe (benchmarks/applications/recipes). Every write and read of theirs is counted,
and each test must end as it does without Trueline: otherwise, and after an internal error of Trueline's,
the exit status is 1. The source is cloned at the recipe's commit unless ``--source`` gives one; it and the
application's environment are kept under ``--cache``. Nothing of it comes into this repository.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from applications import postgres, recipe, report
from applications.count import differences
from applications.environment import Environment
from applications.run import RUNS, Run, run_tests

ROOT = Path(__file__).parents[1]
_SHOWN_DIFFERENCES = 20


def main() -> int:
    """Parse arguments, run, print; the exit status."""
    options = _arguments().parse_args()
    # So that whatever was started ends too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    if options.list:
        for name in recipe.names():
            one = recipe.load(name)
            print(f"{name:<24} {one.framework}, {one.database}; {one.url} at {one.commit[:12]}")
        return 0
    try:
        chosen = recipe.load(options.app)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    names = options.runs.split(",")
    if unknown := [name for name in names if name not in RUNS]:
        print(f"--runs: {unknown[0]!r} is not one of {', '.join(RUNS)}", file=sys.stderr)
        return 2
    try:
        return _measure(chosen, names, options)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 3


def _measure(chosen: recipe.Recipe, names: list[str], options: argparse.Namespace) -> int:
    folder = options.cache / chosen.name
    environment = Environment(chosen, folder, options.source, options.python)
    environment.make(_say)
    versions = {
        "python": environment.python_version(),
        "sqlalchemy": environment.version_of("sqlalchemy"),
    }
    runs: dict[str, Run] = {}
    with ExitStack() as stack:
        server = stack.enter_context(postgres.server()) if chosen.database == "postgresql" else None
        for name in names:
            _say(f"{chosen.name}: {name} run, its output goes to {folder / name}.log ...")
            runs[name] = run_tests(
                chosen,
                environment,
                name,
                folder=folder,
                instrumentation=options.instrumentation,
                server=server,
                arguments=options.tests,
            )
            _say(f"{chosen.name}: {report.words(runs[name])}")
    for run in runs.values():
        if run.name != "bare":
            report.show(chosen, run)
    if options.json:
        options.json.write_text(json.dumps(report.as_data(chosen, runs, versions), indent=2) + "\n")
    return 1 if _wrong(runs) else 0


def _wrong(runs: dict[str, Run]) -> bool:
    """Say whether a test ended otherwise than without Trueline, and what went wrong inside it."""
    wrong = False
    for run in runs.values():
        if run.name != "bare" and "bare" in runs:
            lines = differences(runs["bare"].tests, run.tests)
            verdict = (
                "every test ends as without Trueline" if not lines else f"{len(lines)} tests end otherwise:"
            )
            print(f"\n{run.name}: {verdict}")
            for line in lines[:_SHOWN_DIFFERENCES]:
                print(f"  {line}")
            wrong = wrong or bool(lines)
        for where, number in run.faults.items():
            print(f"{run.name}: Trueline's own fault, {number} times: {where}")
            wrong = True
        if run.left_out:
            print(f"{run.name}: {run.left_out} executions of further distinct statements were not counted")
            wrong = True
    return wrong


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--app", help="name of a recipe")
    what.add_argument("--list", action="store_true", help="print the recipes' names")
    parser.add_argument("--source", type=Path, help="a checkout; cloned if not given")
    parser.add_argument("--runs", default=",".join(RUNS), help="which, in order; default: %(default)s")
    parser.add_argument("--python", default="", help="interpreter for the application's environment")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or tempfile.gettempdir()) / "trueline-coverage"
    parser.add_argument("--cache", type=Path, default=cache, help="default: %(default)s")
    parser.add_argument(
        "--instrumentation", type=Path, default=ROOT / "instrumentation", help="Trueline's source root to run"
    )
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("tests", nargs="*", help="arguments for pytest instead of the recipe's (after --)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
