"""The percentiles that are shown while a load goes on."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from harness import histogram
from harness.drive import drive
from harness.model import Load, Timing
from harness.tests.loads import PLACEMENT, SCENARIOS, Result, stub

S = 1_000_000_000

# by path: the package around it imports Locust, which would monkey-patch this process
PATH = Path(__file__).parents[1] / "load" / "recent.py"
SPEC = importlib.util.spec_from_file_location("recent", PATH)
assert SPEC is not None
assert SPEC.loader is not None
RECENT = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(RECENT)


def test_recent_percentiles_are_those_of_the_samples_to_three_percent():
    draw = np.random.default_rng(3)
    took_ns = (draw.lognormal(-7.0, 1.0, 20_000) * S).astype(np.int64)
    recent = RECENT.Recent()
    for part in np.split(took_ns, 4):
        recent.add(0, histogram.indices(part), np.ones(len(part), np.int64))
    p50_s, p99_s = recent.percentiles_s(0)
    assert p50_s == pytest.approx(np.percentile(took_ns, 50) / S, rel=0.03)
    assert p99_s == pytest.approx(np.percentile(took_ns, 99) / S, rel=0.03)


@pytest.mark.parametrize("took_ns", [0, 1, 2047, 2048, 999_999, 60 * S, 3600 * S])
def test_recent_percentiles_hold_over_the_whole_range(took_ns):
    recent = RECENT.Recent()
    recent.add(0, histogram.indices([took_ns]), np.array([7]))
    for value_s in recent.percentiles_s(0):
        assert value_s == pytest.approx(took_ns / S, rel=0.03, abs=32e-9)


def test_what_was_counted_long_ago_is_not_recent():
    recent = RECENT.Recent()
    assert recent.percentiles_s(0) == (None, None)
    one, slow, fast = np.array([1]), histogram.indices([S]), histogram.indices([S // 1000])
    recent.add(0, slow, one)
    recent.add(S // 2, fast, one)
    assert recent.percentiles_s(S)[1] == pytest.approx(1.0, rel=0.03)
    recent.add(round(1.4 * S), fast, one)
    assert recent.percentiles_s(round(1.4 * S))[1] == pytest.approx(0.001, rel=0.03)
    recent.add(2 * S, fast[:0], one[:0])
    assert recent.percentiles_s(4 * S)[1] is not None
    assert recent.percentiles_s(5 * S) == (None, None)


@pytest.mark.servers
@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_progress_tells_the_times_of_now_while_it_warms_up_and_measures(tmp_path, processes):
    """A server that is four times as slow at first is seen to come right."""
    seen = []
    knobs = ("--service", "fixed:0.020", "--pace", "4,3")
    with (
        stub(tmp_path, *knobs) as server,
        drive(
            SCENARIOS["hello"], Load(4, processes=processes), Timing(2.5, 5.0),
            url=server.url, work=tmp_path / "drive", cpus=PLACEMENT.generator,
        ) as driving,
    ):  # fmt: skip
        for progress in driving.watch():
            if progress.p50_s is not None:
                assert progress.p99_s is not None
                assert progress.p99_s >= progress.p50_s
                seen.append((progress, progress.p50_s))
        result = Result(driving.result())
    first, first_p50_s = seen[0]
    assert first.at_ns < first.start_ns
    assert first_p50_s > 0.040  # its first second
    # to 3 %, and never below what the server waits
    assert 0.97 * 0.020 < seen[-1][1] < 0.040
    assert "p50_s" not in result.summary


@pytest.mark.servers
def test_times_of_events_are_their_delays(tmp_path):
    """Clients wait half a second for each event, and it comes at once."""
    seen = []
    with (
        stub(tmp_path, period_s=0.5) as server,
        drive(
            SCENARIOS["long-poll"], Load(4), Timing(0.5, 4.0),
            url=server.url, work=tmp_path / "drive", cpus=PLACEMENT.generator,
        ) as driving,
    ):  # fmt: skip
        for progress in driving.watch():
            if progress.p50_s is not None:
                seen.append(progress.p50_s)
        result = Result(driving.result())
    assert result.percentile(50) > 0.4
    assert 0 < seen[-1] < 0.25
