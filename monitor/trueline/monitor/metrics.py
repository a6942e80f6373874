"""What the monitor tells Prometheus at /metrics: what was received, stored, refused and dropped, and why.

A registry for each monitor, not the library's global one, so that several can live in one process (tests do).
:data:`METRICS` lists all of them for the reference page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from trueline.monitor.errors import DataRefusedError, StoreError, StoreUnavailableError

if TYPE_CHECKING:
    from trueline.monitor.otlp.errors import RefusedError
    from trueline.monitor.otlp.examine import Verdict
    from trueline.monitor.store.journal import Decoder

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass(frozen=True, slots=True)
class MetricText:
    """One metric: its name, kind, labels and meaning."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str


def _metric(name: str, kind: str, help: str, *labels: str) -> MetricText:
    return MetricText(f"trueline_{name}", kind, labels, help)


RECEIVED_ITEMS: Final = _metric(
    "intake_items_total",
    "counter",
    "Spans or log records acknowledged (stored), rejected one by one in a partial success, or repeated (sent "
    "again after they had been stored).",
    "signal",
    "result",
)
REJECTED: Final = _metric(
    "intake_rejected_items_total",
    "counter",
    "Spans or log records that were left out of a request, by reason.",
    "signal",
    "reason",
)
REQUESTS: Final = _metric(
    "intake_requests_total",
    "counter",
    "OTLP requests by status and reason: ok, partial, or the kind of refusal.",
    "signal",
    "status",
    "reason",
)
BYTES: Final = _metric("intake_bytes_total", "counter", "Bytes of request bodies as they came.", "signal")
REQUEST_SECONDS: Final = _metric(
    "intake_request_seconds", "histogram", "From a request's head to its answer.", "signal"
)
INSERTED_ROWS: Final = _metric(
    "insert_rows_total", "counter", "Rows stored in raw tables.", "table", "decoder"
)
INSERT_SECONDS: Final = _metric(
    "insert_seconds", "histogram", "One insert, with all that its views fill.", "table", "decoder"
)
INSERT_REQUESTS: Final = _metric(
    "insert_requests_total",
    "counter",
    "Requests stored: with the inserts' count, how many share one.",
    "table",
)
INSERT_FAILURES: Final = _metric(
    "insert_failures_total", "counter", "Inserts that failed, by reason.", "table", "reason"
)
WAITING: Final = _metric(
    "intake_waiting", "gauge", "What waits to be stored: requests, rows and bytes.", "what"
)
UNDER_WAY: Final = _metric(
    "intake_under_way", "gauge", "Requests whose body is being read, or which wait for their answer.", "what"
)
BUFFERED: Final = _metric("intake_buffered_bytes", "gauge", "Bytes held for requests under way.")
KNOWN: Final = _metric("intake_known_requests", "gauge", "Requests remembered, to be stored once.")
STOPPED: Final = _metric(
    "intake_stopped", "gauge", "1 while nothing is taken because the disk is almost full."
)
DISK: Final = _metric("disk_bytes", "gauge", "The disk of the store.", "what")
READY: Final = _metric("writing", "gauge", "1 while rows can be stored, as far as the last insert told.")
RULE_LAG: Final = _metric(
    "rule_lag_seconds", "gauge", "How far a rule's evaluated windows end before now.", "rule"
)
RULE_EVALUATIONS: Final = _metric("rule_evaluations", "gauge", "Evaluations of a rule.", "rule")
RULE_SECONDS: Final = _metric("rule_last_seconds", "gauge", "Duration of a rule's last evaluation.", "rule")
RULE_FAILING: Final = _metric("rule_failing", "gauge", "1 while a rule's evaluation fails.", "rule")
METRICS: Final = (
    REQUESTS, RECEIVED_ITEMS, REJECTED, BYTES, REQUEST_SECONDS, UNDER_WAY, BUFFERED, WAITING, KNOWN,
    INSERTED_ROWS, INSERT_REQUESTS, INSERT_SECONDS, INSERT_FAILURES, READY, STOPPED, DISK,
    RULE_LAG, RULE_EVALUATIONS, RULE_SECONDS, RULE_FAILING,
)  # fmt: skip


