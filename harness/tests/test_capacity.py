"""Capacities: searches on a simulated station, through conductor, store, verdict and report.

The station serves one request at a time in a fixed time, in order, so queueing theory knows which
rate keeps an objective: known answer 3.
"""

from __future__ import annotations

import io
import itertools
import json
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from rich.console import Console

from harness import histogram
from harness.analyze import cells_frame, comparisons_frame, records, trials_frame
from harness.analyze.capacity import capacities, judge
from harness.capacity import Quest, explore
from harness.drive import Driven
from harness.model import Load, MeasurementError, Timing
from harness.objective import parse_objective
from harness.report.capacity import capacity_text
from harness.report.markdown import markdown
from harness.report.searched import searched
from harness.report.sheets import sheets_of
from harness.report.terminal import print_report
from harness.search import Try
from harness.store import plain, read_run
from harness.tests.builders import (
    SERVER,
    START_NS,
    SUMMARY,
    Process,
    Requests,
    RunBuilder,
    cell,
    closed,
    constant_rate,
    nanoseconds,
    processes_table,
    quiet_table,
)
from harness.tests.crew import FakeCrew, FakeSampler, Recording, plan_of
from harness.tests.loads import queue_responses
from harness.tests.test_schedule import schedule
from harness.writer import RunWriter

SERVICE_S = 0.001
# M/D/1 at 70 %: p99 is 75.8 ms where the service takes 10 ms (known answer 3)
SLO, CAPACITY_PER_S = "p99<7.58ms,errors<1%", 700.0


class Station(FakeCrew):
    """Serves one request at a time; above `late_at` the generator is late, above `busy_at` it has
    no time left, above `dies_at` the server dies. `wrong` is the share of wrong answers.
    """

    def __init__(self, *, late_at=1e9, late_s=0.5, busy_at=1e9, dies_at=1e9, wrong=0.0) -> None:
        super().__init__()
        self.late_s = late_s
        self.late_at, self.busy_at, self.dies_at, self.wrong = late_at, busy_at, dies_at, wrong
        self.rate = 0.0

    @contextmanager
    def drive(self, scenario, load, timing, *, url, work, cpus, seed):
        with super().drive(
            scenario, load, timing, url=url, work=work, cpus=cpus, seed=seed
        ) as driving:
            self.rate = load.rate_per_s or 0.0
            if self.rate > self.dies_at:
                raise MeasurementError("server demo ended with exit code 139 under load")
            driving.result = lambda: self.driven(load, timing, seed)
            yield driving

    def driven(self, load: Load, timing: Timing, seed: int) -> Driven:
        requests, service = self.requests(load, timing, seed)
        ok, failed = int((requests.done_s >= 0).sum()), int((requests.failed_at_s >= 0).sum())
        summary = {
            **SUMMARY, "users": load.users, "in_flight": 0, "ok": ok, "failed": failed,
            "start_ns": START_NS, "end_ns": START_NS + round(timing.duration_s * 1e9),
            "errors": [{"name": "GET /", "kind": "timeout", "count": failed, "examples": []}],
            "since_start": {"sent": ok + failed, "ok": ok, "failed": failed, "connects": 1},
        }  # fmt: skip
        if load.model == "open":
            summary |= {"offered": ok + failed, "unsent": 0, "unanswered": 0}
        measures = {"response": requests.took_s, "service": service, "lag": requests.lag_s}
        return Driven(summary, latency_of(requests.done_s, measures), ticks_of(requests))

    def requests(self, load: Load, timing: Timing, seed: int) -> tuple[Requests, np.ndarray]:
        begin, seconds = -timing.warmup_s, timing.duration_s
        if load.model == "closed":
            found = closed(load.users, load.users * SERVICE_S, seconds=seconds, warmup_s=-begin)
            return found, found.took_s
        due = begin + schedule(load.rate_per_s, seconds - begin, "poisson", seed) / 1e9
        lag = np.full(len(due), self.late_s if self.rate > self.late_at else 1e-5)
        service = queue_responses(due - begin, np.full(len(due), SERVICE_S))
        failed = service + lag > load.deadline_s
        failed |= np.random.default_rng(seed).random(len(due)) < self.wrong
        ok = ~failed
        answered = Requests(due[ok], (service + lag)[ok], due[failed], lag_s=lag[ok])
        return answered, service[ok]

    def sampler(self, *_):
        return StationSampler(self)


