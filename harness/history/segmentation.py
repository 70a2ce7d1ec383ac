"""Where the level of a series changed, and what is settled of that.

Candidates are the largest two-sample t over seeded intervals (Kovács et al. 2023, Biometrika 110:
seeded binary segmentation), after which each side is searched again. A candidate stands if few
permutations of its stretch show one as large. Noise that is correlated from run to run breaks what
a permutation assumes; where the residuals are, a candidate must also exceed what autoregressive
noise of the same correlation shows. Then the changes are placed anew by least absolute deviations,
and those below the floor are dropped.

All of it is deterministic: the permutations have a fixed seed. Values are logarithms, so that a
fall of 10 % and the rise that undoes it are alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

FLOOR = float(np.log1p(0.05))  # smaller steps are of no interest
LEAST = 3  # values that make a level
SHORT = 3  # a segment of so few must lie beyond the floor with each of its values
LEVEL = 0.01  # of the false alarms of a stretch without a change
DRAWS = 499
CHUNK = 100  # draws at once: most stretches are done after the first
SEED = 20230110
PRIOR = 4  # values that the stretch's own deviation counts for in that of an interval
SPREADS = 5.0  # from the median: what lies farther counts as so far
FINEST = 1e-3  # a deviation; nobody measures a tenth of a percent
DECAY = 2**-0.5  # of the lengths of the intervals
WINDOW = 150  # values that are searched at most, the newest
FEWEST = 21  # values before anything is said of a series
SETTLED = 15  # values after a change that make it final
STRIDE = 10  # values between two moments at which changes become final
MAD = 1.4826  # of a normal distribution's median absolute deviation, to its standard deviation


@dataclass(frozen=True, slots=True)
class Segmentation:
    """The changes of a series, as the index of the first value after each, in order.

    Those in `settled` stay as they are, whatever values follow; `provisional` ones, all later,
    may yet move or go.
    """

    settled: tuple[int, ...]
    provisional: tuple[int, ...]

    @property
    def changes(self) -> tuple[int, ...]:
        """All of them."""
        return self.settled + self.provisional


def segment(values: npt.ArrayLike) -> Segmentation:
    """The changes of a series of logarithms, of which FEWEST values are needed.

    Every STRIDE values the series is looked at as it was then, and changes with SETTLED values
    after them become final: what comes before the last of them is never searched again. So what
    was said of a finished segment rests on its first values alone, and no later one changes it.
    """
    x = np.asarray(values, dtype=float)
    settled: list[int] = []
    for end in range(FEWEST, len(x) + 1, STRIDE):
        settled += [at for at in _since(settled, x[:end]) if end - at >= SETTLED]
    return Segmentation(tuple(settled), tuple(_since(settled, x)) if len(x) >= FEWEST else ())


def changes(values: npt.ArrayLike) -> list[int]:
    """The changes of one stretch of logarithms, in order; none in fewer than 2 * LEAST values.

    ValueError if one is not a finite number.
    """
    x = np.asarray(values, dtype=float)
    if not np.isfinite(x).all():
        raise ValueError("a series of logarithms has only finite numbers")
    found = _placed(x, _search(x, 0.0))
    if found and (correlation := _correlation(x, found)):
        found = _placed(x, _search(x, correlation))
    return found


def level(values: Numbers) -> float:
    """The level of a segment: its median."""
    return float(np.median(values))


def spread(values: npt.ArrayLike) -> float:
    """A robust standard deviation: that of a normal distribution with the same median deviation."""
    x = np.asarray(values, dtype=float)
    return max(MAD * float(np.median(np.abs(x - np.median(x)))), FINEST)


def _since(settled: list[int], x: Numbers) -> list[int]:
    begin = max(settled[-1] if settled else 0, len(x) - WINDOW)
    return [begin + at for at in changes(x[begin:])]


def _search(x: Numbers, correlation: float) -> list[int]:
    """Binary segmentation: the best change of a stretch, then those of its two sides."""
    found: list[int] = []
    stretches = [(0, len(x))]
    while stretches:
        begin, end = stretches.pop()
        if (at := _best(x[begin:end], correlation)) is not None:
            found.append(begin + at)
            stretches += [(begin, begin + at), (begin + at, end)]
    return sorted(found)


def _best(stretch: Numbers, correlation: float) -> int | None:
    """The stretch's best change, if chance does not explain it."""
    n = len(stretch)
    if n < 2 * LEAST or np.ptp(stretch) < FLOOR:
        return None
    x = np.clip((stretch - np.median(stretch)) / spread(stretch), -SPREADS, SPREADS)
    t = _t(x[None])[0]
    top = float(t.max())
    if not _rare(top, (_t(x[draw]) for draw in _permutations(n))):
        return None
    if correlation and not _rare(top, _correlated(n, correlation)):
        return None
    return int(_splits(n).at[t.argmax()])


def _rare(top: float, draws: Iterable[Numbers]) -> bool:
    """Whether at most LEVEL of the draws, this one among them, reach as far; it stops early."""
    allowed = int(LEVEL * (DRAWS + 1)) - 1
    reached = 0
    for t in draws:
        # what differs by rounding is the same arrangement
        reached += int((t.max(axis=-1) >= top * (1 - 1e-9)).sum())
        if reached > allowed:
            return False
    return True


class _Splits(NamedTuple):
    """Where intervals begin, are split, and end."""

    begin: Indices
    at: Indices
    end: Indices