class IntakeMetrics:
    """Counts what the receiver and the writer do. Safe to call from any thread."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._items = self._counter(RECEIVED_ITEMS)
        self._rejected = self._counter(REJECTED)
        self._requests = self._counter(REQUESTS)
        self._bytes = self._counter(BYTES)
        self._request_seconds = self._histogram(REQUEST_SECONDS)
        self._rows = self._counter(INSERTED_ROWS)
        self._insert_seconds = self._histogram(INSERT_SECONDS)
        self._insert_requests = self._counter(INSERT_REQUESTS)
        self._failures = self._counter(INSERT_FAILURES)

    def _counter(self, text: MetricText) -> Counter:
        return Counter(text.name.removesuffix("_total"), text.help, text.labels, registry=self.registry)

    def _histogram(self, text: MetricText) -> Histogram:
        return Histogram(text.name, text.help, text.labels, buckets=_SECONDS, registry=self.registry)

    def accepted(self, signal: str, verdict: Verdict) -> None:
        """A request was answered 200."""
        reason = "partial" if verdict.rejected else "ok"
        self._requests.labels(signal, "200", reason).inc()
        self._items.labels(signal, "acknowledged").inc(verdict.items)
        if verdict.rejected:
            self._items.labels(signal, "rejected").inc(verdict.rejected)
            for why, count in verdict.reasons.items():
                self._rejected.labels(signal, why).inc(count)

    def refused(self, signal: str, refusal: RefusedError) -> None:
        """A request was refused."""
        self._requests.labels(signal, str(refusal.status), type(refusal).__name__.removesuffix("Error")).inc()

    def answered(self, signal: str, size: int, seconds: float) -> None:
        """A request of ``size`` bytes was answered, in whatever way."""
        self._bytes.labels(signal).inc(size)
        self._request_seconds.labels(signal).observe(seconds)

    def inserted(self, table: str, rows: int, requests: int, seconds: float, decoder: Decoder) -> None:
        """An insert succeeded."""
        self._rows.labels(table, decoder).inc(rows)
        self._insert_requests.labels(table).inc(requests)
        self._insert_seconds.labels(table, decoder).observe(seconds)

    def failed(self, table: str, error: StoreError) -> None:
        """An insert failed."""
        reason = "unavailable" if isinstance(error, StoreUnavailableError) else "query"
        if isinstance(error, DataRefusedError):
            reason = "data"
        self._failures.labels(table, reason).inc()

    def repeated(self, table: str, rows: int) -> None:
        """A request that is stored was sent again."""
        self._items.labels(table.removeprefix("otel_"), "repeated").inc(rows)

    def watch(self, read: Callable[[], Iterable[tuple[MetricText, Mapping[tuple[str, ...], float]]]]) -> None:
        """Add gauges that are read when Prometheus asks."""
        self.registry.register(_Reader(read))

    def render(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)


class _Reader(Collector):
    def __init__(
        self, read: Callable[[], Iterable[tuple[MetricText, Mapping[tuple[str, ...], float]]]]
    ) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        for text, values in self._read():
            family = GaugeMetricFamily(text.name, text.help, labels=text.labels)
            for labels, value in values.items():
                family.add_metric(labels, value)
            yield family

    def describe(self) -> list[Metric]:
        """Nothing: what is read is not read at registration."""
        return []


def rule_gauges(
    states: Mapping[str, Any], now: datetime | None = None
) -> Iterator[tuple[MetricText, Mapping[tuple[str, ...], float]]]:
    """The gauges of the rules, from the rule service's states."""
    now = now or datetime.now(UTC)
    yield (
        RULE_LAG,
        {
            (name,): (now - state.covered_until).total_seconds()
            for name, state in states.items()
            if state.covered_until
        },
    )
    yield RULE_EVALUATIONS, {(name,): float(state.evaluations) for name, state in states.items()}
    yield RULE_SECONDS, {(name,): state.milliseconds / 1000 for name, state in states.items()}
    yield RULE_FAILING, {(name,): float(bool(state.error)) for name, state in states.items()}


def reference() -> str:
    """The reference page of metrics, Markdown."""
    lines = [
        "# Metrics",
        "",
        "`GET /metrics` in Prometheus' text format. Made by `python -m trueline.monitor.metrics`: change",
        "that, not this page.",
        "",
        "| metric | kind | labels | meaning |",
        "|---|---|---|---|",
    ]
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(reference(), end="")