class StationSampler(FakeSampler):
    """The generator is as busy as the station's rate makes it."""

    def table(self) -> pa.Table:
        busy = self._crew.rate > self._crew.busy_at
        return processes_table([SERVER, Process("generator", 200, cpu=0.99 if busy else 0.3)])

    def noise(self) -> pa.Table:
        return quiet_table()


def latency_of(at_s, measures) -> pa.Table:
    """The series `latency`, a row for each second and bucket."""
    tables = []
    for name, took_s in measures.items():
        seconds = np.floor(at_s[: len(took_s)]).astype(np.int64)
        buckets = histogram.indices(nanoseconds(took_s))
        rows, counts = np.unique(np.stack([seconds, buckets]), axis=1, return_counts=True)
        tables.append(
            pd.DataFrame({"second": rows[0], "measure": name, "bucket": rows[1], "count": counts})
        )
    return pa.Table.from_pandas(pd.concat(tables).assign(name="GET /"), preserve_index=False)


def ticks_of(requests: Requests) -> pa.Table:
    """The series `ticks`."""
    done, failed = np.floor(requests.done_s * 10), np.floor(requests.failed_at_s * 10)
    frame = pd.DataFrame({"tick": done, "took": nanoseconds(requests.took_s)})
    ok = frame.groupby("tick")["took"].agg(ok="size", response_sum_ns="sum")
    errors = pd.Series(failed).value_counts().rename("errors")
    whole = ok.join(errors, how="outer").fillna(0).astype(np.int64).rename_axis("tick")
    rows = whole.reset_index().astype({"tick": np.int32})
    return pa.Table.from_pandas(rows.assign(name="GET /"), preserve_index=False)


def searched_run(folder, station, slo=SLO, names=("demo",), seconds=1.5, precision=0.25):
    """Search; what is on disk after it, and the tries as they were made."""
    plan = replace(plan_of(*names), timing=Timing(1.0, seconds))
    asked = {"slo": slo, "precision": precision}
    writer = RunWriter.begin(folder, plan.facts() | {"capacity": asked})
    wanted = Quest(parse_objective(slo), precision)
    made = list(explore(plan, wanted, station.crew, writer, Recording()))
    writer.end("complete")
    return read_run(writer.path), made


@pytest.fixture
def searching(tmp_path):
    def searching(station, *said, **more):
        return searched_run(tmp_path, station, *said, **more)

    return searching


@pytest.fixture(scope="module")
def plain_search(tmp_path_factory):
    """The search of a station without faults: (run, tries, station)."""
    station = Station()
    return *searched_run(tmp_path_factory.mktemp("plain"), station), station


def found_in(run):
    (found,) = capacities(run, trials_frame(run))
    return found


def test_rate_of_queueing_theory_is_found(searching):
    run, _ = searching(Station(), seconds=10.0, precision=0.05)
    found = found_in(run).found
    assert found.conclusion == "found"
    assert (found.low * found.high) ** 0.5 == pytest.approx(CAPACITY_PER_S, rel=0.05)
    assert found.high < 1.16 * found.low


def test_search_gone_through_again_is_the_one_that_was_made(plain_search):
    """What was found follows from the stored trials alone."""
    run, made, _ = plain_search
    again = found_in(run)
    assert list(again.tries) == [tried for _, tried in made]
    assert [tried.number for tried in again.tries] == list(range(2, 2 + len(made)))
    held = [it.rate_per_s for it in again.tries if (it.stage, it.outcome) == ("confirm", "met")]
    assert held.count(again.found.low) >= 3


