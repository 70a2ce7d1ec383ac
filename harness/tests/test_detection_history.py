"""Where a series changed: bounds in seeded simulations, labelled series, and what is settled.

The bounds are the design's. Each is a share of series, at the values' usual noise of 2 % unless
said otherwise; the seeds are fixed, so that a run of these tests repeats the last one.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from harness.history import segmentation
from harness.history.segmentation import FLOOR, SETTLED, changes, segment
from harness.tests.histories import KINDS, noise

STEP = float(np.log(0.9))  # a fall of 10 %


def share(found):
    return float(np.mean(list(found)))


def false_alarms(series):
    return share(bool(changes(x)) for x in series)


def finds(x, *places, near=1):
    """Whether these are the changes, each within a run or so of its place."""
    found = changes(x)
    return len(found) == len(places) and all(
        abs(at - place) <= near for at, place in zip(found, places, strict=True)
    )


def stepped(kind, several, before, after, step=STEP, **more):
    x = noise(kind, several, before + after, **more)
    x[:, before:] += step
    return x


@pytest.mark.parametrize("kind", KINDS)
def test_noise_without_a_change_raises_few_alarms(kind):
    assert false_alarms(noise(kind, 300, 60)) <= 0.02


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "correlated"])
def test_noise_as_high_as_the_floor_raises_few_alarms(kind):
    """Here it is the permutations that hold the bound, and not the floor."""
    assert false_alarms(noise(kind, 300, 60, deviation=FLOOR)) <= 0.02


def test_correlated_noise_as_high_as_the_floor_raises_some():
    """Correlation is itself estimated from some 60 runs: three times the bound, and told so."""
    assert false_alarms(noise("correlated", 150, 60, deviation=FLOOR)) <= 0.06


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [30, 60, 120])
def test_alarms_stay_few_over_thousands_of_series(kind, length):
    assert false_alarms(noise(kind, 2000, length)) <= 0.02


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
def test_alarms_stay_few_when_every_new_run_is_looked_at(kind):
    """A gate looks after each run: over 60 of them, a series without a change seldom ever fails."""
    series = noise(kind, 100, 80)
    ever = share(any(segment(x[:end]).changes for end in range(21, 81)) for x in series)
    assert ever <= 0.05


def test_without_permutations_the_same_noise_raises_more(monkeypatch):
    """The bound has teeth: a textbook critical value for the largest of many t is not enough."""
    monkeypatch.setattr(segmentation, "_rare", lambda top, _draws: top > 2.7)
    assert false_alarms(noise("normal", 100, 60, deviation=FLOOR)) > 0.2


def test_without_the_correlation_correlated_noise_raises_more(monkeypatch):
    monkeypatch.setattr(segmentation, "_correlation", lambda _x, _found: 0.0)
    assert false_alarms(noise("correlated", 100, 60, deviation=FLOOR)) > 0.15


@pytest.mark.parametrize("before", [21, 40, 80])
@pytest.mark.parametrize(("more", "least"), [(2, 0.88), (3, 0.97)])
def test_step_is_found_two_or_three_runs_after_its_first(before, more, least):
    series = stepped("normal", 200, before, 1 + more)
    assert share(finds(x, before) for x in series) >= least


def test_step_is_not_found_by_its_first_run_or_the_next():
    for after in (1, 2):
        assert false_alarms(stepped("normal", 200, 40, after)) <= 0.02


def test_spike_is_no_change():
    x = noise("normal", 300, 60)
    x[np.arange(300), np.random.default_rng(2).integers(0, 60, 300)] += np.log(0.5)
    assert false_alarms(x) <= 0.02


def test_dip_that_returns_has_two_ends():
    x = noise("normal", 150, 75)
    x[:, 30:45] += STEP
    assert share(finds(each, 30, 45) for each in x) >= 0.95


def test_exact_series():
    assert changes(np.log([100] * 20 + [90] * 20)) == [20]
    assert changes(np.zeros(50)) == []
    assert changes(np.log([100, 100, 50, 50])) == []
    assert changes(np.log([100] * 20 + [96] * 20)) == []  # below the floor
    assert changes([]) == []
    with pytest.raises(ValueError, match="only finite numbers"):
        changes([1.0, float("nan"), 2.0])


def test_short_segment_must_lie_beyond_the_floor_with_each_value():
    wide, mixed = [0.0] * 30 + [-0.11] * 3, [0.0] * 30 + [-0.2, -0.2, -0.04]
    jitter = noise("normal", 1, 33, deviation=0.004)[0]
    assert changes(wide + jitter) == [30]
    assert changes(mixed + jitter) == []


# What is true of each was decided when it was made, and is what a person would mark (as in the
# Turing Change Point Dataset, van den Burg & Williams 2020); noise of 1.5 % on all of them.
LABELLED = {
    "nothing": ([(60, 0.00)], {}),
    "one step down": ([(25, 0.00), (25, -0.12)], {}),
    "one step up": ([(25, 0.00), (25, 0.12)], {}),
    "a step and an outlier": ([(25, 0.00), (25, -0.12)], {12: -0.5, 40: 0.4}),
    "outliers alone": ([(60, 0.00)], {12: -0.5, 30: 0.4, 31: -0.4, 50: 0.3}),
    "a staircase": ([(20, 0.00), (20, -0.10), (20, -0.25)], {}),
    "down and back": ([(30, 0.00), (12, -0.15), (30, 0.00)], {}),
    "down and most of it back": ([(30, 0.00), (15, -0.30), (30, -0.08)], {}),
    "a step below the floor": ([(30, 0.00), (30, -0.03)], {}),
    "a huge step": ([(25, 0.00), (25, -2.30)], {}),
}


def labelled(name, seed):
    levels, outliers = LABELLED[name]
    x = np.concatenate([np.full(length, height) for length, height in levels])
    truth = np.cumsum([length for length, _ in levels])[:-1]
    x += noise("normal", 1, len(x), deviation=0.015, seed=seed)[0]
    for at, height in outliers.items():
        x[at] += height
    return x, [] if name == "a step below the floor" else truth.tolist()


@pytest.mark.parametrize("name", LABELLED)
def test_labelled_series(name):
    for seed in range(10):
        x, truth = labelled(name, seed)
        assert finds(x, *truth), (seed, truth, changes(x))


@pytest.mark.parametrize("name", LABELLED)
def test_best_partition_agrees_on_what_is_clear(name):
    """An independent way: the partition with the least absolute deviations at a price a change."""
    x, truth = labelled(name, 77)
    assert best_partition(x) == pytest.approx(truth, abs=1)
    assert finds(x, *truth)


def best_partition(x, least=5):
    """Optimal partitioning by dynamic programming (Jackson et al. 2005), every split tried."""
    price = 6 * 0.02 * np.log(len(x))
    cost, last = [-price], [0]
    for end in range(1, len(x) + 1):
        rows = [
            (cost[begin] + price + np.abs(x[begin:end] - np.median(x[begin:end])).sum(), begin)
            for begin in range(end)
            if (end - begin >= least) and np.isfinite(cost[begin])
        ]
        best = min(rows, default=(np.inf, 0))
        cost.append(best[0])
        last.append(best[1])
    found, end = [], len(x)
    while last[end]:
        end = last[end]
        found.insert(0, end)
    levels = [np.median(x[a:b]) for a, b in pairwise([0, *found, len(x)])]
    return [at for at, (a, b) in zip(found, pairwise(levels), strict=True) if abs(a - b) >= FLOOR]


def test_series_of_two_machines_in_one_does_alarm():
    """Machine classes split series because of this."""
    here, there = noise("normal", 100, 30), noise("normal", 100, 30, seed=2) + np.log(1.3)
    assert false_alarms(np.hstack([here, there])) >= 0.99
    assert false_alarms(here) <= 0.02


def test_blocked_order_lets_the_hosts_drift_alarm():
    """Ratios are taken within blocks because of this: a host that comes to slow down by 20 %
    during a run moves all the trials of the server that is measured last.
    """
    several, runs, blocks = 60, 50, 8
    random = np.random.default_rng(4)
    drift = np.where(np.arange(runs) < 25, 0.0, -0.2)[:, None]
    own = random.normal(0, 0.04, (2, several, runs, blocks))
    place = np.arange(blocks) / (2 * blocks)
    blocked = own[0] + drift * (place + 0.5) - own[1] - drift * place
    turns = random.integers(0, 2, (several, runs, blocks)) / (2 * blocks)
    interleaved = own[0] - own[1] + drift * (2 * turns - 1 / (2 * blocks))
    assert false_alarms(blocked.mean(axis=-1)) >= 0.95
    assert false_alarms(interleaved.mean(axis=-1)) <= 0.02


def random_series(seed):
    """Noise of any kind, with up to three steps anywhere and of any size."""
    random = np.random.default_rng([9, seed])
    x = noise(KINDS[seed % 5], 1, 90, deviation=random.uniform(0.005, 0.04), seed=seed)[0]
    for at in random.integers(5, 85, random.integers(0, 4)):
        x[at:] += random.uniform(-0.3, 0.3)
    return x


def hold_settled(seeds):
    """What is settled at some length is a beginning of what is settled at any later one."""
    several = 0
    for seed in seeds:
        x = random_series(seed)
        ends = sorted(np.random.default_rng([10, seed]).integers(25, 91, 2).tolist())
        said = [segment(x[:end]) for end in ends]
        for (earlier, later), end in zip(pairwise(said), ends, strict=False):
            assert later.settled[: len(earlier.settled)] == earlier.settled, seed
            assert all(at <= end - SETTLED for at in earlier.settled)
            assert list(earlier.changes) == sorted(set(earlier.changes))
        several += len(said[-1].settled)
    return several


def test_more_runs_change_nothing_that_is_settled():
    assert hold_settled(range(120)) > 60  # else there was nothing to hold


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_more_runs_change_nothing_that_is_settled_in_thousands_of_series():
    assert hold_settled(range(1000, 4000)) > 1500


def test_step_settles_and_stays_where_it_is():
    x = stepped("normal", 1, 30, 60)[0]
    said = [segment(x[:end]) for end in range(21, 91)]
    assert all(not each.changes for each in said[:11])  # up to the step's second run
    assert said[-1].settled == said[60].settled == (30,)
    assert said[-1].provisional == ()


def test_everything_is_deterministic():
    x = random_series(3)
    segmentation._drawn.cache_clear()
    first = segment(x)
    segmentation._drawn.cache_clear()
    segmentation._correlated_tops.cache_clear()
    assert segment(x) == first


def test_before_enough_runs_nothing_is_said():
    x = np.array([0.0] * 10 + [-0.5] * 11)
    assert segment(x[:20]).changes == ()
    assert segment(x).provisional == (10,)
