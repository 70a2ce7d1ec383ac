"""The timetable of an open load (known answer 13)."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from harness.tests.loads import queue_responses

# by path: the package around it imports Locust, which would monkey-patch this process
PATH = Path(__file__).parent.parent / "load" / "schedule.py"
SPEC = importlib.util.spec_from_file_location("schedule", PATH)
assert SPEC is not None
assert SPEC.loader is not None
MODULE = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(MODULE)
schedule = MODULE.schedule


@pytest.mark.parametrize("rate", [0.5, 7, 1000, 123456.7])
@pytest.mark.parametrize("duration", [0.3, 5.0])
def test_constant_arrivals_are_evenly_spaced(rate, duration):
    due = schedule(rate, duration, "constant", 1)
    assert len(due) == np.ceil(rate * duration)
    assert due[0] == 0
    assert due[-1] < duration * 1e9
    if len(due) > 1:
        assert np.ptp(np.diff(due)) <= 1
        assert (len(due) - 1) / (due[-1] / 1e9) == pytest.approx(rate, rel=1e-3)


def test_poisson_rate_is_within_a_thousandth_over_many_arrivals():
    due = schedule(20_000, 100.0, "poisson", 7)
    assert len(due) / 100.0 == pytest.approx(20_000, rel=0.003)  # 3 sigma are 0.2 %
    assert (np.diff(due) >= 0).all()
    assert due[-1] < 100e9


def kolmogorov(gaps, mean):
    """The largest distance of the gaps' distribution from the exponential one."""
    ordered = np.sort(gaps)
    theory = 1 - np.exp(-ordered / mean)
    n = len(ordered)
    steps = np.arange(n + 1) / n
    return max((steps[1:] - theory).max(), (theory - steps[:-1]).max())


def passes(offsets, rate):
    gaps = np.diff(offsets)
    return kolmogorov(gaps, 1e9 / rate) < 1.358 / np.sqrt(len(gaps))  # 5 % level


def test_poisson_gaps_are_exponential_for_95_of_100_seeds():
    passed = sum(passes(schedule(500, 10.0, "poisson", seed), 500) for seed in range(300))
    assert 0.92 < passed / 300 <= 1.0  # 95 %, within 3 sigma


def test_the_test_for_exponential_gaps_can_fail():
    assert not passes(schedule(500, 10.0, "constant", 1), 500)
    assert not passes(schedule(500, 10.0, "poisson", 1), 550)


def test_shares_of_several_workers_merge_into_the_whole():
    whole = schedule(400, 10.0, "poisson", 3)
    merged = np.sort(np.concatenate([whole[worker::3] for worker in range(3)]))
    assert (merged == whole).all()
    assert passes(merged, 400)


def test_same_seed_same_schedule():
    assert (schedule(99, 5.0, "poisson", 5) == schedule(99, 5.0, "poisson", 5)).all()
    one, other = schedule(99, 5.0, "poisson", 5), schedule(99, 5.0, "poisson", 6)
    assert len(one) != len(other) or (one != other).any()


def test_lindley_agrees_with_the_textbook():
    """M/M/1 and M/D/1 at 70 %: the figures of queueing theory, in milliseconds."""
    due = schedule(70, 40_000, "poisson", 1) / 1e9
    source = np.random.default_rng(2)
    exponential = queue_responses(due, source.exponential(0.01, len(due))) * 1e3
    fixed = queue_responses(due, np.full(len(due), 0.01)) * 1e3
    assert exponential.mean() == pytest.approx(33.3, rel=0.03)
    assert np.percentile(exponential, [50, 95, 99]) == pytest.approx([23.1, 99.9, 153.5], rel=0.04)
    assert fixed.mean() == pytest.approx(21.67, rel=0.03)
    assert np.percentile(fixed, [50, 95, 99]) == pytest.approx([17.3, 51.3, 75.8], rel=0.04)
