"""Between applications and monitor: passes telemetry on, keeps a copy, and can let it have happened days ago.

    http://127.0.0.1:PORT/SCENARIO/SECONDS_AGO/v1/traces

Applications are pointed at it only where one of the two is wanted.
"""

from __future__ import annotations

import gzip
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import httpx
from scenarios.otlp import PROTOBUF, Sent, moved


class Forwarder:
    """Listens from the beginning of the block to its end; ``sent`` is what each scenario has sent."""

    def __init__(self, monitor_url: str) -> None:
        self.sent: defaultdict[str, list[Sent]] = defaultdict(list)
        forwarder = self
        lock = threading.Lock()
        http = self._http = httpx.Client(base_url=monitor_url, timeout=60)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                _, scenario, ago, path = self.path.split("/", 3)
                one = Sent(f"/{path}", body)
                if float(ago):
                    one = moved(one, -int(float(ago) * 1e9))
                answer = http.post(one.path, content=one.body, headers=PROTOBUF)
                if answer.status_code == 200:
                    with lock:
                        forwarder.sent[scenario].append(one)
                try:
                    self.answer(answer)
                except OSError:
                    pass  # whoever sent it has given up waiting, and sends it again

            def answer(self, answer: httpx.Response) -> None:
                self.send_response(answer.status_code)
                for name in ("Content-Type", "Retry-After"):
                    if name in answer.headers:
                        self.send_header(name, answer.headers[name])
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def endpoint(self, application: str, seconds_ago: float) -> str:
        """What OTEL_EXPORTER_OTLP_ENDPOINT of an application is set to."""
        return f"http://127.0.0.1:{self._server.server_port}/{application}/{seconds_ago}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._http.close()
