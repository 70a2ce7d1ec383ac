"""The warm-up's end: series with a known one, series without any, and noise that is none."""

from __future__ import annotations

import numpy as np
import pytest

from harness.analyze import records, trials_frame
from harness.analyze.arrays import Arrays
from harness.analyze.steady import GRAIN, KEPT, LEAST, steady, truncation
from harness.analyze.verdict import NO_STEADY_STATE, VALID
from harness.tests.builders import Requests, RunBuilder, cell, closed, nanoseconds, ticks_table

SEEDS = range(200)
steps = np.arange(70)


def noisy(levels, seed, share=0.01):
    source = np.random.default_rng(seed)
    return levels * (1 + share * source.standard_normal(len(levels)))


WARM_UPS = {
    "slope": lambda end: 1 + 2 * np.clip(1 - steps / end, 0, None),
    "step": lambda end: np.where(steps < end, 1.5, 1.0),
    "decay": lambda end: np.where(steps < end, 1 + np.exp(-2 * steps / end), 1.0),
    "faster at first": lambda end: np.where(steps < end, 0.4 + 0.5 * steps / end, 1.0),
}


@pytest.mark.parametrize("shape", WARM_UPS)
@pytest.mark.parametrize("end", [5, 10, 20, 30])
def test_k23_known_end_of_a_warm_up_is_found_within_one_batch(shape, end):
    levels = WARM_UPS[shape](end)
    cuts = [truncation(noisy(levels, seed)) for seed in SEEDS]
    assert all(abs(found.cut - end) <= 1 for found in cuts[:20])
    off = np.array([abs(found.cut - end) for found in cuts])
    assert (off <= 1).mean() > 0.98
    assert not any(found.late for found in cuts)


def test_k23_series_without_noise_is_cut_exactly():
    for levels in (WARM_UPS["step"](20), WARM_UPS["faster at first"](20)):
        assert truncation(levels).cut == 20


NEVER = {
    "it grows on and on": 1 + steps / 70,
    "it falls on and on": 2 - steps / 70,
    "it doubles near the end": np.where(steps < 50, 1.0, 2.0),
    "the warm-up ends beyond the middle": np.where(steps < 45, 1.5, 1.0),
    "a queue without bound": 0.01 + steps * 0.05,
}


@pytest.mark.parametrize("what", NEVER)
def test_k23_series_that_is_never_steady_is_cut_beyond_the_middle(what):
    assert all(truncation(noisy(NEVER[what], seed, 0.03)).late for seed in SEEDS)


def test_hiccups_are_no_warm_up():
    """One batch in thirty is slower by up to several times, at random."""
    for seed in SEEDS:
        source = np.random.default_rng(seed)
        hiccups = (source.random(70) < 0.03) * source.exponential(2.0, 70)
        found = truncation(noisy(np.ones(70), seed, 0.02) + hiccups)
        assert not found.late
        assert found.cut < 15


@pytest.mark.parametrize(("share", "allowed"), [(0.02, 0.0), (0.1, 0.01), (0.2, 0.03)])
def test_noise_alone_is_seldom_called_unsteady(share, allowed):
    late = [truncation(noisy(np.ones(70), seed, share)).late for seed in SEEDS]
    assert np.mean(late) <= allowed


def test_noise_that_ceases_is_no_warm_up():
    """The same level, at first restless and then calm: the rule alone would cut between."""
    late = []
    for seed in SEEDS:
        source = np.random.default_rng(seed)
        levels = 1 + source.standard_normal(70) * np.where(steps < 45, 0.1, 0.005)
        late.append(truncation(levels).late)
    assert np.mean(late) < 0.03


def test_drift_below_what_matters_is_steady():
    for levels in (1 + 0.05 * steps / 70, np.where(steps < 50, 1.0, 1.04)):
        found = truncation(levels)
        assert not found.late


def test_series_that_never_moves_is_steady_from_the_beginning():
    found = truncation(np.ones(50))
    assert (found.cut, found.before, found.after, found.late) == (0, None, 1.0, False)


def test_short_series_tell_nothing():
    assert truncation(np.ones(LEAST - 1)) is None
    assert truncation(np.ones(LEAST)) is not None
    assert truncation([]) is None


def test_a_few_batches_are_always_left():
    levels = np.ones(40)
    levels[:38] += np.linspace(3, 0.5, 38)
    assert truncation(levels).cut <= 40 - KEPT


