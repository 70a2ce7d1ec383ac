"""The conductor: the only file that knows the order of a trial's life.

environment, launch, ready, verify, warm up, measure, stop, store.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from harness.ceiling import Ceiling, comparable
from harness.ceiling import measure as measure_ceiling
from harness.drive import Drive, Driven, drive
from harness.forecast import Forecast
from harness.launch import RunningServer, launch
from harness.model import (
    Cell,
    Environment,
    GatebenchError,
    MeasurementError,
    Progress,
)
from harness.plan import Plan, Slot, describe
from harness.process import scratch_folder
from harness.sample import Sampler, Subject
from harness.store import StoredTrial
from harness.verify import verify
from harness.writer import RunWriter

LIFE = ("environment", "launch", "ready", "verify", "warm up", "measure", "stop", "store")


class Watch(Protocol):
    """Who is told how a run goes, while it goes."""

    def ceiling(self, scenario: str) -> None:
        """The generator is measured against the null responder."""

    def begin(self, number: int, of: int | None, cell: Cell) -> None:
        """A trial begins; in a search nobody knows of how many."""

    def phase(self, name: str) -> None:
        """It enters a part of its life."""

    def live(self, progress: Progress, usage: Mapping[str, float]) -> None:
        """How it goes, a few times a second while Locust runs."""

    def done(self, trial: StoredTrial, left_s: float) -> None:
        """It is stored; so many seconds are left of the run."""


@dataclass(frozen=True)
class Crew:
    """Those who do the work: a seam, so that the order can be tested without waiting."""

    environment: Callable[[Cell], Environment]
    launch: Callable[..., AbstractContextManager[RunningServer]] = launch
    verify: Callable[..., None] = verify
    drive: Callable[..., AbstractContextManager[Drive]] = drive
    sampler: Callable[[list[Subject], Mapping[str, Sequence[int]]], Sampler] = Sampler
    ceiling: Callable[..., Ceiling] = measure_ceiling
    clock: Callable[[], float] = time.monotonic


@dataclass
class Record:
    """A trial's facts and series, as they come to be known."""

    facts: dict[str, Any]
    series: dict[str, pa.Table] = field(default_factory=dict)


def conduct(
    plan: Plan, crew: Crew, writer: RunWriter, watch: Watch, *, budget_s: float | None = None
) -> Iterable[StoredTrial]:
    """Measure what the run still lacks, yielding each trial once it is stored.

    First the generator, unless that was kept, then each place in the plan's order whose trial is
    missing or failed. No block is begun, but the first, that would end after `budget_s` seconds.
    """
    began, of = crew.clock(), plan.blocks * len(plan.cells)
    rest = unmeasured(plan, writer)
    if rest and not writer.has_ceilings:
        writer.keep_ceilings(_ceilings(plan, crew, watch))
    forecast = Forecast(plan.timing, (trial.facts for trial in writer.trials.values()))
    block = rest[0].block if rest else 0
    for at, slot in enumerate(rest):
        if slot.block != block and budget_s is not None:
            due = [it.cell for it in rest[at:] if it.block == slot.block]
            if crew.clock() - began + forecast.left_s(due) > budget_s:
                return
        block = slot.block
        writer.check_space()
        watch.begin(slot.number, of, slot.cell)
        trial = live(slot, plan, crew, writer, watch)
        forecast.learn(trial.facts)
        watch.done(trial, forecast.left_s(it.cell for it in rest[at + 1 :]))
        yield trial


def unmeasured(plan: Plan, writer: RunWriter) -> list[Slot]:
    """The places in the plan's order that have no trial, or one that failed."""
    measured = {number for number, it in writer.trials.items() if it.facts["outcome"] == "measured"}
    return [slot for slot in plan.slots() if slot.number not in measured]


def _ceilings(plan: Plan, crew: Crew, watch: Watch) -> list[Ceiling]:
    """What the generator reaches against a server that costs nothing, for each scenario."""
    found = []
    for scenario, load in comparable(plan.cells):
        watch.ceiling(scenario.name)
        found.append(crew.ceiling(scenario, load, plan.placement))
    return found


