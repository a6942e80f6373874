"""Which findings a silence covers, and which silences cannot be."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta

import pytest
from support.findings import NOON, make_finding

from trueline.monitor.engine.labels import COMMON
from trueline.monitor.engine.silence import (
    Matcher,
    Op,
    Phase,
    Silence,
    SilenceError,
    end,
    make,
    parse_matcher,
    silenced_by,
)

FINDING = make_finding(
    services=("web", "worker"),
    group={"table": "expenses", "constraint": "one_per_day"},
    facts={"some_identities": ["user abc", "user def"]},
)


def silence(*matchers: str, **fields: object) -> Silence:
    made = Silence(
        id="s1",
        matchers=tuple(parse_matcher(text) for text in matchers),
        starts_at=NOON,
        ends_at=NOON + timedelta(hours=1),
        author="ann",
        reason="known",
        created_at=NOON,
    )
    return replace(made, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("matchers", "covered"),
    [
        (["rule=lost_writes"], True),
        (["rule=other"], False),
        (["service=worker"], True),
        (["service!=worker"], False),
        (["service!=cron"], True),
        (["table=~exp.*", "severity=error"], True),
        (["table=~exp.*", "severity=critical"], False),
        (["table=~exp"], False),
        (["table!~exp.*"], False),
        (["identity=def"], True),
        (["identity=xyz"], False),
        (["environment=production", "constraint=one_per_day"], True),
        (["column="], True),
        (["column!="], False),
    ],
)
def test_matchers(matchers: list[str], covered: bool) -> None:
    assert silence(*matchers).covers(FINDING) is covered


def test_a_silence_holds_from_its_start_until_before_its_end() -> None:
    one = silence("rule=lost_writes", starts_at=NOON + timedelta(minutes=1))
    phases = [one.phase(NOON + timedelta(minutes=minutes)) for minutes in (0, 1, 59, 60)]
    assert phases == [Phase.PENDING, Phase.ACTIVE, Phase.ACTIVE, Phase.EXPIRED]
    assert silenced_by(FINDING, [one], NOON) == []
    assert silenced_by(FINDING, [one], NOON + timedelta(minutes=1)) == ["s1"]
    assert silenced_by(make_finding(rule="other"), [one], NOON + timedelta(minutes=1)) == []


def test_a_silence_ends_once() -> None:
    one = silence("rule=lost_writes")
    ended = end(one, NOON + timedelta(minutes=5))
    assert ended.phase(NOON + timedelta(minutes=5)) is Phase.EXPIRED
    assert end(ended, NOON + timedelta(minutes=9)) == ended
    later = end(silence("rule=lost_writes", starts_at=NOON + timedelta(minutes=10)), NOON)
    assert later.phase(NOON + timedelta(minutes=11)) is Phase.EXPIRED


@pytest.mark.parametrize(
    ("text", "matcher"),
    [
        ("service=web", Matcher("service", Op.EQUAL, "web")),
        ("service!=web", Matcher("service", Op.NOT_EQUAL, "web")),
        ("table=~a|b", Matcher("table", Op.MATCHES, "a|b")),
        ("table!~a=b", Matcher("table", Op.NOT_MATCHES, "a=b")),
        ("table=a!=b", Matcher("table", Op.EQUAL, "a!=b")),
    ],
)
def test_matchers_are_read(text: str, matcher: Matcher) -> None:
    assert parse_matcher(text) == matcher
    assert str(matcher) == text


@pytest.mark.parametrize("text", ["", "service", "=web", "service!", "service!web"])
def test_what_is_no_matcher_is_said(text: str) -> None:
    with pytest.raises(SilenceError, match="is no matcher: write service=web"):
        parse_matcher(text)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (silence(), "needs 1 to 20 matchers"),
        (silence("rule=x", ends_at=NOON), "over already"),
        (silence("rule=x", starts_at=NOON + timedelta(hours=2)), "not after starts_at"),
        (silence("rule=x", ends_at=NOON + timedelta(days=91)), "90 days at most"),
        (silence("rule=x", author=" "), "needs its author and a reason"),
        (silence("rule=x", reason=""), "needs its author and a reason"),
        (silence("colour=red"), "There is no label 'colour'; there are application, database"),
        (silence("rule=~("), "is no regular expression"),
        (silence(r"rule=~(a)\1"), "no back-references"),
        (silence("rule=~.*"), "fit every finding"),
        (silence("rule!=nothing", "table=~.*"), "fit every finding"),
        (silence("rule=~(((a{100}){100}){100})"), "is no regular expression"),
    ],
)
def test_what_cannot_be_a_silence_is_said(made: Silence, said: str) -> None:
    with pytest.raises(SilenceError, match=said.replace("(", "\\(")):
        make(made, NOON, COMMON)


def test_no_expression_takes_long() -> None:
    """The classic that takes a backtracking engine for ever."""
    slow = make(silence("table=~(a+)+$"), NOON, COMMON)
    began = time.process_time()
    assert not slow.covers(make_finding(group={"table": "a" * 400 + "!"}))
    assert time.process_time() - began < 1
