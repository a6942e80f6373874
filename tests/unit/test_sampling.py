"""Sampling by identity: the same identities everywhere, and nothing that went wrong is lost."""

from __future__ import annotations

import pytest

from trueline.instrumentation import ConfigurationError
from trueline.instrumentation.options import resolve
from trueline.instrumentation.sampling import Sampler

NOTHING = dict.fromkeys(
    (
        "service_name",
        "service_version",
        "namespace",
        "environment",
        "process_kind",
        "spans",
        "identities",
        "endpoint",
        "logs",
        "log_arguments",
        "hold",
        "database_name",
    )
)


def test_two_samplers_keep_the_same_identities_and_about_the_share() -> None:
    one, other = Sampler(0.1), Sampler(0.1)
    values = [f"{number:032x}" for number in range(20_000)]
    kept = [value for value in values if one.keeps_identity("user", value)]
    assert kept == [value for value in values if other.keeps_identity("user", value)]
    assert 0.09 < len(kept) / len(values) < 0.11


def test_a_larger_share_contains_the_smaller_one() -> None:
    small, large = Sampler(0.01), Sampler(0.2)
    values = [f"{number:032x}" for number in range(5000)]
    assert {v for v in values if small.keeps_identity("user", v)} < {
        v for v in values if large.keeps_identity("user", v)
    }


@pytest.mark.parametrize("value", ["0", "-0.1", "1.5", "often", "nan"])
def test_an_impossible_share_is_named_with_the_way_out(value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"TRUELINE_SAMPLE.*use a number above 0 and up to 1"):
        resolve(**NOTHING, environ={"TRUELINE_SAMPLE": value})


def test_the_share_is_read_from_the_variable_and_everything_is_kept_by_default() -> None:
    assert resolve(**NOTHING, environ={"TRUELINE_SAMPLE": "0.01"}).sample == 0.01
    assert resolve(**NOTHING, environ={}).sample == 1.0