def live(slot: Slot, plan: Plan, crew: Crew, writer: RunWriter, watch: Watch) -> StoredTrial:
    """One trial, from its environment to its place on disk. A failure is stored with its reason."""
    with scratch_folder() as work:
        record = Record(
            {
                "number": slot.number,
                "attempt": writer.attempt(slot.number, slot.cell.name),
                "block": slot.block,
                "cell": describe(slot.cell),
                "placement": plan.placement,
                "timing": plan.timing,
                "began": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "outcome": "failed",
                "failure": None,
            }
        )
        steps = _Steps(watch, crew.clock)
        try:
            _measure(slot.cell, plan, crew, work, record, steps)
            record.facts["outcome"] = "measured"
        except MeasurementError as error:
            record.facts["failure"] = {
                "during": steps.now,
                "reason": str(error),
                "log": error.log,
            }
        except GatebenchError:
            raise  # nothing about this cell: the user's request, or the disk
        except Exception as error:  # noqa: BLE001 - stored as a failed row, never as a number
            record.facts["failure"] = {
                "during": steps.now,
                "reason": f"gatebench's own fault: {type(error).__name__}: {error}",
                "log": traceback.format_exc(limit=-6),
                "own_fault": True,
            }
        steps("store")
        ended = datetime.now(UTC).isoformat(timespec="milliseconds")
        record.facts |= {"ended": ended, "life_s": steps.seconds}
        return writer.store(
            slot.number,
            record.facts,
            record.series,
            {
                **{name: work / name for name in ("server.log", "proxy.log", "proxy.conf")},
                "locust.log": work / "locust" / "log",
            },
        )


def _measure(cell: Cell, plan: Plan, crew: Crew, work: Path, record: Record, steps: _Steps) -> None:
    facts = record.facts
    steps("environment")
    environment = crew.environment(cell)
    facts |= {"versions": environment.receipt, "python": environment.python}

    steps("launch")
    cpus = plan.placement.server
    with crew.launch(cell, environment, log=work / "server.log", cpus=cpus) as server:
        facts |= {"argv": server.argv, "port": server.port, "pid": server.tree.pid}
        if (front := server.front) is not None:
            facts |= {"front_argv": front.argv}
            facts["versions"] = {front.front.program: front.version, **facts["versions"]}

        steps("ready")
        server.wait_ready()
        seen = server.workers_seen
        facts["startup_s"] = server.startup_s
        facts["workers_seen"] = None if seen is None else len(seen)

        steps("verify")
        crew.verify(server.host, server.port, cell.scenario.checks)

        steps("warm up")
        subject = Subject("server", server.tree.pids, frozenset(seen or ()))
        subjects = [subject] if front is None else [subject, Subject("proxy", front.tree.pids)]
        sampler = crew.sampler(subjects, plan.placement.sides)
        sampler.start()
        try:
            driven = _drive(cell, plan, crew, work, server, sampler, record, steps)
        finally:
            sampler.stop()
        facts |= {"load": driven.summary, "sampler": sampler.cost()}
        record.series |= {
            "latency": driven.latency,
            "ticks": driven.ticks,
            "processes": sampler.table(),
            "noise": sampler.noise(),
        }
        server.hold("under load")

        steps("stop")
        facts["ending"] = server.stop()
        if front is not None:
            facts["front_ending"] = front.ending


def _drive(
    cell: Cell,
    plan: Plan,
    crew: Crew,
    work: Path,
    server: RunningServer,
    sampler: Sampler,
    record: Record,
    steps: _Steps,
) -> Driven:
    scenario = cell.scenario
    if scenario.request is not None:  # held to the status of its first answer
        scenario = replace(scenario, request=server.request)
    with crew.drive(
        scenario,
        cell.load,
        plan.timing,
        url=server.url,
        work=work / "locust",
        cpus=plan.placement.generator,
        seed=plan.seed,
    ) as driving:
        record.facts["generator_argv"] = driving.argv
        sampler.add(Subject("generator", driving.tree.pids))
        for progress in driving.watch():
            if steps.now == "warm up" and progress.at_ns >= progress.start_ns:
                steps("measure")
            steps.watch.live(progress, sampler.live)
        return driving.result()


class _Steps:
    """Where a trial's life is, told to the watch and timed."""

    def __init__(self, watch: Watch, clock: Callable[[], float]) -> None:
        self.watch = watch
        self.now = ""
        self.seconds: dict[str, float] = {}
        self._clock = clock
        self._since = clock()

    def __call__(self, name: str) -> None:
        instant = self._clock()
        if self.now:
            self.seconds[self.now] = round(instant - self._since, 3)
        self.now, self._since = name, instant
        self.watch.phase(name)
