"""Paired differences: what the blocks of a run say of one figure for two servers.

Blocks are the last axis of every array here, and NaN stands where a block has no pair; axes
before it (pairs of servers, metrics) are carried through. For a figure that is compared as a
ratio, d = ln(b/a). The unit is the trial: requests and seconds within one share its luck, and
pooling them finds differences between a server and itself (Kalibera & Jones 2013).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import special

Numbers = npt.NDArray[np.float64]

EXACT = 16  # pairs; all 65,536 assignments of signs are tried up to here
DRAWS = 2**15
SEED = 20170416
AT_ONCE = 16  # series whose sums are held in memory
CLOSE = 1e-12  # sums that differ by less of their terms are the same but for rounding
NODES = 64  # of the quadrature over what the deviation might have come out as
STEPS = 60  # of a bisection: more than a double has bits


@dataclass(frozen=True)
class Paired:
    """The pairs' number, and mean and standard deviation (n - 1) of their differences.

    The deviation is NaN below two pairs, the mean without any.
    """

    pairs: npt.NDArray[np.int64]
    mean: Numbers
    deviation: Numbers

    @classmethod
    def of(cls, differences: npt.ArrayLike) -> Paired:
        """From differences whose last axis is the blocks."""
        d = np.asarray(differences, dtype=float)
        there = np.isfinite(d)
        pairs = there.sum(axis=-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(there, d, 0.0).sum(axis=-1) / pairs
            residual = np.where(there, d - mean[..., None], 0.0)
            deviation = np.sqrt((residual**2).sum(axis=-1) / (pairs - 1))
        return cls(pairs, mean, np.where(pairs > 1, deviation, np.nan))

    @property
    def error(self) -> Numbers:
        """The standard error of the mean."""
        with np.errstate(divide="ignore", invalid="ignore"):
            error: Numbers = self.deviation / np.sqrt(self.pairs)
        return error

    def p(self) -> Numbers:
        """Two-sided p of the paired t test. Differences that never vary leave no doubt: 0 or 1."""
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(self.mean == 0, 0.0, self.mean / self.error)
        p: Numbers = 2 * special.stdtr(np.maximum(self.pairs - 1, 1), -np.abs(t))
        return np.where(np.isnan(self.deviation), np.nan, p)

    def interval(self, confidence: float) -> tuple[Numbers, Numbers]:
        """Student's t interval of the mean difference; NaN below two pairs."""
        half = critical_t((1 - confidence), self.pairs) * self.error
        return self.mean - half, self.mean + half


def critical_t(alpha: float | Numbers, pairs: npt.NDArray[np.int64]) -> Numbers:
    """What |t| must exceed to be significant at `alpha`, two-sided."""
    found: Numbers = special.stdtrit(np.maximum(pairs - 1, 1), 1 - np.asarray(alpha) / 2)
    return found


def sign_flip_p(differences: npt.ArrayLike) -> Numbers:
    """Two-sided p of the sign-flip test of each series: that each pair could as well be turned.

    Exact up to EXACT pairs (Fisher's randomisation test), of DRAWS seeded assignments beyond.
    It assumes symmetry where the t test assumes a normal mean, and cannot fall below 2^(1 - n).
    """
    d = np.asarray(differences, dtype=float)
    flat = d.reshape(-1, d.shape[-1])
    there = np.isfinite(flat)
    # series of as many pairs share their assignments: one product for all of them
    p = np.full(len(flat), np.nan)
    for pairs in set(there.sum(axis=1).tolist()) - {0}:
        (alike,) = np.nonzero(there.sum(axis=1) == pairs)
        for few in np.array_split(alike, -(-len(alike) // AT_ONCE)):
            p[few] = _flipped(flat[few][there[few]].reshape(len(few), pairs))
    return p.reshape(d.shape[:-1])


def least_sign_flip_p(pairs: npt.ArrayLike) -> Numbers:
    """The least that sign_flip_p can be with so many pairs."""
    least: Numbers = np.exp2(1.0 - np.asarray(pairs))
    return least


def _flipped(d: Numbers) -> Numbers:
    """The p of each row, all of as many pairs."""
    pairs = d.shape[1]
    sums = np.abs(_signs(pairs) @ d.T)
    # the first sign is left as it is: turning all of them changes no absolute value
    as_far = (sums >= np.abs(d.sum(axis=1)) - CLOSE * np.abs(d).sum(axis=1)).sum(axis=0)
    exact = pairs <= EXACT
    p: Numbers = as_far / len(sums) if exact else (as_far + 1) / (len(sums) + 1)
    return p


@cache
def _signs(pairs: int) -> Numbers:
    if pairs <= EXACT:
        bits = np.arange(2 ** (pairs - 1))[:, None] >> np.arange(pairs) & 1
    else:
        bits = np.random.default_rng(SEED).integers(0, 2, (DRAWS, pairs))
    signs: Numbers = 1.0 - 2.0 * bits.astype(np.float64)
    return signs


def smallest_effect(
    deviation: npt.ArrayLike,
    pairs: npt.ArrayLike,
    *,
    least: npt.ArrayLike,
    alpha: float,
    power: float = 0.9,
) -> Numbers:
    """The smallest true mean difference that is found with `power`, on the scale of d.

    Found means what `decision` asks of a difference: |t| beyond the two-sided `alpha`, and an
    estimate of at least `least`. With a true effect e and a true deviation s the mean is
    normal(e, s/sqrt(n)) and (n - 1) times the deviation's square over s^2 is chi-square(n - 1),
    apart from it, so that P = E[Phi((e - max(least, t * S/sqrt(n))) / (s/sqrt(n)))], which
    without `least` is the noncentral t. The deviation that was seen stands for the true one, as
    it must; with 8 pairs it is itself known within about a quarter.
    """
    s, n, floor = np.broadcast_arrays(
        np.asarray(deviation, dtype=float), np.asarray(pairs), np.asarray(least, dtype=float)
    )
    error = s / np.sqrt(np.maximum(n, 1))
    # midpoints of equal shares of the chi-square distribution
    share = (np.arange(NODES) + 0.5) / NODES
    freedom = np.maximum(n - 1, 1)[..., None]
    drawn = np.sqrt(special.chdtri(freedom, 1 - share) / freedom)
    hurdle = np.maximum(
        floor[..., None], critical_t(alpha, n)[..., None] * error[..., None] * drawn
    )
    low, high = np.zeros(s.shape), hurdle.max(axis=-1) + 10 * error
    for _ in range(STEPS):
        middle = (low + high) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            z = (middle[..., None] - hurdle) / error[..., None]
        found = special.ndtr(np.nan_to_num(z, nan=np.inf)).mean(axis=-1) >= power
        low, high = np.where(found, low, middle), np.where(found, middle, high)
    smallest: Numbers = np.where((n > 1) & np.isfinite(s), high, np.nan)
    return smallest
