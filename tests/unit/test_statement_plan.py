"""The corpus of statements: kind, tables, identities and the rest, for each dialect it is valid in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from trueline.instrumentation.identity import Domain, IdentityConfig, IdentityExtractor, IdentityHasher
from trueline.instrumentation.statement import Plan, Planner

DIALECTS = {"p": "postgresql", "s": "sqlite", "m": "mysql"}
#: The kind that an operation has where an entry does not say it.
KINDS = {"SELECT": "read", **dict.fromkeys(["INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE"], "write")}
CORPUS: list[dict[str, Any]] = [
    {"kind": KINDS.get(entry["op"]), "ids": [], **entry}
    for file in sorted((Path(__file__).parent / "data" / "statements").glob("*.yaml"))
    for entry in yaml.safe_load(file.read_text(encoding="utf-8"))
]
CASES = [(DIALECTS[letter], entry) for entry in CORPUS for letter in entry["d"]]
#: Plain domains export the value itself, so that the corpus can say which value was found.
PLAIN = IdentityConfig(
    domains={name: Domain(plain=True) for name in ("user", "tenant", "message", "session", "email")},
    columns={r"userId": "user"},
)


def bind(parameters: Any, many: bool) -> Any:
    """YAML has lists where drivers take tuples."""
    if many and all(isinstance(row, list | dict) for row in parameters):
        return [tuple(row) if isinstance(row, list) else row for row in parameters]
    return tuple(parameters) if isinstance(parameters, list) else parameters


@pytest.mark.parametrize(("dialect", "entry"), CASES, ids=[f"{d}: {e['q'][:120]!r}" for d, e in CASES])
def test_plan_and_identities(dialect: str, entry: dict[str, Any]) -> None:
    plan = Planner(PLAIN).plan(entry["q"], dialect)
    assert (plan.kind, plan.operation, list(plan.tables)) == (entry["kind"], entry["op"], entry["tables"])
    extractor = IdentityExtractor(PLAIN, IdentityHasher("secret"))
    many = entry.get("many", False)
    parameters = bind(entry.get("a", ()), many)
    found = extractor.extract(plan, parameters, executemany=many)
    identities = [list(one) for one in zip(found.columns, found.clauses, found.values, strict=True)]
    assert sorted(identities) == sorted(entry["ids"])
    assert found.count == len(identities)
    assert plan.complete is entry.get("complete", True)
    check_optional(plan, entry)
    if "row" in entry:
        assert bool(extractor.row_key(plan, parameters)) is entry["row"]


def check_optional(plan: Plan, entry: dict[str, Any]) -> None:
    actual: dict[str, Any] = {
        "filters": sorted(plan.filters),
        "lock": plan.lock,
        "self": plan.self_update,
        "name": plan.control_name,
        "text": plan.text,
    }
    assert {key: value for key, value in actual.items() if key in entry} == {
        key: entry[key] for key in actual if key in entry
    }
    assert plan.on_conflict == entry.get("conflict", plan.on_conflict if plan.operation == "MERGE" else "")
    assert (plan.control or None) == entry.get("control")
    assert plan.lock == entry.get("lock", False)


def test_corpus_is_wide() -> None:
    assert len(CORPUS) >= 400
    assert len({entry["q"] for entry in CORPUS}) >= 400
    assert {entry["kind"] for entry in CORPUS} == {"read", "write", "ddl", "other"}
    assert all(sum(letter in entry["d"] for entry in CORPUS) >= 200 for letter in DIALECTS)
