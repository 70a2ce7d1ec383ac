"""Histograms: every duration is where it belongs, and percentiles are order statistics."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import histogram
from harness.histogram import (
    HIGHEST_NS,
    SIZE,
    Histogram,
    bounds,
    count,
    indices,
    mean_s,
    percentile_s,
)

US, MS, S = 1_000, 1_000_000, 1_000_000_000
QS = ("0", "1", "50", "90", "99", "99.9", "100")

# uniform numbers are nearly all long; these have as many microseconds as minutes
durations = st.integers(0, 41).flatmap(lambda bits: st.integers(0, min(2**bits, HIGHEST_NS)))
samples = st.lists(durations, min_size=1, max_size=300)


@given(durations)
def test_bucket_holds_its_value(value):
    low, high = bounds(indices([value]))
    assert low[0] <= value < high[0]


@given(durations)
def test_bucket_is_at_most_a_thousandth_wide_and_exact_below_two_microseconds(value):
    low, high = bounds(indices([value]))
    if value < 2048:
        assert (low[0], high[0]) == (value, value + 1)
    else:
        assert (high[0] - low[0]) * 1024 <= low[0]


@given(durations, durations)
def test_longer_durations_are_never_in_lower_buckets(one, other):
    short, long = indices(sorted((one, other)))
    assert short <= long


def test_buckets_follow_each_other_without_hole_or_overlap():
    low, high = bounds(np.arange(SIZE))
    assert low[0] == 0
    assert (low[1:] == high[:-1]).all()
    assert (indices(low) == np.arange(SIZE)).all()
    assert (indices(np.minimum(high - 1, HIGHEST_NS)) == np.arange(SIZE)).all()


def test_layout_is_that_of_hdrhistogram():
    """countsArrayIndex of HdrHistogram, lowest 1, 3 digits, for values worked out by hand."""
    values = [0, 1, 2047, 2048, 2049, 2050, 4095, 4096, 4099, 4100, 1_000_000]
    #                 1,000,000 is 2**9 * 1953.1: half bucket 1,024 * 9 further
    assert list(indices(values)) == [
        0, 1, 2047, 2048, 2048, 2049, 3071, 3072, 3072, 3073, 9 * 1024 + 1953,
    ]  # fmt: skip


@given(samples, samples)
def test_adding_histograms_is_counting_all(one, other):
    assert (count(one) + count(other) == count(one + other)).all()


@given(samples)
def test_every_sample_is_counted_once(values):
    assert count(values).sum() == len(values)
    assert len(count(values)) == SIZE


@pytest.mark.parametrize("workers", [1, 2, 7, 64])
def test_k12_merged_workers_are_the_histogram_and_the_order_statistics_of_all_samples(workers):
    """Each worker sees its own share and its own times; a mean of percentiles would not do."""
    random = np.random.default_rng(12)
    shares = [
        random.lognormal(np.log((1 + worker) * 300 * US), 0.8, random.integers(1, 5000))
        for worker in range(workers)
    ]
    whole = np.concatenate(shares).astype(np.int64)
    merged = np.sum([count(share.astype(np.int64)) for share in shares], axis=0)
    assert (merged == count(whole)).all()
    ordered = np.sort(whole)
    for q in QS:
        rank = max(1, math.ceil(Fraction(q) * len(whole) / 100))
        found = percentile_s(np.arange(SIZE), merged, float(q))
        assert found is not None
        assert found * 1e9 == pytest.approx(ordered[rank - 1], rel=0.01)


@given(samples, st.sampled_from(QS))
def test_percentile_is_the_order_statistic_within_a_thousandth(values, q):
    rank = max(1, math.ceil(Fraction(q) * len(values) / 100))
    exact = np.sort(values)[rank - 1]
    found = percentile_s(indices(values), np.ones(len(values), np.int64), float(q))
    assert found is not None
    assert found * 1e9 == pytest.approx(exact, rel=1e-3, abs=1e-6)


@given(samples, st.sampled_from(QS))
def test_percentile_of_rows_equals_that_of_the_whole_vector(values, q):
    """Rows may repeat a bucket and come in any order: merging is not needed first."""
    rows = percentile_s(indices(values), [1] * len(values), float(q))
    vector = percentile_s(np.arange(SIZE), count(values), float(q))
    assert rows == vector


@pytest.mark.parametrize("q", QS)
def test_percentile_of_many_real_looking_times_is_the_order_statistic(q):
    values = np.random.default_rng(7).lognormal(np.log(450 * US), 0.5, 100_000).astype(np.int64)
    rank = max(1, math.ceil(Fraction(q) * len(values) / 100))
    found = percentile_s(np.arange(SIZE), count(values), float(q))
    assert found is not None
    assert found * 1e9 == pytest.approx(np.sort(values)[rank - 1], rel=1e-3)


@given(samples)
def test_mean_is_the_mean_within_a_thousandth(values):
    found = mean_s(np.arange(SIZE), count(values))
    assert found is not None
    assert found * 1e9 == pytest.approx(np.mean(values), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize(
    ("q", "enough"), [(50, 20), (1, 1_000), (99, 1_000), (99.9, 10_000), (0, math.inf)]
)
def test_percentile_is_told_where_ten_lie_on_either_side(q, enough):
    fewer = 10**6 if math.isinf(enough) else enough - 1
    assert not Histogram.merged([5], [fewer]).tells(q)
    if fewer < enough < math.inf:
        assert Histogram.merged([5, 7], [enough - 3, 3]).tells(q)


def test_percentile_weighs_by_count():
    buckets = indices([1 * MS, 100 * MS])
    assert percentile_s(buckets, [98, 2], 98.0) == pytest.approx(0.001, rel=1e-3)
    assert percentile_s(buckets, [98, 2], 98.1) == pytest.approx(0.1, rel=1e-3)
    # the counts go with their buckets, in whatever order these are
    assert percentile_s(buckets[::-1], [2, 98], 50.0) == pytest.approx(0.001, rel=1e-3)


def test_half_of_two_is_the_first():
    assert percentile_s(indices([1 * S, 3 * S]), [1, 1], 50.0) == pytest.approx(1.0, rel=1e-3)


def test_without_counts_there_is_no_percentile_and_no_mean():
    for buckets, counts in (([], []), ([5, 6], [0, 0]), (np.arange(SIZE), np.zeros(SIZE))):
        assert percentile_s(buckets, counts, 50.0) is None
        assert mean_s(buckets, counts) is None
    assert count([]).sum() == 0


@given(st.integers(HIGHEST_NS, 2**62))
def test_more_than_an_hour_counts_as_an_hour(value):
    assert indices([value])[0] == SIZE - 1
    assert percentile_s(indices([value]), [1], 100.0) == pytest.approx(3600.0, rel=1e-3)


@given(st.integers(-(2**62), 0))
def test_less_than_nothing_counts_as_nothing(value):
    assert indices([value])[0] == 0
    assert percentile_s(indices([value]), [1], 100.0) == 0.0


def test_relative_error_is_what_the_docstring_promises():
    assert 10**histogram.SIGNIFICANT_DIGITS <= histogram.SUB_BUCKETS // 2
