"""The conductor of searches for a capacity: a closed load first, then an open one rate by rate.

Each rate that is tried is a trial as any other, on a freshly started server, stored at once; what
the search did follows from what is stored (see harness.analyze.capacity).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from harness.analyze import records, trials_frame
from harness.analyze.capacity import Tried, first_rate, judge
from harness.model import Cell, Timing
from harness.objective import Objective
from harness.plan import Plan, Slot
from harness.run import Crew, Watch, conduct, live
from harness.search import PRECISION, Try, seek
from harness.store import read_run
from harness.writer import RunWriter

IN_FLIGHT = 512
# of the longest limit: the window, in which a backlog that grows by 5 % comes to show, and how
# long a request is waited for
WINDOW_OF_LIMIT, DEADLINE_OF_LIMIT, LEAST_DEADLINE_S = 20.0, 3.0, 1.0
SHORT_SHARE = 0.25  # of the requests that it takes to tell
LONGER = 3.0  # times a short try
MOST_SHORT_S, MOST_LONG_S = 20.0, 60.0


@dataclass(frozen=True, slots=True)
class Quest:
    """What is searched for: the objective, how close the ends come, and what a try is given.

    `in_flight` bounds the requests in flight and `deadline_s` how long each is waited for; None
    takes them from the objective.
    """

    objective: Objective
    precision: float = PRECISION
    in_flight: int | None = None
    deadline_s: float | None = None

    def cell(self, pilot: Cell, rate_per_s: float) -> Cell:
        """The cell of a try: the pilot's, with Poisson arrivals at a rate.

        By Little's law, rate x limit are in flight where the mean response is at the limit.
        """
        limit_s = self.objective.longest_s or 0.0
        in_flight = self.in_flight or max(IN_FLIGHT, math.ceil(1.5 * rate_per_s * limit_s))
        deadline_s = self.deadline_s or max(LEAST_DEADLINE_S, DEADLINE_OF_LIMIT * limit_s)
        load = replace(
            pilot.load, model="open", users=in_flight, rate_per_s=rate_per_s,
            arrivals="poisson", deadline_s=deadline_s,
        )  # fmt: skip
        return replace(pilot, load=load)

    def timing(self, asked: Try, usual: Timing) -> Timing:
        """How long a try takes: `usual` at least, and longer where requests are few."""
        needed_s = self.objective.requests / asked.rate_per_s
        least_s = max(usual.duration_s, WINDOW_OF_LIMIT * (self.objective.longest_s or 0.0))
        short_s = max(least_s, min(SHORT_SHARE * needed_s, MOST_SHORT_S))
        if asked.stage == "search":
            return replace(usual, duration_s=round(short_s, 1))
        long_s = max(LONGER * short_s, min(needed_s, MOST_LONG_S))
        return replace(usual, duration_s=round(long_s, 1))


def explore(
    plan: Plan, quest: Quest, crew: Crew, writer: RunWriter, watch: Watch
) -> Iterator[tuple[Cell, Tried]]:
    """Measure the plan's cells under their closed load, then search each one's capacity.

    Yields each try once it is stored. A cell whose closed load could not be measured has none.
    """
    for _ in conduct(plan, crew, writer, watch):
        pass
    pilots = {row["number"]: row for row in records(trials_frame(read_run(writer.path)))}
    number = len(pilots)
    for slot in plan.slots():
        begin = first_rate(pilots[slot.number])
        if begin is None:
            continue
        search, seen = seek(begin, quest.precision), Counter[float]()
        asked: Try | None = next(search)
        while asked is not None:
            number += 1
            seen[asked.rate_per_s] += 1
            cell = quest.cell(slot.cell, asked.rate_per_s)
            place = Slot(number, seen[asked.rate_per_s], cell)
            tried = _try(asked, place, plan, quest, crew, writer, watch)
            yield slot.cell, tried
            try:
                asked = search.send(tried.outcome)
            except StopIteration:
                asked = None


def _try(
    asked: Try, slot: Slot, plan: Plan, quest: Quest, crew: Crew, writer: RunWriter, watch: Watch
) -> Tried:
    # other arrivals for each try: the luck of one schedule is not that of the search
    own = replace(plan, seed=plan.seed + slot.number, timing=quest.timing(asked, plan.timing))
    writer.check_space()
    watch.begin(slot.number, None, slot.cell)
    live(slot, own, crew, writer, watch)
    run = read_run(writer.path)
    trial = next(it for it in run.trials if it.facts["number"] == slot.number)
    (row,) = records(trials_frame(replace(run, trials=[trial])))
    return judge(row, trial, quest.objective, asked.stage)
