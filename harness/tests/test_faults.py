"""Each finding on a server, a generator or a scenario that really has the fault."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from harness.analyze import records, trials_frame
from harness.analyze.verdict import (
    GENERATOR_LIMITED,
    INVALID,
    NO_STEADY_STATE,
    SERVER_LIMITED,
    VALID,
)
from harness.drive import drive
from harness.model import Cell, Timing
from harness.sample import Sampler, Subject
from harness.tests.builders import Requests, RunBuilder, cell, none, scenario
from harness.tests.loads import PLACEMENT, SCENARIOS, locustfile, stub
from harness.tests.quiet import needs_quiet

pytestmark = [pytest.mark.servers, pytest.mark.alone]

SHORT = Timing(0.5, 1.5)
BLOCKING = scenario("blocking-io", wait_s=0.05)
_numbers = itertools.count()


@dataclass(frozen=True)
class Judged:
    """A measured trial as it is read back from its files."""

    row: dict[str, Any]

    @property
    def verdict(self) -> str:
        verdict: str = self.row["verdict"]
        return verdict

    @property
    def said(self) -> dict[str, str]:
        return {finding.name: finding.text for finding in self.row["findings"]}


def trial(
    folder: Path,
    it: Cell,
    *knobs: object,
    file: Path | None = None,
    timing: Timing = SHORT,
    also: Callable[[], list[int]] = lambda: [],
) -> Judged:
    """Drive the stub with these knobs by the cell's load, store what was measured, judge it.

    `file` is the scenario's where it is not the cell's own; `also` are more of the server's pids.
    """
    row = SCENARIOS[it.scenario.name]
    work = folder / f"trial-{next(_numbers)}"
    with ExitStack() as stack:
        server = stack.enter_context(stub(folder, *knobs))
        sampler = Sampler([Subject("server", lambda: [server.pid, *also()])], PLACEMENT.sides)
        stack.callback(sampler.stop)
        sampler.start()
        driving = stack.enter_context(
            drive(
                row if file is None else replace(row, file=file),
                it.load,
                timing,
                url=server.url,
                work=work,
                cpus=PLACEMENT.generator,
                seed=1,
            )
        )
        sampler.add(Subject("generator", driving.tree.pids))
        for _ in driving.watch():
            continue
        driven = driving.result()
        sampler.stop()
    builder = RunBuilder(
        work / "results",
        seconds=timing.duration_s,
        server_cpus=PLACEMENT.server,
        generator_cpus=PLACEMENT.generator,
    )
    builder.measured(
        it,
        Requests(none(), none()),
        sampler.table(),
        load=driven.summary,
        tables=(driven.latency, driven.ticks),
        noise=sampler.noise(),
        sampler=sampler.cost(),
        timing=timing,
    )
    return Judged(records(trials_frame(builder.read()))[0])


def test_head_and_body_apart_without_tcp_nodelay_make_a_plateau_of_40_ms(tmp_path):
    judged = trial(tmp_path, cell(users=4, workers=1), "--nagle")
    assert judged.verdict == VALID
    assert "about 40 ms late" in judged.said["plateau"]
    assert "their first byte had come at once" in judged.said["plateau"]
    assert judged.row["plateau_share"] > 0.8
    assert 0.035 < judged.row["p50_s"] < 0.06


def test_lost_keep_alive_and_errors_are_told(tmp_path):
    knobs = ["--close-after", 1, "--announce", "--status-every", "10:503"]
    judged = trial(tmp_path, cell(users=4, workers=1), *knobs, "--service", "fixed:0.002")
    assert judged.verdict == VALID
    assert "opened anew for 100% of the requests" in judged.said["no keep-alive"]
    row = judged.row
    assert row["errors"] / (row["errors"] + row["requests"]) == pytest.approx(0.1, abs=0.01)
    assert f"{row['errors']} of {row['errors'] + row['requests']} requests" in judged.said["errors"]
    assert "bad-status" in judged.said["errors"]


def test_server_that_keeps_connections_and_times_has_none_of_it(tmp_path):
    judged = trial(tmp_path, cell(users=4, workers=1), "--service", "fixed:0.002")
    assert not {"plateau", "no keep-alive", "errors", "stalled", "Little's law"} & set(judged.said)
    assert judged.row["startup_s"] is not None


def test_answers_that_come_before_their_wait_is_over_are_impossible(tmp_path):
    """Told to wait 50 ms it says that it did; and no two workers can answer as often."""
    judged = trial(tmp_path, cell(work=BLOCKING, users=4, workers=2), "--hurry")
    assert judged.verdict == INVALID
    assert "it was asked to wait 50 ms" in judged.said["impossible latency"]
    assert "is more than 2 at once can do in 50 ms each (40.0/s)" in judged.said["impossible rate"]


def test_generator_that_is_kept_busy_is_named_and_nothing_is_said_of_the_server(tmp_path):
    """45 ms in every 50 are taken from the generator's loop."""
    hog = locustfile(
        tmp_path,
        "import time, gevent",
        "from locust import events",
        "class Busy(HttpUser):",
        "    exchange = Exchange('GET', '/', expect=b'Hello, world!')",
        "def spin():",
        "    while True:",
        "        end = time.monotonic() + 0.045",
        "        while time.monotonic() < end: pass",
        "        gevent.sleep(0.005)",
        "@events.test_start.add_listener",
        "def start(**_): gevent.spawn(spin)",
    )
    judged = trial(tmp_path, cell(users=64, workers=1, rate_per_s=200.0), file=hog)
    assert judged.verdict == GENERATOR_LIMITED
    assert "the generator was not in time" in judged.said["lag"]
    assert "of its CPU" in judged.said["generator-limited"]
    assert "server-limited" not in judged.said


