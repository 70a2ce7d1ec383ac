"""How long a run takes: guessed before it, and learned from its own trials while it goes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import Any

from harness.model import Cell, Timing
from harness.plan import Plan, describe
from harness.store import plain

OVERHEAD_S = 1.5  # of a trial, beside warm-up and window: start, checks, Locust's own start, stop
CEILING_S = 4.0  # of each scenario that is driven against the null responder
DIFFERS = ("server", "app", "scenario", "workers", "threads", "load")


class Forecast:
    """Seconds that trials take, each beside its warm-up and window as it did before.

    A cell that was not measured yet takes as long as those that were, on the mean; the first one
    OVERHEAD_S. What making an environment took is not counted: it is made once.
    """

    def __init__(self, timing: Timing, trials: Iterable[Mapping[str, Any]] = ()) -> None:
        self._window_s = timing.warmup_s + timing.duration_s
        self._beside_s: dict[str, list[float]] = {}
        self._usual_s: list[float] = []
        for facts in trials:
            self.learn(facts)

    def learn(self, facts: Mapping[str, Any]) -> None:
        """Take in the facts of a trial that is stored."""
        life_s = facts.get("life_s", {})
        spent_s = sum(life_s.values()) - life_s.get("environment", 0.0)
        beside_s = spent_s - self._window_s
        self._beside_s.setdefault(_key(facts["cell"]), []).append(beside_s)
        if facts["outcome"] == "measured":
            self._usual_s.append(beside_s)  # one that failed says nothing about other cells

    def trial_s(self, cell: Cell) -> float:
        """How long one trial of a cell takes."""
        known = self._beside_s.get(_key(describe(cell))) or self._usual_s
        return max(0.0, self._window_s + (fmean(known) if known else OVERHEAD_S))

    def left_s(self, cells: Iterable[Cell]) -> float:
        """How long a trial of each of these takes."""
        return sum(self.trial_s(cell) for cell in cells)


def run_s(plan: Plan, ceilings: int) -> float:
    """How long the whole run takes, with so many ceilings, if all environments are there."""
    return ceilings * CEILING_S + plan.blocks * block_s(plan)


def block_s(plan: Plan) -> float:
    """How long a block of the plan takes, before anything is known."""
    return Forecast(plan.timing).left_s(plan.cells)


def blocks_within(plan: Plan, ceilings: int, budget_s: float) -> int:
    """How many blocks of the plan a budget of time has room for."""
    return max(0, math.floor((budget_s - ceilings * CEILING_S) / block_s(plan)))


def _key(cell: Mapping[str, Any]) -> str:
    # as text, because a trial that was read back has other types than one just measured
    return json.dumps([plain(cell[name]) for name in DIFFERS], sort_keys=True)
