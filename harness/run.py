"""The conductor: the only file that knows the order of a trial's life.

environment, launch, ready, verify, warm up, measure, stop, store.
"""

from __future__ import annotations

import random
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from harness import __version__
from harness.ceiling import Ceiling, comparable
from harness.ceiling import measure as measure_ceiling
from harness.drive import Drive, Driven, drive
from harness.launch import RunningServer, launch
from harness.model import (
    Cell,
    Environment,
    GatebenchError,
    MeasurementError,
    Placement,
    Progress,
    Timing,
)
from harness.process import scratch_folder
from harness.sample import Sampler, Subject
from harness.store import RunWriter, StoredTrial
from harness.verify import verify

LIFE = ("environment", "launch", "ready", "verify", "warm up", "measure", "stop", "store")


@dataclass(frozen=True)
class Plan:
    """What a run will do: every cell once per block, in an order drawn from the seed."""

    cells: tuple[Cell, ...]
    blocks: int
    seed: int
    timing: Timing
    placement: Placement
    machine: Mapping[str, Any]
    command: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def order(self) -> list[tuple[int, Cell]]:
        """(block, cell) in the order they are measured: odd blocks permuted, even reversed."""
        draw = random.Random(self.seed)
        order: list[tuple[int, Cell]] = []
        cells = list(self.cells)
        for block in range(1, self.blocks + 1):
            if block % 2:
                draw.shuffle(cells)
            else:
                cells.reverse()
            order += [(block, cell) for cell in cells]
        return order

    def facts(self) -> dict[str, Any]:
        """What run.json holds."""
        return {
            "gatebench": __version__,
            "command": self.command,
            "machine": self.machine,
            "placement": {
                "server": self.placement.server,
                "generator": self.placement.generator,
                "disjoint": self.placement.disjoint,
            },
            "timing": self.timing,
            "blocks": self.blocks,
            "seed": self.seed,
            "cells": [describe(cell) for cell in self.cells],
            "order": [[block, self.cells.index(cell)] for block, cell in self.order()],
            "notes": [*self.placement.notes, *self.notes],
        }


class Watch(Protocol):
    """Who is told how a run goes, while it goes."""

    def ceiling(self, scenario: str) -> None:
        """The generator is measured against the null responder."""

    def begin(self, number: int, of: int, cell: Cell) -> None:
        """A trial begins."""

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
    sampler: Callable[[list[Subject]], Sampler] = Sampler
    ceiling: Callable[..., Ceiling] = measure_ceiling


@dataclass
class Record:
    """A trial's facts and series, as they come to be known."""

    facts: dict[str, Any]
    series: dict[str, pa.Table] = field(default_factory=dict)


def conduct(plan: Plan, crew: Crew, writer: RunWriter, watch: Watch) -> Iterable[StoredTrial]:
    """Measure the generator, then every cell of the plan, yielding each trial once it is stored."""
    order = plan.order()
    writer.keep_ceilings(_ceilings(plan, crew, watch))
    began = time.monotonic()
    for number, (block, cell) in enumerate(order, start=1):
        writer.check_space()
        watch.begin(number, len(order), cell)
        trial = live(number, block, cell, plan, crew, writer, watch)
        spent = time.monotonic() - began
        watch.done(trial, spent / number * (len(order) - number))
        yield trial


def _ceilings(plan: Plan, crew: Crew, watch: Watch) -> list[Ceiling]:
    """What the generator reaches against a server that costs nothing, for each scenario."""
    found = []
    for scenario, load in comparable(plan.cells):
        watch.ceiling(scenario.name)
        found.append(crew.ceiling(scenario, load, plan.placement))
    return found


def live(
    number: int, block: int, cell: Cell, plan: Plan, crew: Crew, writer: RunWriter, watch: Watch
) -> StoredTrial:
    """One trial, from its environment to its place on disk. A failure is stored with its reason."""
    with scratch_folder() as work:
        record = Record(
            {
                "number": number,
                "block": block,
                "cell": describe(cell),
                "placement": plan.placement,
                "timing": plan.timing,
                "began": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "outcome": "failed",
                "failure": None,
            }
        )
        steps = _Steps(watch)
        try:
            _measure(cell, plan, crew, work, record, steps)
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
        record.facts["life_s"] = steps.seconds
        return writer.store(
            number,
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
        sampler = crew.sampler(subjects)
        sampler.start()
        try:
            driven = _drive(cell, plan, crew, work, server, sampler, steps)
        finally:
            sampler.stop()
        facts |= {"load": driven.summary, "sampler": sampler.cost()}
        record.series |= {
            "latency": driven.latency,
            "ticks": driven.ticks,
            "processes": sampler.table(),
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
        sampler.add(Subject("generator", driving.tree.pids))
        for progress in driving.watch():
            if steps.now == "warm up" and progress.at_ns >= progress.start_ns:
                steps("measure")
            steps.watch.live(progress, sampler.live)
        return driving.result()


class _Steps:
    """Where a trial's life is, told to the watch and timed."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.now = ""
        self.seconds: dict[str, float] = {}
        self._since = time.monotonic()

    def __call__(self, name: str) -> None:
        instant = time.monotonic()
        if self.now:
            self.seconds[self.now] = round(instant - self._since, 3)
        self.now, self._since = name, instant
        self.watch.phase(name)


def describe(cell: Cell) -> dict[str, Any]:
    """A cell as stored: names, budget, load, and what its server's row says of it."""
    server = cell.server
    return {
        "server": server.label,
        "row": server.name,
        "version": server.version,
        "speaks": server.speaks,
        "concurrency": server.concurrency,
        "front": None if server.front is None else server.front.name,
        "notes": (*(server.front.notes if server.front else ()), *server.notes),
        "app": cell.app.name,
        "scenario": cell.scenario.name,
        "wait_s": cell.scenario.wait_s,
        "pause_s": cell.scenario.pause_s,
        "keeps_connections": cell.scenario.keeps_connections,
        "latency": cell.scenario.latency,
        "workers": cell.workers,
        "threads": cell.threads,
        "slots": cell.slots,
        "load": cell.load,
    }
