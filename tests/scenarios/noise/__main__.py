"""Background noise: ``python tests/scenarios/noise``, or ``make noise``.

Healthy traffic of many services, made from a seed, is judged by the real engine with all stable rules on a
clock that runs ahead: nothing may be found. Then the same with every incident once, and the same again as
services send it that keep one per cent of the identities.

    python tests/scenarios/noise --statements 20000000 --hours 24 --json noise.json
    python tests/scenarios/noise --run incidents --seed 11
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]
# Run as a folder, this folder itself is on the path; the package is two above it.
sys.path[:] = [
    str(TESTS),
    *(path for path in sys.path if Path(path or ".").resolve() != Path(__file__).resolve().parent),
]

from rich.console import Console  # noqa: E402
from scenarios.noise.report import as_dict, bar, show  # noqa: E402
from scenarios.noise.run import Settings, run  # noqa: E402

from trueline.monitor.settings import StoreSettings  # noqa: E402
from trueline.monitor.store.client import open_store  # noqa: E402
from trueline.monitor.store.migrate import migrate  # noqa: E402

RUNS = ("noise", "incidents", "sampled")


def main(arguments: list[str] | None = None) -> int:
    """0: all is as it has to be; 1: something was missed or false."""
    parser = argparse.ArgumentParser(
        prog="make noise NOISE=...", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--statements", type=int, default=1_000_000)
    parser.add_argument("--hours", type=float, default=6, help="simulated time")
    parser.add_argument("--step", type=float, default=300, help="seconds between judgements, 600 at most")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--sample", type=float, default=0.01, help="share of the identities in the last run")
    parser.add_argument("--run", action="append", choices=RUNS, help="only this one")
    parser.add_argument(
        "--experimental", action="store_true", help="run these rules too, without judging them"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there as well")
    given = parser.parse_args(arguments)
    if not 1 <= given.step <= 600 or given.hours * 60 < 40 or given.statements < 10_000:
        parser.error("--step is from 1 to 600, --hours 0.67 at least, --statements 10000 at least")
    console = Console(width=None if sys.stdout.isatty() else 160)
    results = {}
    right = True
    for name in given.run or RUNS:
        settings = Settings(
            *(given.statements, timedelta(hours=given.hours), timedelta(seconds=given.step), given.seed),
            sample=given.sample if name == "sampled" else 0.0,
            incidents=name != "noise",
            experimental=given.experimental,
        )
        with tempfile.TemporaryDirectory(prefix="trueline-noise-", ignore_cleanup_errors=True) as folder:
            store = open_store(StoreSettings(data_dir=Path(folder), database="noise"))
            try:
                migrate(store)
                with bar(console, name) as progress:
                    outcome = run(store, settings, progress)
            finally:
                store.close()
        show(console, name, outcome)
        results[name] = as_dict(outcome)
        right = right and outcome.verdict.right
        if given.json:
            given.json.write_text(json.dumps(results, indent=2) + "\n")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
