"""Rule files: good ones load; each bad one is refused with file, line, column and a way out."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest
import yaml

from trueline.monitor.engine.load import RuleFileError, load_rule, load_rules
from trueline.monitor.engine.rule import parse_duration
from trueline.monitor.engine.rule_file import parse
from trueline.monitor.engine.rule_reference import REFERENCE_FILE, render_reference
from trueline.monitor.engine.rule_schema import SCHEMA_FILE, render_schema
from trueline.monitor.resources import shipped

DATA = Path(__file__).parents[1] / "data" / "rules"
GOOD = sorted((DATA / "good").glob("*.yaml"))
BAD = sorted((DATA / "bad").glob("*.yaml"))
SHIPPED = sorted(shipped("rules").glob("*.yaml"))
REPOSITORY = Path(__file__).parents[2]


def text_and_problems(path: Path) -> tuple[str, list[str]]:
    """A bad file's text, and the problems that the comments at its head expect, as they are told."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    expected = [line.removeprefix("# expect ").rstrip("\n") for line in lines if line.startswith("# expect ")]
    return "".join(line for line in lines if not line.startswith("# expect ")), expected


@pytest.mark.parametrize("path", GOOD + SHIPPED, ids=lambda path: path.name)
def test_good_files_load(path: Path) -> None:
    rule = load_rule(path)
    assert rule.query.tables
    assert len(rule.revision) == 12


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.name)
def test_bad_files_are_refused_with_all_that_is_wrong_and_where(path: Path) -> None:
    text, expected = text_and_problems(path)
    with pytest.raises(RuleFileError) as refused:
        parse(path, text)
    assert [f"{one.line}:{one.column}: {one.message}" for one in refused.value.problems] == expected
    assert str(refused.value).startswith(f"{path}:")


def test_a_trigger_is_fenced_like_the_query(tmp_path: Path) -> None:
    text = (DATA / "good" / "minimal.yaml").read_text(encoding="utf-8")
    path = tmp_path / "rule.yaml"
    for trigger, said in [
        ("SELECT 1 FROM system.one", r"13:24: trigger: system\.one names a database"),
        (
            "SELECT 1 FROM entries WHERE http_status > {most:UInt32}",
            "trigger: parameter most is not in params",
        ),
    ]:
        path.write_text(text.replace("query: |", f"trigger: |\n  {trigger}\nquery: |"), encoding="utf-8")
        with pytest.raises(RuleFileError, match=said):
            load_rule(path)


def test_an_empty_file_is_no_rule(tmp_path: Path) -> None:
    empty = tmp_path / "empty.yaml"
    empty.touch()
    with pytest.raises(RuleFileError, match=r"empty\.yaml:1:1: a rule file is a mapping of fields, not this"):
        load_rule(empty)


def test_a_bad_file_does_not_take_the_others_down() -> None:
    loaded = load_rules([DATA / "bad" / "typo.yaml", DATA / "good" / "minimal.yaml"])
    assert [rule.id for rule in loaded.rules] == ["lost_writes"]
    assert {problem.path.name for problem in loaded.problems} == {"typo.yaml"}


def test_an_id_is_given_once() -> None:
    loaded = load_rules([DATA / "good" / "minimal.yaml", DATA / "good" / "full.yaml"])
    assert len(loaded.rules) == 1
    assert f"rule lost_writes is also in {DATA / 'good' / 'minimal.yaml'}" in str(loaded.problems[0])


def test_a_missing_or_unreadable_path_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    loaded = load_rules([tmp_path / "nowhere", tmp_path])
    assert [problem.message for problem in loaded.problems] == [
        "there is no such file or folder of rules",
        "the file is not UTF-8 text",
    ]


def test_a_yaml_bomb_is_no_crash(tmp_path: Path) -> None:
    deep = tmp_path / "deep.yaml"
    deep.write_text("id: " + "[" * 1_200, encoding="utf-8")
    with pytest.raises(RuleFileError):
        load_rule(deep)


def test_the_revision_follows_meaning_and_not_words(tmp_path: Path) -> None:
    text = (DATA / "good" / "minimal.yaml").read_text(encoding="utf-8")

    def revision(old: str, new: str) -> str:
        path = tmp_path / "rule.yaml"
        path.write_text(text.replace(old, new), encoding="utf-8")
        return load_rule(path).revision

    same = revision("", "")
    assert revision("stop it", "stop it now") == same
    assert revision("title: Writes", "title: All writes") == same
    assert len({same, revision("default: 3", "default: 4"), revision("lookback: 1h", "lookback: 2h")}) == 3


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("1.5s", 1.5), ("5m", 300), ("24h", 86400), ("7d", 604800)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "5 m", "m", "-5m", "5w", "1h30m", 5, None, True])
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


def test_the_published_reference_is_the_one_of_the_rules() -> None:
    published = (REPOSITORY / REFERENCE_FILE).read_text(encoding="utf-8")
    rules = load_rules([shipped("rules")]).rules
    assert published == render_reference(rules), "run: python -m trueline.monitor.engine.rule_reference"


def test_the_published_schema_is_the_one_of_the_code() -> None:
    published = (REPOSITORY / SCHEMA_FILE).read_text(encoding="utf-8")
    assert published == render_schema(), "run: python -m trueline.monitor.engine.rule_schema"


def test_the_published_schema_agrees_with_the_loader() -> None:
    validator = jsonschema.Draft202012Validator(json.loads(render_schema()))
    for path in GOOD + SHIPPED:
        # Editors read YAML's dates as text.
        as_json = json.dumps(yaml.safe_load(path.read_text(encoding="utf-8")), default=str)
        validator.validate(json.loads(as_json))
    for name in ("typo", "nested-typo", "severity", "duration", "list", "exception-matcher"):
        assert not validator.is_valid(
            yaml.safe_load((DATA / "bad" / f"{name}.yaml").read_text(encoding="utf-8"))
        )


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_rules_keep_house_rules(path: Path) -> None:
    definition = load_rule(path).definition
    assert definition.id == path.stem
    assert definition.needs.tables
    assert definition.needs.attributes
    assert definition.why and definition.decides and definition.origins
    assert definition.false_positives, "what looks alike and is well"
    silent = [test for test in definition.tests if not test.expect]
    assert silent, "a rule is tested on what must stay silent"
    assert len(silent) < len(definition.tests)
    if definition.status == "stable" and definition.absence == "none":
        assert definition.interval + definition.delay <= timedelta(seconds=4), "found within five seconds"
