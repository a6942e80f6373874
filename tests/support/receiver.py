"""A real HTTP server that receives notifications and behaves as badly as it is told."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any


class Receiver:
    """Answers each POST as ``mode`` says, and keeps what it was sent.

    ``ok``; ``refuse`` (400); ``fail`` (503); ``hang`` (never answers); ``drip`` (byte by byte);
    ``redirect`` (to itself); ``huge`` (an endless body).
    """

    def __init__(self) -> None:
        receiver = self
        self.mode = "ok"
        self.received: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.ending = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append(json.loads(body))
                receiver.headers.append({**self.headers, "path": self.path})
                receiver.answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        try:
            if self.mode == "hang":
                self.ending.wait(60)
            elif self.mode == "drip":
                for letter in b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 1000:
                    handler.wfile.write(bytes([letter]))
                    handler.wfile.flush()
                    if self.ending.wait(0.05):
                        return
            elif self.mode == "huge":
                handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
                while not self.ending.is_set():
                    handler.wfile.write(b"x" * 65536)
            else:
                status = {"ok": 200, "refuse": 400, "fail": 503, "redirect": 307}[self.mode]
                said = b"" if self.mode == "ok" else b"no \x1b[31mroom"
                handler.send_response(status)
                handler.send_header("Content-Length", str(len(said)))
                if self.mode == "redirect":
                    handler.send_header("Location", f"{self.url}/elsewhere")
                handler.end_headers()
                handler.wfile.write(said)
        except OSError:
            pass  # the sender has gone, as it should

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ending.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def wait(self, number: int, seconds: float = 60) -> None:
        """Until so many messages have come."""
        deadline = time.monotonic() + seconds
        while len(self.received) < number:
            assert time.monotonic() < deadline, f"{len(self.received)} of {number} messages came"
            time.sleep(0.02)
