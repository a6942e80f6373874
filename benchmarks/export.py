"""What sending a span costs the service: the direct exporter against OpenTelemetry's OTLP/HTTP exporter.

    python benchmarks/export.py [--rounds 5] [--batches 8] [--spans 2048]

CPU time of this process for one span, from the finished span to the answer. The servers are other processes:
a receiver that reads and answers, and the embedded engine behind ClickHouse's HTTP interface, without views,
which must hold every span in the end. Spans are statement spans of Trueline's own, with shared parts, and the
same as any SDK would make them. Variants take turns; printed are medians and ratios to the stock exporter.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from sqlalchemy import create_engine, text
from support import clickhouse_http
from support.collector import collector

from trueline.instrumentation import bind_identity
from trueline.instrumentation.clickhouse.spans import ClickHouseSpanExporter
from trueline.instrumentation.exporter import OtlpExporter
from trueline.instrumentation.losses import Losses
from trueline.instrumentation.testing import recorded
from trueline.monitor.settings import StoreSettings
from trueline.monitor.store.client import open_store
from trueline.monitor.store.generate import SCHEMA_FOLDER


def recorded_spans(count: int) -> list[ReadableSpan]:
    """Spans of real statements."""
    with recorded() as telemetry:
        engine = create_engine("sqlite://")
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE expenses (user_id TEXT, amount INTEGER)"))
        for number in range(count):
            with bind_identity(str(number)), engine.begin() as connection:
                values = {"user": str(number), "amount": number}
                connection.execute(text("INSERT INTO expenses VALUES (:user, :amount)"), values)
        return list(telemetry.spans)[:count]


def as_any_sdk(span: ReadableSpan) -> ReadableSpan:
    """The same span without anything that Trueline shares."""
    return ReadableSpan(
        span.name,
        span.context,
        span.parent,
        span.resource,
        dict(span.attributes or {}),
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def answer() -> None:
    """Be the receiver: print the endpoint, answer until standard input ends."""
    with collector() as received:
        print(received.endpoint, flush=True)
        sys.stdin.read()


def start(*command: str) -> tuple[subprocess.Popen[str], str]:
    """Start a server that prints its URL."""
    process = subprocess.Popen(
        [sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def main() -> None:
    """Take turns, compare medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--spans", type=int, default=2048, help="in a batch")
    parser.add_argument("--answer", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.answer:
        answer()
        return
    own = recorded_spans(arguments.spans)
    plain = [as_any_sdk(span) for span in own]
    with tempfile.TemporaryDirectory() as folder:
        server, url = start(clickhouse_http.__file__, folder)
        receiver, endpoint = start(__file__, "--answer")
        store = open_store(StoreSettings(Path(folder), clickhouse_url=url, clickhouse_password="pass"))
        store.command((SCHEMA_FOLDER / "0001_otel_traces.sql").read_text(encoding="utf-8"))
        os.environ |= {"TRUELINE_CLICKHOUSE_URL": url, "TRUELINE_CLICKHOUSE_PASSWORD": "pass"}
        endpoint += "/v1/traces"
        variants: dict[str, tuple[Any, list[ReadableSpan]]] = {
            "stock OTLP, any span": (OTLPSpanExporter(endpoint), plain),
            "Trueline OTLP, its own spans": (OtlpExporter(Losses(), endpoint), own),
            "direct, any span": (ClickHouseSpanExporter(), plain),
            "direct, Trueline's own spans": (ClickHouseSpanExporter(), own),
        }
        figures: dict[str, list[float]] = {name: [] for name in variants}
        for number in range(arguments.rounds + 1):
            for name, (exporter, spans) in variants.items():
                began = time.process_time()
                for _ in range(arguments.batches):
                    assert exporter.export(spans) is SpanExportResult.SUCCESS
                if number:  # the first round warms up
                    took = time.process_time() - began
                    figures[name].append(1e6 * took / arguments.batches / len(spans))
        there = store.query("SELECT count() FROM otel_traces").scalar()
        assert there == 2 * (arguments.rounds + 1) * arguments.batches * len(own), there
        store.close()
        server.communicate()
        receiver.communicate()
    stock = statistics.median(figures["stock OTLP, any span"])
    print(f"{'CPU, µs a span':<40}{'median':>8}{'to stock':>10}")
    for name, values in figures.items():
        median = statistics.median(values)
        print(f"{name:<40}{median:>8.1f}{median / stock:>10.2f}")


if __name__ == "__main__":
    main()
