"""trueline.yaml: what is read from it, what is said about mistakes, what editors are told."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trueline.instrumentation.declarations import document, model
from trueline.instrumentation.declarations.document import DeclarationsError
from trueline.instrumentation.declarations.json_schema import SCHEMA_FILE, render_schema
from trueline.instrumentation.declarations.reading import load, parse

ROOT = Path(__file__).parents[2]
BAD = yaml.safe_load((Path(__file__).parent / "data" / "declarations_bad.yaml").read_text())
GUIDE = (ROOT / "docs" / "guide" / "declarations.md").read_text()
(EXAMPLE,) = re.findall(r"^```yaml\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
SCHEMA = json.loads(render_schema())


def problems_of(text: str) -> list[str]:
    with pytest.raises(DeclarationsError) as caught:
        parse(text)
    return [f"{one.line}:{one.column}: {one.message}" for one in caught.value.problems]


@pytest.mark.parametrize("case", BAD, ids=lambda case: case["name"])
def test_every_mistake_is_told_with_its_place(case: dict[str, Any]) -> None:
    found = problems_of(case["text"])
    if "problems" in case:
        assert found == case["problems"]
    else:
        for problem, start in zip(found, case["problems_contain"], strict=True):
            assert problem.startswith(start)
    assert "s3cr3t" not in str(found)


def test_the_guides_example_is_read_whole() -> None:
    declared = parse(EXAMPLE)
    assert declared.application == "expenses"
    assert declared.domains == {
        "drop": model.DomainDeclaration(plain=True),
        "household": model.DomainDeclaration(),
    }
    assert declared.columns["expenses.owner_ref"] == model.ColumnDeclaration("user")
    assert declared.columns["budgets.user_id_hash"].encodings == ("sha256", "sha256/upper")
    assert declared.exclude == ("jobs.user_id",)
    assert declared.derivations == {"clerk_to_int": "expenses.ids:clerk_user_id_to_int"}
    assert declared.resolver == {"": "expenses.ids:raw_user"}
    assert declared.hmac_keys["archive"] == model.KeySource(file="/run/secrets/archive_hmac_key")
    assert declared.databases["archive"] == ("/archive",)
    assert declared.tables["exchange_rates"] == model.TableDeclaration("rates", ("other_system",))
    assert declared.lineage[0] == model.Lineage("expense_summaries", ("expenses", "budgets"), 300.0)
    assert declared.counterparts == (model.Counterpart("drops", "quality_checks", 1800.0, "drop"),)
    assert declared.budgets[1] == model.Budget("open_transaction", 2.0, service="web")
    assert declared.log_events[0] == model.LogEvent(
        "event_logged", "write_committed", "user", "user", "expenses"
    )
    assert declared.operations[1].roles == ("dry_run", "writes_sometimes")
    assert declared.moves[0].starts == datetime(2026, 11, 20, tzinfo=UTC)
    assert len(declared.content_hash) == 64
    # It is complete: every part of the format is in it.
    assert set(yaml.safe_load(EXAMPLE)) == set(SCHEMA["properties"])


def test_the_least_file_says_nothing() -> None:
    declared = parse("version: 1\ndomains:\ncolumns:\n")
    assert declared.columns == {}
    assert declared.lineage == ()


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("30s", 30.0), ("1.5m", 90.0), ("24h", 86400.0), ("7d", 604800.0)]
)
def test_durations_have_units(text: str, seconds: float) -> None:
    declared = parse(f"version: 1\nlineage: [{{derived: a, sources: b, within: {text}}}]")
    assert declared.lineage[0].within == seconds


def test_the_message_of_the_error_tells_the_first_and_how_many_more() -> None:
    with pytest.raises(DeclarationsError) as caught:
        parse("colums: 1\ncolumn: 2\n", "some/trueline.yaml")
    assert str(caught.value) == (
        "some/trueline.yaml:1:1: the field 'colums' is not known; did you mean columns? "
        "(and 2 more; see trueline declarations check)"
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe", "the file is not UTF-8 text"),
        (b"a" * (document.MAX_BYTES + 1), "the file is longer than 1048576 bytes"),
        (b"[" * 3000 + b"]" * 3000, "the file is nested too deeply"),
        (b"version: 1\x00", "the file is not valid YAML: it holds characters that YAML does not allow"),
    ],
    ids=["latin", "long", "deep", "nul"],
)
def test_files_that_are_none(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "trueline.yaml"
    path.write_bytes(content)
    with pytest.raises(DeclarationsError) as caught:
        load(path)
    assert re.sub(r":1:\d+:", ":1:1:", str(caught.value)) == f"{path}:1:1: {said}"
    with pytest.raises(DeclarationsError, match="this is not a file"):
        load(tmp_path)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "trueline.yaml"
    path.write_bytes(b"\xef\xbb\xbfversion: 1\n")
    assert load(path).version == "1"


#: Values that any part may hold in a file that somebody typed.
SCALARS = st.sampled_from(
    [None, True, 7, 0.5, "user", "a.b", "5m", "fn:x", "ü", "", "2026-11-20", "[", "a\nb"]
)
NAMES = st.sampled_from(["expenses", "domain", "sources", "within", "env", "encodings", "", "roles", 3])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@FEW
@given(st.dictionaries(st.sampled_from(sorted(SCHEMA["properties"])), VALUES, max_size=4))
def test_whatever_is_typed_gives_problems_and_no_other_error(content: dict[str, Any]) -> None:
    text = yaml.safe_dump({"version": 1, **content}, allow_unicode=True)
    problems: list[document.Problem] = []
    try:
        parse(text)
    except DeclarationsError as error:
        problems = error.problems
    assert all(one.line >= 1 and one.column >= 1 for one in problems)


@FEW
@given(st.text(max_size=60))
def test_any_text_gives_problems_and_no_other_error(text: str) -> None:
    with pytest.raises(DeclarationsError):
        parse(text)


# -- what editors are told -------------------------------------------------------------------------------


def test_the_published_schema_is_the_codes() -> None:
    assert (ROOT / SCHEMA_FILE).read_text() == render_schema()


def _as_json(text: str) -> Any:
    """As an editor's checker sees YAML: times and dates stay text."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith("timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    return yaml.load(text, Loader)


def test_the_schema_takes_the_example() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(_as_json(EXAMPLE), SCHEMA)
    jsonschema.validate({"version": 1}, SCHEMA)


#: What only reading finds: parts that contradict one another, and what is wrong with the text itself.
_ONLY_READ = (
    "unknown domain",
    "column pattern",
    "encodings that name nothing",
    "a key has one place",
    "databases",
    "lineage that contradicts itself",
    "a table is no counterpart of itself",
    "log events twice",
    "moves that contradict themselves",
    "moves",
    "name twice",
    "alias",
    "not yaml",
    "tab",
)


@pytest.mark.parametrize(
    "case", [case for case in BAD if case["name"] not in _ONLY_READ], ids=lambda case: case["name"]
)
def test_the_schema_refuses_what_reading_refuses(case: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(_as_json(case["text"]), SCHEMA)