def test_every_try_is_a_trial_of_its_own_on_a_fresh_server(plain_search):
    run, made, station = plain_search
    assert station.done.count("launch") == station.done.count("gone") == len(made) + 1
    assert len(run.trials) == len(made) + 1
    seeds = [asked[-1] for asked in station.asked if asked[0] == "drive"]
    assert len(set(seeds)) == len(seeds)  # the luck of one schedule is not that of the search


def test_search_begins_at_a_quarter_of_the_closed_loads_throughput(plain_search):
    run, made, _ = plain_search
    assert run.trials[0].facts["cell"]["load"]["model"] == "closed"
    assert made[0][1].rate_per_s == pytest.approx(250.0, rel=0.01)


def test_generator_that_cannot_go_on_gives_a_lower_bound(searching):
    run, _ = searching(Station(busy_at=400, late_at=400))
    found = found_in(run)
    assert found.found.conclusion == "at least"
    assert found.found.low < 400 <= found.found.high
    assert "the generator was the limit" in capacity_text(found)


def test_generator_that_has_no_time_left_but_is_in_time_is_no_limit(searching):
    """Times count from when a request was due, so what was met was met."""
    run, _ = searching(Station(busy_at=400))
    found = found_in(run).found
    assert found.low > 400
    assert found.conclusion == "at least"  # what breaks above may be the generator's doing


def test_generator_so_late_that_nothing_is_answered_in_time_is_the_limit(searching):
    run, _ = searching(Station(busy_at=300, late_at=300, late_s=9.0))
    assert found_in(run).found.conclusion == "at least"


def test_lag_alone_does_not_blame_the_server(searching):
    run, _ = searching(Station(late_at=300))
    found = found_in(run)
    assert found.found.conclusion == "at least"
    assert found.found.low < 300 <= found.found.high
    assert "late" in next(it.why for it in found.tries if it.outcome == "held back")


def test_server_that_dies_ends_the_search_with_its_reason(searching):
    run, _ = searching(Station(dies_at=400))
    found = found_in(run)
    assert (found.found.conclusion, found.found.low) == ("failed", 250.0)
    assert "ended with exit code 139" in capacity_text(found)


def test_wrong_answers_are_missed_requests(searching):
    """2 % of wrong answers break a limit of 1 %, and are beyond each time in the p99."""
    run, _ = searching(Station(wrong=0.02), "errors<1%")
    assert found_in(run).found.conclusion == "below"
    run, _ = searching(Station(wrong=0.02), "p99<1s")
    found = found_in(run)
    assert found.found.conclusion == "below"
    assert found.tries[0].figures == {"p99": float("inf")}
    run, _ = searching(Station(wrong=0.02), "p90<4ms")
    assert found_in(run).found.conclusion == "found"


def test_closed_load_that_failed_leaves_nothing_to_search(searching):
    station = Station()
    station.fails["ready"] = MeasurementError("it would not")
    run, made = searching(station)
    assert made == []
    assert found_in(run).found.conclusion == "failed"
    assert "could not be measured" in capacity_text(found_in(run))


def test_interrupted_search_keeps_what_is_known(tmp_path):
    station = Station()
    plan = replace(plan_of("demo"), timing=Timing(1.0, 10.0))
    asked = {"slo": SLO, "precision": 0.05}
    writer = RunWriter.begin(tmp_path, plan.facts() | {"capacity": asked})
    made = explore(plan, Quest(parse_objective(SLO)), station.crew, writer, Recording())
    rates = [next(made)[1].rate_per_s for _ in range(3)]  # met, met, missed
    made.close()
    run = read_run(writer.path)
    found = found_in(run).found
    assert (found.conclusion, found.low, found.high) == ("unsettled", *rates[1:])


def test_several_servers_are_searched_one_after_the_other(searching):
    run, made = searching(Station(), names=("a", "b"))
    both = capacities(run, trials_frame(run))
    assert {it.server for it in both} == {"a", "b"}
    servers = [it.server.name for it, _ in made]
    assert sum(one != other for one, other in itertools.pairwise(servers)) == 1


