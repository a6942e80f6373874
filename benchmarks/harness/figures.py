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


def median_ratio(
    ours: Sequence[float], theirs: Sequence[float], *, resamples: int = 2000, seed: int = 1
) -> tuple[float, float, float]:
    """The median over rounds of ours to theirs, and its 95 % interval by a bootstrap over rounds.

    Both have a value a round. What disturbs one side of a round is likely to disturb the other, since they
    follow each other closely; the median lets rounds be spoiled in which it did not.
    """
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    chance = random.Random(seed)
    found = [median(chance.choices(ratios, k=len(ratios))) for _ in range(resamples)]
    return median(ratios), percentile(found, 0.025), percentile(found, 0.975)
