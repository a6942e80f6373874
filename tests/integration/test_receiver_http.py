"""The OTLP receiver of a real monitor process, spoken to over sockets."""

from __future__ import annotations

import gzip
import json
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from support.monitor_process import MonitorProcess
from support.otlp import JSON, PROTOBUF, log_request, trace_request

GZIP = {"Content-Encoding": "gzip"}


@pytest.fixture(scope="module")
def monitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MonitorProcess]:
    process = MonitorProcess(tmp_path_factory.mktemp("receiver") / "data")
    yield process
    assert process.end() == 0
    assert "Traceback" not in process.log.read_text()


@pytest.fixture
def trace_id() -> bytes:
    return os.urandom(16)


@pytest.mark.parametrize("compressed", [False, True])
def test_protobuf_is_stored_before_it_is_acknowledged(
    monitor: MonitorProcess, trace_id: bytes, compressed: bool
) -> None:
    body = trace_request(trace_id, service="protobuf").SerializeToString()
    if compressed:
        body = gzip.compress(body)
    response = monitor.http.post("/v1/traces", content=body, headers=PROTOBUF | (GZIP if compressed else {}))
    assert (response.status_code, response.headers["content-type"]) == (200, "application/x-protobuf")
    assert not ExportTraceServiceResponse.FromString(response.content).HasField("partial_success")
    [span] = monitor.trace(trace_id.hex())
    assert (span["service"], span["name"]) == ("protobuf", "a span")


@pytest.mark.parametrize("compressed", [False, True])
def test_json_is_stored_before_it_is_acknowledged(
    monitor: MonitorProcess, trace_id: bytes, compressed: bool
) -> None:
    span = {"traceId": trace_id.hex(), "spanId": "eee19b7ec3c1b174", "name": "from JSON", "kind": 2}
    span |= {"startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": "1544712661000000000"}
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}], "later": 1}).encode()
    headers = {"Content-Type": "application/json; charset=utf-8"}
    if compressed:
        body, headers = gzip.compress(body), headers | GZIP
    response = monitor.http.post("/v1/traces", content=body, headers=headers)
    assert (response.status_code, response.json()) == (200, {})
    assert response.headers["content-type"].startswith("application/json")
    assert [item["name"] for item in monitor.trace(trace_id.hex())] == ["from JSON"]


def test_logs_are_stored_beside_the_spans(monitor: MonitorProcess, trace_id: bytes) -> None:
    monitor.http.post(
        "/v1/traces", content=trace_request(trace_id).SerializeToString(), headers=PROTOBUF
    ).raise_for_status()
    response = monitor.http.post(
        "/v1/logs", content=log_request(trace_id, "it happened").SerializeToString(), headers=PROTOBUF
    )
    assert response.status_code == 200
    assert ExportLogsServiceResponse.FromString(response.content) == ExportLogsServiceResponse()
    assert len(monitor.trace(trace_id.hex())) == 2
    assert "it happened" in json.dumps(monitor.trace(trace_id.hex()))


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/logs"])
def test_an_empty_request_succeeds(monitor: MonitorProcess, path: str) -> None:
    assert monitor.http.post(path, content=b"", headers=PROTOBUF).status_code == 200
    assert monitor.http.post(path, content=b"{}", headers=JSON).json() == {}


def test_a_bad_span_is_told_and_the_rest_is_kept(monitor: MonitorProcess, trace_id: bytes) -> None:
    message = trace_request(trace_id, b"short", trace_id)
    response = monitor.http.post("/v1/traces", content=message.SerializeToString(), headers=PROTOBUF)
    assert response.status_code == 200
    partial = ExportTraceServiceResponse.FromString(response.content).partial_success
    assert partial.rejected_spans == 1
    assert "the trace id is not 16 bytes" in partial.error_message
    assert len(monitor.trace(trace_id.hex())) == 2
    logs = log_request(b"short", "x").SerializeToString()
    answer = monitor.http.post("/v1/logs", content=logs, headers=PROTOBUF)
    assert ExportLogsServiceResponse.FromString(answer.content).partial_success.rejected_log_records == 1


