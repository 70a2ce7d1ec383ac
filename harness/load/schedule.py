"""When each request of an open load is due: generated ahead, from a seed, for all servers alike."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt

Arrivals = Literal["constant", "poisson"]


def schedule(
    rate_per_s: float, duration_s: float, arrivals: Arrivals, seed: int
) -> npt.NDArray[np.int64]:
    """Offsets in nanoseconds, ascending, all below the duration.

    `constant`: one every 1/rate. `poisson`: independent exponential gaps of mean 1/rate, as
    many users give who do not know of each other.
    """
    if not rate_per_s:
        return np.empty(0, np.int64)
    if arrivals == "constant":
        return (np.arange(math.ceil(rate_per_s * duration_s)) * (1e9 / rate_per_s)).astype(np.int64)
    draw = np.random.default_rng(seed)
    expected = rate_per_s * duration_s
    # enough gaps to fill the duration but for one seed in 10^15, then cut
    gaps = draw.exponential(1e9 / rate_per_s, int(expected + 8 * math.sqrt(expected) + 20))
    offsets = np.cumsum(gaps)
    return offsets[offsets < duration_s * 1e9].astype(np.int64)
