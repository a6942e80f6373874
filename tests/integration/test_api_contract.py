"""The API as a contract: stable JSON of every route, true examples, problem documents, never a 500."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.api_client import ApiClient
from support.api_story import ANN, BOB, CLEO, NOW, SECRET, tell
from support.engine_bench import empty_tables, schema_store, write_rule

from trueline.monitor.api.context import Context
from trueline.monitor.api.openapi import EXAMPLES, operation_name
from trueline.monitor.store.client import Store

#: Set it to write the examples and the document anew; then look at the difference.
REWRITE = bool(os.environ.get("REWRITE_GOLDEN"))
GOLDEN = Path(__file__).parents[1] / "data/openapi.json"
SINCE = "2026-11-13T12:00:00Z"


@pytest.fixture(scope="module")
def store(store_folder: Path) -> Iterator[Store]:
    with schema_store(store_folder, "test_api_contract") as store:
        empty_tables(store)
        tell(store)
        yield store


@pytest.fixture(scope="module")
def api(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiClient]:
    rules = tmp_path_factory.mktemp("rules")
    write_rule(rules)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Context, "now", lambda self: NOW)
        yield ApiClient(store, rules, hash_secret=SECRET)


@pytest.fixture(scope="module")
def document(api: ApiClient) -> dict[str, Any]:
    found: dict[str, Any] = api.get("/api/v1/openapi.json").json()
    return found


CALLS: list[tuple[str, str, str, Any]] = [
    ("POST", "/api/v1/diagnose", "/api/v1/diagnose", {"identity": 12345, "since": SINCE}),
    ("GET", "/api/v1/identities/{hash}", f"/api/v1/identities/{ANN}?since={SINCE}", None),
    ("POST", "/api/v1/identities/lookup", "/api/v1/identities/lookup", {"identity": "67890", "since": SINCE}),
    ("GET", "/api/v1/traces/{trace_id}", f"/api/v1/traces/{'c' * 32}", None),
    ("GET", "/api/v1/traces/{trace_id}/timeline", f"/api/v1/traces/{'c' * 32}/timeline", None),
    ("GET", "/api/v1/databases", "/api/v1/databases?environment=production", None),
]


def ask(api: ApiClient, method: str, path: str, body: Any) -> Any:
    response = api.get(path) if method == "GET" else api.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize(
    ("method", "route", "path", "body"), CALLS, ids=[call[0] + call[1] for call in CALLS]
)
def test_answers_are_as_the_examples_say(
    api: ApiClient, method: str, route: str, path: str, body: Any
) -> None:
    answer = ask(api, method, path, body)
    again = ask(api, method, path, body)
    file = EXAMPLES / f"{operation_name(method, route)}.json"
    shown: dict[str, Any] = {"response": answer}
    if body is not None:
        shown = {"request": body, **shown}
    text = json.dumps(shown, indent=1) + "\n"
    if REWRITE:
        EXAMPLES.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")

    # As text: the order of fields is part of what scripts and people rely on.
    assert file.read_text(encoding="utf-8") == text
    assert json.dumps(again) == json.dumps(answer)


def test_the_document_is_the_golden_one(document: dict[str, Any]) -> None:
    kept = json.loads(json.dumps(document))
    kept["info"]["version"] = "any"
    text = json.dumps(kept, indent=1, sort_keys=True) + "\n"
    if REWRITE:
        GOLDEN.write_text(text, encoding="utf-8")

    assert GOLDEN.read_text(encoding="utf-8") == text


def test_every_refusal_in_the_document_is_a_problem(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], path
            for status, response in operation["responses"].items():
                if not status.startswith("2"):
                    assert list(response["content"]) == ["application/problem+json"], (method, path, status)
    assert "HTTPValidationError" not in document["components"]["schemas"]


@pytest.mark.parametrize(
    ("who", "verdict", "said"),
    [
        (12345, "environment", "main (postgresql://db/main) by web 1.4, but worker 1.5 reads it from old"),
        ("67890", "commit", "the AI call failed with httpx.ReadTimeout"),
        ("24680", "healthy", "worker 1.5 reads expenses after the last write (1 row)"),
        ("nobody", "cannot_tell", "No statement touched this identity"),
    ],
)
def test_diagnosis_from_the_store(api: ApiClient, who: Any, verdict: str, said: str) -> None:
    answer = ask(api, "POST", "/api/v1/diagnose", {"identity": who, "since": SINCE})

    assert (answer["verdict"], said in answer["sentence"]) == (verdict, True), answer["sentence"]


def test_every_way_to_name_somebody_is_the_same(api: ApiClient) -> None:
    by_value = ask(api, "POST", "/api/v1/diagnose", {"identity": "67890", "since": SINCE})
    by_hash = ask(api, "POST", "/api/v1/diagnose", {"hash": BOB, "since": SINCE})

    assert by_value == by_hash
    assert "67890" not in json.dumps(by_value)


def test_a_service_speaks_with_its_worst_verdict(api: ApiClient) -> None:
    answer = ask(api, "POST", "/api/v1/diagnose", {"service": "web", "since": SINCE})

    assert answer["verdict"] == "commit"
    assert answer["verdicts"] == {"commit": 1, "environment": 1, "healthy": 1}
    assert answer["sentence"].endswith("So it is for 1 of the 3 identities that web touched last.")
    nobody = ask(api, "POST", "/api/v1/diagnose", {"service": "nobody", "since": SINCE})
    assert nobody["verdict"] == "cannot_tell"


def test_progress_of_those_who_try_again(api: ApiClient) -> None:
    steps = {
        who: [(step["id"], step["status"]) for step in answer["progress"]]
        for who in (ANN, BOB, CLEO)
        if (answer := ask(api, "POST", "/api/v1/diagnose", {"hash": who, "since": SINCE}))
    }

    assert steps[CLEO] == [("written", "ok"), ("committed", "ok"), ("read back", "ok"), ("equal", "ok")]
    assert steps[ANN] == [("written", "ok"), ("committed", "ok"), ("read back", "ok"), ("equal", "fault")]
    assert steps[BOB] == [
        ("written", "ok"),
        ("committed", "fault"),
        ("read back", "unknown"),
        ("equal", "unknown"),
    ]
    later = ask(api, "POST", "/api/v1/diagnose", {"hash": CLEO, "since": "2026-11-20T11:59:30Z"})
    assert not later["done"]
    assert {step["status"] for step in later["progress"]} == {"unknown"}


def test_a_timeline_shows_the_transaction_around_the_ai_call(api: ApiClient) -> None:
    answer = ask(api, "GET", f"/api/v1/traces/{'c' * 32}/timeline", None)
    steps = [(step["kind"], step["phase"], step["within"]) for step in answer["steps"]]

    assert steps == [
        ("entry", "begins", 0),
        ("transaction", "begins", 0),
        ("statement", "", 1),
        ("ai", "", 1),
        ("transaction", "ends", 0),
        ("log", "", 0),
        ("entry", "ends", 0),
    ]
    assert "while the transaction is open" in answer["steps"][3]["text"]
    assert answer["steps"][2]["outcome"] == "rolled_back"
    assert "by httpx.ReadTimeout out of the AI call" in answer["traces"][0]["sentence"]


def test_databases_behind_one_variable_are_pointed_out(api: ApiClient) -> None:
    answer = ask(api, "GET", "/api/v1/databases", None)

    (note,) = answer["notes"]
    assert note["kind"] == "one_variable_two_databases"
    assert set(note["databases"]) == {"aa" * 8, "bb" * 8}
    first = ask(api, "GET", "/api/v1/databases?limit=2", None)
    second = ask(api, "GET", f"/api/v1/databases?limit=2&cursor={first['next']}", None)
    assert first["items"] + second["items"] == answer["items"]
    assert second["next"] is None


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/api/v1/identities/12345", None, 400, "This takes hashes only"),
        (f"/api/v1/identities/{ANN}?since=never", None, 400, "since='never' is neither a time"),
        (f"/api/v1/identities/{ANN}?since=1d&until=2d", None, 400, "until is not after since"),
        (f"/api/v1/identities/{ANN}?since=1999-01-01", None, 400, "since is 1999-01-01"),
        (f"/api/v1/identities/{ANN}?since=200d", None, 400, "That is more than 90 days"),
        ("/api/v1/diagnose", {}, 422, "Give exactly one of identity"),
        ("/api/v1/diagnose", {"identity": 1, "service": "web"}, 422, "Give exactly one of identity"),
        ("/api/v1/diagnose", {"identity": "1", "x": 1}, 422, "x: extra inputs are not permitted"),
        ("/api/v1/diagnose", {"hash": "12345"}, 400, "This takes hashes only"),
        ("/api/v1/databases?cursor=bm90aGluZw", None, 400, "cursor is not one that this API gave"),
        ("/api/v1/findings/x/timeline", None, 404, "There is no finding 'x'"),
    ],
)
def test_what_is_refused(api: ApiClient, path: str, body: Any, status: int, said: str) -> None:
    response = api.get(path) if body is None else api.post(path, json=body)

    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["detail"].startswith(said), problem["detail"]
    assert list(problem)[:5] == ["type", "title", "status", "detail", "instance"]
    assert "?" not in problem["instance"]


TEXT = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            "",
            "0",
            "-1",
            "1e9",
            "24h",
            "9999999999999d",
            "0001-01-01",
            "9999-12-31T23:59:59Z",
            "\x00",
            "a" * 5000,
            ANN,
            "c" * 32,
            "' OR 1=1 --",
            "{x:String}",
            "NaN",
            "../..",
            "%00",
            "\ud800",
        ]
    ),
)
VALUE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXT),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def _never_500(api: ApiClient, document: dict[str, Any], data: st.DataObject) -> None:
    path, method = data.draw(
        st.sampled_from([(path, method) for path, all_ in document["paths"].items() for method in all_])
    )
    operation = document["paths"][path][method]
    query = []
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "path":
            text = data.draw(TEXT).encode("utf-8", "surrogatepass")
            path = path.replace(f"{{{parameter['name']}}}", quote(text, safe="") or "x")
        elif data.draw(st.booleans()):
            text = data.draw(TEXT).encode("utf-8", "surrogatepass")
            query.append(f"{parameter['name']}={quote(text, safe='')}")
    where = path + ("?" + "&".join(query) if query else "")
    if method == "get":
        response = api.get(where)
    else:
        schema = (
            operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        )
        name = schema.get("$ref", "").rpartition("/")[2]
        known = list(document["components"]["schemas"].get(name, {}).get("properties", {})) or ["x"]
        body = data.draw(st.one_of(VALUE, st.dictionaries(st.sampled_from(known), VALUE, max_size=4)))
        response = api.send(method, where, json.dumps(body).encode())
    assert response.status_code < 500, (method, where, response.text)
    if response.status_code >= 400:
        assert response.headers["content-type"] == "application/problem+json", (where, response.text)
        assert response.json()["detail"]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_no_input_makes_a_500(api: ApiClient, document: dict[str, Any], data: st.DataObject) -> None:
    _never_500(api, document, data)


@pytest.mark.nightly
@settings(max_examples=3000, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_input_makes_a_500_for_long(api: ApiClient, document: dict[str, Any], data: st.DataObject) -> None:
    _never_500(api, document, data)


def test_an_error_of_our_own_is_a_problem_too(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("12345 is somebody's")

    monkeypatch.setattr(Store, "query_read_only", fail)
    response = api.get("/api/v1/databases")

    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert "12345" not in response.text
