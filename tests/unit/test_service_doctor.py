"""``python -m trueline.instrumentation doctor``: what it says of an environment, and what it never says."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType

import pytest

from trueline.instrumentation import doctor, doctor_variables
from trueline.instrumentation.doctor import Level, Remark, examine
from trueline.instrumentation.doctor_receiver import shown_url
from trueline.instrumentation.identity import IdentityHasher
from trueline.monitor.settings import Settings

SECRET = "correct horse battery staple"
WELL = {
    "OTEL_SERVICE_NAME": "web",
    "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=production",
    "TRUELINE_HASH_SECRET": SECRET,
}


class _Receiver(BaseHTTPRequestHandler):
    """Takes OTLP from whoever knows the token."""

    def do_POST(self) -> None:
        known = self.headers.get("Authorization") in ("Bearer let me in", "Basic YW5uOnBhc3N3b3JkMQ==")
        self.send_response(404 if "v1" not in self.path else 200 if known else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def receiver() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def remarks(
    environ: Mapping[str, str] = MappingProxyType({}), *, offline: bool = True
) -> dict[str, list[Remark]]:
    found: dict[str, list[Remark]] = {}
    for title, remark in examine({**WELL, **environ}, offline=offline):
        found.setdefault(title, []).append(remark)
    return found


def worst(found: dict[str, list[Remark]]) -> list[Remark]:
    """What is not well."""
    return [remark for one in found.values() for remark in one if remark.level]


def test_a_good_environment_has_nothing_to_mend() -> None:
    found = remarks()
    assert worst(found) == []
    assert "SQLAlchemy 2." in found["releases"][1].sentence
    assert f"under key id {IdentityHasher(SECRET).key_id};" in found["identities"][0].sentence
    assert [one.sentence for one in found["names"]] == [
        "the service is web.", "its environment is production.",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("environ", "level", "said"),
    [
        ({"TRUELINE_DISABLED": "1"}, Level.BROKEN, "TRUELINE_DISABLED switches it off"),
        ({"TRUELINE_HOLD": "soon"}, Level.BROKEN, "TRUELINE_HOLD='soon' is not a number of seconds"),
        ({"TRUELINE_SPANS": "all"}, Level.BROKEN, "use 'own' or 'contrib'"),
        ({"TRUELINE_HASH_SECRT": "x"}, Level.WEAK, "nobody reads TRUELINE_HASH_SECRT."),
        ({"OTEL_SERVICE_NAME": ""}, Level.WEAK, "no variable names the service"),
        ({"OTEL_RESOURCE_ATTRIBUTES": ""}, Level.WEAK, "no variable names the environment"),
        ({"TRUELINE_HASH_SECRET": "short"}, Level.WEAK, "fewer than 16 characters"),
        (
            {"TRUELINE_HASH_SECRET": "", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"},
            Level.WEAK,
            "identities are left out, and rules that compare them are blind",
        ),
        ({"TRUELINE_SAMPLE": "0.01"}, Level.WEAK, "1 % of identities is kept"),
        ({"TRUELINE_FOLLOW_TRACE_SAMPLER": "1"}, Level.WEAK, "the trace sampler drops are dropped too"),
    ],
)
def test_each_fault_is_said_once(environ: dict[str, str], level: Level, said: str) -> None:
    (remark,) = worst(remarks(environ))
    assert (remark.level, bool(remark.way_out)) == (level, True)
    assert said in remark.sentence


def test_without_a_secret_on_one_machine_all_is_well() -> None:
    found = remarks({"TRUELINE_HASH_SECRET": ""})
    assert worst(found) == []
    assert "to this machine only" in found["identities"][0].sentence


def test_an_unsupported_sqlalchemy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlalchemy

    monkeypatch.setattr(sqlalchemy, "__version__", "1.4.54")
    (remark,) = worst(remarks())
    assert remark.level is Level.BROKEN
    assert "is not supported" in remark.sentence


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20let%20me%20in"}, "takes spans."),
        ({}, "answers 401 to spans."),
        ({"OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20hunter2"}, "answers 401 to spans."),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://ann:password1@{}"}, "takes spans."),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://{}/traces"}, "answers 404 to spans."),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://ann:hunter2@127.0.0.1:9"}, "nobody takes spans at"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "grpc://{}"}, "is no http address for spans."),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://[::1"}, "no http address"),
        ({"OTEL_TRACES_EXPORTER": "none"}, "OTEL_TRACES_EXPORTER=none sends no spans."),
        ({"OTEL_TRACES_EXPORTER": "console"}, "spans go to the exporter console"),
    ],
)
def test_the_receiver_is_asked(receiver: str, environ: dict[str, str], said: str) -> None:
    asked = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{receiver}"}
    asked |= {name: value.format(receiver) for name, value in environ.items()}
    found = remarks(asked, offline=False)
    spans = found["receiver"][0]
    assert said in spans.sentence
    assert (spans.level is Level.OK) == ("takes spans." in said or "go to" in said)
    told = str(found)
    for secret in ("password1", "hunter2", "let me in", "let%20me", SECRET):
        assert secret not in told


def test_a_check_that_fails_itself_is_one_remark(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(environ: object) -> Iterator[tuple[int, str, str]]:
        raise RuntimeError(SECRET)
        yield

    monkeypatch.setitem(doctor.CHECKS, "switch", broken)
    (remark,) = worst(remarks())
    assert (remark.level, remark.sentence) == (Level.WEAK, "could not be checked (RuntimeError)")


def test_an_address_is_shown_without_its_secrets() -> None:
    assert shown_url("https://ann:pw@host:4318/v1/traces?token=x#y") == "https://host:4318/v1/traces"
    assert shown_url("http://[::1]:4318") == "http://[::1]:4318"
    assert shown_url("http://host:port") == "(an address that cannot be read)"


def test_the_names_of_variables_are_those_that_are_read() -> None:
    assert {f"TRUELINE_{name.upper()}" for name in Settings.model_fields} <= (
        doctor_variables.MONITOR_VARIABLES | doctor_variables.VARIABLES
    )
    root = Path(doctor_variables.__file__).parent
    source = "".join(path.read_text() for path in root.rglob("*.py") if path.stem != "doctor_variables")
    assert not [
        name for name in doctor_variables.VARIABLES - {"TRUELINE_CONFIG"} if f'"{name}"' not in source
    ]


def test_as_a_command(tmp_path: Path) -> None:
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("TRUELINE_", "OTEL_"))
    }
    command = [sys.executable, "-m", "trueline.instrumentation"]

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *arguments],
            env={**environ, **more},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    well = run("doctor", "--offline", **WELL)
    assert (well.returncode, well.stderr) == (0, "")
    assert "ok    names: the service is web." in well.stdout
    weak = run("doctor", "--offline", **{**WELL, "TRUELINE_SAMPLE": "0.5"})
    assert weak.returncode == 1
    assert "weak  sampling: 50 %" in weak.stdout
    config = tmp_path / "bad.yaml"
    config.write_text("nonsense: 1")
    declared = run("doctor", "--offline", **{**WELL, "TRUELINE_CONFIG": str(config)})
    assert (declared.returncode, declared.stderr) == (1, "")
    assert f"weak  settings: {config}:1:1: the field 'nonsense' is not known" in declared.stdout
    broken = run("doctor", **{**WELL, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"})
    assert broken.returncode == 2
    assert "BAD   receiver: nobody takes spans at http://127.0.0.1:9/v1/traces" in broken.stdout
    assert run("docter").returncode == 2
