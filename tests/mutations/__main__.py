"""How many changed rules their own tests notice: ``python tests/mutations``, or ``make mutations``.

For each stable rule one condition at a time is taken away, weakened or turned round (in the query's syntax
tree), and the rule's tests are run against it. Prints the share that some test notices, and lists those that
none does. ``equivalent.yaml`` names mutants that mean the same as the rule, each with the reason.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
# Run as a folder, this folder itself is on the path; the package is beside it.
sys.path[:] = [str(TESTS), *(path for path in sys.path if Path(path or ".").resolve() != TESTS / "mutations")]

from mutations.equivalent import read_equivalents  # noqa: E402
from mutations.trial import attempt, variants  # noqa: E402
from rich.console import Console  # noqa: E402

from trueline.monitor.engine.load import load_rules  # noqa: E402
from trueline.monitor.settings import StoreSettings  # noqa: E402
from trueline.monitor.store.client import open_store  # noqa: E402
from trueline.monitor.store.migrate import migrate  # noqa: E402


def main(arguments: list[str] | None = None) -> int:
    """0: every mutant is noticed or known to mean the same; 1: some is not; 2: trouble."""
    parser = argparse.ArgumentParser(prog="make mutations MUTATIONS=...", description=__doc__)
    parser.add_argument("--rule", action="append", default=[], help="only this rule; stable ones otherwise")
    parser.add_argument("--most", type=int, help="of each rule only so many mutants, by chance")
    parser.add_argument("--seed", type=int, default=1, help="which ones (1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there as well")
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
    results: list[dict[str, object]] = []
    left = all_noticed = all_judged = 0
    with tempfile.TemporaryDirectory(prefix="trueline-mutations-") as folder:
        store = open_store(StoreSettings(data_dir=Path(folder)))
        try:
            migrate(store)
            for rule in rules.values():
                chosen = variants(rule)
                if asked.most is not None and len(chosen) > asked.most:
                    chosen = random.Random(asked.seed).sample(chosen, asked.most)
                trial = attempt(rule, store, chosen, console.print)
                alike = {name: why for name in trial.survivors if (why := known.reason(rule.id, name))}
                missed = [name for name in trial.survivors if name not in alike]
                judged = len(trial.noticed) + len(missed)
                share = len(trial.noticed) / judged if judged else 1.0
                console.print(
                    f"{rule.id}: {len(trial.noticed)} of {judged} noticed ({share:.1%}); "
                    f"{len(alike)} mean the same, {len(trial.refused)} cannot be run"
                )
                left += len(missed)
                all_noticed += len(trial.noticed)
                all_judged += judged
                for name in missed:
                    console.print(f"  not noticed: {name}", markup=False)
                if asked.most is None:
                    for name in known.unused(rule.id, trial.survivors):
                        console.print(f"  equivalent.yaml: no such survivor: {name}", markup=False)
                results.append(
                    {
                        "rule": rule.id,
                        "noticed": len(trial.noticed),
                        "judged": judged,
                        "share": round(share, 4),
                        "missed": missed,
                        "equivalent": alike,
                        "refused": trial.refused,
                    }
                )
        finally:
            store.close()
    if all_judged:
        console.print(f"all: {all_noticed} of {all_judged} noticed ({all_noticed / all_judged:.1%})")
    if asked.json:
        asked.json.write_text(
            json.dumps({"rules": results, "noticed": all_noticed, "judged": all_judged}, indent=2) + "\n"
        )
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
