"""Percentiles of the last second or so, to be looked at while a load goes on; never a result.

They are computed between requests of the load itself, so they have to be cheap: from counts that
are there already, in buckets of 3 % of the value.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from harness import histogram
from harness.histogram import Counts

COARSE_BITS = 5  # 32 buckets of the recorder's histogram are one here
SIZE = (histogram.SIZE >> COARSE_BITS) + 1
KEPT_NS = 1_000_000_000
STALE_NS = 3_000_000_000  # counts come once a second; where none came for longer, nothing is known


def _middles_s() -> npt.NDArray[np.float64]:
    first = np.arange(SIZE, dtype=np.int64) << COARSE_BITS
    low, _ = histogram.bounds(first)
    _, high = histogram.bounds(first + (1 << COARSE_BITS) - 1)
    return (low + high - 1) / 2 / 1e9


MIDDLES_S = _middles_s()


class Recent:
    """Counts as they come, forgotten when others have come for a second."""

    def __init__(self) -> None:
        self._batches: deque[tuple[int, Counts]] = deque()
        self._known: tuple[float, float] | None = None

    def add(self, now_ns: int, buckets: Counts, counts: Counts) -> None:
        """Take in counts of the recorder's buckets, which may repeat; monotonic nanoseconds."""
        if not len(buckets):
            return
        coarse = np.bincount(buckets >> COARSE_BITS, weights=counts, minlength=SIZE)
        self._batches.append((now_ns, coarse.astype(np.int64)))
        while self._batches[0][0] < now_ns - KEPT_NS:
            self._batches.popleft()
        self._known = None

    def percentiles_s(self, now_ns: int) -> tuple[float | None, float | None]:
        """p50 and p99 in seconds, to 3 %; None where no answer was counted lately."""
        if not self._batches or self._batches[-1][0] < now_ns - STALE_NS:
            return None, None
        if self._known is None:
            reached = np.cumsum(sum(counts for _, counts in self._batches))
            ranks = np.ceil(np.array([0.50, 0.99]) * reached[-1] - 1e-9)
            p50_s, p99_s = MIDDLES_S[np.searchsorted(reached, ranks)].tolist()
            self._known = p50_s, p99_s
        return self._known
