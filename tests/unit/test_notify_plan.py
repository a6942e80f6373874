"""What is told when, and in which words: Alertmanager's two formats, pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.findings import NOON, make_finding

from trueline.monitor.engine.finding import Finding, State
from trueline.monitor.engine.incident import group
from trueline.monitor.errors import SettingsError
from trueline.monitor.notify.messages import LASTS, MAX_ALERTS, Told, alertmanager_alerts, webhook_message
from trueline.monitor.notify.plan import Line, View, alert_lines, alerts, groups
from trueline.monitor.notify.targets import Target, load_targets, masked

HOOK = Target(name="hook", type="webhook", urls=["https://example.com/secret"])
MANAGER = Target(name="am", type="alertmanager", urls=["https://am.example.com"])
LATER = NOON + timedelta(minutes=1)
SECOND = timedelta(seconds=1)


def find(number: int = 0, **fields: Any) -> Finding:
    fields.setdefault("opened_at", NOON + timedelta(milliseconds=number))
    fields.setdefault("trace_ids", ("t",))
    return make_finding(group={"n": number}, **fields)


def view(*findings: Finding, silenced: tuple[Finding, ...] = (), known: dict[str, str] | None = None) -> View:
    return View(group(findings, known or {}), frozenset(one.id for one in silenced))


def resolved(finding: Finding, at: datetime = LATER) -> Finding:
    return replace(finding, state=State.RESOLVED, resolved_at=at)


class Book:
    """The outbox of one target, in memory, and a target that takes everything."""

    def __init__(self, target: Target = HOOK) -> None:
        self.target = target
        self.lines: dict[str, Line] = {}

    def tell(self, seen: View, now: datetime = LATER) -> list[tuple[str, list[bool]]]:
        """Status of each message and whether each of its alerts goes on."""
        said = []
        for one in groups(self.target, seen, self.lines, now):
            self.lines[one.key] = one.line(now, "sent")
            said.append((self.lines[one.key].status, [told.resolved_at is None for told in one.told]))
        return said


def test_the_same_group_is_never_told_twice_in_a_row_without_change() -> None:
    book, one = Book(), find()
    assert book.tell(view(one)) == [("firing", [True])]
    assert book.tell(view(one)) == []
    more = replace(one, count=99, last_seen=LATER, state=State.ACKNOWLEDGED)
    assert book.tell(view(more)) == [], "more of the same, and somebody who has taken it on, are no news"
    worse = replace(one, severity="critical")
    assert book.tell(view(worse)) == [("firing", [True])]
    two = find(1)
    assert book.tell(view(worse, two)) == [("firing", [True, True])]
    assert book.tell(view(worse, resolved(two))) == [("firing", [True, False])]
    assert book.tell(view(worse, resolved(two))) == []
    assert book.tell(view(resolved(worse), resolved(two))) == [("resolved", [False])]
    assert book.tell(view(resolved(worse), resolved(two))) == []
    again = replace(worse, state=State.REOPENED)
    assert book.tell(view(again, resolved(two))) == [("firing", [True])]


def test_what_was_over_before_anybody_was_told_is_not_told() -> None:
    assert Book().tell(view(resolved(find()))) == []


def test_findings_of_one_incident_wait_for_each_other_a_moment() -> None:
    book, one = Book(), find(opened_at=NOON)
    assert book.tell(view(one), NOON + 4 * SECOND) == []
    two = find(1, opened_at=NOON + 4 * SECOND)
    assert book.tell(view(one, two), NOON + 5 * SECOND) == [("firing", [True, True])]


def test_a_message_that_may_not_have_arrived_is_told_again() -> None:
    book, one = Book(), find()
    (first,) = groups(HOOK, view(one), {}, LATER)
    book.lines[first.key] = first.line(LATER, "pending")
    assert [told.told for told in groups(HOOK, view(one), book.lines, LATER)] == [first.told]
    assert book.tell(view(resolved(one))) == [("resolved", [False])], "opened and over while nobody listened"
    refused = {first.key: first.line(LATER, "refused")}
    assert groups(HOOK, view(one), refused, LATER) == [], "the same would be refused again"


def test_a_pending_message_keeps_what_the_target_knew_before() -> None:
    book, one, two = Book(), find(), find(1)
    book.tell(view(one, two))
    (due,) = groups(HOOK, view(one, resolved(two)), book.lines, LATER)
    (key,) = book.lines
    book.lines[key] = due.line(LATER, "pending", before=book.lines[key])
    assert book.tell(view(one, resolved(two))) == [("firing", [True, False])], "told of the end all the same"


def test_silences() -> None:
    book, one, two = Book(), find(), find(1)
    assert book.tell(view(one, silenced=(one,))) == []
    assert book.tell(view(one)) == [("firing", [True])], "the silence is over"
    assert book.tell(view(one, two, silenced=(one, two))) == [], "a silence that begins says nothing"
    assert book.tell(view(resolved(one), two, silenced=(two,))) == [("resolved", [False])]


def test_only_what_a_target_wants() -> None:
    critical = HOOK.model_copy(update={"severities": ["critical"]})
    staging = HOOK.model_copy(update={"environments": ["staging"]})
    for target in (critical, staging):
        assert Book(target).tell(view(find())) == []
    assert Book(critical).tell(view(find(severity="critical"))) == [("firing", [True])]


def test_an_incident_that_was_merged_ends_for_those_who_knew_it() -> None:
    book = Book()
    old, young = find(opened_at=NOON - timedelta(hours=1)), replace(find(1), trace_ids=("u",))
    known = {old.id: "old", young.id: "young"}
    book.tell(view(old, young, known=known))
    assert set(book.lines) == {"old", "young"}
    bridge = replace(find(2), trace_ids=("t", "u"))
    said = book.tell(view(old, young, bridge, known=known))
    assert said == [("firing", [True, True, True]), ("resolved", [False])]
    assert book.tell(view(old, young, bridge, known=known)) == []


def test_alertmanager_is_told_again_what_goes_on_and_for_a_while_what_ended() -> None:
    one, two = find(), find(1)
    lines: dict[str, Line] = {}

    def tell(seen: View, now: datetime) -> list[tuple[str, datetime]]:
        told = alerts(MANAGER, seen, lines, now)
        lines.update({line.key: line for line in alert_lines(told, lines, now, "sent")})
        made = alertmanager_alerts(told, now, "https://trueline.example.com")
        ends = {item["labels"]["finding"]: datetime.fromisoformat(item["endsAt"]) for item in made}
        return sorted((one, ends[one]) for one in ends)

    both = sorted((item.id, LATER + LASTS) for item in (one, two))
    assert tell(view(one, two), LATER) == both
    assert tell(view(one, two), LATER + LASTS / 4) == [(item, end + LASTS / 4) for item, end in both]
    ended = resolved(one, LATER + timedelta(minutes=2))
    now = LATER + timedelta(minutes=3)
    for _ in range(3):
        assert dict(tell(view(ended, two), now)) == {one.id: ended.resolved_at, two.id: now + LASTS}
        now += timedelta(minutes=4)
    assert dict(tell(view(ended, two), now + timedelta(minutes=15))).keys() == {two.id}
    assert alerts(MANAGER, view(resolved(find(9))), {}, now) == [], "what nobody was told of needs no end"


def test_the_alerts_api_of_alertmanager() -> None:
    finding = find(
        facts={"written_table": "orders"}, services=("web", "worker"), trace_ids=("a", "b", "c", "d")
    )
    (made,) = alertmanager_alerts([Told(finding, "i1", None)], LATER, "https://t.example.com")
    assert made == {
        "labels": {
            "alertname": "lost_writes",
            "severity": "error",
            "finding": finding.id,
            "environment": "production",
            "application": "shop",
            "table": "orders",
        },
        "annotations": {
            "summary": "web lost a write",
            "description": "it rolls back",
            "runbook": "stop it",
            "incident": "i1",
            "count": "1",
            "trace_ids": "a b c",
            "command": f"trueline findings show {finding.id}",
        },
        "startsAt": "2026-11-20T12:00:00.000Z",
        "endsAt": "2026-11-20T12:05:00.000Z",
        "generatorURL": f"https://t.example.com/api/v1/findings/{finding.id}",
    }
    later = replace(finding, count=7, last_seen=LATER, services=("worker", "web"), versions=("2",))
    (again,) = alertmanager_alerts([Told(later, "i1", None)], LATER, None)
    assert again["labels"] == made["labels"], "labels are the identity: nothing in them may change"
    assert all(isinstance(value, str) for value in made["labels"].values())


def test_the_webhook_format_version_4() -> None:
    one, two = find(), find(1, severity="critical")
    told = [Told(one, "i1", None), Told(two, "i1", LATER)]
    made = webhook_message("i1", told, "hook", "https://t.example.com")
    assert {
        name: made[name] for name in made if name not in ("alerts", "commonLabels", "commonAnnotations")
    } == {
        "version": "4",
        "groupKey": '{}:{incident="i1"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "hook",
        "groupLabels": {"incident": "i1"},
        "externalURL": "https://t.example.com",
    }
    assert [(alert["status"], alert["endsAt"]) for alert in made["alerts"]] == [
        ("firing", "0001-01-01T00:00:00Z"),
        ("resolved", "2026-11-20T12:01:00.000Z"),
    ]
    assert made["alerts"][0].keys() == {
        "status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint"
    }  # fmt: skip
    assert made["commonLabels"]["alertname"] == "lost_writes"
    assert "severity" not in made["commonLabels"]
    many = [Told(find(number), "i1", None) for number in range(MAX_ALERTS + 7)]
    cut = webhook_message("i1", many, "hook", None)
    assert (len(cut["alerts"]), cut["truncatedAlerts"]) == (MAX_ALERTS, 7)


def write(folder: Path, text: str) -> Path:
    path = folder / "notify.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_no_file_means_that_nobody_is_told() -> None:
    assert load_targets(None) == ()


def test_secrets_come_from_the_environment_or_files_and_are_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("t0ken\n")
    path = write(
        tmp_path,
        f"targets: [{{name: hook, type: webhook, url_env: HOOK_URL, token_file: {tmp_path / 'token'}}}]",
    )
    (target,) = load_targets(path)
    with pytest.raises(SettingsError, match="Target hook: the variable HOOK_URL with its url is not set"):
        target.addresses()
    monkeypatch.setenv("HOOK_URL", "https://hooks.example.com/services/s3cret")
    assert (target.addresses(), target.token()) == (["https://hooks.example.com/services/s3cret"], "t0ken")
    assert masked(target.addresses()[0]) == "https://hooks.example.com/..."
    assert "t0ken" not in repr(target)
    (tmp_path / "token").unlink()
    with pytest.raises(SettingsError, match="token cannot be read"):
        target.token()
    monkeypatch.setenv("HOOK_URL", "ftp://s3cret")
    with pytest.raises(SettingsError) as refused:
        target.addresses()
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("targets: [", "the file is not valid YAML"),
        ("nothing: 1", "targets: field required"),
        ("targets: [{name: a, type: pager, urls: ['https://a']}]", "targets.0.type: input should be"),
        ("targets: [{name: a, type: webhook}]", "give exactly one of urls, url_env and url_file"),
        ("targets: [{name: a, type: webhook, urls: ['file:///x']}]", "must be http://host or https://host"),
        ("targets: [{name: a, type: webhook, urls: ['https://u:s3cret@a']}]", "it holds credentials"),
        ("targets: [{name: a, type: webhook, urls: ['https://a'], token: x}]", "extra inputs"),
        (
            "targets: [{name: a, type: webhook, urls: ['https://a']}, "
            "{name: a, type: webhook, urls: ['https://b']}]",
            "two targets are called a",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_said_in_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_targets(write(tmp_path, text))
    assert said.lower() in str(refused.value).lower()
    assert "s3cret" not in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