def test_server_that_freezes_is_stalled(tmp_path):
    knobs = ["--service", "fixed:0.005", "--freeze", "0.8,1.3"]
    judged = trial(tmp_path, cell(users=4, workers=1), *knobs, timing=Timing(0.5, 2.0))
    assert judged.verdict == NO_STEADY_STATE
    assert judged.said["stalled"].startswith("no request was completed for 1.")
    assert 1.1 <= judged.row["gap_s"] <= 1.6


def test_users_that_rest_in_secret_break_littles_law(tmp_path):
    """The scenario's row says nothing of a pause, and so 4 users send as 1 or less would."""
    rests = locustfile(
        tmp_path,
        "class Rests(HttpUser):",
        "    exchange = Exchange('GET', '/', expect=b'Hello, world!')",
        "    pause_s = 0.02",
    )
    it = cell(users=4, workers=1)
    judged = trial(tmp_path, it, "--service", "fixed:0.005", file=rests)
    assert judged.verdict == INVALID
    assert "and 4 users sent them: times or counts are wrong" in judged.said["Little's law"]


@needs_quiet
def test_k23_server_that_gets_faster_for_a_second_is_measured_from_then_on(tmp_path):
    """Half a second of warm-up was too little: the window's first second does not count."""
    knobs = ["--service", "fixed:0.010", "--pace", "4,1.0"]
    judged = trial(tmp_path, cell(users=4, workers=1), *knobs, timing=Timing(0.5, 2.5))
    assert judged.row["steady_at_s"] == pytest.approx(0.5, abs=0.25)
    assert (judged.row["skipped_s"], judged.row["window_s"]) == (1, 1.5)
    assert judged.row["p90_s"] < 0.015
    assert "its first 1 s are not counted" in judged.said["late start"]


def test_k23_server_that_gets_faster_all_the_time_is_never_steady(tmp_path):
    knobs = ["--service", "fixed:0.010", "--pace", "6,3.5"]
    judged = trial(tmp_path, cell(users=4, workers=1), *knobs, timing=Timing(1.0, 2.0))
    assert judged.verdict == NO_STEADY_STATE
    assert "there is no steady state" in judged.said["no-steady-state"]


@pytest.mark.slow
def test_cap_on_what_is_in_flight_is_not_the_servers_limit(tmp_path):
    it = cell(users=5, workers=1, rate_per_s=100.0, concurrency="event-loop")
    judged = trial(tmp_path, it, "--service", "fixed:0.5", timing=Timing(1.0, 2.0))
    assert judged.verdict == GENERATOR_LIMITED
    assert "because 5 were in flight" in judged.said["in-flight cap"]


@pytest.mark.slow
def test_server_whose_cpu_is_full_is_at_its_limit(tmp_path):
    judged = trial(tmp_path, cell(users=128, workers=1), timing=Timing(1.0, 2.0))
    if (others := judged.row["noise"]["server_others_share"]) > 0.02:
        pytest.skip(f"others used {others:.0%} or more of the server's CPUs")
    assert judged.verdict == SERVER_LIMITED
    assert "busy" in judged.said["server-limited"]


@pytest.mark.slow
@pytest.mark.skipif(len(PLACEMENT.generator) > 8, reason="so many CPUs would be kept busy")
def test_server_that_escapes_its_cpus_used_more_than_it_had(tmp_path):
    """Two of its processes for each CPU burn wherever they want to."""
    burn = [sys.executable, "-I", "-S", "-c", "while True: pass"]
    cpus = len(PLACEMENT.server) + len(PLACEMENT.generator)
    with ExitStack() as stack:
        burning = [stack.enter_context(subprocess.Popen(burn)) for _ in range(2 * cpus)]
        for process in burning:
            stack.callback(process.kill)
        judged = trial(
            tmp_path, cell(users=2, workers=1), also=lambda: [process.pid for process in burning]
        )
    assert judged.verdict == INVALID
    assert "it escaped its CPUs" in judged.said["impossible CPU"]
