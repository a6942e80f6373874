"""What the benchmarks measure with: a client that hides no stall, a receiver that misses no loss."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from harness.figures import median_ratio, percentile
from harness.load import Request, closed_loop, fixed_rate
from harness.receiver import read
from harness.turns import REQUIRED, Arrived
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

GET = [Request(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n", 3)]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


class SmallServer:
    """Answers one request after the other, each with what ``answer(number)`` returns; b"" hangs up."""

    def __init__(self, answer: Callable[[int], bytes]) -> None:
        self._answer = answer
        self._turn = threading.Lock()
        self._number = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            while connection.recv(65536):
                with self._turn:
                    self._number += 1
                    answer = self._answer(self._number)
                if not answer:
                    return
                connection.sendall(answer)

    def close(self) -> None:
        self._listening.close()


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[int], bytes]], SmallServer]]:
    servers: list[SmallServer] = []

    def start(answer: Callable[[int], bytes]) -> SmallServer:
        servers.append(SmallServer(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def test_a_stall_shows_in_every_request_that_was_due_meanwhile(
    serve: Callable[[Callable[[int], bytes]], SmallServer],
) -> None:
    def answer(number: int) -> bytes:
        if number == 20:
            time.sleep(0.5)
        return OK

    load = fixed_rate(serve(answer).port, GET, rate=200, seconds=1, connections=4)
    assert (load.requests, load.errors, load.statements) == (200, 0, 600)
    # A hundred requests were due in that half second. Counted from when it was sent, a request would be late
    # only if it was one of the four under way.
    assert sum(latency > 0.1 for latency in load.latencies) >= 60


def test_refused_and_lost_requests_are_errors_and_no_latencies(
    serve: Callable[[Callable[[int], bytes]], SmallServer],
) -> None:
    def answer(number: int) -> bytes:
        if number == 5:
            return b""
        return OK if number % 2 else b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"

    load = closed_loop(serve(answer).port, GET, count=10, connections=1)
    # 2 and 4 are refused and 5 is lost; on one connection nothing comes after that.
    assert (load.requests, load.errors) == (2, 3)


def test_a_closed_loop_ends_after_its_time(
    serve: Callable[[Callable[[int], bytes]], SmallServer],
) -> None:
    load = closed_loop(serve(lambda number: OK).port, GET, seconds=0.2, connections=3)
    assert load.errors == 0
    assert load.requests >= 3
    assert load.seconds >= 0.2


def test_percentiles_are_values_that_occurred() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert [percentile(values, share) for share in (0, 0.5, 0.99, 0.999, 1)] == [1, 50, 99, 100, 100]


def test_one_spoiled_round_does_not_make_a_ratio() -> None:
    bare = [1.0, 3.0, 0.9, 7.0, 1.05, 0.95, 2.0, 1.0, 1.0]
    ours = [
        value * factor
        for value, factor in zip(bare, [1.2, 1.3, 50.0, 1.1, 1.2, 1.3, 1.1, 1.2, 1.2], strict=True)
    ]
    middle, low, high = median_ratio(ours, bare)
    assert 1.1 <= low <= middle <= high <= 1.31
    assert middle == pytest.approx(1.2)
    assert median_ratio(bare, bare) == (1, 1, 1)


def request(*attributes: dict[str, str]) -> bytes:
    message = ExportTraceServiceRequest()
    spans = message.resource_spans.add().scope_spans.add().spans
    for one in attributes:
        span = spans.add(name="a span")
        for key, value in one.items():
            span.attributes.add(key=key).value.string_value = value
    return bytes(message.SerializeToString())


def test_the_receiver_counts_statements_and_what_they_say() -> None:
    first = request(
        {"db.query.text": "SELECT 1", "trueline.transaction.outcome": "committed"}, {"http.route": "/"}
    )
    second = request({"db.statement": "SELECT 1", "db.system": "postgresql"})
    found = read([(first, False), (gzip.compress(second), True)])
    assert (found["requests"], found["spans"], found["statements"]) == (2, 3, 2)
    assert found["outcomes"] == {"committed": 1}
    assert found["attributes"]["db.system"] == 1
    assert "http.route" not in found["attributes"]


def arrived(statements: int, without: str = "") -> Arrived:
    attributes = Counter({name: statements for name in REQUIRED["trueline"] if name != without})
    return Arrived(
        expected=100,
        statements=statements,
        attributes=attributes,
        outcomes=Counter(committed=statements),
    )


def test_a_recorder_that_loses_something_does_not_look_fast() -> None:
    assert arrived(100).complaints("trueline") == []
    assert arrived(99).complaints("trueline") == ["trueline: 99 statements arrived of 100"]
    for name in REQUIRED["trueline"]:
        assert arrived(100, without=name).complaints("trueline") == [
            f"trueline: {name} on 0 of 100 statements"
        ]
    assert Arrived(expected=100, statements=3).complaints("bare") == ["bare: 3 statements arrived, of none"]
