"""Paired differences: agreement with scipy, and what it has no answer to."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness.analyze.pairs import (
    EXACT,
    Paired,
    least_sign_flip_p,
    sign_flip_p,
    smallest_effect,
)

RANDOM = np.random.default_rng(20)
SERIES = RANDOM.normal(0.01, 0.02, (30, 8))


def test_t_test_and_interval_agree_with_scipy():
    paired = Paired.of(SERIES)
    theirs = stats.ttest_rel(SERIES, np.zeros_like(SERIES), axis=-1)
    assert paired.p() == pytest.approx(theirs.pvalue)
    for confidence in (0.9, 0.95, 0.995):
        low, high = paired.interval(confidence)
        expected = theirs.confidence_interval(confidence)
        assert low == pytest.approx(expected.low)
        assert high == pytest.approx(expected.high)


def test_blocks_without_a_pair_are_left_out():
    gaps = SERIES.copy()
    gaps[:, [2, 5]] = np.nan
    whole = np.delete(SERIES, [2, 5], axis=1)
    with_gaps, without = Paired.of(gaps), Paired.of(whole)
    assert (with_gaps.pairs == 6).all()
    assert with_gaps.p() == pytest.approx(without.p())
    assert sign_flip_p(gaps) == pytest.approx(sign_flip_p(whole))


@pytest.mark.parametrize("pairs", [0, 1])
def test_one_pair_has_a_mean_at_most(pairs):
    paired = Paired.of([0.5] * pairs + [np.nan] * 3)
    assert np.isnan(paired.mean) == (pairs == 0)
    assert np.isnan(paired.p())
    assert np.isnan(paired.interval(0.99)).all()
    assert np.isnan(smallest_effect(paired.deviation, paired.pairs, least=0.03, alpha=0.01))


def test_differences_that_never_vary_leave_no_doubt():
    assert Paired.of(np.zeros(8)).p() == 1
    assert Paired.of(np.full(8, 0.25)).p() == 0


@pytest.mark.parametrize("pairs", [2, 6, 8, 11])
def test_sign_flip_is_scipys_exact_permutation_test(pairs):
    d = RANDOM.normal(0.4, 1, pairs)
    theirs = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=2**14)
    assert sign_flip_p(d) == pytest.approx(theirs.pvalue)


def test_sign_flip_is_exact_up_to_16_pairs_and_drawn_beyond():
    assert sign_flip_p(np.arange(1.0, EXACT + 1)) == least_sign_flip_p(EXACT) == 2.0**-15
    d = RANDOM.normal(0.3, 1, 20)
    several = sign_flip_p([d, d])
    assert several[0] == several[1]
    theirs = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=100_000)
    assert several[0] == pytest.approx(theirs.pvalue, abs=0.01)
    assert 0 < sign_flip_p(np.arange(1.0, 31)) < 1e-4


def test_sign_flip_of_nothing_but_zeros_finds_nothing():
    assert sign_flip_p(np.zeros(8)) == 1


@pytest.mark.parametrize("pairs", [6, 8, 16, 32])
@pytest.mark.parametrize("alpha", [0.01, 0.01 / 6])
def test_smallest_effect_is_that_of_the_noncentral_t(pairs, alpha):
    """Where no least effect is asked for."""
    found = float(smallest_effect(0.03, pairs, least=0.0, alpha=alpha))
    critical = stats.t.isf(alpha / 2, pairs - 1)
    power = stats.nct.sf(critical, pairs - 1, found / 0.03 * np.sqrt(pairs))
    assert power == pytest.approx(0.9, abs=0.002)


def test_smallest_effect_is_more_than_the_least_that_counts_and_less_with_more_pairs():
    effects = smallest_effect(0.02, [6, 8, 16, 200], least=0.03, alpha=0.01)
    assert (np.diff(effects) < 0).all()
    assert (effects > 0.03).all()
    assert smallest_effect(0.0, 8, least=0.03, alpha=0.01) == pytest.approx(0.03)
