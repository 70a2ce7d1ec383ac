"""Where a trial's warm-up ended: MSER-5.

The marginal standard error rule (MSER) truncates a series where the standard error of the mean
of what is left is least: leaving out a warm-up takes away variance, leaving out steady batches
only takes away batches. The 5 is for batch means in place of single observations. Sources:
White 1997, "An effective truncation heuristic for bias reduction in simulation output"; Wang and
Glynn 2016, "On the marginal standard error rule and the testing of initial transient deletion
methods".

Three things are ours, against noise that is no warm-up. Batches far from the median are drawn
nearer, or the rule would cut behind the last hiccup. GRAIN is added to the standard deviation,
so that levels a few percent apart are the same: a series without noise would else be cut wherever
it moves at all. And a cut counts only if it parts levels that differ by DELTA.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.analyze.arrays import Arrays, Mask

TICK_S = 0.1
LEAST = 20  # batches; fewer tell nothing
KEPT = 10  # batches are left at the least: a few can be alike by chance
FAR = 3.0  # robust standard deviations
GRAIN = 0.02  # of the median
DELTA = 0.10  # what counts as another level: twice what comparisons call a different latency
MATTERS = 0.01  # of the mean response: what an unsteady beginning may add to it or take away

Whole = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Truncation:
    """Where MSER-5 cuts a series: the number of batches left out, and the median batch before
    (None if there is none) and after. `late` is whether that is beyond the middle: the series
    never became steady.
    """

    cut: int
    before: float | None
    after: float
    late: bool

    @property
    def parts(self) -> bool:
        """Whether it parts different levels."""
        return self.before is not None and abs(self.before / self.after - 1) > DELTA


@dataclass(frozen=True, slots=True)
class Steady:
    """When a trial's steady state began, in seconds from the window's start (below 0 is the
    warm-up), and the response in seconds before and after that (the median of the ticks' means).
    Where it was not `reached`, that is where the least unsteady part began. `skip_s` whole
    seconds of the window, for latencies are stored by the second, are to be left out: none where
    they hardly matter.
    """

    at_s: float
    before_s: float | None
    after_s: float
    reached: bool
    skip_s: int


def truncation(series: npt.ArrayLike) -> Truncation | None:
    """MSER-5 of the means of batches of equal length, in order; None for fewer than LEAST."""
    values = np.asarray(series, dtype=np.float64)
    size = len(values)
    if size < LEAST:
        return None
    median = float(np.median(values))
    grain = GRAIN * abs(median)
    # 1.4826 median absolute deviations are a standard deviation, were the noise normal
    far = FAR * max(1.4826 * float(np.median(np.abs(values - median))), grain)
    near = np.clip(values - median, -far, far)
    left = np.arange(size, 0, -1)
    sums, squares = (np.cumsum(it[::-1])[::-1] for it in (near, near**2))
    error = (squares / left - (sums / left) ** 2 + grain**2) / left
    found = _cut(values, int(np.argmin(error[: size - KEPT + 1])))
    if found.late and found.parts:
        return found
    return _cut(values, int(np.argmin(error[: size // 2 + 1])))


def _cut(values: npt.NDArray[np.float64], cut: int) -> Truncation:
    before = float(np.median(values[:cut])) if cut else None
    return Truncation(cut, before, float(np.median(values[cut:])), cut > len(values) / 2)


def steady(ticks: Arrays, window_s: float) -> Steady | None:
    """When a trial became steady, by the mean response of its ticks, those of the warm-up included.

    `ticks` is the stored series of that name. The response is what both models of load show:
    under an open one the throughput is given, and under a closed one it follows (Little's law),
    without the grain of counting whole requests. None where too few ticks had answers.
    """
    tick, places = np.unique(ticks["tick"], return_inverse=True)
    ok, took_ns = (_summed(ticks[it], places, len(tick)) for it in ("ok", "response_sum_ns"))
    tick, ok, took_ns = (it[ok > 0] for it in (tick, ok, took_ns))
    found = truncation(took_ns / ok)
    if found is None:
        return None
    begin = int(tick[found.cut])
    # from 0 on there is the whole window
    whole, rest = tick >= 0, tick >= begin
    weighs = begin > 0 and abs(_mean(took_ns, ok, whole) / _mean(took_ns, ok, rest) - 1) > MATTERS
    skip_s = math.ceil(begin * TICK_S) if weighs and found.parts else 0
    reached = not found.late and skip_s <= window_s - 1
    return Steady(
        at_s=round(begin * TICK_S, 6),
        before_s=None if found.before is None else found.before / 1e9,
        after_s=found.after / 1e9,
        reached=reached,
        skip_s=skip_s if reached else 0,
    )


def _mean(took_ns: Whole, ok: Whole, rows: Mask) -> float:
    return float(took_ns[rows].sum() / ok[rows].sum())


def _summed(values: Whole, places: npt.NDArray[np.intp], size: int) -> Whole:
    """The sum of the values at each place; exact, as floats would not be."""
    sums = np.zeros(size, np.int64)
    np.add.at(sums, places, values)
    return sums
