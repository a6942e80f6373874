"""With which deploy a finding began: the version it was first seen with, and how the one before had done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from trueline.monitor.engine.finding import Finding, Since

#: A fault that shows within this time of a version's first statement is likely its fault.
LIKELY_WITHIN: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class VersionSeen:
    """A version of a service, and when it executed its first and its last statement."""

    service: str
    version: str
    first_seen: datetime
    last_seen: datetime


def since_version(
    finding: Finding, seen: Sequence[VersionSeen], judged_from: datetime | None
) -> Since | None:
    """The newest deploy that the finding has, of any of its services; None where no version is known.

    ``judged_from`` is the beginning of what the rule has judged, None if that is not known: a version before
    was healthy only if it was judged.
    """
    concerned = {_split(version, finding.service) for version in finding.versions}
    candidates = []
    for one in seen:
        if (one.service, one.version) not in concerned:
            continue
        before = [
            other
            for other in seen
            if other.service == one.service
            and (other.service, other.version) not in concerned
            and other.first_seen < one.first_seen
        ]
        previous = max(before, key=lambda other: (other.first_seen, other.version), default=None)
        healthy = previous is not None and judged_from is not None and previous.last_seen >= judged_from
        candidates.append(
            Since(
                service=one.service,
                version=one.version,
                began=one.first_seen,
                previous=previous.version if previous else "",
                healthy=healthy,
                likely=healthy and finding.first_seen - one.first_seen <= LIKELY_WITHIN,
            )
        )
    return max(candidates, key=lambda one: (one.likely, one.began, one.service, one.version), default=None)


def sentence(since: Since) -> str:
    """For people."""
    said = f"Since version {since.version} of {since.service}"
    if since.likely:
        return f"{said}: {since.previous} before it was healthy, so that deploy is the likely cause."
    if since.healthy:
        return f"{said}; {since.previous} before it was healthy, but {since.version} ran well at first."
    if since.previous:
        return f"{said}; whether {since.previous} before it was healthy is not known."
    return f"{said}, the only version that was seen."


def _split(version: str, service: str) -> tuple[str, str]:
    """Rules over several services write ``web 2.3.0``; others the version alone."""
    name, _, number = version.rpartition(" ")
    return (name or service), number
