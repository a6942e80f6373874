"""Hostile and broken clients against a real monitor: refused in the right words, and others are served."""

from __future__ import annotations

import gzip
import json
import os
import random
import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from support.monitor_process import PATIENCE, MonitorProcess
from support.otlp import JSON, PROTOBUF, trace_request

GZIP = {"Content-Encoding": "gzip"}
ALLOWED = {200, 400, 408, 413, 415, 429, 503}
#: What hostile requests may add to the process at most, MiB: the buffers of two decodes and the parser's own.
MEMORY_MIB = 400


@pytest.fixture(scope="module")
def monitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MonitorProcess]:
    process = MonitorProcess(tmp_path_factory.mktemp("fuzz") / "data")
    yield process
    assert process.end() == 0
    assert "Traceback" not in process.log.read_text()


def post(monitor: MonitorProcess, body: bytes, headers: dict[str, str]) -> httpx.Response:
    response = monitor.http.post("/v1/traces", content=body, headers=headers)
    assert response.status_code in ALLOWED, response.text
    if response.status_code in (429, 503):
        assert 1 <= int(response.headers["retry-after"]) <= 5
    return response


def is_served(monitor: MonitorProcess) -> None:
    good = trace_request(os.urandom(16)).SerializeToString()
    assert post(monitor, good, PROTOBUF).status_code == 200


def varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def test_every_cut_of_a_request_is_answered(monitor: MonitorProcess) -> None:
    body = trace_request(os.urandom(16)).SerializeToString()
    text = json.dumps(
        {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "ab" * 16, "spanId": "cd" * 8}]}]}]}
    ).encode()
    packed = gzip.compress(body)
    for content, headers in ((body, PROTOBUF), (text, JSON), (packed, PROTOBUF | GZIP)):
        for end in range(len(content)):
            status = post(monitor, content[:end], headers).status_code
            assert status in (200, 400), (end, status)
    is_served(monitor)


@pytest.mark.parametrize("seed", range(2))
def test_damaged_requests_are_answered(monitor: MonitorProcess, seed: int) -> None:
    chance = random.Random(seed)
    whole = trace_request(bytes(range(16)), bytes(range(1, 17))).SerializeToString()
    for _ in range(60):
        body = bytearray(whole)
        for _ in range(chance.randint(1, 8)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        post(monitor, bytes(body), chance.choice([PROTOBUF, JSON, PROTOBUF | GZIP]))
    is_served(monitor)


BOMBS = {
    "zeros": gzip.compress(bytes(200 << 20), 9),
    "empty spans": gzip.compress(field(1, field(2, b"\x12\x00" * 5_000_000))),
    "empty attributes": gzip.compress(field(1, field(2, field(2, b"\x4a\x00" * 5_000_000)))),
    "tiny attributes": gzip.compress(
        field(1, field(2, b"".join(field(2, b"\x4a\x06\x12\x04\x2a\x02\x0a\x00" * 500) for _ in range(4000))))
    ),
    "resources": gzip.compress(b"\x0a\x00" * 5_000_000),
    "nesting": gzip.compress(b"\x0a\x7f" * 5000),
    "unknown fields": gzip.compress(b"\x92\x03\x01x" * 4_000_000),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_in_bounded_memory(monitor: MonitorProcess, name: str) -> None:
    is_served(monitor)
    before = peak_mib(monitor)
    post(monitor, BOMBS[name], PROTOBUF | GZIP)
    assert peak_mib(monitor) < before + MEMORY_MIB
    is_served(monitor)


def test_wide_items_are_left_out_and_the_rest_is_kept(monitor: MonitorProcess) -> None:
    message = trace_request(os.urandom(16), os.urandom(16), os.urandom(16))
    spans = message.resource_spans[0].scope_spans[0].spans
    for number in range(2000):
        spans[0].attributes.add(key=f"k{number}").value.int_value = number
    spans[1].attributes.add(key="big").value.string_value = "x" * (2 << 20)
    response = post(monitor, message.SerializeToString(), PROTOBUF)
    partial = response.content
    assert response.status_code == 200
    assert b"more than 1,024 attributes" in partial
    assert b"more than 1 MiB" in partial
    [kept] = [len(monitor.trace(span.trace_id.hex())) for span in spans[2:]]
    assert kept == 1
    assert [monitor.trace(span.trace_id.hex()) for span in spans[:2]] == [[], []]


def test_lying_lengths_and_slow_bodies_hold_no_place(monitor: MonitorProcess) -> None:
    head = b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n"
    slow = []
    for number in range(300):
        connection = socket.create_connection(("127.0.0.1", monitor.port))
        length = b"Content-Length: 1000\r\n\r\n" if number % 2 else b"Transfer-Encoding: chunked\r\n\r\n5\r\n"
        connection.sendall(head + length + b"x")
        slow.append(connection)
    began = time.monotonic()
    is_served(monitor)
    assert time.monotonic() - began < PATIENCE
    for connection in slow:
        connection.close()
    short = ExportTraceServiceRequest().SerializeToString()
    with socket.create_connection(("127.0.0.1", monitor.port)) as connection:
        connection.sendall(head + b"Content-Length: -5\r\n\r\n" + short)
        connection.settimeout(PATIENCE)
        assert b" 400 " in connection.recv(1000).split(b"\r\n", 1)[0]
    is_served(monitor)


def peak_mib(monitor: MonitorProcess) -> int:
    """The most memory that the process ever had."""
    with open(f"/proc/{monitor.process.pid}/status") as status:
        for line in status:
            if line.startswith("VmHWM"):
                return int(line.split()[1]) // 1024
    raise AssertionError("no VmHWM")
