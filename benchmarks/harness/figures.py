"""Percentiles, and how sure one can be of a ratio."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from statistics import median


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


def ratio_of_medians(
    ours: Sequence[float], theirs: Sequence[float], *, resamples: int = 2000, seed: int = 1
) -> tuple[float, float, float]:
    """Median of ours over median of theirs, and its 95 % interval by a bootstrap over rounds.

    Both have a value a round. The median lets a round be spoiled by what else the machine does; both sides of
    a round are drawn together, because what disturbs one is likely to disturb the other.
    """
    chance = random.Random(seed)
    numbers = range(len(ours))
    found = []
    for _ in range(resamples):
        drawn = chance.choices(numbers, k=len(numbers))
        found.append(median([ours[n] for n in drawn]) / median([theirs[n] for n in drawn]))
    return median(ours) / median(theirs), percentile(found, 0.025), percentile(found, 0.975)
