"""How many changed rules their own tests notice: ``python tests/mutations``, or ``make mutations``.

For each stable rule one condition at a time is taken away, weakened or turned round (in the query's syntax
tree), and the rule's tests are run against it. Prints the share that some test notices, and lists those that
none does. ``equivalent.yaml`` names mutants that mean the same as the rule, each with the reason.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
# Run as a folder, this folder itself is on the path; the package is beside it.
sys.path[:] = [str(TESTS), *(path for path in sys.path if Path(path or ".").resolve() != TESTS / "mutations")]

from mutations.equivalent import read_equivalents  # noqa: E402
from mutations.report import Result, read_results, result_of, write_results  # noqa: E402
from mutations.trial import variants  # noqa: E402
from mutations.workers import opened, share_out  # noqa: E402
from rich.console import Console  # noqa: E402

from trueline.monitor.engine.load import load_rules  # noqa: E402


def main(arguments: list[str] | None = None) -> int:
    """0: every mutant is noticed or known to mean the same; 1: some is not; 2: trouble."""
    parser = argparse.ArgumentParser(prog="make mutations MUTATIONS=...", description=__doc__)
    parser.add_argument("--rule", action="append", default=[], help="only this rule; stable ones otherwise")
    parser.add_argument("--most", type=int, help="of each rule only so many mutants, by chance")
    parser.add_argument("--seed", type=int, default=1, help="which ones (1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there as well")
    parser.add_argument(
        "--again",
        type=Path,
        metavar="FILE",
        help="of such results, try only what no test had noticed, and join",
    )
    parser.add_argument("--workers", type=int, default=2, help="processes (2)")
    asked = parser.parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    rules = {
        rule.id: rule
        for rule in load_rules([TESTS.parent / "rules"]).rules
        if (rule.id in asked.rule if asked.rule else rule.definition.status == "stable")
    }
    if unknown := sorted(set(asked.rule) - set(rules)):
        parser.error(f"there is no rule {unknown[0]}")
    known = read_equivalents()
    before = read_results(asked.again) if asked.again else {}
    results: list[Result] = []
    with opened(asked.workers) as pool:
        for rule in rules.values():
            names = [one.name for one in variants(rule)]
            if asked.most is not None and len(names) > asked.most:
                names = random.Random(asked.seed).sample(names, asked.most)
            earlier = before.get(rule.id)
            if earlier is not None:
                earlier = earlier.of(names)
                names = [name for name in names if name not in earlier.settled(known)]
            trial = share_out(pool, asked.workers, rule, names)
            result = result_of(trial, known, earlier)
            for line in result.lines():
                console.print(line, markup=False)
            if asked.most is None and earlier is None:
                for name in known.unused(rule.id, trial.survivors):
                    console.print(f"  equivalent.yaml: no such survivor: {name}", markup=False)
            results.append(result)
            if asked.json:
                write_results(asked.json, results)
    noticed, of = sum(len(one.noticed) for one in results), sum(one.judged for one in results)
    if of:
        console.print(f"all: {noticed} of {of} noticed ({noticed / of:.1%})")
    return 1 if any(one.missed for one in results) else 0


if __name__ == "__main__":
    sys.exit(main())
