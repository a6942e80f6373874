"""A stand-in for the two best-known model providers, over real HTTP on loopback.

What a call meets is chosen by the model's name: ``answers``, ``refuses``, ``is-cut`` (a stream that ends in
the
middle), ``is-full`` (429), ``fails`` (500), ``is-silent`` (no answer at all), ``is-slow`` (an
answer after SLOW seconds), ``is-truncated``.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: Seconds that ``is-slow`` takes: longer than a write may wait unnoticed, shorter than clients wait.
SLOW = 0.35


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server: Any = self.server
        with server.guard:
            server.requests += 1
        model = asked["model"]
        anthropic = self.path.endswith("/messages")
        if model == "is-silent":
            server.over.wait(60)
            self.close_connection = True
            return
        if model == "is-slow":
            server.over.wait(SLOW)
        if model in ("is-full", "fails"):
            status = 429 if model == "is-full" else 500
            self._send(status, {"type": "error", "error": {"type": "trouble", "message": "later"}})
        elif asked.get("stream"):
            self._stream(anthropic=anthropic, cut=model == "is-cut")
        else:
            self._send(200, (_message if anthropic else _completion)(model))

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, *, anthropic: bool, cut: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        events = list(_message_events() if anthropic else _completion_events())
        for event in events[: len(events) // 2] if cut else events:
            data = event.encode()
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()
        if cut:
            self.close_connection = True  # without the last chunk: the client sees the connection break
        else:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _completion(model: str) -> dict[str, Any]:
    reason = {"refuses": "content_filter", "is-truncated": "length"}.get(model, "stop")
    return {
        "id": "c-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "finish_reason": reason, "message": {"role": "assistant", "content": "12"}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }


def _completion_events() -> Iterator[str]:
    for number, word in enumerate(("twelve", " euros", " for", " lunch")):
        last = number == 3
        chunk = {
            "id": "c-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "small",
            "choices": [
                {"index": 0, "delta": {"content": word}, "finish_reason": "stop" if last else None},
            ],
        }
        yield f"data: {json.dumps(chunk)}\n\n"
    yield "data: [DONE]\n\n"


def _message(model: str) -> dict[str, Any]:
    reason = {"refuses": "refusal", "is-truncated": "max_tokens"}.get(model, "end_turn")
    return {
        "id": "m-1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": "12"}],
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 2},
    }


def _message_events() -> Iterator[str]:
    start = _message("small") | {"content": [], "stop_reason": None}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "12"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    ]
    for event in events:
        yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"


class ModelServer:
    """Where it listens, and how many requests came."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self._server: Any = server

    @property
    def url(self) -> str:
        """Base URL, without a path."""
        return f"http://{self.place}"

    @property
    def place(self) -> str:
        """``host:port``."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def requests(self) -> int:
        """Requests so far, retries among them."""
        return int(self._server.requests)


@contextmanager
def model_server() -> Iterator[ModelServer]:
    """A server until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    state: Any = server
    state.requests, state.over, state.guard = 0, threading.Event(), threading.Lock()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield ModelServer(server)
    finally:
        state.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
