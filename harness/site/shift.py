"""How large a change is, as an interval: the shift of Hodges and Lehmann."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import norm

from harness.history import Change, Series
from harness.history.change import FIRST

CONFIDENCE = 0.95


def interval(series: Series, number: int) -> tuple[float, float] | None:
    """The ratio of the levels about the change `number` of a series; None of too few runs.

    Hodges and Lehmann 1963: of all differences of a run after and a run before, on logarithms,
    those between which the shift lies with CONFIDENCE, by the normal approximation of Mann and
    Whitney's statistic. It rests on the same runs as the change's `ratio`, asks for no kind of
    distribution, and takes the place of the change as given.
    """
    change = series.changes[number]
    x = np.log([point.value or math.nan for point in series.valued])
    before = x[series.segments[number].begin : change.index]
    after = x[change.index : change.index + FIRST]
    return _interval(np.sort(np.subtract.outer(after, before), axis=None), before, after, change)


def _interval(
    d: np.typing.NDArray[np.float64],
    before: np.typing.NDArray[np.float64],
    after: np.typing.NDArray[np.float64],
    change: Change,
) -> tuple[float, float] | None:
    n, m = len(after), len(before)
    spread = math.sqrt(n * m * (n + m + 1) / 12)
    outside = math.floor(n * m / 2 - float(norm.ppf((1 + CONFIDENCE) / 2)) * spread)
    if outside < 1:
        return None
    # the ratio of medians is told beside it, and may lie at its edge
    low, high = math.exp(d[outside - 1]), math.exp(d[-outside])
    return min(low, change.ratio), max(high, change.ratio)
