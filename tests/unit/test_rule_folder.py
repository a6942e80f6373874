"""Rules on disk: seen when they change, overridden without a copy, not taken down by a bad neighbour."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from trueline.monitor.engine.ruleset import changes
from trueline.monitor.resources import rule_paths, shipped
from trueline.monitor.rule_folder import RuleFolder

MINIMAL = (Path(__file__).parents[1] / "data" / "rules" / "good" / "minimal.yaml").read_text(encoding="utf-8")
FULL = (Path(__file__).parents[1] / "data" / "rules" / "good" / "full.yaml").read_text(encoding="utf-8")


class Rules:
    """A folder of the user's, and what is seen of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.folder = RuleFolder([path])

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text, encoding="utf-8")

    @property
    def ids(self) -> list[str]:
        return [rule.id for rule in self.folder.refresh().rules]

    @property
    def problems(self) -> list[str]:
        return [str(problem).removeprefix(f"{self.path}/") for problem in self.folder.refresh().problems]


@pytest.fixture
def rules(tmp_path: Path) -> Rules:
    made = Rules(tmp_path / "rules")
    made.write("a.yaml", MINIMAL)
    return made


def other(rule_id: str) -> str:
    return MINIMAL.replace("id: lost_writes", f"id: {rule_id}")


def test_files_are_seen_when_they_come_change_and_go(rules: Rules) -> None:
    first = rules.folder.refresh()
    assert rules.folder.refresh() is first

    rules.write("b.yaml", other("more_writes"))
    second = rules.folder.refresh()
    assert changes(first.rules, second.rules).added == ("more_writes",)

    rules.write("b.yaml", other("more_writes").replace("default: 3", "default: 4"))
    third = rules.folder.refresh()
    assert changes(second.rules, third.rules).changed == ("more_writes",)

    rules.write("b.yaml", other("more_writes").replace("default: 3", "default: 4").replace("stop it", "stop"))
    fourth = rules.folder.refresh()
    assert changes(third.rules, fourth.rules).reworded == ("more_writes",)

    (rules.path / "b.yaml").unlink()
    assert changes(fourth.rules, rules.folder.refresh().rules).removed == ("more_writes",)


def test_a_change_within_one_tick_of_the_files_time_is_seen(rules: Rules) -> None:
    path = rules.path / "a.yaml"
    before, times = rules.folder.refresh(), path.stat()
    rules.write("a.yaml", MINIMAL.replace("default: 3", "default: 5"))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    assert changes(before.rules, rules.folder.refresh().rules).changed == ("lost_writes",)


@pytest.mark.parametrize("bad", ["", "id: [", "id: lost_writes\n", "override: nothing\n", "\x00"])
def test_a_file_that_goes_bad_leaves_its_last_good_version(rules: Rules, bad: str) -> None:
    before = rules.folder.refresh()
    rules.write("b.yaml", other("more_writes"))
    rules.write("a.yaml", bad)

    assert rules.ids == ["lost_writes", "more_writes"]
    assert rules.folder.refresh().rules[0] is before.rules[0]
    assert "a.yaml" in rules.problems[0]
    assert "(the version loaded before stays in force)" in rules.problems[0]

    rules.write("a.yaml", MINIMAL)
    assert rules.problems == []


def test_a_file_that_was_never_good_costs_itself_only(rules: Rules) -> None:
    rules.write("b.yaml", "id: [")
    assert rules.ids == ["lost_writes"]
    (problem,) = rules.problems
    assert problem.startswith("b.yaml:1:6: the file is not valid YAML: expected the node content")


def test_a_folder_that_is_away_for_a_while_keeps_its_rules(rules: Rules) -> None:
    rules.folder.refresh()
    rules.path.rename(rules.path.with_name("away"))

    assert rules.ids == ["lost_writes"]
    assert any("there is no such file or folder of rules" in one for one in rules.problems)

    rules.path.with_name("away").rename(rules.path)
    assert rules.problems == []
    assert rules.ids == ["lost_writes"]


def test_what_is_no_file_or_no_rule_is_left_alone(rules: Rules) -> None:
    os.mkfifo(rules.path / "pipe.yaml")
    (rules.path / "folder.yaml").mkdir()
    rules.write("notes.txt", "id: [")
    rules.write(".hidden.yaml", "id: [")
    rules.write("a.yaml~", "id: [")
    (rules.path / "gone.yaml").symlink_to(rules.path / "nowhere")
    (rules.path / "same.yaml").symlink_to(rules.path / "a.yaml")

    assert rules.ids == ["lost_writes"]
    assert rules.problems == [
        "gone.yaml:1:1: the file cannot be read: No such file or directory",
        "pipe.yaml:1:1: this is not a regular file",
    ]


def test_a_file_may_be_renamed(rules: Rules) -> None:
    before = rules.folder.refresh()
    (rules.path / "a.yaml").rename(rules.path / "z.yaml")
    after = rules.folder.refresh()

    assert after.problems == ()
    assert not changes(before.rules, after.rules)


