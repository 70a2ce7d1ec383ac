"""The universal scalability law: parameters that are known come back, others are refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import curve_fit

from harness.analyze.scalability import NoFitError, fit

USERS = np.array([1, 2, 4, 8, 16, 32, 64, 128, 256], dtype=float)


def law(n, rate, sigma, kappa):
    return rate * n / (1 + sigma * (n - 1) + kappa * n * (n - 1))


def noisy(values, seed=1, noise=0.02):
    return values * np.exp(np.random.default_rng(seed).normal(0, noise, len(values)))


def test_exact_points_give_the_parameters_and_the_peak():
    found = fit(USERS, law(USERS, 1000, 0.05, 0.0002))
    assert found.rate.value == pytest.approx(1000)
    assert found.contention.value == pytest.approx(0.05)
    assert found.coherency.value == pytest.approx(0.0002)
    assert found.peak.value == pytest.approx(np.sqrt(0.95 / 0.0002))
    assert found.off < 1e-6
    assert found.at(16) == pytest.approx(law(16, 1000, 0.05, 0.0002))
    # at the peak no other N does more
    assert found.at(found.peak.value) > max(found.at(found.peak.value + step) for step in (-1, 1))


def test_intervals_hold_the_truth_in_95_percent():
    n = np.tile(USERS, 2)
    truth = {"rate": 1000, "contention": 0.05, "coherency": 0.0002, "peak": np.sqrt(0.95 / 0.0002)}
    found = [fit(n, noisy(law(n, 1000, 0.05, 0.0002), seed)) for seed in range(400)]
    for name, value in truth.items():
        estimates = [getattr(it, name) for it in found]
        assert 0.92 < np.mean([it.low <= value <= it.high for it in estimates]) < 0.98, name


def test_fit_agrees_with_scipys_curve_fit_of_relative_residuals():
    values = noisy(law(USERS, 800, 0.1, 0.0005))
    found = fit(USERS, values)
    best, covariance = curve_fit(
        lambda n, *it: np.log(law(n, *it)), USERS, np.log(values), (700, 0.05, 1e-4)
    )
    assert [found.rate.value, found.contention.value, found.coherency.value] == pytest.approx(
        best, rel=1e-3
    )
    half = (found.contention.high - found.contention.low) / 2
    assert half == pytest.approx(2.447 * np.sqrt(covariance[1, 1]), rel=0.01)  # t of 6 degrees


def test_linear_throughput_has_no_contention_and_no_peak():
    found = fit(USERS, noisy(1000 * USERS))
    assert found.contention.low == found.coherency.low == 0.0
    assert found.contention.high < 0.01
    assert found.peak is None


def test_contention_alone_has_no_peak():
    found = fit(USERS, noisy(law(USERS, 500, 0.3, 0.0)))
    assert found.contention.low < 0.3 < found.contention.high
    assert found.peak is None


@pytest.mark.parametrize(
    ("n", "values", "why"),
    [
        (USERS[:5], 100 * USERS[:5], "5 values, and a fit takes 6"),
        (np.arange(10.0, 20.0), np.arange(10.0, 20.0), "span less than 4 times"),
        (USERS, 1000 * USERS**1.3, "faster than the law allows"),
        # waits of 50 ms in 16 slots: a knee that the law does not have
        (USERS, np.minimum(USERS / 0.05, 320), "a point lies 37% off the curve"),
    ],
)
def test_curve_that_is_not_defended_is_refused_with_the_reason(n, values, why):
    with pytest.raises(NoFitError, match=why):
        fit(n, values)


def test_repeated_trials_are_not_more_values():
    n = np.repeat(USERS[:5], 4)
    with pytest.raises(NoFitError, match="5 values"):
        fit(n, noisy(100 * n))
