"""Counts of durations in buckets of known relative error, in HdrHistogram's layout.

With 3 significant digits, buckets below 2,048 ns are 1 ns wide, and above that each doubling
is divided into 1,024 equal buckets: at most 1/1,024 of the value, 0.1 %. A histogram is a
vector of counts; adding vectors merges histograms exactly. Source: HdrHistogram's
`countsArrayIndex` and `valueFromIndex`, with a lowest discernible value of 1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

SIGNIFICANT_DIGITS = 3
SUB_BUCKETS = 2048
HALF_BITS = 10  # log2(SUB_BUCKETS / 2)
HIGHEST_NS = 3_600_000_000_000  # an hour; longer is counted as that

Counts = npt.NDArray[np.int64]


def indices(values_ns: npt.ArrayLike) -> Counts:
    """The bucket of each duration in nanoseconds (array of int64; negative counts as 0)."""
    values = np.clip(np.asarray(values_ns, dtype=np.int64), 0, HIGHEST_NS)
    # exponents by frexp are exact below 2**53, and an hour is 2**51.7
    doublings = np.maximum(np.frexp(values.astype(np.float64))[1] - (HALF_BITS + 1), 0)
    doublings = doublings.astype(np.int64)
    buckets: Counts = (doublings << HALF_BITS) + (values >> doublings)
    return buckets


def bounds(buckets: npt.ArrayLike) -> tuple[Counts, Counts]:
    """The lowest duration of each bucket, and the first beyond it, in nanoseconds."""
    index = np.asarray(buckets, dtype=np.int64)
    doublings = np.maximum((index >> HALF_BITS) - 1, 0)
    low: Counts = (index - (doublings << HALF_BITS)) << doublings
    high: Counts = low + (np.int64(1) << doublings)
    return low, high


SIZE = int(indices([HIGHEST_NS])[0]) + 1


def count(values_ns: npt.ArrayLike) -> Counts:
    """The histogram of durations in nanoseconds, as a vector of SIZE counts."""
    counted: Counts = np.bincount(indices(values_ns), minlength=SIZE).astype(np.int64)
    return counted


def percentile_s(buckets: npt.ArrayLike, counts: npt.ArrayLike, q: float) -> float | None:
    """The q-th percentile (0..100) in seconds: the middle of the bucket where the q-share of
    all counts, ordered by value, is reached. None without counts. `buckets` may repeat.
    """
    index = np.asarray(buckets, dtype=np.int64)
    number = np.asarray(counts, dtype=np.int64)
    total = int(number.sum())
    if total == 0:
        return None
    order = np.argsort(index, kind="stable")
    reached = np.cumsum(number[order])
    # the rank of an order statistic: the smallest k with k/n >= q
    rank = max(1, math.ceil(q / 100 * total - 1e-9))
    bucket = index[order][int(np.searchsorted(reached, rank))]
    low, high = bounds(bucket)
    return float(low + high - 1) / 2 / 1e9


def mean_s(buckets: npt.ArrayLike, counts: npt.ArrayLike) -> float | None:
    """The mean of a histogram in seconds, by bucket middles; None without counts."""
    low, high = bounds(buckets)
    number = np.asarray(counts, dtype=np.float64)
    total: Any = number.sum()
    if total == 0:
        return None
    return float(((low + high - 1) / 2 * number).sum() / total / 1e9)