# Overrides


def test_an_override_changes_what_it_names_and_nothing_else(rules: Rules) -> None:
    before = rules.folder.refresh().rules[0]
    rules.write(
        "mine.yaml",
        "override: lost_writes\nseverity: info\nparams: {least: 7}\nreason: we roll back a lot\n"
        "exceptions: [{match: {environment: qa}, reason: it is qa}]\n",
    )
    after = rules.folder.refresh().rules[0]

    assert after.parameters == {"least": 7}
    assert after.definition.severity == "info"
    assert [one.reason for one in after.definition.exceptions] == ["it is qa"]
    assert after.definition.query == before.definition.query
    assert after.revision != before.revision
    assert after.override_path == rules.path / "mine.yaml"
    (rules.path / "mine.yaml").unlink()
    assert rules.folder.refresh().rules[0].revision == before.revision


def test_severity_alone_rewords(rules: Rules) -> None:
    before = rules.folder.refresh()
    rules.write("mine.yaml", "override: lost_writes\nseverity: info\n")
    assert changes(before.rules, rules.folder.refresh().rules).reworded == ("lost_writes",)


def test_rules_are_switched_off_and_experimental_ones_on(rules: Rules) -> None:
    rules.write("b.yaml", FULL.replace("id: lost_writes", "id: experiment"))
    assert [rule.id for rule in rules.folder.refresh().enabled] == ["lost_writes"]

    rules.write("mine.yaml", "override: lost_writes\nenabled: false\n")
    rules.write("yours.yaml", "override: experiment\nenabled: true\n")
    assert [rule.id for rule in rules.folder.refresh().enabled] == ["experiment"]


def test_overrides_that_do_not_fit(rules: Rules) -> None:
    rules.write("1.yaml", "override: lost_write\nenabled: false\n")
    rules.write("2.yaml", "override: lost_writes\nparams: {lest: 5, least: five}\n")
    rules.write("3.yaml", "override: lost_writes\nenabled: false\n")
    rules.write("4.yaml", "override: other\nexceptions: [{match: {environmen: qa}, reason: x}]\n")
    rules.write("b.yaml", other("other"))

    without = " (the rule runs without it)"
    assert rules.problems == [
        "1.yaml:1:11: override: there is no rule 'lost_write'; did you mean lost_writes?",
        f"2.yaml:2:10: params.lest: rule lost_writes has no such parameter; did you mean least?{without}",
        "2.yaml:2:26: params.least: 'five' is not a whole number from 0 to 4294967295, as UInt32 is"
        + without,
        f"3.yaml:1:11: override: rule lost_writes is also overridden in {rules.path}/2.yaml; "
        "put both into one file",
        "4.yaml:2:23: exceptions.0.match.environmen: the query has no result column environmen; "
        "did you mean environment?" + without,
    ]
    assert rules.folder.refresh().rules[0].parameters == {"least": 3}


def test_an_override_that_goes_bad_stays_as_it_was(rules: Rules) -> None:
    rules.write("mine.yaml", "override: lost_writes\nparams: {least: 7}\n")
    rules.folder.refresh()
    for bad in ("override: lost_writes\nparams: {least: -7}\n", "override: lost_writes\nparam: {least: 9}\n"):
        rules.write("mine.yaml", bad)
        assert rules.folder.refresh().rules[0].parameters == {"least": 7}
        assert "stays in force" in rules.problems[0]


# The shipped rules beside the user's


def test_a_users_rules_come_beside_the_shipped_ones(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "a.yaml").write_text(MINIMAL)
    (mine / "b.yaml").write_text("override: env_split\nparams: {cutover_seconds: 60}\n")
    shutil.copy(shipped("rules") / "key_mismatch.yaml", mine / "c.yaml")

    loaded = RuleFolder(rule_paths([mine]), shipped("rules")).refresh()

    assert {"env_split", "key_mismatch", "lost_writes"} <= {rule.id for rule in loaded.rules}
    env_split = loaded.get("env_split")
    assert env_split is not None
    assert env_split.parameters["cutover_seconds"] == 60
    (problem,) = loaded.problems
    assert problem.path == mine / "c.yaml"
    assert "write a file with `override: key_mismatch`" in problem.message


def test_the_shipped_folder_may_be_named_once_more() -> None:
    assert RuleFolder(rule_paths([shipped("rules")]), shipped("rules")).refresh().problems == ()


def test_what_was_read_ahead_is_not_read_again() -> None:
    folder = RuleFolder(rule_paths(()), shipped("rules"))
    folder.read_ahead().join()
    ahead = folder.current
    assert (len(ahead.rules) >= 4, ahead.problems) == (True, ())
    assert folder.refresh() is ahead


def test_reading_ahead_leaves_problems_to_whoever_loads(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("id: [", encoding="utf-8")
    folder = RuleFolder([tmp_path, tmp_path / "nowhere"])
    thread = folder.read_ahead()
    thread.join(60)
    assert not thread.is_alive()