@lru_cache(maxsize=512)
def _splits(n: int) -> _Splits:
    """Every split of the seeded intervals: lengths decay from n, neighbours overlap by half."""
    rows: set[tuple[int, int, int]] = set()
    length = float(n)
    while (whole := round(length)) >= 2 * LEAST:
        several = max(1, int(np.ceil(2 * n / length)) - 1)
        for begin in np.linspace(0, n - whole, several).astype(int).tolist():
            end = begin + whole
            rows |= {(begin, at, end) for at in range(begin + LEAST, end - LEAST + 1)}
        length *= DECAY
    return _Splits(*np.array(sorted(rows), dtype=np.intp).T)


def _t(x: Numbers) -> Numbers:
    """|t| of each split (columns) of each series (rows), whose spread is 1.

    The pooled variance of an interval is moderated by that of the whole series (Smyth 2004): a
    handful of values that happen to be alike must not make a large t.
    """
    begin, at, end = _splits(x.shape[-1])
    before, after = (at - begin).astype(float), (end - at).astype(float)
    sums = np.cumsum(np.pad(x, ((0, 0), (1, 0))), axis=-1)
    squares = np.cumsum(np.pad(x * x, ((0, 0), (1, 0))), axis=-1)
    middle = sums[:, at]
    left, right = middle - sums[:, begin], sums[:, end] - middle
    within = squares[:, end] - squares[:, begin] - left**2 / before - right**2 / after
    pooled = (np.maximum(within, 0.0) + PRIOR) / (before + after - 2 + PRIOR)
    error = np.sqrt(pooled * (1 / before + 1 / after))
    t: Numbers = np.abs(right / after - left / before) / error
    return t


def _permutations(n: int) -> Iterator[Indices]:
    drawn = _drawn(n)
    return (drawn[first : first + CHUNK] for first in range(0, DRAWS, CHUNK))


@lru_cache(maxsize=WINDOW)
def _drawn(n: int) -> Indices:
    draw = np.random.default_rng([SEED, n])
    return draw.permuted(np.tile(np.arange(n), (DRAWS, 1)), axis=1)


def _correlated(n: int, correlation: float) -> Iterator[Numbers]:
    yield _correlated_tops(n, correlation)[:, None]


@lru_cache(maxsize=2 * WINDOW)
def _correlated_tops(n: int, correlation: float) -> Numbers:
    """The largest t of each of DRAWS normal AR(1) series."""
    steps = np.random.default_rng([SEED, n, round(100 * correlation)]).normal(size=(DRAWS, n))
    x = np.empty_like(steps)
    x[:, 0] = steps[:, 0] / np.sqrt(1 - correlation**2)
    for at in range(1, n):
        x[:, at] = correlation * x[:, at - 1] + steps[:, at]
    x -= np.median(x, axis=1, keepdims=True)
    x /= MAD * np.median(np.abs(x), axis=1, keepdims=True)
    return np.concatenate([_t(x[it : it + CHUNK]).max(axis=1) for it in range(0, DRAWS, CHUNK)])


def _correlation(x: Numbers, found: list[int]) -> float:
    """The residuals' correlation from one value to the next, in tenths; 0 where it may be none.

    Estimates of it are too small by about (1 + 4r)/n for each level that was fitted (Kendall
    1954); it counts from one standard error on, 1/sqrt(n).
    """
    levels = [x[begin:end] for begin, end in pairwise([0, *found, len(x)])]
    residual = np.concatenate([part - np.median(part) for part in levels])
    far = 3 * spread(residual)
    residual = np.clip(residual, -far, far)
    power = float(residual @ residual)
    if not power:
        return 0.0
    r = float(residual[1:] @ residual[:-1]) / power
    r += (1 + 4 * max(r, 0.0)) * len(levels) / len(x)
    return min(float(np.ceil(10 * r)) / 10, 0.9) if r > len(x) ** -0.5 else 0.0


def _placed(x: Numbers, found: list[int]) -> list[int]:
    """The changes by least absolute deviations, without those below the floor, least first."""
    found = _refit(x, found)
    while found:
        heights = _heights(x, found)
        if min(heights) >= FLOOR:
            break
        del found[int(np.argmin(heights))]
        found = _refit(x, found)
    return found


def _heights(x: Numbers, found: list[int]) -> list[float]:
    """How high each step is; 0 where a side is short, and not all of it beyond the floor."""
    edges = [0, *found, len(x)]
    parts = [x[begin:end] for begin, end in pairwise(edges)]
    return [_height(before, after) for before, after in pairwise(parts)]


def _height(before: Numbers, after: Numbers) -> float:
    step = level(after) - level(before)
    side = float(np.sign(step))
    for part, other, sign in ((after, before, side), (before, after, -side)):
        if len(part) <= SHORT and (sign * (part - level(other))).min() < FLOOR:
            return 0.0
    return abs(step)


def _refit(x: Numbers, found: list[int]) -> list[int]:
    """Each change where the absolute deviations from both sides' medians are least, in turn."""
    edges = [0, *found, len(x)]
    for _ in range(len(edges)):  # it settles after one or two
        before = list(edges)
        for number in range(1, len(edges) - 1):
            begin, end = edges[number - 1], edges[number + 1]
            places = range(begin + LEAST, end - LEAST + 1)
            cost = [_deviation(x[begin:at]) + _deviation(x[at:end]) for at in places]
            if cost:
                edges[number] = places[int(np.argmin(cost))]
        if edges == before:
            break
    return edges[1:-1]


def _deviation(part: Numbers) -> float:
    return float(np.abs(part - np.median(part)).sum())
