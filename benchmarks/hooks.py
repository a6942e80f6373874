"""What a hook costs: microseconds added to a statement, as a ratio against contrib in the same run.

    python benchmarks/hooks.py [--rounds 7] [--statements 2000]

Each variant runs in a process of its own (instrumenting is for a whole process), variants take turns, and
medians over the rounds are compared. The exporter drops spans, so that only the hooks are measured; every
process asserts that the spans it should have made were really made, attributes read.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

VARIANTS = ("bare", "contrib", "own", "adopted")
# With a secret, as in production: without one identities would be left out and nothing hashed.
ENVIRONMENT = {**os.environ, "TRUELINE_HASH_SECRET": "benchmark"}


def child(variant: str, statements: int) -> None:
    """Run one variant and print seconds of wall and CPU time a statement."""
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    from sqlalchemy import create_engine, text

    seen = {"spans": 0, "attributes": 0}

    class Counting(SpanExporter):
        def export(self, spans: object) -> SpanExportResult:
            for span in spans:  # type: ignore[attr-defined]
                assert isinstance(span, ReadableSpan)
                seen["spans"] += 1
                seen["attributes"] += len(span.attributes or ())
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    # As in production: finished spans wait in a queue, for one variant as for the other.
    provider.add_span_processor(
        BatchSpanProcessor(Counting(), max_queue_size=65_536, schedule_delay_millis=1000)
    )
    if variant == "contrib":
        from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

        SQLAlchemyInstrumentor().instrument(tracer_provider=provider, skip_dep_check=True)
    elif variant in ("own", "adopted"):
        from trueline.instrumentation import instrument

        instrument(
            tracer_provider=provider,
            logger_provider=LoggerProvider(),
            logs=False,
            spans="own" if variant == "own" else "contrib",
        )
    import sqlalchemy

    engine = sqlalchemy.create_engine("sqlite://") if variant != "bare" else create_engine("sqlite://")
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE expenses (id INTEGER PRIMARY KEY, user_id TEXT, amount INTEGER)")
        )
    insert = text("INSERT INTO expenses (user_id, amount) VALUES (:user_id, :amount)")
    select = text("SELECT amount FROM expenses WHERE user_id = :user_id LIMIT 1")

    def work(count: int) -> None:
        for number in range(count):
            with engine.begin() as connection:
                connection.execute(insert, {"user_id": str(number % 100), "amount": 3})
                connection.execute(select, {"user_id": str(number % 100)}).first()

    work(200)
    provider.force_flush()
    wall, cpu = time.perf_counter(), time.process_time()
    work(statements // 2)
    wall_on_path = time.perf_counter() - wall
    provider.force_flush()
    cpu = time.process_time() - cpu
    if variant != "bare":
        assert seen["spans"] >= statements, seen
        # contrib writes three attributes on SQLite, Trueline a dozen: fewer would mean that they got lost.
        assert seen["attributes"] >= (3 if variant == "contrib" else 12) * statements, seen
    print(json.dumps({"wall": wall_on_path / statements, "cpu": cpu / statements}))


def main() -> None:
    """Take turns, compare medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--statements", type=int, default=4000)
    parser.add_argument("--child")
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.statements)
        return
    figures: dict[str, dict[str, list[float]]] = {v: {"wall": [], "cpu": []} for v in VARIANTS}
    for number in range(arguments.rounds):
        for variant in VARIANTS:
            command = [
                sys.executable,
                __file__,
                "--child",
                variant,
                "--statements",
                str(arguments.statements),
            ]
            result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=ENVIRONMENT)
            for name, value in json.loads(result.stdout.splitlines()[-1]).items():
                figures[variant][name].append(value * 1e6)
        print(f"round {number + 1}/{arguments.rounds}", file=sys.stderr)
    medians = {v: {n: statistics.median(values) for n, values in f.items()} for v, f in figures.items()}
    print(
        f"{'µs a statement':<16}{'wall':>8}{'cpu':>8}{'added wall':>12}{'added cpu':>12}{'ratio (cpu)':>13}"
    )
    base, peer = medians["bare"], medians["contrib"]["cpu"] - medians["bare"]["cpu"]
    for variant in VARIANTS:
        row = medians[variant]
        added = row["cpu"] - base["cpu"]
        ratio = f"{added / peer:.2f}" if variant not in ("bare", "contrib") else ""
        print(
            f"{variant:<16}{row['wall']:>8.1f}{row['cpu']:>8.1f}{row['wall'] - base['wall']:>12.1f}"
            f"{added:>12.1f}{ratio:>13}"
        )


if __name__ == "__main__":
    main()
