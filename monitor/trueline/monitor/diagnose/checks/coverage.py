"""What may be missing from the facts: nothing seen is not the same as nothing there."""

from __future__ import annotations

from typing import Final

from trueline.monitor.diagnose.check import Check, Evidence, Status
from trueline.monitor.diagnose.facts import Facts
from trueline.monitor.engine.templates import few

_QUESTION: Final = "is everything there that is needed to tell?"


def coverage(facts: Facts) -> Check:
    """Losses, sampling, another secret, no telemetry at all."""
    gaps = facts.gaps
    reasons: list[Evidence] = []
    steps: list[str] = []
    if not facts.accesses:
        if not gaps.services:
            reasons.append(Evidence("No service has sent any database statement in this time."))
            steps.append("trueline doctor")
        if gaps.key_ids:
            reasons.append(
                Evidence(
                    f"Services hash identities under other secrets than this one: key id {few(gaps.key_ids)}."
                )
            )
            steps.append("set TRUELINE_HASH_SECRET to the services' secret, here and for the monitor")
    if gaps.sample_ratio < 1 and not any(one.is_committed for one in facts.accesses):
        reasons.append(
            Evidence(
                f"Services keep {gaps.sample_ratio:.2g} of the identities: this one may not be among them."
            )
        )
        steps.append("ask for an identity that is kept, or set TRUELINE_SAMPLE=1 for the time of the search")
    for service, number in gaps.losses.items():
        reasons.append(Evidence(f"{number} spans of {service} were lost on their way."))
        steps.append(f"trueline coverage --service {service}")
    if gaps.truncated:
        reasons.append(Evidence("There are more statements than are looked at: the newest of each kind."))
    if not facts.accesses:
        said = "No statement touched this identity in this time."
        if not reasons:
            steps.append("check the value and --domain; look further back with --since 30d")
        return Check("coverage", _QUESTION, Status.UNKNOWN, said, tuple(reasons), tuple(dict.fromkeys(steps)))
    if reasons:
        status = Status.OK if gaps.truncated and len(reasons) == 1 else Status.UNKNOWN
        said = "Something may be missing." if status is Status.UNKNOWN else "Yes."
        return Check("coverage", _QUESTION, status, said, tuple(reasons), tuple(dict.fromkeys(steps)))
    return Check("coverage", _QUESTION, Status.OK, "Yes: no losses, no sampling that matters here.")
