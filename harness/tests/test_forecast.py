"""How long a run will take, said before it and while it goes."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from harness.forecast import CEILING_S, OVERHEAD_S, Forecast, block_s, blocks_within, run_s
from harness.model import Timing
from harness.plan import describe
from harness.report.progress import Watcher
from harness.store import plain
from harness.tests.builders import cell, scenario
from harness.tests.crew import plan_of

TIMING = Timing(2.0, 5.0)


def facts(it, beside_s: float, *, install_s: float = 0.0, outcome: str = "measured"):
    """A trial that took so long beside its warm-up and window."""
    life = {"environment": install_s, "launch": 1.0, "warm up": 2.0, "measure": 4.0 + beside_s}
    return {"cell": describe(it), "outcome": outcome, "life_s": life}


def test_nothing_known_is_guessed():
    assert Forecast(TIMING).trial_s(cell()) == 7.0 + OVERHEAD_S


def test_cell_takes_what_it_took_and_others_the_mean():
    known = [facts(cell("slow"), 31.0), facts(cell("fast"), 1.0), facts(cell("fast"), 2.0)]
    forecast = Forecast(TIMING, known)
    assert forecast.trial_s(cell("slow")) == pytest.approx(38.0)
    assert forecast.trial_s(cell("fast")) == pytest.approx(8.5)
    assert forecast.trial_s(cell("new")) == pytest.approx(7.0 + 34.0 / 3)
    assert forecast.left_s([cell("slow"), cell("fast")]) == pytest.approx(46.5)


def test_cells_of_one_server_are_told_apart():
    forecast = Forecast(TIMING, [facts(cell(users=10), 1.0), facts(cell(users=5000), 21.0)])
    assert forecast.trial_s(cell(users=10)) == pytest.approx(8.0)
    assert forecast.trial_s(cell(users=5000)) == pytest.approx(28.0)
    assert forecast.trial_s(cell(work=scenario("echo"))) == pytest.approx(7.0 + 11.0)


def test_installing_is_done_once_and_not_learned():
    assert Forecast(TIMING, [facts(cell(), 1.0, install_s=90.0)]).trial_s(cell()) == 8.0


def test_trial_that_failed_teaches_of_its_own_cell_alone():
    forecast = Forecast(TIMING, [facts(cell("broken"), -7.0, outcome="failed")])
    assert forecast.trial_s(cell("broken")) == 0.0
    assert forecast.trial_s(cell("other")) == 7.0 + OVERHEAD_S


def test_trial_that_was_read_back_teaches_the_same():
    read = plain(facts(cell(), 3.0))
    assert Forecast(TIMING, [read]).trial_s(cell()) == pytest.approx(10.0)


def test_run_is_its_blocks_and_its_ceilings():
    plan = replace(plan_of("a", "b", blocks=5), timing=TIMING)
    assert block_s(plan) == 2 * (7.0 + OVERHEAD_S)
    assert run_s(plan, 3) == 3 * CEILING_S + 5 * block_s(plan)
    for blocks in range(1, 20):
        longest = run_s(replace(plan, blocks=blocks), 3)
        assert blocks_within(plan, 3, longest) == blocks
        assert blocks_within(plan, 3, longest - 0.1) == blocks - 1
    assert blocks_within(plan, 3, 1.0) == 0


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def watcher(clock):
    return Watcher(Console(file=io.StringIO()), 60.0, clock=clock)


def shown(watcher: Watcher) -> str:
    return " ".join(line.plain for line in watcher.view().renderables)


def test_time_left_runs_down(watcher, clock):
    watcher.phase("measure")
    assert "1 min 00 s left" in shown(watcher)
    clock.now_s += 21.0
    assert "39 s left" in shown(watcher)
    clock.now_s += 99.0
    assert " 0 s left" in shown(watcher)


def test_time_left_stands_while_an_environment_is_made(watcher, clock):
    clock.now_s += 5.0
    watcher.phase("environment")
    clock.now_s += 300.0
    assert "55 s left" in shown(watcher)
    watcher.phase("launch")
    assert "55 s left" in shown(watcher)
    clock.now_s += 5.0
    assert "50 s left" in shown(watcher)
