"""The embedded engine behind ClickHouse's HTTP interface, as a process: python clickhouse_http.py FOLDER.

The engine is the real one; only the front is ours, as far as clickhouse-connect needs it. It prints its URL,
accepts the user ``default`` with the password ``pass`` and ends when its standard input is closed.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
import tempfile
import threading
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

    def do_POST(self) -> None:
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
            self._answer(200, self._run(dict(parameters), body))
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

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def main() -> None:
    """Serve until standard input ends."""
    Handler.folder = str(Path(sys.argv[1]).resolve())
    engine = connect(Handler.folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        sys.stdin.read()
        server.shutdown()
    engine.close()


if __name__ == "__main__":
    main()