@pytest.mark.parametrize(
    ("headers", "body", "status", "said"),
    [
        (PROTOBUF, b"\xff\xff\xff", 400, "ends in the middle"),
        (PROTOBUF, b'{"resourceSpans": []}', 400, ""),
        (PROTOBUF | GZIP, b"not gzip", 400, "content encoding"),
        (PROTOBUF | GZIP, gzip.compress(b"x" * 100, mtime=0)[:-4], 400, "cut off"),
        (PROTOBUF | GZIP, gzip.compress(bytes(21 << 20), mtime=0), 413, "20 MiB"),
        (PROTOBUF, bytes(21 << 20), 413, "20 MiB"),
        (PROTOBUF | {"Content-Encoding": "br"}, b"x", 415, "use gzip or none"),
        ({"Content-Type": "text/plain"}, b"x", 415, "use application/x-protobuf or application/json"),
        ({"Content-Type": "application/grpc"}, b"x", 415, "use application/x-protobuf"),
        ({}, b"x", 415, "use application/x-protobuf"),
        (JSON, b"{", 400, "cannot be read"),
        (JSON, b"[" * 100_000, 400, "nested too deeply"),
        (JSON, b"\xff", 400, "cannot be read"),
        (JSON, b"{}" * 600_000, 400, "cannot be read"),
        (JSON, b"[" + b"{}," * 1_100_000 + b"{}]", 413, "1,000,000 values"),
    ],
)
def test_a_bad_body_is_refused_in_the_form_of_its_request(
    monitor: MonitorProcess, headers: dict[str, str], body: bytes, status: int, said: str
) -> None:
    response = monitor.http.post("/v1/traces", content=body, headers=headers)
    assert response.status_code == status
    assert "retry-after" not in response.headers
    if headers.get("Content-Type") == "application/x-protobuf":
        answer = Status.FromString(response.content)
        code, message = answer.code, answer.message
    else:
        code, message = response.json()["code"], response.json()["message"]
    assert code == 3
    assert message
    assert said in message


def test_a_span_bomb_is_refused_and_the_monitor_goes_on(monitor: MonitorProcess, trace_id: bytes) -> None:
    spans = b"\x12\x00" * 5_000_000
    scope = b"\x12" + _varint(len(spans)) + spans
    bomb = gzip.compress(b"\x0a" + _varint(len(scope)) + scope)
    assert len(bomb) < 30_000
    before = _resident_mib(monitor)
    assert monitor.http.post("/v1/traces", content=bomb, headers=PROTOBUF | GZIP).status_code == 413
    assert _resident_mib(monitor) < before + 100
    good = trace_request(trace_id).SerializeToString()
    assert monitor.http.post("/v1/traces", content=good, headers=PROTOBUF).status_code == 200


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_body_is_never_an_error_of_the_server(monitor: MonitorProcess, data: st.DataObject) -> None:
    body = bytearray(trace_request(bytes(range(16)), bytes(range(1, 17))).SerializeToString())
    for _ in range(data.draw(st.integers(1, 6))):
        position = data.draw(st.integers(0, len(body) - 1))
        body[position] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(body)))
    headers = data.draw(st.sampled_from([PROTOBUF, JSON, PROTOBUF | GZIP]))
    path = data.draw(st.sampled_from(["/v1/traces", "/v1/logs"]))
    response = monitor.http.post(path, content=bytes(body[:cut]), headers=headers)
    assert response.status_code in (200, 400, 413)


@pytest.mark.parametrize(
    ("method", "path", "status", "said"),
    [
        ("GET", "/v1/traces", 405, "by POST"),
        ("GET", "/v1/logs", 405, "by POST"),
        ("POST", "/v1/metrics", 404, "OTEL_METRICS_EXPORTER=none"),
        ("POST", "/v1/trace", 404, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:"),
        ("POST", "/", 404, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:"),
        ("POST", "/v1/traces/v1/traces", 404, "without a path"),
        ("GET", "/nothing", 404, "/api/v1/findings"),
    ],
)
def test_a_wrong_path_or_method_is_answered_with_the_right_one(
    monitor: MonitorProcess, method: str, path: str, status: int, said: str
) -> None:
    response = monitor.http.request(method, path)
    assert response.status_code == status
    answer: dict[str, Any] = response.json()
    assert said in (answer["message"] if path.startswith("/v1/") else answer["detail"])
    if status == 405:
        assert response.headers["allow"] == "POST"


def test_a_body_without_its_end_is_dropped_and_others_are_served(
    monitor: MonitorProcess, trace_id: bytes
) -> None:
    head = b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n"
    with socket.create_connection(("127.0.0.1", monitor.port)) as connection:
        connection.sendall(head + b"Content-Length: 1000\r\n\r\n" + b"x" * 10)
        good = trace_request(trace_id).SerializeToString()
        assert monitor.http.post("/v1/traces", content=good, headers=PROTOBUF).status_code == 200
    with socket.create_connection(("127.0.0.1", monitor.port)) as connection:
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nxx")
        connection.settimeout(20)
        assert b" 400 " in connection.recv(1000).split(b"\r\n", 1)[0]
    assert monitor.http.get("/healthz").status_code == 200


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def _resident_mib(monitor: MonitorProcess) -> int:
    with open(f"/proc/{monitor.process.pid}/statm") as statm:
        return int(statm.read().split()[1]) * 4 // 1024
