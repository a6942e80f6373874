"""The dashboard's queries run on the real schema, empty and filled; what it shows is what was stored."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.store_fixtures import create_schema, settings_of
from support.telemetry import insert_telemetry

from trueline.monitor.store.client import Rows, Store, open_store

DASHBOARDS = Path(__file__).parents[2] / "dashboards"
DASHBOARD = json.loads((DASHBOARDS / "trueline.json").read_text())
PANELS = {panel["title"]: panel for panel in DASHBOARD["panels"]}
VARIABLES = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
HOUR = timedelta(hours=1)


def expand(sql: str, *, begin: datetime, end: datetime, environments: list[str] | None) -> str:
    """What Grafana and the ClickHouse plugin send: variables filled in, macros expanded.

    ``environments`` are the chosen ones, None stands for "All".
    """

    def all_or(match: re.Match[str]) -> str:
        condition, variable = match[1].rsplit(",", 1)
        assert variable.strip() == "$environment"
        return "1=1" if environments is None else condition

    def milliseconds(moment: datetime) -> str:
        return f"fromUnixTimestamp64Milli({int(moment.timestamp() * 1000)})"

    sql = re.sub(r"\$__conditionalAll\(((?:[^()]|\([^()]*\))*)\)", all_or, sql)
    sql = sql.replace("${environment:singlequote}", ",".join(f"'{name}'" for name in environments or []))
    sql = re.sub(
        r"\$__timeFilter_ms\((\w+)\)",
        lambda match: f"{match[1]} >= {milliseconds(begin)} AND {match[1]} <= {milliseconds(end)}",
        sql,
    )
    sql = re.sub(r"\$__timeInterval\((\w+)\)", r"toStartOfInterval(toDateTime(\1), INTERVAL 60 second)", sql)
    sql = sql.replace("$__fromTime_ms", milliseconds(begin))
    assert "$" not in sql, f"a macro or variable that the test does not know: {sql}"
    return sql


def show(store: Store, title: str, environments: list[str] | None = None) -> Rows:
    """Run a panel's query over the last hour, as Grafana's read-only user would."""
    now = datetime.now(UTC)
    (target,) = PANELS[title]["targets"]
    sql = expand(target["rawSql"], begin=now - HOUR, end=now + HOUR, environments=environments)
    return store.query_read_only(sql)


@pytest.fixture(scope="module")
def stores(store_folder: Path) -> Iterator[tuple[Store, Store]]:
    """An empty store and one with telemetry and findings in it; no test changes them."""
    with ExitStack() as stack:
        pair = []
        for name in ("dashboards_empty", "dashboards_filled"):
            store = open_store(settings_of(store_folder, name))
            stack.callback(store.close)
            stack.callback(store.command, f"DROP DATABASE {store.database}")
            create_schema(store)
            pair.append(store)
        fill(pair[1])
        yield pair[0], pair[1]


@pytest.fixture
def filled(stores: tuple[Store, Store]) -> Store:
    return stores[1]


def fill(store: Store) -> None:
    now = insert_telemetry(
        store,
        statements=[
            {"at": "-50s", "write": "expenses", "service": "web", "environment": "production"},
            {"at": "-40s", "write": "expenses", "service": "web", "environment": "production"},
            {
                "at": "-30s",
                "write": "expenses",
                "service": "web",
                "environment": "production",
                "outcome": "rolled_back",
                "reason": "exception",
            },
            {"at": "-20s", "read": "expenses", "service": "worker", "environment": "staging"},
        ],
    )
    store.insert(
        "otel_traces",
        {
            "Timestamp": [int(now.timestamp() * 1e9)],
            "TraceId": ["0" * 31 + "1"],
            "SpanId": ["0" * 15 + "1"],
            "ServiceName": ["web"],
        },
    )
    store.insert(
        "rule_runs",
        {
            "rule": ["env_split"] * 2,
            "start": [now - timedelta(seconds=4), now - timedelta(seconds=2)],
            "end": [now - timedelta(seconds=2), now],
            "result": ["ok", "error"],
            "at": [now, now],
        },
    )
    insert_finding(store, "a" * 16, sequence=1, state="open", summary="as it was", at=now)
    insert_finding(store, "a" * 16, sequence=2, state="open", summary="as it is", at=now)
    insert_finding(store, "b" * 16, sequence=1, state="resolved", environment="staging", at=now)
    insert_finding(store, "c" * 16, sequence=1, state="resolved", at=now - timedelta(days=3))


def insert_finding(
    store: Store,
    finding: str,
    *,
    sequence: int,
    state: str,
    at: datetime,
    environment: str = "production",
    summary: str = "written to A, read from B",
) -> None:
    row: dict[str, Any] = {
        "id": finding,
        "sequence": sequence,
        "rule": "env_split",
        "severity": "critical",
        "state": state,
        "environment": environment,
        "application": "expenses",
        "services": ["worker", "web"],
        "summary": summary,
        "first_seen": at,
        "last_seen": at,
        "count": 7,
    }
    store.insert("findings", {column: [value] for column, value in row.items()})


@pytest.mark.parametrize("environments", [None, ["production"], ["production", "staging"]])
@pytest.mark.parametrize("title", PANELS)
def test_every_query_runs_on_an_empty_store(
    stores: tuple[Store, Store], title: str, environments: list[str] | None
) -> None:
    rows = show(stores[0], title, environments)

    if PANELS[title]["type"] == "stat":
        assert rows.scalar() == 0  # a number to show, not "no data"
    else:
        assert len(rows) == 0


def test_environments_to_choose_from(filled: Store) -> None:
    sql = VARIABLES["environment"]["query"]["rawSql"]

    assert filled.query_read_only(sql).rows == [("production",), ("staging",)]


def test_numbers_at_the_top(filled: Store) -> None:
    assert show(filled, "Findings that need somebody").scalar() == 1
    assert show(filled, "Findings that need somebody", ["staging"]).scalar() == 0
    assert show(filled, "Spans in this time").scalar() == 1
    assert show(filled, "Failed rule runs").scalar() == 1
    assert show(filled, "Writes undone").scalar() == pytest.approx(1 / 3)


def test_writes_by_outcome(filled: Store) -> None:
    rows = show(filled, "Writes by outcome").dicts()

    writes: dict[str, int] = {}
    for row in rows:
        assert isinstance(row["time"], datetime)
        writes[row["outcome"]] = writes.get(row["outcome"], 0) + row["writes"]
    assert writes == {"committed": 2, "rolled_back": 1}
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
    assert len(show(filled, "Writes by outcome", ["staging"])) == 0


def test_findings_by_rule_and_state(filled: Store) -> None:
    rows = show(filled, "Findings by rule and state").dicts()

    assert [(row["rule"], row["state"], row["findings"], row["occurrences"]) for row in rows] == [
        ("env_split", "open", 1, 7),
        ("env_split", "resolved", 2, 14),
    ]


def test_which_service_talks_to_which_database(filled: Store) -> None:
    rows = show(filled, "Which service talks to which database").dicts()

    assert [(row["environment"], row["service"], row["reads"], row["writes"]) for row in rows] == [
        ("production", "web", 0, 3),
        ("staging", "worker", 1, 0),
    ]


def test_latest_findings_are_the_current_ones(filled: Store) -> None:
    rows = show(filled, "Latest findings").dicts()

    # Each once, as it stands; resolved and not seen in this time is left out.
    assert {row["id"]: row["summary"] for row in rows} == {
        "a" * 16: "as it is",
        "b" * 16: "written to A, read from B",
    }
    assert {row["services"] for row in rows} == {"web, worker"}
    assert [row["id"] for row in show(filled, "Latest findings", ["staging"]).dicts()] == ["b" * 16]


def test_panels_have_their_own_place() -> None:
    taken: dict[tuple[int, int], str] = {}
    for title, panel in PANELS.items():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), title) == title
    assert len(PANELS) == len(DASHBOARD["panels"]) == len({panel["id"] for panel in DASHBOARD["panels"]})


def test_overrides_name_columns_that_exist(filled: Store) -> None:
    for title, panel in PANELS.items():
        columns = show(filled, title).columns
        for override in panel["fieldConfig"]["overrides"]:
            if override["matcher"]["id"] == "byName":
                assert override["matcher"]["options"] in columns, title


def test_provisioning_fits_the_dashboard() -> None:
    sources = yaml.safe_load((DASHBOARDS / "provisioning/datasources/trueline.yaml").read_text())
    (source,) = sources["datasources"]
    wanted = VARIABLES["datasource"]
    assert source["type"] == wanted["query"] == "grafana-clickhouse-datasource"
    assert source["uid"] == wanted["current"]["value"]
    for panel in [*PANELS.values(), VARIABLES["environment"]]:
        assert panel["datasource"] == {"type": source["type"], "uid": "${datasource}"}
    # Grafana fills this in from its environment: no password is written down.
    assert source["secureJsonData"]["password"].startswith("$")
