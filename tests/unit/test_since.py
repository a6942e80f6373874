"""Which deploy a finding began with, and whether it is the likely cause."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations

from support.findings import NOON, make_finding

from trueline.monitor.engine.since import VersionSeen, sentence, since_version

DAY = timedelta(days=1)
OLD = VersionSeen("web", "1.0", NOON - DAY, NOON - timedelta(minutes=11))
NEW = VersionSeen("web", "1.1", NOON - timedelta(minutes=10), NOON)
BEGINNING = NOON - 2 * DAY


def test_a_deploy_after_a_healthy_version_is_the_likely_cause() -> None:
    since = since_version(make_finding(versions=("web 1.1",)), [OLD, NEW], BEGINNING)
    assert since is not None
    assert (since.version, since.previous, since.healthy, since.likely) == ("1.1", "1.0", True, True)
    assert sentence(since) == (
        "Since version 1.1 of web: 1.0 before it was healthy, so that deploy is the likely cause."
    )


def test_a_version_that_ran_well_for_long_is_not() -> None:
    new = replace(NEW, first_seen=NOON - timedelta(hours=5))
    since = since_version(make_finding(versions=("1.1",)), [OLD, new], BEGINNING)
    assert since is not None
    assert (since.healthy, since.likely) == (True, False)
    assert sentence(since).endswith("but 1.1 ran well at first.")


def test_a_version_that_was_never_judged_is_not_called_healthy() -> None:
    for judged_from in (None, NOON - timedelta(minutes=5)):
        since = since_version(make_finding(versions=("1.1",)), [OLD, NEW], judged_from)
        assert since is not None
        assert (since.previous, since.healthy, since.likely) == ("1.0", False, False)
        assert "is not known" in sentence(since)


def test_a_version_that_has_the_fault_too_is_not_healthy() -> None:
    since = since_version(make_finding(versions=("1.0", "1.1")), [OLD, NEW], BEGINNING)
    assert since is not None
    assert (since.version, since.previous, since.healthy) == ("1.1", "", False)


def test_the_deploy_among_several_services_is_found_in_any_order() -> None:
    finding = make_finding(versions=("web 1.1", "worker 7"), services=("web", "worker"))
    seen = [OLD, NEW, VersionSeen("worker", "7", NOON - 9 * DAY, NOON)]
    found = {since_version(finding, list(order), BEGINNING) for order in permutations(seen)}
    (since,) = found
    assert since is not None
    assert (since.service, since.version) == ("web", "1.1")


def test_nothing_is_said_of_services_without_a_version() -> None:
    assert since_version(make_finding(versions=()), [OLD, NEW], BEGINNING) is None
    assert datetime(2026, 11, 20, 12, tzinfo=UTC) == NOON
