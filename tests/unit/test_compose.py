"""docker-compose.yml by its structure: what it starts, mounts and publishes, and that its settings exist."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from trueline.monitor.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
COLLECTOR = yaml.safe_load((ROOT / "deploy/otel-collector.yaml").read_text())
SECRET_NAME = re.compile(r"PASSWORD|TOKEN|SECRET")
FROM_ENVIRONMENT = re.compile(r"\$\{(\w+):\?[^}]*\}")


def environment(service: str) -> dict[str, str]:
    return dict(SERVICES[service].get("environment", {}))


def targets_of_dockerfile() -> set[str]:
    text = (ROOT / "deploy/Dockerfile").read_text()
    return set(re.findall(r"^FROM \S+ AS (\w+)$", text, re.MULTILINE))


def test_the_services() -> None:
    assert {"clickhouse", "monitor", "collector", "grafana", "demo-service"} <= set(SERVICES)


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned_or_built_here(name: str) -> None:
    service = SERVICES[name]

    tag = service["image"].partition(":")[2]
    assert re.fullmatch(r"\d+(\.\d+)+", tag), f"{service['image']} is not pinned"
    if "build" in service:
        assert (ROOT / service["build"]["dockerfile"]).is_file()
        assert service["build"]["target"] in targets_of_dockerfile()


def test_base_images_are_pinned() -> None:
    bases = re.findall(r"^FROM (\S+)", (ROOT / "deploy/Dockerfile").read_text(), re.MULTILINE)

    for base in set(bases) - targets_of_dockerfile():
        assert re.search(r":\d+\.\d+\.\d+", base), base


def test_what_the_image_is_built_from_exists() -> None:
    text = (ROOT / "deploy/Dockerfile").read_text()
    allowed = (ROOT / ".dockerignore").read_text().splitlines()

    for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert f"!{source}" in allowed, f"{source} is not in the build context"


@pytest.mark.parametrize("name", SERVICES)
def test_published_on_loopback_only(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert port.startswith("127.0.0.1:"), port


def test_no_port_is_published_twice() -> None:
    published = [port.rsplit(":", 1)[0] for service in SERVICES.values() for port in service.get("ports", [])]

    assert len(published) == len(set(published))


@pytest.mark.parametrize("name", SERVICES)
def test_mounted_files_exist_and_cannot_be_written(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        source, _, rest = volume.partition(":")
        if source.startswith("."):
            assert (ROOT / source).exists(), source
            assert rest.endswith(":ro"), volume
        else:
            assert source in COMPOSE["volumes"], volume


@pytest.mark.parametrize("name", SERVICES)
def test_healthchecks(name: str) -> None:
    service = SERVICES[name]

    # The Collector's image has no program to run one with; the migration is waited for until it has ended.
    if name == "collector" or service.get("restart") == "no":
        assert "healthcheck" not in service
    else:
        assert service["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", SERVICES)
def test_dependencies_can_be_waited_for(name: str) -> None:
    for other, wanted in SERVICES[name].get("depends_on", {}).items():
        if wanted["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other], f"{name} waits for the health of {other}"


def test_no_secret_is_written_down() -> None:
    example = (ROOT / ".env.example").read_text()
    named = dict(re.findall(r"^(\w+)=(.*)$", example, re.MULTILINE))
    used = set(FROM_ENVIRONMENT.findall((ROOT / "docker-compose.yml").read_text()))

    for name in SERVICES:
        for key, value in environment(name).items():
            if SECRET_NAME.search(key):
                assert FROM_ENVIRONMENT.fullmatch(value), f"{name}: {key} is not taken from .env"
    assert set(named) == used  # each is required, and each can be found in the example
    assert not any(named.values()), "the example must not suggest a secret"
    assert COLLECTOR["exporters"]["clickhouse"]["password"] == "${env:CLICKHOUSE_PASSWORD}"
    assert "CLICKHOUSE_PASSWORD" in environment("collector")


def test_the_monitors_settings_are_real() -> None:
    known = {f"TRUELINE_{name.upper()}" for name in Settings.model_fields}
    given = environment("monitor")

    assert set(given) <= known
    # On all interfaces it serves only with a token.
    assert given["TRUELINE_HOST"] == "0.0.0.0"
    assert "TRUELINE_TOKEN" in given
    # Other containers call it by its service name.
    assert "monitor" in given["TRUELINE_ALLOWED_HOSTS"].split(",")


def test_the_demo_service_is_configured_by_what_it_reads() -> None:
    for name in ("demo-service", "demo-model", "demo-migrate"):
        flag, module = SERVICES[name]["command"]
        spec = importlib.util.find_spec(module)
        assert flag == "-m"
        assert spec is not None
        assert spec.origin is not None
        source = Path(spec.origin).read_text()
        for key in environment(name):
            if not key.startswith(("OTEL_", "TRUELINE_")):
                assert f'"{key}"' in source, f"{module} does not read {key}"


def test_identities_are_hashed_alike_everywhere() -> None:
    secret = environment("monitor")["TRUELINE_HASH_SECRET"]

    assert environment("demo-service")["TRUELINE_HASH_SECRET"] == secret


def test_the_collector_writes_into_the_monitors_tables() -> None:
    exporter = COLLECTOR["exporters"]["clickhouse"]
    url = environment("monitor")["TRUELINE_CLICKHOUSE_URL"]
    database = url.rsplit("/", 1)[1]

    assert exporter["create_schema"] is False
    assert exporter["database"] == database
    assert (exporter["traces_table_name"], exporter["logs_table_name"]) == ("otel_traces", "otel_logs")
    assert exporter["username"] == environment("clickhouse")["CLICKHOUSE_USER"]
    for pipeline in COLLECTOR["service"]["pipelines"].values():
        assert set(pipeline["receivers"]) <= set(COLLECTOR["receivers"])
        assert set(pipeline["exporters"]) <= set(COLLECTOR["exporters"])
    # The demo service sends to a port that the Collector has open.
    port = environment("demo-service")["OTEL_EXPORTER_OTLP_ENDPOINT"].rsplit(":", 1)[1]
    assert COLLECTOR["receivers"]["otlp"]["protocols"]["http"]["endpoint"].endswith(f":{port}")


def test_grafana_reads_as_a_user_that_can_only_read() -> None:
    users = ElementTree.parse(ROOT / "deploy/clickhouse-users.xml").getroot()
    user = users.find("users/grafana")
    assert user is not None
    source = yaml.safe_load((ROOT / "dashboards/provisioning/datasources/trueline.yaml").read_text())
    data = source["datasources"][0]

    assert data["jsonData"]["username"] == user.tag
    assert data["jsonData"]["host"] in SERVICES
    assert [grant.text for grant in user.iter("query")] == [
        f"GRANT SELECT ON {data['jsonData']['defaultDatabase']}.*"
    ]
    assert users.findtext(f"profiles/{user.findtext('profile')}/readonly") == "1"
    variable = data["secureJsonData"]["password"].removeprefix("$")
    password = user.find("password")
    assert password is not None
    assert password.get("from_env") == variable
    assert variable in environment("grafana")
    assert variable in environment("clickhouse")


def test_grafana_finds_its_dashboard() -> None:
    mounts = dict(volume.split(":")[:2] for volume in SERVICES["grafana"]["volumes"])
    provider = yaml.safe_load((ROOT / "dashboards/provisioning/dashboards/trueline.yaml").read_text())
    folder = provider["providers"][0]["options"]["path"]

    assert mounts["./dashboards/trueline.json"] == f"{folder}/trueline.json"
    assert mounts["./dashboards/provisioning"] == "/etc/grafana/provisioning"
    plugin = environment("grafana")["GF_PLUGINS_PREINSTALL_SYNC"]
    dashboard = json.loads((ROOT / "dashboards/trueline.json").read_text())
    kinds = {panel["datasource"]["type"] for panel in dashboard["panels"]}
    assert re.fullmatch(rf"{kinds.pop()}@\d+\.\d+\.\d+", plugin)
    assert not kinds
