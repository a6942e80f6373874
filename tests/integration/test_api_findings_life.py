"""What people do to findings over HTTP: idempotent, well-defined for two at once, silenced, in incidents."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.api_client import ApiClient
from support.engine_bench import Bench, empty_tables, schema_store, write_rule

from trueline.instrumentation.identity import IdentityHasher, canonicalize
from trueline.monitor.engine.rule import Rule
from trueline.monitor.store.client import Store

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def shared_store(store_folder: Path) -> Iterator[Store]:
    with schema_store(store_folder, "test_api_life") as store:
        yield store


@pytest.fixture(scope="module")
def rule(tmp_path_factory: pytest.TempPathFactory) -> Rule:
    facts = (
        "groupUniqArray(version) AS versions",
        "groupUniqArray(version) AS versions, ['user " + "ab" * 16 + "'] AS some_identities, "
        "'orders' AS written_table",
    )
    return write_rule(tmp_path_factory.mktemp("rules"), facts)


@pytest.fixture
def bench(shared_store: Store, rule: Rule) -> Bench:
    """Three findings: web and worker share a trace, cron stands alone."""
    empty_tables(shared_store)
    bench = Bench(shared_store, rule)
    bench.lose(service="web", trace_id="aa" * 16)
    bench.clock.forward(seconds=1)
    bench.lose(service="worker", trace_id="aa" * 16)
    bench.lose(service="worker", trace_id="aa" * 16)
    bench.clock.forward(seconds=1)
    bench.lose(service="cron")
    bench.clock.forward(seconds=1)
    bench.tick()
    return bench


@pytest.fixture(scope="module")
def client(shared_store: Store, rule: Rule) -> ApiClient:
    """One application for all tests of this file: it keeps nothing that is not in the store."""
    return ApiClient(shared_store, rule.path.parent)


@pytest.fixture
def api(bench: Bench, client: ApiClient) -> ApiClient:
    return client


def get(api: ApiClient, path: str, **params: Any) -> Any:
    response = api.get(f"/api/v1/{path}", params=params)
    assert response.status_code == 200, response.text
    return response.json()


def post(api: ApiClient, path: str, status: int = 200, **body: Any) -> Any:
    response = api.post(f"/api/v1/{path}", json=body)
    assert response.status_code == status, response.text
    return response.json()


def said(answer: dict[str, Any]) -> str:
    return str(answer["detail"] if "detail" in answer else answer["error"]["message"])


def services(page: dict[str, Any]) -> list[str]:
    return [item["service"] for item in page["items"]]


def id_of(api: ApiClient, service: str) -> str:
    (item,) = get(api, "findings", service=service)["items"]
    return str(item["id"])


def test_a_request_that_is_sent_again_changes_nothing(api: ApiClient) -> None:
    one = f"findings/{id_of(api, 'web')}"
    for verb in ("comment", "acknowledge", "resolve", "reopen"):
        first = post(api, f"{one}/{verb}", who="ann", why="the pool", request_id=f"r-{verb}")
        assert first["changed"]
        again = post(api, f"{one}/{verb}", who="ann", why="the pool", request_id=f"r-{verb}")
        assert (again["changed"], again["events"]) == (False, first["events"])
    late = post(api, f"{one}/resolve", who="ann", why="the pool", request_id="r-resolve")
    assert (late["changed"], late["state"]) == (False, "reopened"), (
        "a late retry does not undo what came after"
    )
    actions = [event["action"] for event in get(api, f"{one}/history")["items"]]
    assert actions == ["opened", "commented", "acknowledged", "resolved", "reopened"]


def test_of_two_people_the_first_has_it_and_the_second_is_told(api: ApiClient) -> None:
    one = f"findings/{id_of(api, 'web')}"
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda who: post(api, f"{one}/acknowledge", who=who), "abcdefgh"))
    assert sum(answer["changed"] for answer in answers) == 1
    (winner,) = {answer["acknowledged_by"] for answer in answers}
    (event,) = [one for one in get(api, f"{one}/history")["items"] if one["action"] == "acknowledged"]
    assert event["who"] == winner
    refused = post(api, f"{one}/resolve", 409, who="bob", if_state="open")
    assert said(refused).startswith(
        f"Finding {one[9:]} is acknowledged, no longer open: acknowledged by {winner}"
    )
    assert post(api, f"{one}/resolve", who="bob", if_state="acknowledged")["acknowledged_by"] == ""


FILTERS: list[tuple[dict[str, str], list[str]]] = [
    ({"table": "orders"}, ["cron", "web", "worker"]),
    ({"table": "other"}, []),
    ({"identity": "ab" * 16}, ["cron", "web", "worker"]),
    ({"identity": "cd" * 16}, []),
    ({"application": "shop", "service": "worker"}, ["worker"]),
    ({"until": "2026-11-20T12:00:01Z"}, ["web", "worker"]),
    ({"until": "2026-11-20T12:00:00.5Z"}, ["web"]),
    ({"silenced": "false"}, ["cron", "web", "worker"]),
    ({"silenced": "true"}, []),
    ({"order": "opened_at"}, ["cron", "web", "worker"]),
    ({"incident": "nothing"}, []),
]


def test_more_filters(api: ApiClient) -> None:
    for filters, found in FILTERS:
        assert sorted(services(get(api, "findings", **filters))) == found, filters


def test_raw_identities_do_not_belong_into_urls(api: ApiClient) -> None:
    response = api.get("/api/v1/findings", params={"identity": "ann@example.com"})
    assert response.status_code == 400
    assert said(response.json()).startswith("identity takes a hash of 32 or 64 hexadecimal digits")


def test_whose_finding_it_is_by_evidence_too(bench: Bench, api: ApiClient) -> None:
    """A business number whose domain is plain, and somebody whom the work was bound to."""
    canonical = canonicalize("12345")
    bound = IdentityHasher(None).export("user", canonical)
    attributes = {
        "trueline.identity.values": json.dumps(["D-1042", "x"]),
        "trueline.identity.bound": json.dumps([f"user:{bound}"]),
    }
    row = {
        "finding_id": id_of(api, "web"),
        "item_id": "1",
        "kind": "span",
        "named": True,
        "attributes": attributes,
    }
    bench.store.insert("finding_evidence", {name: [value] for name, value in row.items()})
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({"identity": "D-1042", "plain": True}, ["web"]),
        ({"identity": "D-104", "plain": True}, []),
        ({"identity": bound}, ["web"]),
        ({"identity": canonical, "domain": "user"}, ["web"]),
        ({"identity": canonical, "domain": "tenant"}, []),
    ]
    for filters, found in cases:
        assert services(get(api, "findings", **filters)) == found, filters


def test_pages_hold_everything_once_while_findings_come_in(bench: Bench, api: ApiClient) -> None:
    for order in ("opened_at", "last_seen"):
        first = get(api, "findings", limit=2, order=order)
        bench.lose(service=f"late-{order}")
        bench.clock.forward(minutes=5)
        bench.tick()
        second = get(api, "findings", limit=2, order=order, cursor=first["next"])
        assert not set(services(first)) & set(services(second))
        assert {"cron", "web", "worker"} <= {*services(first), *services(second), "late-opened_at"}
    wrong = api.get("/api/v1/findings", params={"order": "opened_at", "cursor": first["next"]})
    assert (wrong.status_code, "with order=last_seen" in said(wrong.json())) == (400, True)


def test_findings_of_one_trace_are_one_incident(bench: Bench, api: ApiClient) -> None:
    incidents = get(api, "incidents")["items"]
    assert [sorted(one["services"]) for one in incidents] == [["cron"], ["web", "worker"]]
    pair = incidents[1]
    assert (pair["state"], pair["links"], len(pair["findings"])) == ("open", ["they share traces"], 2)
    assert services(get(api, "findings", incident=pair["id"])) == ["worker", "web"]
    bench.lose(service="queue", trace_id="aa" * 16)
    bench.clock.forward(minutes=5)
    bench.tick()
    detail = get(api, f"incidents/{pair['id']}")
    assert sorted(services(detail)) == ["queue", "web", "worker"], "and keeps its id"
    assert len(detail["events"]) == 3
    missing = api.get("/api/v1/incidents/nothing")
    assert (missing.status_code, said(missing.json())[:27]) == (404, "There is no incident 'nothi")


def test_two_incidents_that_are_one_are_merged_and_both_ids_lead_there(bench: Bench, api: ApiClient) -> None:
    cron, pair = (one["id"] for one in get(api, "incidents")["items"])
    bench.lose(service="cron", trace_id="aa" * 16)
    bench.clock.forward(minutes=5)
    bench.tick()
    (one,) = get(api, "incidents")["items"]
    (gone,) = {cron, pair} - {one["id"]}
    assert (one["merged"], len(one["findings"])) == ([gone], 3)
    assert get(api, f"incidents/{gone}")["id"] == one["id"]
    assert [event["merged"] for event in get(api, f"incidents/{gone}")["events"] if event["merged"]] == [gone]
    assert get(api, "incidents")["items"] == [one], "looking again merges nothing twice"


def test_incidents_by_state_and_page(api: ApiClient) -> None:
    post(api, f"findings/{id_of(api, 'cron')}/resolve", who="ann", why="mended")
    assert [one["services"] for one in get(api, "incidents", state="resolved")["items"]] == [["cron"]]
    first = get(api, "incidents", limit=1)
    second = get(api, "incidents", limit=1, cursor=first["next"])
    assert (first["items"] != second["items"], second["next"]) == (True, None)
    post(api, f"findings/{id_of(api, 'web')}/resolve", who="ann", why="mended")
    assert get(api, "incidents", limit=1, cursor=first["next"])["items"], "the place stays, whatever happens"
    wrong = api.get("/api/v1/incidents", params={"cursor": "nothing"})
    assert (wrong.status_code, said(wrong.json())[:13]) == (400, "cursor is not")


def matcher(label: str, value: str, op: str = "=") -> dict[str, str]:
    return {"label": label, "op": op, "value": value}


def new_silence(*matchers: dict[str, str], **fields: Any) -> dict[str, Any]:
    ends = (datetime.now(UTC) + HOUR).isoformat()
    return {"matchers": list(matchers), "ends_at": ends, "author": "ann", "reason": "moving", **fields}


def test_a_silence_marks_findings_and_hides_none(api: ApiClient) -> None:
    body = new_silence(matcher("service", "w.*", "=~"))
    preview = post(api, "silences/preview", **body)
    assert (preview["count"], sorted(services(preview))) == (2, ["web", "worker"])
    assert get(api, "silences")["items"] == [], "a preview makes nothing"
    made = post(api, "silences", 201, **body)
    assert (made["phase"], made["hides"]) == ("active", 2)
    assert len(get(api, "findings")["items"]) == 3
    assert sorted(services(get(api, "findings", silenced="true"))) == ["web", "worker"]
    assert services(get(api, "findings", silenced="false")) == ["cron"]
    assert get(api, f"findings/{id_of(api, 'web')}")["silenced_by"] == [made["id"]]
    ended = post(api, f"silences/{made['id']}/end", who="bob")
    assert ended["phase"] == "expired"
    assert [(event["action"], event["who"]) for event in ended["events"]] == [
        ("created", "ann"),
        ("ended", "bob"),
    ]
    assert post(api, f"silences/{made['id']}/end")["events"] == ended["events"]
    assert get(api, "findings", silenced="true")["items"] == []
    assert [one["id"] for one in get(api, "silences", phase="expired")["items"]] == [made["id"]], "it is kept"
    assert get(api, "silences", phase=["active", "pending"])["items"] == []


def test_a_silence_that_is_sent_again_is_not_made_twice(api: ApiClient) -> None:
    body = new_silence(matcher("rule", "lost_writes"), id="ops-42")
    assert post(api, "silences", 201, **body) == post(api, "silences", 201, **body)
    assert len(get(api, "silences")["items"]) == 1
    other = new_silence(matcher("rule", "other"), id="ops-42")
    assert "another silence 'ops-42'" in said(post(api, "silences", 409, **other))


def test_silences_come_in_pages(api: ApiClient) -> None:
    made = {post(api, "silences", 201, **new_silence(matcher("service", name)))["id"] for name in "abc"}
    first = get(api, "silences", limit=2)
    second = get(api, "silences", limit=2, cursor=first["next"])
    assert ({one["id"] for one in first["items"] + second["items"]}, second["next"]) == (made, None)
    for cursor in ("nothing", first["next"][:-4]):
        assert api.get("/api/v1/silences", params={"cursor": cursor}).status_code == 400


BAD_SILENCES = [
    (new_silence(), "needs 1 to 20 matchers"),
    (new_silence(matcher("colour", "red")), "There is no label 'colour'"),
    (new_silence(matcher("rule", "(", "=~")), "is no regular expression (RE2"),
    (new_silence(matcher("rule", "x"), ends_at="2020-01-01T00:00:00Z"), "over already"),
    (new_silence(matcher("rule", "x"), reason=" "), "needs its author and a reason"),
    (new_silence(matcher("rule", "x", "~")), "input should be '=', '!=', '=~' or '!~'"),
]


def test_a_silence_that_cannot_be_is_refused_in_a_sentence(api: ApiClient) -> None:
    for body, words in BAD_SILENCES:
        for path in ("silences", "silences/preview"):
            assert words in said(post(api, path, 422, **body))


def test_the_description_has_examples(api: ApiClient) -> None:
    schemas = get(api, "openapi.json")["components"]["schemas"]
    for name in ("FindingItem", "Note", "NewSilence"):
        assert schemas[name]["example"], name
    example = schemas["FindingItem"]["example"]
    missing = set(schemas["FindingItem"]["properties"]) - set(example)
    assert missing == {"since", "resolved_at", "resolved_by"}, "null: the description drops them"
