"""What starting a service with Trueline costs, and what its base install weighs.

    python benchmarks/startup.py [--rounds 15] [--install]

Milliseconds of CPU that a fresh process spends on importing and switching on, beyond what SQLAlchemy and
its ORM take, against contrib's instrumentation with the SDK and its OTLP/HTTP exporter in the same run.
``--install``: makes two virtual environments and compares what pip puts into them (needs the package index).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# The parts of OpenTelemetry that every service with traces has.
_CONTRIB = """
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
SQLAlchemyInstrumentor().instrument()
"""
_TRUELINE = """
import trueline.instrumentation
imported = time.process_time()
trueline.instrumentation.instrument(service_name="startup")
"""
_CHILD = """
import json, os, time
before = time.process_time()
import sqlalchemy.orm
begin = imported = time.process_time()
{work}
end = time.process_time()
figures = {{"sqlalchemy": begin - before, "import": imported - begin, "all": end - begin}}
print(json.dumps(figures), flush=True)
os._exit(0)
"""
PEER_PACKAGES = (
    "sqlalchemy",
    "opentelemetry-sdk",
    "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry-instrumentation-sqlalchemy",
)


def start(work: str, bytecode: str) -> dict[str, float]:
    """Seconds of CPU in one fresh process, which finds its ``bytecode``, as any second start does."""
    environment = {**os.environ, "TRUELINE_HASH_SECRET": "startup", "OTEL_SDK_DISABLED": "false"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment["PYTHONPYCACHEPREFIX"] = bytecode
    command = [sys.executable, "-c", _CHILD.format(work=work)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    seconds: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return seconds


def times(rounds: int, bytecode: str) -> None:
    """Take turns and print medians."""
    seen: dict[str, list[dict[str, float]]] = {"contrib": [], "trueline": []}
    for name, work in (("contrib", _CONTRIB), ("trueline", _TRUELINE)):
        start(work, bytecode)  # it and the file cache
        print(f"{name}: ready", file=sys.stderr)
    for number in range(rounds):
        order = (("contrib", _CONTRIB), ("trueline", _TRUELINE))
        for name, work in order if number % 2 else reversed(order):
            seen[name].append(start(work, bytecode))
        print(f"round {number + 1}/{rounds}", file=sys.stderr)
    contrib = statistics.median(one["all"] for one in seen["contrib"]) * 1e3
    imported = statistics.median(one["import"] for one in seen["trueline"]) * 1e3
    whole = statistics.median(one["all"] for one in seen["trueline"]) * 1e3
    alone = statistics.median(one["sqlalchemy"] for all_of in seen.values() for one in all_of) * 1e3
    least = min(one["all"] for one in seen["trueline"]) * 1e3
    print(f"\n{'ms of CPU':<44}{'ms':>8}{'ratio':>8}")
    print(f"{'SQLAlchemy and its ORM (not counted below)':<44}{alone:>8.0f}")
    print(f"{'contrib, the SDK and its exporter':<44}{contrib:>8.0f}{1:>8.2f}")
    print(f"{'trueline, the SDK and its exporter':<44}{whole:>8.0f}{whole / contrib:>8.2f}")
    print(f"{'  the least of all rounds':<44}{least:>8.0f}")
    print(f"{'  of it importing':<44}{imported:>8.0f}")
    print(f"{'  of it instrument()':<44}{whole - imported:>8.0f}")


def install(folder: Path, *requirements: str) -> tuple[int, float, dict[str, float]]:
    """Packages, MB, and MB of each package of an environment with ``requirements`` and nothing else."""
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-compile", *requirements], check=True)
    site = next((folder / "lib").glob("python*/site-packages"))
    sizes: dict[str, float] = {}
    for record in site.glob("*.dist-info/RECORD"):
        files = [line.rsplit(",", 2)[0].strip('"') for line in record.read_text().splitlines()]
        size = sum((site / name).stat().st_size for name in files if (site / name).is_file())
        sizes[record.parent.name.split("-")[0]] = size / 1e6
    for name in ("pip", "setuptools"):
        sizes.pop(name, None)
    return len(sizes), sum(sizes.values()), sizes


def weigh() -> None:
    """Compare the two environments."""
    with tempfile.TemporaryDirectory(prefix="trueline-startup-") as scratch:
        peer, peer_size, peer_all = install(Path(scratch) / "peer", *PEER_PACKAGES)
        ours, our_size, all_of_ours = install(Path(scratch) / "ours", str(ROOT))
    print(f"\n{'base install':<44}{'packages':>9}{'MB':>8}")
    print(f"{'SQLAlchemy, contrib, the SDK and its exporter':<44}{peer:>8}{peer_size:>8.1f}")
    print(f"{'trueline':<44}{ours:>9}{our_size:>8.1f}")
    for name in sorted(set(all_of_ours) - set(peer_all)):
        print(f"  more: {name:<36}{'':>9}{all_of_ours[name]:>8.1f}")


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--install", action="store_true", help="also compare what pip installs")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trueline-startup-") as bytecode:
        times(arguments.rounds, bytecode)
    if arguments.install:
        weigh()


if __name__ == "__main__":
    main()
