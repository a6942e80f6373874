"""What a user can get wrong with ``trueline serve``: one clear sentence, status 2, no traceback."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from support.monitor_process import PATIENCE, clean_environment, run_trueline

BLOCKED_IMPORT = """
import importlib.abc, sys

blocked = sys.argv.pop(1)

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
from trueline.monitor.main import main
main()
"""


def assert_one_sentence(done: subprocess.CompletedProcess[str], *said: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith("trueline: ")
    assert line.endswith(".")
    for text in said:
        assert text in line


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_port_in_use(tmp_path: Path, taken_port: int) -> None:
    done = run_trueline("serve", "--data-dir", str(tmp_path / "data"), "--port", str(taken_port))
    other = taken_port + 1
    assert_one_sentence(
        done,
        f"Port {taken_port} on 127.0.0.1 is in use",
        "Collector",
        f"--port {other}",
        f"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{other}",
    )
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("library", ["typer", "fastapi", "chdb"])
def test_a_missing_extra(tmp_path: Path, library: str) -> None:
    done = subprocess.run(
        [
            *[sys.executable, "-c", BLOCKED_IMPORT, library],
            *["serve", "--data-dir", str(tmp_path / "data"), "--port", "0"],
        ],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert_one_sentence(done, library, "pip install 'trueline[monitor]'")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (
            "http://me:secret@127.0.0.1:1/db",
            "No ClickHouse answers at http://127.0.0.1:1 (Connection refused)",
        ),
        ("clickhouse://localhost:9000", "has the scheme clickhouse: expected http://host:8123/database"),
    ],
)
def test_a_wrong_clickhouse_url(url: str, said: str) -> None:
    done = run_trueline("serve", "--port", "0", "--clickhouse-url", url)
    assert_one_sentence(done, said)
    assert "secret" not in done.stderr


@pytest.fixture
def locked_server() -> Iterator[str]:
    """A server that answers as ClickHouse does to a wrong password."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            text = b"Code: 516. DB::Exception: me: Authentication failed. (AUTHENTICATION_FAILED)\n"
            self.send_response(403)
            self.send_header("X-ClickHouse-Exception-Code", "516")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST  # noqa: N815 - the name that http.server calls

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_wrong_clickhouse_password(locked_server: str) -> None:
    done = run_trueline(
        *["serve", "--port", "0", "--clickhouse-url", f"{locked_server}/db"],
        environment={"TRUELINE_CLICKHOUSE_USER": "me", "TRUELINE_CLICKHOUSE_PASSWORD": "secret"},
    )
    assert_one_sentence(
        done, f"ClickHouse at {locked_server} refused the user 'me'", "TRUELINE_CLICKHOUSE_PASSWORD"
    )
    assert "secret" not in done.stderr


def test_an_address_that_others_can_reach_without_a_token(tmp_path: Path) -> None:
    done = run_trueline("serve", "--data-dir", str(tmp_path / "data"), "--port", "0", "--host", "0.0.0.0")
    assert_one_sentence(done, "Listening on '0.0.0.0' would let other machines in", "TRUELINE_TOKEN")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("host", "said"), [("192.0.2.1", "Cannot listen on 192.0.2.1"), ("no-such.invalid", "is not known here")]
)
def test_an_address_that_is_not_here(tmp_path: Path, host: str, said: str) -> None:
    arguments = ["serve", "--data-dir", str(tmp_path / "data"), "--port", "0", "--host", host]
    assert_one_sentence(run_trueline(*arguments, environment={"TRUELINE_TOKEN": "t"}), said)


def test_a_data_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run_trueline("serve", "--port", "0", "--data-dir", str(tmp_path / "file" / "data"))
    assert_one_sentence(done, "cannot be made (Not a directory)", "--data-dir")


def test_a_bad_setting() -> None:
    done = run_trueline("serve", "--log-level", "loud")
    assert_one_sentence(done, "--log-level has the value 'loud'", "'debug', 'info', 'warning' or 'error'")


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from trueline.monitor.main import main\n"
        "sys.argv = ['trueline', '--help']\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "heavy = {'fastapi', 'pydantic', 'chdb', 'clickhouse_connect', 'sqlalchemy', 'opentelemetry'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=dict(os.environ), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "[]\n")
    for command in ("serve", "demo", "findings", "rules", "last-write", "migrate", "settings"):
        assert re.search(rf"^  {command} ", done.stdout, re.MULTILINE)


def test_settings_are_printed_without_secrets() -> None:
    environment = {"TRUELINE_TOKEN": "canary", "TRUELINE_PORT": "4444"}
    done = run_trueline("settings", environment=environment)
    assert done.returncode == 0
    assert "canary" not in done.stdout
    assert re.search(r"TRUELINE_PORT +4444 +environment +Port to listen on", done.stdout)
    assert '"TRUELINE_TOKEN"' in run_trueline("settings", "--json", environment=environment).stdout
