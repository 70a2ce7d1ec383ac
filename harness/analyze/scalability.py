"""The universal scalability law: how throughput grows with what is at work at once.

    X(N) = lambda N / (1 + sigma (N - 1) + kappa N (N - 1))

lambda is the throughput of one alone, sigma the share of the work that has to wait for another
(contention), kappa what each pair costs to agree (coherency). With kappa above 0 the throughput
has a peak, at N* = sqrt((1 - sigma) / kappa), and falls beyond it. Source: N. J. Gunther,
*Guerrilla Capacity Planning*, Springer 2007, chapter 4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

Numbers = npt.NDArray[np.float64]

ENOUGH = 6  # different N: twice as many as parameters
SPAN = 4.0  # between the least and the greatest N
OFF = 0.10  # a point that lies so far off the curve shows that the law does not hold
LEVEL = 0.95


class NoFitError(Exception):
    """Why no curve is drawn through these points, in words."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A parameter and its 95 % interval, by Student's t from the fit's covariance."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Scalability:
    """A curve through the points of one server: `rate` is lambda, per second.

    `peak` is N*, None where kappa cannot be told from 0: then no peak was seen. `off` is the
    greatest distance of a point's median from the curve, as a share of it.
    """

    rate: Estimate
    contention: Estimate
    coherency: Estimate
    peak: Estimate | None
    off: float

    def at(self, n: float) -> float:
        """X(N) per second."""
        load = 1 + self.contention.value * (n - 1) + self.coherency.value * n * (n - 1)
        return self.rate.value * n / load


def fit(n: Numbers, throughput: Numbers) -> Scalability:
    """The law through trials: N and the throughput per second of each (arrays of one length).

    Residuals are relative, because a trial's noise is a share of its throughput. Raises NoFitError,
    with the reason, where the curve would not be worth its parameters.
    """
    different = np.unique(n)
    if len(different) < ENOUGH:
        raise NoFitError(f"{len(different)} values, and a fit takes {ENOUGH} or more")
    if different[-1] < SPAN * different[0]:
        raise NoFitError(f"the values span less than {SPAN:g} times the first")
    free = (True, True)
    made = _fitted(n, throughput, free)
    for index, name in ((1, "contention"), (2, "coherency")):
        if made.values[index] < 0:
            if made.high(index) < 0:
                raise NoFitError(
                    f"the throughput grows faster than the law allows (negative {name})"
                )
            free = (free[0] and index != 1, free[1] and index != 2)
    # a parameter that came out below 0 by noise alone is 0; its upper end stays as it was
    bound = made if all(free) else _fitted(n, throughput, free)
    rate = Estimate(*(float(np.exp(it)) for it in (bound.values[0], bound.low(0), bound.high(0))))
    contention, coherency = (
        Estimate(max(0.0, bound.values[i]), max(0.0, of.low(i)), max(0.0, of.high(i)))
        for i, of in ((1, bound if free[0] else made), (2, bound if free[1] else made))
    )
    found = Scalability(rate, contention, coherency, _peak(bound, coherency), 0.0)
    off = max(abs(np.median(throughput[n == it]) / found.at(it) - 1) for it in different)
    if off > OFF:
        raise NoFitError(f"the law does not hold: a point lies {off:.0%} off the curve")
    return Scalability(rate, contention, coherency, found.peak, float(off))


@dataclass(frozen=True, slots=True)
class _Fit:
    """ln(lambda), sigma and kappa, their covariance, and Student's factor for the interval."""

    values: tuple[float, ...]
    covariance: Numbers
    factor: float

    def high(self, index: int) -> float:
        """The upper end of a parameter's interval."""
        return self.values[index] + self.factor * math.sqrt(self.covariance[index, index])

    def low(self, index: int) -> float:
        """The lower end."""
        return 2 * self.values[index] - self.high(index)


def _fitted(n: Numbers, throughput: Numbers, free: tuple[bool, bool]) -> _Fit:
    """Least squares of the logarithms; sigma and kappa are free, or held at 0."""
    varied = np.array([True, *free])

    def residuals(chosen: Numbers) -> Numbers:
        values = np.zeros(3)
        values[varied] = chosen
        load = 1 + values[1] * (n - 1) + values[2] * n * (n - 1)
        # a negative load is no throughput; a steep wall leads the search back
        return np.asarray(
            values[0] + np.log(n) - np.log(np.maximum(load, 1e-9)) - np.log(throughput)
        )

    alone = float(np.log(np.median(throughput[n == n.min()]) / n.min()))
    begin = np.array([alone, 0.05, 1e-4])[varied]
    # here, because it takes as long to import as all the rest of a command
    from scipy.optimize import least_squares  # noqa: PLC0415

    found = least_squares(residuals, begin, x_scale="jac", method="lm")
    degrees = len(n) - int(varied.sum())
    variance = 2 * float(found.cost) / degrees
    covariance = np.zeros((3, 3))
    slopes = np.asarray(found.jac, dtype=np.float64)
    inverse = np.linalg.pinv(slopes.T @ slopes)
    covariance[np.ix_(varied, varied)] = inverse * variance
    values = np.zeros(3)
    values[varied] = found.x
    factor = float(special.stdtrit(degrees, (1 + LEVEL) / 2))
    return _Fit(tuple(values.tolist()), covariance, factor)


def _peak(made: _Fit, coherency: Estimate) -> Estimate | None:
    """N*, and its interval by the delta method on its logarithm."""
    _, sigma, kappa = made.values
    if coherency.low <= 0 or not 0 <= sigma < 1:
        return None
    top = ((1 - sigma) / kappa) ** 0.5
    slope = np.array([0.0, -0.5 / (1 - sigma), -0.5 / kappa])
    wide = made.factor * float(slope @ made.covariance @ slope) ** 0.5
    return Estimate(top, top * float(np.exp(-wide)), top * float(np.exp(wide)))