def test_report_and_document_tell_the_same(plain_search):
    run, *_ = plain_search
    trials = trials_frame(run)
    frames = cells_frame(trials), comparisons_frame(run, trials)
    found = found_in(run)
    sheets = sheets_of(run, trials)
    console = Console(width=200, record=True, file=io.StringIO())
    print_report(run, *frames, console, sheets)
    printed, text = console.export_text(), markdown(run, *frames, sheets)
    for page in (printed, text):
        assert capacity_text(found) in page.replace("\\", "").replace("&lt;", "<")
        assert "met (long)" in page
        assert "universal scalability" not in page
    told = searched(run, trials)
    json.dumps(plain(told), allow_nan=False)
    (capacity,) = told["capacities"]
    assert (told["slo"], capacity["conclusion"]) == (SLO, "found")
    ends = capacity["capacity_per_s"]
    assert (ends["low"], ends["high"]) == (found.found.low, found.found.high)
    assert ends["low"] < ends["median"] < ends["high"]
    assert len(capacity["tries"]) == len(found.tries)


@pytest.mark.parametrize(("users", "outcome"), [(512, "missed"), (20, "held back")])
def test_cap_on_what_is_in_flight_is_in_the_way_only_below_rate_times_limit(
    tmp_path, users, outcome
):
    """200/s of 1 s at most are 200 in flight: a cap of 512 says that they take longer."""
    it = cell(rate_per_s=200.0, users=users)
    builder = RunBuilder(tmp_path, [it])
    load = {"offered": 1000, "unsent": 500, "unanswered": 0, "ok": 500}
    idle = [Process("server", 100, cpu=0.05), Process("generator", 200, cpu=0.1)]
    builder.measured(it, constant_rate(100.0), idle, load=load)
    run = builder.read()
    (row,) = records(trials_frame(run))
    assert "in-flight cap" in [found.name for found in row["findings"]]
    tried = judge(row, run.trials[0], parse_objective("p99<1s"), "search")
    assert (tried.outcome, tried.missed, tried.due) == (outcome, 500, 1000)


QUEST = Quest(parse_objective("p99<200ms"))


def test_try_carries_a_deadline_and_room_for_what_is_in_flight():
    pilot = cell(users=32)
    load = QUEST.cell(pilot, 30.0).load
    assert (load.model, load.rate_per_s, load.arrivals) == ("open", 30.0, "poisson")
    assert load.deadline_s == 1.0
    assert load.users == 512
    # 10,000/s of 0.2 s each are 2,000 in flight
    assert QUEST.cell(pilot, 10_000.0).load.users == 3000
    slow = Quest(parse_objective("p99<2s,mean<9ms"))
    assert slow.cell(pilot, 1.0).load.deadline_s == 6.0
    said = Quest(parse_objective("p99<2s"), in_flight=7, deadline_s=3.0)
    assert (said.cell(pilot, 1e5).load.users, said.cell(pilot, 1e5).load.deadline_s) == (7, 3.0)


@pytest.mark.parametrize(
    ("slo", "rate", "short_s", "long_s"),
    [
        ("p99<10ms", 10_000.0, 5.0, 15.0),  # requests enough in any window
        ("p99<10ms", 40.0, 6.2, 25.0),  # 1,000 of them tell a p99
        ("p99.9<10ms", 40.0, 20.0, 60.0),  # 10,000 would take too long
        ("p99<1s", 10_000.0, 20.0, 60.0),  # a backlog takes longer to reach a long limit
    ],
)
def test_try_is_as_long_as_it_takes_to_tell(slo, rate, short_s, long_s):
    quest = Quest(parse_objective(slo))
    found = [quest.timing(Try(rate, stage), Timing(1.0, 5.0)) for stage in ("search", "confirm")]
    assert [it.duration_s for it in found] == pytest.approx([short_s, long_s], abs=0.1)
    assert {it.warmup_s for it in found} == {1.0}
