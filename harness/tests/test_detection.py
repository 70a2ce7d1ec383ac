"""What a number of blocks can find, said before and while they are measured."""

from __future__ import annotations

import numpy as np
import pytest

from harness.analyze import trials_frame
from harness.analyze.decision import METRICS, judge
from harness.analyze.detection import detectable, noise
from harness.tests.builders import RunBuilder, cell, closed

GATING = [metric for metric in METRICS if metric.gates]


def promised(blocks: int, servers: int, deviation: float | None = None) -> float:
    found = detectable(blocks, servers, deviation)
    assert found is not None
    return found


def test_fewer_blocks_than_a_verdict_needs_find_nothing():
    assert detectable(5, 2) is None
    assert detectable(8, 1) is None


def test_more_blocks_find_less_and_more_servers_need_more():
    found = [promised(blocks, 2) for blocks in (6, 8, 12, 24)]
    assert found == sorted(found, reverse=True)
    assert promised(8, 2) < promised(8, 4)
    assert promised(8, 2, 0.01) < promised(8, 2, 0.05)


def test_difference_that_is_promised_is_found_nine_times_in_ten():
    """All gating metrics judged together, as in a comparison of two servers."""
    random, blocks, deviation = np.random.default_rng(5), 8, 0.03
    effect = np.log1p(promised(blocks, 2, deviation))
    found = 0
    for _ in range(400):
        differences = random.normal(0.0, deviation, (1, len(GATING), blocks))
        at = [metric.name for metric in GATING].index("throughput")
        differences[0, at] += effect
        found += judge(differences, tuple(GATING)).verdict[0, at] == "better"
    assert 0.85 <= found / 400 <= 0.96


@pytest.fixture
def stored(tmp_path):
    """Two servers in four blocks; b's pace goes up and down beside a's by known factors."""

    def stored(blocks: int):
        builder = RunBuilder(tmp_path, [cell("a"), cell("b")], blocks=blocks)
        for block in range(blocks):
            for name, took_s in (("a", 0.05), ("b", 0.05 * (1.0, 1.1, 1.0, 1.1)[block])):
                builder.measured(cell(name), closed(10, took_s))
        return trials_frame(builder.read())

    return stored


def test_noise_of_a_run_is_the_deviation_of_its_pairs(stored):
    expected = np.std(np.log([1.0, 1.1, 1.0, 1.1]), ddof=1)
    assert noise(stored(4)) == pytest.approx(expected, rel=0.03)


def test_two_blocks_say_nothing_of_noise(stored):
    assert noise(stored(2)) is None
