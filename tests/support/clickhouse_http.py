"""The embedded engine behind ClickHouse's HTTP interface: python clickhouse_http.py FOLDER [TLS].

The engine is the real one; only the front is ours, as far as clickhouse-connect needs it. It prints its URL,
accepts the user ``default`` with the password ``pass`` and ends when its standard input is closed. With TLS,
a folder with ``certificate.pem`` and ``key.pem``, it speaks HTTPS.

It misbehaves if it is told to: POST /misbehave?how=lose (or busy, hang), once for each INSERT that it is to
store without an answer, refuse as too many, or never touch.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

import chdb
import lz4.frame  # type: ignore[import-untyped]

connect: Any = chdb.connect  # untyped
#: URL parameters that are the interface's own; all others are settings.
RESERVED = {
    "query", "database", "query_id", "session_id", "compress", "decompress", "user", "password",
    "client_protocol_version", "wait_end_of_query", "send_progress_in_http_headers",
    "http_headers_progress_interval_ms", "enable_http_compression", "buffer_size",
}  # fmt: skip
DECOMPRESS = {"lz4": lz4.frame.decompress, "gzip": gzip.decompress}


class Handler(BaseHTTPRequestHandler):
    """One request is one statement on a handle of its own."""

    protocol_version = "HTTP/1.1"
    folder: ClassVar[str]
    #: What is to become of the next inserts, and how many there were.
    misbehaviour: ClassVar[deque[str]] = deque()
    inserts: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        if self.path.startswith("/misbehave"):
            how = dict(parse_qsl(urlsplit(self.path).query))["how"]
            if how == "clear":
                self.misbehaviour.clear()
            else:
                self.misbehaviour.append(how)
            self._answer(200, json.dumps(self.inserts).encode())
            return
        parameters = parse_qsl(urlsplit(self.path).query, keep_blank_values=True)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._chunks()
        if self.headers.get("Authorization") != "Basic ZGVmYXVsdDpwYXNz":
            self._answer(
                403, b"Code: 516. DB::Exception: default: Authentication failed. (AUTHENTICATION_FAILED)"
            )
            return
        encoding = self.headers.get("Content-Encoding")
        try:
            if encoding:
                body = DECOMPRESS[encoding](body)
            how = ""
            if body.startswith(b"INSERT"):
                self.inserts.append(dict(parameters).get("insert_deduplication_token", ""))
                how = self.misbehaviour.popleft() if self.misbehaviour else ""
            if how == "hang":
                time.sleep(3600)
            if how == "busy":
                raise RuntimeError(
                    "Code: 202. DB::Exception: too many queries (TOO_MANY_SIMULTANEOUS_QUERIES)"
                )
            answer = self._run(dict(parameters), body)
            if how == "lose":
                self.close_connection = True
                return
            self._answer(200, answer)
        except Exception as error:
            text = str(error) if "Code: " in str(error) else f"Code: 1. {error!r}"
            self._answer(404 if "Code: 60." in text else 500, text[text.find("Code: ") :].encode())

    do_GET = do_POST  # noqa: N815 - the name that http.server calls

    def _run(self, parameters: dict[str, str], body: bytes) -> bytes:
        connection = connect(self.folder)
        try:
            if parameters.get("database"):
                connection.query(f"USE `{parameters['database']}`", "Native")
            settings = {name: value for name, value in parameters.items() if name not in RESERVED}
            bound = {name[6:]: settings.pop(name) for name in list(settings) if name.startswith("param_")}
            for name, value in sorted(settings.items(), key=lambda setting: setting[0] == "readonly"):
                connection.query(f"SET {name} = '{value}'", "Native")
            insert = re.match(rb"(INSERT INTO .*?)\s+FORMAT Native\n", body, re.DOTALL)
            if insert:
                return self._insert(connection, insert[1].decode(), body[insert.end() :])
            sql = parameters.get("query") or body.decode()
            return bytes(connection.query(sql, "TabSeparated", params=bound).bytes())
        finally:
            connection.close()

    def _insert(self, connection: Any, statement: str, rows: bytes) -> bytes:
        with tempfile.NamedTemporaryFile() as file:
            file.write(rows)
            file.flush()
            connection.query(f"{statement} FROM INFILE '{file.name}' FORMAT Native", "Native")
        return b""

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-ClickHouse-Summary", json.dumps({}))
        code = re.match(rb"Code: (\d+)", content) if status != 200 else None
        if code:
            self.send_header("X-ClickHouse-Exception-Code", code[1].decode())
        self.end_headers()
        self.wfile.write(content)

    def handle(self) -> None:
        """Requests of one connection; a handshake that the client breaks off is the client's affair."""
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            super().handle()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving(folder: Path, *arguments: str | Path) -> Iterator[str]:
    """Its URL, while it runs in a process and a time zone of its own."""
    process = subprocess.Popen(
        [sys.executable, __file__, str(folder), *map(str, arguments)],
        env={**os.environ, "TZ": "Asia/Tokyo"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.communicate()
    assert process.returncode == 0


def main() -> None:
    """Serve until standard input ends."""
    Handler.folder = str(Path(sys.argv[1]).resolve())
    engine = connect(Handler.folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        scheme = "http"
        if len(sys.argv) > 2:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(Path(sys.argv[2]) / "certificate.pem", Path(sys.argv[2]) / "key.pem")
            # The handshake is the handler's, in its own thread: a client that refuses must not stop others.
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
            scheme = "https"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(f"{scheme}://127.0.0.1:{server.server_port}", flush=True)
        sys.stdin.read()
        server.shutdown()
    engine.close()


if __name__ == "__main__":
    main()
