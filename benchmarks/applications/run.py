"""One run of an application's own tests: bare, with Trueline, or with Trueline configured."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from applications.environment import Environment
from applications.postgres import Server, new_database
from applications.recipe import RECIPES, Recipe

PLUGIN = Path(__file__).parent / "plugin"
RUNS = ("bare", "default", "configured")


@dataclass
class Run:
    """What one run gave: the result of each test, and each distinct statement with its counts."""

    name: str
    seconds: float = 0.0
    #: CPU time of pytest and of the processes that it waited for.
    cpu_seconds: float = 0.0
    tests: dict[str, str] = field(default_factory=dict)
    statements: list[dict[str, Any]] = field(default_factory=list)
    outcomes: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    left_out: int = 0
    #: Each declared table: columns, and the tables that they refer to.
    schema: dict[str, dict[str, Any]] = field(default_factory=dict)
    log: Path = Path()


def run_tests(
    recipe: Recipe,
    environment: Environment,
    name: str,
    *,
    folder: Path,
    instrumentation: Path,
    server: Server | None,
    arguments: list[str] | None = None,
    command: Sequence[str] = (),
    more: Mapping[str, str] | None = None,
) -> Run:
    """Run the tests once in a fresh copy of the source and against a fresh database.

    ``command`` goes before Python's, ``more`` variables are set for the tests only.

    Raises RuntimeError where the run left no result, with the end of what it printed.
    """
    environment.fresh_copy()
    out = folder / "results"
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob(f"{name}-*.json"):
        old.unlink()
    log = folder / f"{name}.log"
    with ExitStack() as stack:
        places = {"work": str(environment.work), "python": str(environment.python)}
        if server is not None:
            places |= stack.enter_context(new_database(server))
        variables = _variables(recipe, environment, name, out, instrumentation, places)
        where = environment.work / recipe.folder
        with log.open("w") as file:
            for preparing in recipe.prepare:
                filled = [part.format_map(places) for part in preparing]
                before = variables | {"TRUELINE_OBSERVER": json.dumps({"run": "bare"})}
                _call(filled, where, before, file, recipe.timeout)
            started, cpu = time.monotonic(), _cpu_of_children()
            pytest = [*command, str(environment.python), "-m", "pytest", "-p", "trueline_observer"]
            variables |= more or {}
            ended = _call(
                [*pytest, *(arguments or recipe.tests)], where, variables, file, recipe.timeout, check=False
            )
            seconds, cpu = time.monotonic() - started, _cpu_of_children() - cpu
    run = Run(name, seconds, cpu, log=log)
    files = sorted(out.glob(f"{name}-*.json"))
    # 0 and 1: all passed, some failed. Otherwise it was interrupted, or could not collect the tests: a run of
    # nothing equals another run of nothing, and must not pass for "every test ends as before".
    if not files or ended not in (0, 1):
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
        raise RuntimeError(
            f"the {name} run of {recipe.name} left no result: pytest ended with {ended}; "
            f"{log} ends with:\n{tail}"
        )
    for path in files:
        _add(run, json.loads(path.read_text()))
    return run


def _variables(
    recipe: Recipe,
    environment: Environment,
    name: str,
    out: Path,
    instrumentation: Path,
    places: dict[str, str],
) -> dict[str, str]:
    # Nothing of whoever calls: neither settings of another Trueline nor plugins.
    inherited = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("TRUELINE_", "OTEL_", "PYTEST_", "PYTHON", "VIRTUAL_ENV"))
    }
    observer = {
        "run": name,
        "out": str(out),
        "identities": recipe.identities,
        "setup": str(RECIPES / recipe.setup) if recipe.setup else "",
    }
    folders = [PLUGIN, instrumentation, *(environment.work / folder for folder in recipe.path)]
    return {
        **inherited,
        "PATH": f"{environment.python.parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
        "PYTHONDONTWRITEBYTECODE": "1",
        # The same order of sets and of tests that are chosen by hash in every run.
        "PYTHONHASHSEED": "0",
        "TRUELINE_OBSERVER": json.dumps(observer),
        **{key: value.format_map(places) for key, value in recipe.environment.items()},
    }


def _call(
    command: list[str],
    folder: Path,
    variables: dict[str, str],
    file: Any,
    timeout: int,
    *,
    check: bool = True,
) -> int:
    """Run to the end; the exit status."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=variables,
        stdout=file,
        stderr=subprocess.STDOUT,
        timeout=timeout,
        check=False,
    )
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}; see {file.name}")
    return done.returncode


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _add(run: Run, part: dict[str, Any]) -> None:
    """Add what one process of a run wrote down."""
    run.tests.update(part["tests"])
    run.statements.extend(part["statements"])
    run.left_out += part["left_out"]
    for name in ("outcomes", "faults"):
        total: dict[str, int] = getattr(run, name)
        for key, count in part[name].items():
            total[key] = total.get(key, 0) + count
    run.schema.update(part.get("schema", {}))
    for key, count in part["losses"].items():
        run.faults[f"loss: {key}"] = run.faults.get(f"loss: {key}", 0) + count
