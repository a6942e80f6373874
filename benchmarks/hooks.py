"""What a hook costs: microseconds added to a statement, as a ratio against contrib in the same run.

    python benchmarks/hooks.py [--drivers pysqlite,psycopg,aiosqlite,asyncpg] [--rounds 7] [--statements 4000]

Each variant runs in a process of its own (instrumenting is for a whole process), variants take turns, and
medians over the rounds are compared. The exporter counts spans and drops them, so that only hooks are
measured (benchmarks/total.py measures the way out). In a first pass it reads every attribute, and each
process asserts that all spans were made.
"""

from __future__ import annotations

import argparse
import json
import time

from variants import print_added, take_turns
from workload import DRIVERS, STATEMENTS_PER_TRANSACTION, database, work_on

VARIANTS = ("bare", "contrib", "own", "adopted")


def child(variant: str, driver: str, url: str, statements: int) -> None:
    """Run one variant and print seconds of wall and CPU time a statement."""
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    seen = {"spans": 0, "attributes": 0}
    warming_up = True

    class Counting(SpanExporter):
        def export(self, spans: object) -> SpanExportResult:
            for span in spans:  # type: ignore[attr-defined]
                assert isinstance(span, ReadableSpan)
                seen["spans"] += 1
                if warming_up:
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
    elif variant != "bare":
        from trueline.instrumentation import instrument

        instrument(
            tracer_provider=provider,
            logger_provider=LoggerProvider(),
            logs=False,
            spans="own" if variant == "own" else "contrib",
        )
    work = work_on(driver, url)
    work(200)
    # What is loaded once, in the background, is no statement's price: benchmarks/startup.py counts it.
    time.sleep(0.5)
    provider.force_flush()
    if variant != "bare":
        # contrib writes three attributes on SQLite, Trueline a dozen: fewer would mean that they got lost.
        assert seen["attributes"] >= (3 if variant == "contrib" else 12) * 400, seen
    warming_up = False
    seen["spans"] = 0
    wall, cpu = time.perf_counter(), time.process_time()
    work(statements // STATEMENTS_PER_TRANSACTION)
    wall = time.perf_counter() - wall
    provider.force_flush()
    cpu = time.process_time() - cpu
    if variant != "bare":
        assert seen["spans"] >= statements, seen
    print(json.dumps({"wall": wall / statements, "cpu": cpu / statements}))


def main() -> None:
    """Take turns, compare medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--drivers", default=",".join(DRIVERS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--statements", type=int, default=4000)
    parser.add_argument("--child")
    parser.add_argument("--url")
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.drivers, arguments.url, arguments.statements)
        return
    for driver in arguments.drivers.split(","):
        with database(driver) as url:
            more = ("--drivers", driver, "--url", url, "--statements", str(arguments.statements))
            medians = take_turns(__file__, VARIANTS, more, arguments.rounds, driver)
        print_added(driver, medians, base="bare", peer="contrib")


if __name__ == "__main__":
    main()
