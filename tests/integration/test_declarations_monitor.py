"""The monitor and its declarations: stored by version, served, re-read, readable by rules."""

from __future__ import annotations

import json
import logging
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.api_client import ApiClient
from support.engine_bench import empty_tables, schema_store, write_rule
from support.monitor_process import MonitorProcess, run_trueline

from trueline.monitor.declaration_service import DeclarationService
from trueline.monitor.engine.fence import fence
from trueline.monitor.errors import SettingsError
from trueline.monitor.settings import load_settings
from trueline.monitor.store.client import Store

GUIDE = (Path(__file__).parents[2] / "docs" / "guide" / "declarations.md").read_text()
(EXAMPLE,) = re.findall(r"^```yaml\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
SHORT = "version: 1\napplication: shop\nlineage: [{derived: totals, sources: [orders], within: 5m}]\n"


@pytest.fixture(scope="module")
def shared_store(store_folder: Path) -> Iterator[Store]:
    with schema_store(store_folder, "test_declarations") as store:
        yield store


@pytest.fixture
def store(shared_store: Store) -> Store:
    empty_tables(shared_store)
    shared_store.command("TRUNCATE TABLE declarations")
    return shared_store


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "shop.yaml"
    path.write_text(SHORT)
    return path


@pytest.fixture
def service(store: Store) -> Callable[..., DeclarationService]:
    def start(*files: Path) -> DeclarationService:
        service = DeclarationService(store, load_settings({"config": files}))
        service.refresh()
        return service

    return start


Service = Callable[..., DeclarationService]


def kinds(store: Store, table: str = "declarations_in_force") -> dict[str, int]:
    rows = store.query(f"SELECT kind, count() FROM {table} GROUP BY kind ORDER BY kind")
    return dict(rows.rows)


def test_the_guides_example_is_stored_whole(service: Service, store: Store, tmp_path: Path) -> None:
    path = tmp_path / "trueline.yaml"
    path.write_text(EXAMPLE)
    service(path)
    assert kinds(store) == {
        "budget": 3, "column": 4, "counterpart": 1, "database": 2, "derivation": 1, "domain": 2, "exclude": 1,
        "hmac_key": 2, "lineage": 2, "log_event": 2, "move": 1, "operation": 3, "resolver": 1, "table": 3,
        "uuid_namespace": 1, "version": 1,
    }  # fmt: skip
    (lineage,) = store.query(
        "SELECT * EXCEPT (valid_from, content_hash, path) FROM declarations_in_force "
        "WHERE kind = 'lineage' AND name = 'expense_summaries'"
    ).dicts()
    assert json.loads(lineage.pop("detail")) == {
        "derived": "expense_summaries",
        "sources": ["expenses", "budgets"],
        "within": 300.0,
        "filled_by": "application",
    }
    assert lineage == {
        "application": "expenses",
        "kind": "lineage",
        "name": "expense_summaries",
        "tables": ["expenses", "budgets"],
        "domain": "",
        "words": ["application"],
        "seconds": 300.0,
        "service": "",
        "operation": "",
        "environment": "",
        "starts": None,
        "ends": None,
    }
    (move,) = store.query("SELECT words, starts FROM declarations_in_force WHERE kind = 'move'").dicts()
    assert move["words"] == ["archive", "expenses"]
    assert move["starts"].isoformat() == "2026-11-20T00:00:00+00:00"
    everything = str(store.query("SELECT * FROM declarations").rows)
    assert "PARTNER_HMAC_KEY" not in everything
    assert "/run/secrets" not in everything


def test_a_version_is_written_once(service: Service, store: Store, file: Path) -> None:
    first = service(file)
    first.refresh()
    again = service(file)
    assert kinds(store, "declarations") == {"lineage": 1, "version": 1}
    assert first.status() == again.status()


def test_a_change_is_a_new_version_and_the_old_one_stays(service: Service, store: Store, file: Path) -> None:
    running = service(file)
    (before,) = running.status()["items"]
    file.write_text(SHORT + "exclude: [a.b]\n")
    running.refresh()
    (after,) = running.status()["items"]
    assert after["valid_from"] > before["valid_from"]
    assert after["content_hash"] != before["content_hash"]
    assert kinds(store) == {"exclude": 1, "lineage": 1, "version": 1}
    assert kinds(store, "declarations") == {"exclude": 1, "lineage": 2, "version": 2}


def test_back_to_what_it_was_is_a_version_too(service: Service, store: Store, file: Path) -> None:
    running = service(file)
    for text in (SHORT + "exclude: [a.b]\n", SHORT):
        file.write_text(text)
        running.refresh()
    assert kinds(store) == {"lineage": 1, "version": 1}
    assert kinds(store, "declarations")["version"] == 3


def test_a_change_that_cannot_be_used_leaves_the_old_one(
    service: Service, store: Store, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    running = service(file)
    before = running.status()["items"]
    file.write_text("version: 1\nlinage: []\n")
    with caplog.at_level(logging.ERROR):
        running.refresh()
        running.refresh()
    problem = f"{file}:2:1: the field 'linage' is not known; did you mean lineage?"
    assert running.status() == {"items": before, "problems": [problem]}
    (message,) = [record.getMessage() for record in caplog.records]
    assert message == f"The declarations cannot be used: {problem}; what was read before stays in force"
    file.unlink()
    running.refresh()
    assert running.status()["items"] == before
    assert "cannot be read" in running.status()["problems"][0]
    file.write_text(SHORT + "exclude: [a.b]\n")
    running.refresh()
    assert running.status()["problems"] == []
    assert kinds(store)["exclude"] == 1


def test_what_is_no_longer_declared_is_withdrawn(
    service: Service, store: Store, file: Path, tmp_path: Path
) -> None:
    service(file)
    other = tmp_path / "other.yaml"
    other.write_text("version: 1\napplication: other\nexclude: [a.b]\n")
    service(other)
    assert kinds(store) == {"exclude": 1, "version": 2}
    assert store.query(
        "SELECT application, content_hash = '' FROM declarations_in_force WHERE kind = 'version' ORDER BY ALL"
    ).rows == [("other", 0), ("shop", 1)]
    service(other, file)
    assert kinds(store) == {"exclude": 1, "lineage": 1, "version": 2}


def test_a_renamed_application_is_withdrawn(service: Service, store: Store, file: Path) -> None:
    running = service(file)
    file.write_text(SHORT.replace("shop", "store"))
    running.refresh()
    assert store.query("SELECT application FROM declarations_in_force WHERE kind = 'lineage'").rows == [
        ("store",)
    ]


def test_named_files_that_cannot_be_used_stop_the_start(service: Service, file: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.yaml cannot be read: No such file"):
        service(tmp_path / "none.yaml")
    twin = tmp_path / "twin.yaml"
    twin.write_text(SHORT)
    with pytest.raises(SettingsError, match=r"shop.yaml is also about application shop: join both\.$"):
        service(file, twin)
    file.write_text("version: 3\n")
    with pytest.raises(SettingsError, match=r"'3' is not known here; there are 1\.$"):
        service(file)


def test_the_working_directorys_file_need_not_be_there(
    service: Service, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    running = service()
    assert running.status() == {"items": [], "problems": []}
    Path("trueline.yaml").write_text("version: x\n")
    running.refresh()
    assert len(running.status()["problems"]) == 1
    Path("trueline.yaml").write_text(SHORT)
    running.refresh()
    assert [item["application"] for item in running.status()["items"]] == ["shop"]


def test_the_files_are_looked_at_while_it_runs(store: Store, file: Path) -> None:
    import time

    running = DeclarationService(store, load_settings({"config": (file,)}), reload_seconds=0.05)
    running.start()
    try:
        file.write_text(SHORT + "exclude: [a.b]\n")
        deadline = time.monotonic() + 30
        while kinds(store).get("exclude") != 1:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        running.stop()


def test_rules_can_read_them(service: Service, store: Store, tmp_path: Path) -> None:
    path = tmp_path / "trueline.yaml"
    path.write_text(EXAMPLE)
    service(path)
    (sql,) = re.findall(r"^```sql\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    fenced = fence(sql)
    assert fenced.tables == {"statements_resolved", "declarations_in_force"}
    store.query_read_only(fenced.sql)
    fenced = fence("SELECT name FROM declarations WHERE kind = 'table' AND has(words, 'trigger')")
    assert store.query_read_only(fenced.sql).rows == [("expense_totals",)]


def test_the_api_serves_them(service: Service, store: Store, file: Path, tmp_path: Path) -> None:
    service(file)
    (tmp_path / "rules").mkdir()
    write_rule(tmp_path / "rules")
    client = ApiClient(store, tmp_path / "rules", config=(file,))
    answer = client.get("/api/v1/declarations")
    assert answer.status_code == 200
    (item,) = answer.json()["items"]
    assert (item["application"], item["path"]) == ("shop", str(file))
    assert item["declarations"]["lineage"][0]["sources"] == ["orders"]


# -- the command -----------------------------------------------------------------------------------------


def test_checking_files(tmp_path: Path, file: Path) -> None:
    done = run_trueline("declarations", "check", str(file))
    assert (done.returncode, done.stdout) == (0, f"{file}: 1 declaration about shop: can be used\n")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("version: 1\nlinage: []\ncolumns: []\n")
    done = run_trueline("declarations", "check", str(wrong), str(tmp_path / "none.yaml"))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        f"trueline: {wrong}:2:1: the field 'linage' is not known; did you mean lineage?",
        f"trueline: {wrong}:3:10: columns: here belongs a mapping, not a list",
        f"trueline: {tmp_path / 'none.yaml'} is not there: name the file, or make one as the guide says",
    ]


def test_serve_takes_them_and_the_command_shows_them(tmp_path: Path, file: Path) -> None:
    monitor = MonitorProcess(tmp_path / "data", "--config", str(file))
    try:
        environment = {"TRUELINE_URL": f"http://127.0.0.1:{monitor.port}"}
        done: Any = run_trueline("declarations", "show", environment=environment)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"shop: {file}, in force since 20")
        assert done.stdout.endswith("\n  lineage: totals\n")
    finally:
        monitor.end(signal.SIGTERM)


def test_serve_does_not_start_with_a_wrong_file(tmp_path: Path, file: Path) -> None:
    file.write_text("version: 1\nlinage: []\n")
    done = run_trueline("serve", "--data-dir", str(tmp_path / "data"), "--port", "0", "--config", str(file))
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"trueline: The declarations cannot be used: {file}:2:1: the field 'linage' is not known; "
        "did you mean lineage?"
    ]
