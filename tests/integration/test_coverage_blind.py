"""Real services that a monitor sees badly, and one whose trueline.yaml names a function of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.monitor_process import PATIENCE, MonitorProcess, clean_environment

PROGRAM = Path(__file__).parents[1] / "data" / "processes" / "covered.py"
SECRET = {"TRUELINE_HASH_SECRET": "the secret of the shop"}
IDS = """
import hashlib

def clerk_user_id_to_int(user):
    return int(hashlib.sha256(str(user).encode()).hexdigest()[:12], 16)
"""
CONFIG = """
version: 1
columns: {visits.visitor: user}
derivations: {clerk: "shop_ids:clerk_user_id_to_int"}
"""


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    """The monitor's coverage of services that ran and ended, by application."""
    folder = tmp_path_factory.mktemp("blind")
    (folder / "shop_ids.py").write_text(IDS)
    (folder / "trueline.yaml").write_text(CONFIG)
    monitor = MonitorProcess(folder / "data", environment={"TRUELINE_ALLOWED_HOSTS": "0.0.0.0"})
    # An address of this machine that is none of its loopback addresses: telemetry might leave it.
    elsewhere = {"OTEL_EXPORTER_OTLP_ENDPOINT": monitor.url.replace("127.0.0.1", "0.0.0.0")}
    own = {"TRUELINE_CONFIG": str(folder / "trueline.yaml"), "PYTHONPATH": str(folder)}
    running: list[subprocess.Popen[str]] = []
    for application, way, variables in (
        ("open", "well", elsewhere),
        ("keyed", "well", {**SECRET, **elsewhere}),
        ("rolling", "well", SECRET),
        ("rolling", "well", {"TRUELINE_HASH_SECRET": "the next one"}),
        ("mixed", "mixed", SECRET),
        ("derived", "derived", {**SECRET, **own}),
    ):
        database = folder / f"{application}{len(running)}.db"
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(PROGRAM), way, str(database)],
            env=_environment(application, monitor.url, variables),
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        running.append(process)
    for process in running:
        _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, errors
    answer = monitor.http.get("/api/v1/coverage")
    assert answer.status_code == 200, answer.text
    yield {item["application"]: item for item in answer.json()["items"]}
    assert monitor.end() == 0


def _environment(application: str, url: str, variables: dict[str, str]) -> dict[str, str]:
    environment = clean_environment(
        {
            "OTEL_SERVICE_NAME": "api",
            "OTEL_RESOURCE_ATTRIBUTES": f"service.namespace={application}",
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
            "OTEL_EXPORTER_OTLP_TIMEOUT": "30",
            "TRUELINE_PROCESS_KIND": "web",
            "TRUELINE_EXIT_WAIT": "60",
        }
    )
    paths = [variables.get("PYTHONPATH", ""), environment.get("PYTHONPATH", "")]
    return {**environment, **variables, "PYTHONPATH": ":".join(filter(None, paths))}


def causes(service: dict[str, Any]) -> dict[str, dict[str, str]]:
    """By rule: each cause of not being seen well, with its sentence."""
    return {
        rule["rule"]: {why["cause"]: why["sentence"] for why in rule["reasons"]}
        for rule in service["rules"]
        if rule["reasons"]
    }


def test_hashes_that_were_left_out_blind_the_rules_that_need_them(
    services: dict[str, dict[str, Any]],
) -> None:
    service = services["open"]
    told = causes(service)
    for rule in ("env_split", "key_mismatch"):
        assert "there is no secret to hash them with" in told[rule]["hashes_left_out"]
        assert next(one for one in service["rules"] if one["rule"] == rule)["status"] == "blind"
    # Which columns it names is known all the same; only whose values they are is not.
    assert service["writes"]["column"] == 10
    assert "hashes_left_out" not in str(causes(services["keyed"])), "with a secret they leave the machine"


def test_two_secrets_in_one_service(services: dict[str, dict[str, Any]]) -> None:
    service = services["rolling"]
    assert len(service["key_ids"]) == 2
    said = causes(service)["key_mismatch"]["two_keys"]
    assert all(key in said for key in service["key_ids"])
    assert "two_keys" not in str(causes(services["keyed"]))


def test_a_database_that_can_hardly_be_told(services: dict[str, dict[str, Any]]) -> None:
    assert len(services["mixed"]["databases"]) == 2
    assert causes(services["mixed"])["env_split"]["weak_fingerprint"].startswith(
        "1 of 2 databases can be told"
    )
    assert "weak_fingerprint" not in str(causes(services["keyed"]))


def test_a_function_that_trueline_yaml_names_arrives_as_an_encoding(
    services: dict[str, dict[str, Any]],
) -> None:
    columns = {
        (one["column"], one["domain"], one["encoding"], one["clause"])
        for one in services["derived"]["columns"]
    }
    assert columns == {("visits.visitor", "user", "fn:clerk", "set")}
