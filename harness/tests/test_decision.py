"""Verdicts of simulated runs: false alarms, power, coverage, and that the tests have teeth."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from harness.analyze.decision import (
    ALPHA,
    BETTER,
    EQUIVALENCE,
    EQUIVALENT,
    FEWEST,
    INCONCLUSIVE,
    METRICS,
    WORSE,
    Metric,
    holm,
    judge,
)
from harness.analyze.pairs import Paired, sign_flip_p
from harness.tests.hosts import ERRORS, FIGURES, differences, one_after_the_other

THROUGHPUT = [metric.name for metric in FIGURES].index("throughput")
ONE = (Metric("p50", "p50_s", 0.05),)
same_server_twice = cache(differences)


def alarms(runs, looks=1) -> int:
    """In how many of the runs a server was called better or worse than itself."""
    verdicts = [judge(run[None], FIGURES, looks).verdict for run in runs]
    return sum(bool(np.isin(verdict, (BETTER, WORSE)).any()) for verdict in verdicts)


def verdict(d, metrics=ONE, looks=1):
    return str(judge(np.array(d, dtype=float)[None, None], metrics, looks).verdict[0, 0])


def test_k21_same_server_twice_is_called_different_in_at_most_5_of_2000_runs():
    assert alarms(same_server_twice(2000)) <= 5


def test_k21_has_teeth_in_an_order_that_is_not_balanced():
    assert alarms(differences(2000, order=one_after_the_other)) > 0.2 * 2000


def test_k21_holds_for_runs_that_are_extended_where_they_were_inconclusive():
    runs = same_server_twice(2000, blocks=16)
    first = [judge(run[None, :, :8], FIGURES, looks=2).verdict for run in runs]
    again = [run for run, told in zip(runs, first, strict=True) if INCONCLUSIVE in told[:, :5]]
    assert len(again) > 1000
    assert alarms(runs[:, :, :8], looks=2) + alarms(again, looks=2) <= 5


def test_an_extension_costs_alarms_unless_the_looks_share_alpha():
    """Without a delta, which hides that: nearly twice ALPHA, and not more than ALPHA."""
    bare = (Metric("p50", "p50_s", 0.0),)
    d = np.random.default_rng(5).normal(0, 0.02, (40_000, 16))
    p = [Paired.of(d[:, :blocks]).p() for blocks in (8, 16)]
    shares = [np.mean((p[0] <= ALPHA / looks) | (p[1] <= ALPHA / looks)) for looks in (1, 2)]
    assert shares[0] > 1.5 * ALPHA
    assert shares[1] <= ALPHA
    one = d[np.argmax((p[0] > ALPHA / 2) & (p[0] < ALPHA)), :8]
    assert (verdict(one, bare), verdict(one, bare, looks=2)) == (
        BETTER if one.mean() < 0 else WORSE,
        INCONCLUSIVE,
    )


def test_k22_a_tenth_less_is_found_in_95_of_100_runs():
    runs = differences(2000, effect=np.log(0.9), drift=0.0)
    found = [judge(run[None], FIGURES).verdict[0, THROUGHPUT] for run in runs]
    assert found.count(WORSE) >= 0.95 * 2000
    assert BETTER not in found


@pytest.fixture(scope="module")
def tenths():
    """20,000 runs of 8 blocks, in which b is a tenth less than a."""
    return differences(20_000 // 10, effect=np.log(0.9), drift=0.0)[:, :ERRORS].reshape(-1, 8)


def share_covered(low, high) -> float:
    return float(np.mean((low <= np.log(0.9)) & (np.log(0.9) <= high)))


def test_k22_the_95_percent_interval_covers_the_truth_in_94_to_96_of_100(tenths):
    assert 0.94 <= share_covered(*Paired.of(tenths).interval(0.95)) <= 0.96


def test_the_percentile_bootstrap_would_not(tenths):
    random = np.random.default_rng(3)
    some = tenths[:2000]
    means = some[:, random.integers(0, 8, (1000, 8))].mean(axis=-1)
    assert share_covered(*np.quantile(means, (0.025, 0.975), axis=-1)) < 0.92


def test_k22_the_smallest_effect_that_is_printed_is_the_one_that_is_found():
    """Simulated: the effect of which nine in ten are found, when nothing else differs."""
    nothing = differences(1000, drift=0.0, seed=7)
    printed = [judge(run[None], FIGURES).smallest(FIGURES)[0, THROUGHPUT] for run in nothing[:300]]

    def power(effect: float) -> float:
        runs = nothing.copy()
        runs[:, THROUGHPUT] -= effect
        found = [judge(it[None], FIGURES).verdict[0, THROUGHPUT] for it in runs]
        return found.count(WORSE) / len(found)

    effects = np.linspace(0.05, 0.09, 5)
    simulated = np.interp(0.9, [power(effect) for effect in effects], effects)
    assert np.median(printed) == pytest.approx(simulated, rel=0.2)


def test_pooled_seconds_find_differences_where_there_are_none():
    """Five seconds of a trial share its luck: they are not five measurements."""
    trials = same_server_twice(2000)[:, THROUGHPUT]
    seconds = trials[..., None] + np.random.default_rng(4).normal(0, 0.01, (2000, 8, 5))
    pooled = stats.ttest_1samp(seconds.reshape(2000, -1), 0, axis=-1).pvalue
    assert np.mean(pooled < 0.05) > 0.25
    assert np.mean(Paired.of(trials).p() < 0.05) < 0.07


def test_equivalence_is_two_one_sided_t_tests():
    random = np.random.default_rng(8)
    d = random.normal(random.uniform(-0.06, 0.06, (500, 1)), 0.02, (500, 8))
    least = ONE[0].least
    above = stats.ttest_1samp(d, -least, axis=-1, alternative="greater").pvalue
    below = stats.ttest_1samp(d, least, axis=-1, alternative="less").pvalue
    expected = np.maximum(above, below) <= EQUIVALENCE
    assert 100 < expected.sum() < 400
    assert [verdict(row) == EQUIVALENT for row in d] == expected.tolist()


def test_better_and_worse_are_the_paired_t_test_after_holm():
    random = np.random.default_rng(9)
    metrics = METRICS
    for _ in range(20):
        d = random.normal(
            random.uniform(-0.1, 0.1, (3, len(metrics), 1)), 0.02, (3, len(metrics), 8)
        )
        found = judge(d, metrics)
        gates = np.array([metric.gates for metric in metrics])
        p = stats.ttest_rel(d[:, gates], np.zeros_like(d[:, gates]), axis=-1).pvalue
        rejected = multipletests(p.ravel(), ALPHA, "holm")[0].reshape(p.shape)
        large = np.abs(d[:, gates].mean(axis=-1)) >= [it.least for it in metrics if it.gates]
        called = np.isin(found.verdict[:, gates], (BETTER, WORSE))
        assert (called == (rejected & large)).all()
        assert not np.isin(found.verdict[:, ~gates], (BETTER, WORSE, EQUIVALENT)).any()


@pytest.mark.parametrize("size", [1, 2, 6, 50])
def test_holm_agrees_with_statsmodels(size):
    p = np.random.default_rng(size).uniform(0, 0.05, size)
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    with_gaps = np.insert(p, [0, size], np.nan)
    assert holm(with_gaps)[1:-1] == pytest.approx(holm(p))
    assert np.isnan(holm(with_gaps)[[0, -1]]).all()


STEADY = np.array([0.001, -0.001] * 4)


@pytest.mark.parametrize(
    ("d", "expected"),
    [
        (STEADY, EQUIVALENT),
        (STEADY + 0.02, EQUIVALENT),  # a difference for certain, and too small to matter
        (STEADY + 0.06, WORSE),
        (STEADY - 0.06, BETTER),
        (STEADY * 200, INCONCLUSIVE),
        (STEADY[: FEWEST - 1] + 0.06, INCONCLUSIVE),
        (STEADY[:FEWEST] + 0.06, WORSE),
        (np.zeros(8), EQUIVALENT),
        (np.full(8, 0.5), WORSE),
        ([*STEADY[:6], np.nan, np.nan], EQUIVALENT),
        (np.full(8, np.nan), INCONCLUSIVE),
    ],
)
def test_verdicts_of_a_figure_of_which_less_is_better(d, expected):
    assert verdict(d) == expected
    mirrored = {BETTER: WORSE, WORSE: BETTER}.get(expected, expected)
    assert verdict(-np.asarray(d)) == mirrored
    assert verdict(d, (METRICS[THROUGHPUT],)) == (mirrored if np.nansum(d) else expected)


def test_interval_of_what_is_called_different_excludes_none():
    for run in differences(200, effect=0.06, seed=11):
        found = judge(run[None], FIGURES)
        called = np.isin(found.verdict, (BETTER, WORSE))
        assert ((found.low > 0) | (found.high < 0))[called].all()


def test_share_that_is_zero_on_both_sides_is_equivalent_and_one_that_is_not_counts():
    errors = (next(metric for metric in METRICS if metric.share),)
    none = np.zeros((1, 1, 8))
    assert judge(errors[0].differences(none, none), errors).verdict == EQUIVALENT
    few = none + 0.0005
    assert judge(errors[0].differences(none, few), errors).verdict == EQUIVALENT
    many = none + np.linspace(0.009, 0.011, 8)
    assert judge(errors[0].differences(none, many), errors).verdict == WORSE
    assert judge(errors[0].differences(many, none), errors).verdict == BETTER


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (0.1, False),
        (0.9, True),  # the t test is lost by one pair that is far off, the signs are not
        (-0.001, True),  # one pair that disagrees is too many for the signs alone
    ],
)
def test_result_on_which_the_sign_flip_test_does_not_agree_is_fragile(last, expected):
    series = np.array([[[0.1, 0.101, 0.099, 0.1, 0.1, 0.101, 0.099, last]]])
    judged = judge(series, ONE)
    assert judged.fragile(sign_flip_p(series)) == expected


def test_six_pairs_of_one_sign_are_all_that_the_sign_flip_test_can_ask_for():
    series = np.array([[STEADY[:6] + 0.1]])
    assert sign_flip_p(series) > ALPHA
    assert not judge(series, ONE).fragile(sign_flip_p(series))
