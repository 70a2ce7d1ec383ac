"""Counts of durations in buckets of known relative error, in HdrHistogram's layout.

With 3 significant digits, buckets below 2,048 ns are 1 ns wide, and above that each doubling
is divided into 1,024 equal buckets: at most 1/1,024 of the value, 0.1 %. A histogram is a
vector of counts; adding vectors merges histograms exactly. Source: HdrHistogram's
`countsArrayIndex` and `valueFromIndex`, with a lowest discernible value of 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SIGNIFICANT_DIGITS = 3
SUB_BUCKETS = 2048
HALF_BITS = 10  # log2(SUB_BUCKETS / 2)
HIGHEST_NS = 3_600_000_000_000  # an hour; longer is counted as that
# How many samples lie beyond a percentile is a matter of chance: where 10 do, the 95 % interval of
# how many should have is 4.8 to 18.4 (Garwood 1936), about half to twice. With fewer it is wider
# still, and the percentile would be that of another share.
BEYOND = 10

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


@dataclass(frozen=True)
class Histogram:
    """Counts by bucket, each bucket once, from the shortest durations on."""

    buckets: Counts
    counts: Counts

    @classmethod
    def merged(cls, buckets: npt.ArrayLike, counts: npt.ArrayLike) -> Histogram:
        """The sum of histograms: `buckets` may repeat, in any order."""
        index, number = np.asarray(buckets, dtype=np.int64), np.asarray(counts, dtype=np.int64)
        # floats count exactly up to 2**53
        sums = np.bincount(index, weights=number).astype(np.int64)
        (present,) = np.nonzero(sums)
        return cls(present, sums[present])

    @property
    def total(self) -> int:
        """How many durations were counted."""
        return int(self.counts.sum())

    def percentile_s(self, q: float) -> float | None:
        """The q-th percentile (0..100) in seconds: the middle of the bucket where the q-share of
        all counts, ordered by value, is reached. None without counts.
        """
        reached = np.cumsum(self.counts)
        if not len(reached):
            return None
        # the rank of an order statistic: the smallest k with k/n >= q
        rank = max(1, math.ceil(q / 100 * int(reached[-1]) - 1e-9))
        return self.middle_s(int(np.searchsorted(reached, rank)))

    def tells(self, q: float) -> bool:
        """Whether BEYOND counts or more lie on either side of the q-th percentile (0..100)."""
        return min(q, 100 - q) / 100 * self.total >= BEYOND - 1e-6

    def middle_s(self, place: int) -> float:
        """The middle of the bucket at `place`, in seconds."""
        low, high = bounds(self.buckets[place])
        return float(low + high - 1) / 2 / 1e9

    def mean_s(self) -> float | None:
        """The mean in seconds, by bucket middles; None without counts."""
        if not self.total:
            return None
        low, high = bounds(self.buckets)
        number = self.counts.astype(np.float64)
        return float(((low + high - 1) / 2 * number).sum() / number.sum() / 1e9)


def percentile_s(buckets: npt.ArrayLike, counts: npt.ArrayLike, q: float) -> float | None:
    """The q-th percentile (0..100) of `Histogram.merged`, in seconds; None without counts."""
    return Histogram.merged(buckets, counts).percentile_s(q)


def mean_s(buckets: npt.ArrayLike, counts: npt.ArrayLike) -> float | None:
    """The mean of `Histogram.merged`, in seconds; None without counts."""
    return Histogram.merged(buckets, counts).mean_s()
