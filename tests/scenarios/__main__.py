"""The scenario lab's command: ``python tests/scenarios``, or ``make lab``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
# Run as a folder, this folder itself is on the path; the package is beside it.
sys.path[:] = [str(TESTS), *(path for path in sys.path if Path(path or ".").resolve() != TESTS / "scenarios")]

from rich.console import Console  # noqa: E402
from scenarios.catalogue import all_scenarios, available, choose  # noqa: E402
from scenarios.lab import recording_of, run  # noqa: E402
from scenarios.processes import Trouble  # noqa: E402
from scenarios.scoreboard import Board, show, sums  # noqa: E402


def main(arguments: list[str] | None = None) -> int:
    """Play what is asked for. 0: all right; 1: something was missed or false; 2: trouble."""
    parser = argparse.ArgumentParser(prog="make lab LAB=...", description=__doc__)
    parser.add_argument("--rule", action="append", default=[], help="only about this rule or write-up")
    parser.add_argument("--name", action="append", default=[], help="only with this word in the name")
    parser.add_argument("--replay", action="store_true", help="send what was recorded instead of playing")
    parser.add_argument("--record", action="store_true", help="keep what scenarios send, for --replay")
    parser.add_argument("--keep", action="store_true", help="keep the folder with databases and logs")
    parser.add_argument("--list", action="store_true", help="list the scenarios")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there as well")
    given = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 160)
    known, untold = available(all_scenarios())
    scenarios = choose(known, given.rule, given.name)
    if not scenarios:
        about = ", ".join(dict.fromkeys(one.about for one in all_scenarios()))
        console.print(f"No scenario fits. --rule takes: {about}; --list shows all.", style="red")
        return 2
    for one in choose(untold, given.rule, given.name):
        console.print(f"Left out, since its rule is not there yet: {one.name}", style="yellow", markup=False)
    if given.list:
        for one in scenarios:
            console.print(f"{one.name}: {one.title}", markup=False, highlight=False)
        return 0
    if given.replay:
        missing = [one.name for one in scenarios if not recording_of(one).exists()]
        if missing:
            console.print(f"Not recorded, left out: {', '.join(missing)}", style="yellow", markup=False)
        scenarios = [one for one in scenarios if recording_of(one).exists()]
    try:
        with Board(console, len(scenarios)) as board:
            if given.replay:
                results = run((), board, replayed=scenarios)
            else:
                results = run(scenarios, board, record=given.record, keep=given.keep)
    except Trouble as trouble:
        console.print(str(trouble), style="red", markup=False)
        return 2
    show(console, results)
    if given.json:
        content = {"sums": sums(results), "scenarios": [one.as_dict() for one in results]}
        given.json.write_text(json.dumps(content, indent=2) + "\n")
    return 0 if all(one.right for one in results) else 1


if __name__ == "__main__":
    sys.exit(main())