def test_scale_of_the_series_means_nothing():
    levels = noisy(WARM_UPS["slope"](20), 1)
    assert truncation(levels).cut == truncation(levels * 1e9).cut
    assert GRAIN < 0.05


def settling(until_s: float, *, slow: float = 3.0, seconds: float = 5.0, warmup_s: float = 2.0):
    """Ten users, answers of 50 ms that take `slow` times as long up to `until_s`."""
    ended: list[float] = []
    lasted: list[float] = []
    for user in range(10):
        at = -warmup_s + 0.005 * user
        while at < seconds:
            length = 0.05 * (slow if at < until_s else 1.0)
            at += length
            ended.append(at)
            lasted.append(length)
    done, took = np.array(ended), np.array(lasted)
    kept = nanoseconds(done) < seconds * 1e9
    order = np.argsort(done[kept], kind="stable")
    return Requests(done[kept][order], took[kept][order])


def row_of(tmp_path, requests, seconds=5.0, **facts):
    builder = RunBuilder(tmp_path, seconds=seconds)
    builder.measured(cell(), requests, **facts)
    return records(trials_frame(builder.read()))[0]


def test_what_is_measured_begins_where_the_window_does_if_it_was_steady_by_then(tmp_path):
    row = row_of(tmp_path, settling(-0.6))
    assert row["steady_at_s"] == pytest.approx(-0.5, abs=0.1)
    assert (row["skipped_s"], row["window_s"], row["verdict"]) == (0, 5.0, VALID)
    assert row["before_s"] == pytest.approx(0.15)
    assert row["after_s"] == pytest.approx(0.05)
    assert row["requests"] == pytest.approx(1000, abs=10)


def test_what_is_measured_begins_later_if_steady_state_did(tmp_path):
    requests = settling(0.8)
    row = row_of(tmp_path, requests)
    assert row["steady_at_s"] == pytest.approx(0.9, abs=0.11)
    assert (row["skipped_s"], row["window_s"]) == (1, 4.0)
    counted = nanoseconds(requests.done_s) >= 1e9
    assert row["requests"] == counted.sum()
    assert row["throughput_per_s"] == pytest.approx(200, rel=0.01)
    assert row["max_s"] == pytest.approx(requests.took_s[counted].max(), rel=1e-3)
    assert row["p99_s"] < 0.06  # of the whole window it is 150 ms
    assert row["server_cpu_s"] == pytest.approx(0.4 * 4.0)
    assert row["verdict"] == VALID
    (reason,) = row["reasons"]
    assert reason.startswith("steady state began 0.")
    assert reason.endswith("its first 1 s are not counted")


def test_errors_of_seconds_that_do_not_count_are_not_counted(tmp_path):
    requests = settling(0.8)
    failed = np.array([0.1, 0.2, 1.5])
    row = row_of(
        tmp_path,
        Requests(requests.done_s, requests.took_s, failed_at_s=failed),
        errors={"reset": 3},
    )
    assert row["errors"] == 1
    assert any("in the whole window: 3 reset GET /" in reason for reason in row["reasons"])


def test_trial_that_is_never_steady_is_not_to_be_ranked(tmp_path):
    row = row_of(tmp_path, settling(2.5))
    assert row["steady"] is False
    assert row["verdict"] == NO_STEADY_STATE
    assert any("from 150 ms to 50 ms" in reason for reason in row["reasons"])
    assert (row["skipped_s"], row["window_s"]) == (0, 5.0)  # all is shown as it was


def test_beginning_that_hardly_matters_is_not_left_out(tmp_path):
    row = row_of(tmp_path, settling(0.05, slow=1.1))
    assert row["skipped_s"] == 0


def test_few_answers_tell_nothing_of_the_state(tmp_path):
    row = row_of(tmp_path, closed(users=1, took_s=0.5))
    assert row["steady"] is None
    assert row["skipped_s"] == 0
    ticks = Arrays.of(ticks_table(closed(users=1, took_s=0.5)))
    assert steady(ticks, 5.0) is None


def test_window_too_short_to_leave_a_second_is_unsteady(tmp_path):
    requests = settling(0.05, slow=1.5, seconds=1.4, warmup_s=1.0)
    row = row_of(tmp_path, requests, seconds=1.4)
    assert 0 < row["steady_at_s"] <= 0.2
    assert row["verdict"] == NO_STEADY_STATE
