"""What the generator could reach in this run: its throughput against a server that costs nothing.

A server measured at nearly that is not what was measured. The null responder answers the
scenarios that ask for nothing but bytes; it runs on the server's CPUs, and the generator is the
run's own: same scenario file, users and processes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

import psutil

from harness.companion import NULL_RESPONDER, companion
from harness.drive import drive
from harness.model import Cell, Load, MeasurementError, Placement, Scenario, Timing
from harness.ports import HOST
from harness.process import Tree, scratch_folder

GREETING = b"Hello, world!"  # its answer to any GET
ANSWERS = {"hello", "echo", "websocket_echo"}  # the checks that the null responder would pass
TIMING = Timing(0.5, 2.0)


@dataclass(frozen=True, slots=True)
class Ceiling:
    """One scenario against the null responder.

    `throughput_per_s` right answers per second; the generator's share is of the CPUs that its
    processes can use, the responder's of one. `failure` says why there are no numbers.
    """

    scenario: str
    load: Load
    throughput_per_s: float | None = None
    generator_cpu_share: float | None = None
    responder_cpu_share: float | None = None
    failure: str | None = None


def comparable(cells: Iterable[Cell]) -> list[tuple[Scenario, Load]]:
    """What of these cells the null responder can answer, each scenario once, as closed loads."""
    found: dict[tuple[str, int], tuple[Scenario, Load]] = {}
    for cell in cells:
        scenario, load = _answerable(cell.scenario), cell.load
        if scenario is not None:
            # an open load's users are a cap, and none of them would wait
            users = load.users if load.model == "closed" else 32
            closed = Load(users, processes=load.processes)
            found[scenario.name, closed.users] = (scenario, closed)
    return list(found.values())


def _answerable(scenario: Scenario) -> Scenario | None:
    """What of a scenario the null responder can answer: its bytes, but no waits.

    Users that rest do not seek the generator's limit.
    """
    request = scenario.request
    if scenario.wait_s or scenario.pause_s:
        return None
    if request is None:
        return scenario if set(scenario.checks) <= ANSWERS else None
    if request.method not in ("GET", "POST"):
        return None
    # to a user's own request it gives an answer of its own
    answer = request.body if request.method == "POST" else GREETING
    expect = None if request.expect is None else answer
    return replace(scenario, request=replace(request, status=200, expect=expect))


def measure(scenario: Scenario, load: Load, placement: Placement) -> Ceiling:
    """Drive the null responder for a moment; a failure is part of what is returned."""
    try:
        with (
            scratch_folder() as work,
            companion(NULL_RESPONDER, log=work / "responder.log", cpus=placement.server) as (
                port,
                tree,
            ),
            drive(
                scenario,
                load,
                TIMING,
                url=f"http://{HOST}:{port}",
                work=work / "locust",
                cpus=placement.generator,
            ) as driving,
        ):
            seen = [
                (time.monotonic(), _cpu_s(tree))
                for progress in driving.watch()
                if progress.start_ns <= progress.at_ns < progress.end_ns
            ]
            summary = driving.result().summary
    except MeasurementError as error:
        return Ceiling(scenario.name, load, failure=str(error))
    unmeasured = Ceiling(scenario.name, load)
    if summary["failed"] or not summary["ok"]:
        kinds = ", ".join(f"{it['count']} {it['kind']}" for it in summary["errors"])
        return replace(unmeasured, failure=f"errors against the null responder: {kinds}")
    busy = None
    if len(seen) > 1:
        (began, before_s), (ended, after_s) = seen[0], seen[-1]
        busy = (after_s - before_s) / (ended - began)
    window_s = (summary["end_ns"] - summary["start_ns"]) / 1e9
    cpus = min(load.processes, len(placement.generator))
    return replace(
        unmeasured,
        throughput_per_s=summary["ok"] / window_s,
        generator_cpu_share=summary["cpu_s"] / window_s / cpus,
        responder_cpu_share=busy,
    )


def _cpu_s(tree: Tree) -> float:
    spent = 0.0
    for pid in tree.pids():
        try:
            times = psutil.Process(pid).cpu_times()
        except psutil.Error:
            continue
        spent += times.user + times.system
    return spent
