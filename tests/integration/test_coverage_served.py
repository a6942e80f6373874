"""Coverage end to end: real services in every state, a real monitor, its API and its commands."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.monitor_process import PATIENCE, MonitorProcess, clean_environment, run_trueline

PROGRAM = Path(__file__).parents[1] / "data" / "processes" / "covered.py"
RULES = Path(__file__).parents[2] / "rules"
NOBODY = "http://127.0.0.1:9/v1/traces"
SECRET = {"TRUELINE_HASH_SECRET": "the secret of the shop"}
#: Service, way, application, variables.
SERVICES: list[tuple[str, str, str, dict[str, str]]] = [
    ("web", "well", "shop", SECRET),
    ("worker", "raw", "shop", SECRET),
    ("cron", "well", "shop", {"TRUELINE_HASH_SECRET": "another one"}),
    ("nightly", "unbound", "shop", SECRET),
    ("sampled", "well", "sampled", {**SECRET, "TRUELINE_SAMPLE": "0.000001"}),
    ("plain", "plain", "plain", {}),
    ("logs", "logs", "logs", {}),
    ("lost", "lost", "lost", {**SECRET, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": NOBODY}),
]


@pytest.fixture(scope="module")
def monitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MonitorProcess]:
    """A monitor that has heard of all of them."""
    folder = tmp_path_factory.mktemp("coverage")
    process = MonitorProcess(folder / "data")
    running: list[subprocess.Popen[str]] = []
    for service, way, application, variables in SERVICES:
        environment = {
            "OTEL_SERVICE_NAME": service,
            "OTEL_RESOURCE_ATTRIBUTES": (
                f"service.namespace={application},deployment.environment.name=production,service.version=1.4"
            ),
            "OTEL_EXPORTER_OTLP_ENDPOINT": process.url,
            "OTEL_EXPORTER_OTLP_TIMEOUT": "1" if service == "lost" else "30",
            "TRUELINE_PROCESS_KIND": "web",
            "TRUELINE_EXIT_WAIT": "60",
            **variables,
        }
        running.append(
            subprocess.Popen(
                [sys.executable, "-W", "ignore", str(PROGRAM), way, str(folder / f"{application}.db")],
                env=clean_environment(environment),
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        if len(running) % 3 == 0:  # not all at once on a small machine
            _wait(running)
    _wait(running)
    yield process
    assert process.end() == 0


def _wait(running: list[subprocess.Popen[str]]) -> None:
    for one in running:
        _, said = one.communicate(timeout=PATIENCE)
        assert one.returncode == 0, said


@pytest.fixture(scope="module")
def services(monitor: MonitorProcess) -> dict[str, dict[str, Any]]:
    response = monitor.http.get("/api/v1/coverage")
    assert response.status_code == 200, response.text
    items = response.json()["items"]
    assert len(items) == len(SERVICES)
    return {item["service"]: item for item in items}


def causes(service: dict[str, Any]) -> dict[str, list[str]]:
    """Causes by rule, of rules that do not see it well."""
    found = {rule["rule"]: [why["cause"] for why in rule["reasons"]] for rule in service["rules"]}
    return {rule: said for rule, said in found.items() if said}


def sentence(service: dict[str, Any], cause: str) -> str:
    """The sentence of a cause, which is the same in all rules that say it."""
    (said,) = {
        why["sentence"] for rule in service["rules"] for why in rule["reasons"] if why["cause"] == cause
    }
    return str(said)


def test_what_a_service_touches_is_listed(services: dict[str, dict[str, Any]]) -> None:
    web = services["web"]
    assert (web["environment"], web["application"], web["versions"]) == ("production", "shop", ["1.4"])
    assert web["writes"] == {"total": 12, "column": 10, "row": 0, "bound": 2, "none": 0, "share": 1.0}
    assert web["reads"]["column"] == 10
    tables = {one["table"]: (one["reads"], one["writes"]["total"]) for one in web["tables"]}
    assert tables == {"expenses": (10, 11), "audit": (0, 1)}
    assert web["tables_without_identity"] == []
    assert {(one["column"], one["domain"], one["encoding"], one["clause"]) for one in web["columns"]} == {
        ("expenses.user_id", "user", "raw", "set"),
        ("expenses.user_id", "user", "raw", "where"),
    }
    (database,) = web["databases"]
    assert database["database_rungs"][0].startswith("file:")
    assert database["database_url"].endswith("shop.db")
    assert (web["spans"], web["hashes"], web["inventories"], web["counted_by"]) == (
        ["own"], ["keyed"], 1, "spans",
    )  # fmt: skip
    # the two CREATE TABLE ran before any request
    assert (web["statements"], web["with_entry"], web["process_kinds"]) == (24, 22, ["web"])


def test_services_with_another_secret_are_told_apart(services: dict[str, dict[str, Any]]) -> None:
    cron, web = services["cron"], services["web"]
    assert cron["key_ids"] != web["key_ids"] == services["worker"]["key_ids"]
    for rule in ("env_split", "key_mismatch"):
        assert causes(cron)[rule] == ["other_key"]
        assert causes(web)[rule] == ["others_have_another_key"]
    assert sentence(cron, "other_key") == (
        f"Its identities are hashed under key id {cron['key_ids'][0]}, unlike those of nightly, web, worker "
        f"(under key id {web['key_ids'][0]}): the ones cannot be compared with the others."
    )
    assert "cron" in sentence(web, "others_have_another_key")


def test_no_entries_and_no_identity(services: dict[str, dict[str, Any]]) -> None:
    found = causes(services["nightly"])
    assert found["key_mismatch"] == ["no_identity", "no_entry_names"]
    assert services["nightly"]["tables_without_identity"] == ["expenses"]
    sentence = services["nightly"]["sentence"]
    assert sentence.startswith("0 % of 1 write carries an identity. Blind: ")
    assert "env_split, " in sentence.partition("Degraded")[0]


def test_a_sampled_service_is_counted_by_its_inventory(services: dict[str, dict[str, Any]]) -> None:
    sampled = services["sampled"]
    assert causes(sampled)["key_mismatch"] == ["sampled"]
    assert "env_split" in causes(sampled)
    assert "constraint_violation_burst" not in causes(sampled), "what did not commit is always sent"
    assert sampled["counted_by"] == "inventory"
    assert sampled["writes"] == services["web"]["writes"]
    assert (sampled["statements"], sampled["with_entry"]) == (24, 22)
    assert {one["table"]: one["writes"]["total"] for one in sampled["tables"]} == {"expenses": 11, "audit": 1}


def test_work_past_sqlalchemy(services: dict[str, dict[str, Any]]) -> None:
    assert services["worker"]["unseen_transactions"] == 1
    assert set(causes(services["worker"])) >= {"env_split", "key_mismatch", "constraint_violation_burst"}
    assert sentence(services["worker"], "raw_connections").startswith(
        "1 transaction ran on connections taken past"
    )


@pytest.mark.parametrize(
    ("service", "sends", "cause"),
    [("plain", "foreign_database_spans", "foreign_spans"), ("logs", "logs", "only_logs")],
)
def test_services_without_trueline_show_as_what_they_are(
    services: dict[str, dict[str, Any]], service: str, sends: str, cause: str
) -> None:
    found = services[service]
    assert found["sends"] == sends
    said = {tuple(why) for why in causes(found).values()}
    assert said - {("rule_is_off",)} == {(cause,)}
    assert {rule["status"] for rule in found["rules"] if causes(found)[rule["rule"]] != ["rule_is_off"]} == {
        "blind"
    }


def test_a_service_whose_spans_are_lost_is_not_taken_for_idle(services: dict[str, dict[str, Any]]) -> None:
    lost = services["lost"]
    assert lost["statements"] == 0
    assert lost["lost"]["export_failed"] > 0
    assert causes(lost)["env_split"] == ["nothing_arrived", "losses"]
    assert "counted 24 statements, and none of them arrived" in sentence(lost, "nothing_arrived")


def test_filters_and_what_is_refused(monitor: MonitorProcess) -> None:
    def asked(**params: str) -> Any:
        response = monitor.http.get("/api/v1/coverage", params=params)
        answer = response.json()
        return answer.get("detail", answer)

    assert [one["service"] for one in asked(service="cron", environment="production")["items"]] == ["cron"]
    assert "others" in str(asked(service="cron"))
    assert asked(environment="staging")["items"] == []
    assert "is more than 7 days ago" in asked(since="30d")
    assert "neither a time" in asked(since="yesterday")


def test_no_identity_is_in_the_answer(monitor: MonitorProcess) -> None:
    said = monitor.http.get("/api/v1/coverage").text
    assert "12345" not in said
    assert "secret of the shop" not in said


# -- for people ----------------------------------------------------------------------------------------------


def test_the_command_shows_all(monitor: MonitorProcess) -> None:
    here = {"TRUELINE_URL": monitor.url}
    shown = run_trueline("coverage", environment=here)
    assert shown.returncode == 1, "some rules are blind"
    for service, *_ in SERVICES:
        assert service in shown.stdout
    assert "It sends logs only." in shown.stdout
    as_json = run_trueline("coverage", "--service", "web", "--json", environment=here)
    assert [one["service"] for one in json.loads(as_json.stdout)["items"]] == ["web"]
    assert as_json.returncode == 0, "web is degraded, but not blind"
    nobody = run_trueline("coverage", "--service", "nobody", environment=here)
    assert nobody.returncode == 2
    assert "Nothing was received of a service nobody" in nobody.stderr


@pytest.mark.parametrize(
    "command",
    [
        "coverage",
        "databases",
        "diagnose 1",
        "doctor service web",
        "findings",
        "identities 1",
        "rules backtest env_split",
    ],
)
def test_a_bad_time_is_said_before_a_missing_monitor(command: str) -> None:
    nobody = {"TRUELINE_URL": "http://127.0.0.1:9"}
    said = run_trueline(*command.split(), "--since", "xyz", environment=nobody)
    assert said.returncode == 2
    words = " ".join(said.stderr.replace("│", " ").split())
    assert "'xyz' is neither a time as 2026-11-20T12:00:00Z nor a duration as 24h." in words
    assert "No monitor answers" not in words
    good = run_trueline(*command.split(), "--since", "24h", environment=nobody)
    assert "No monitor answers" in good.stdout + good.stderr


def test_the_doctor_of_a_service(monitor: MonitorProcess) -> None:
    here = {"TRUELINE_URL": monitor.url}
    shown = run_trueline("doctor", "service", "cron", environment=here)
    assert shown.returncode == 1
    for said in (
        "expenses.user_id",
        "100 % of 12 writes carry an identity",
        "audit",
        "Its identities are hashed under key id",
        "Set TRUELINE_HASH_SECRET to the same value in every service.",
        "shop.db",
    ):
        assert said in " ".join(shown.stdout.split()), said


def test_the_doctor_of_the_installation(monitor: MonitorProcess) -> None:
    well = run_trueline("doctor", environment={"TRUELINE_URL": monitor.url, **SECRET})
    assert (well.returncode, "MEND" in well.stdout) == (0, False), well.stdout
    assert f"rules: {len(list(RULES.glob('*.yaml')))} can be used." in well.stdout
    assert "spans arrived in the last 5 minutes" in well.stdout
    assert SECRET["TRUELINE_HASH_SECRET"] not in well.stdout
    alone = run_trueline("doctor", environment={"TRUELINE_URL": "http://127.0.0.1:9"})
    assert alone.returncode == 1
    assert "MEND  settings: TRUELINE_HASH_SECRET is not set here" in alone.stdout
    assert "MEND  monitor: No monitor answers at http://127.0.0.1:9" in alone.stdout
    wrong = run_trueline("doctor", environment={"TRUELINE_PORT": "many"})
    assert wrong.returncode == 1
    assert "MEND  settings: " in wrong.stdout
