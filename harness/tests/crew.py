"""A crew that does no work and starts nothing, a watch that writes down, a plan for them."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa

from harness.ceiling import Ceiling
from harness.drive import Driven, Progress
from harness.model import Environment, MeasurementError, Placement, Timing
from harness.plan import Plan
from harness.process import Ending
from harness.run import Crew
from harness.tests.builders import MACHINE, SUMMARY, cell

STOPPED = Ending("TERM", 0, 0.2, True)
TABLE = pa.table({"x": [1, 2]})
ENVIRONMENT = Environment(Path("env"), "3.11.0", {"demo": "1.2.3"})


class FakeServer:
    """A server that is nowhere; it notes what is done to it."""

    host, port, url = "127.0.0.1", 8000, "http://127.0.0.1:8000"
    argv = ("demo", "--port", "8000")
    startup_s = 0.25
    workers_seen = (101, 102)
    front = None

    def __init__(self, crew: FakeCrew) -> None:
        self._crew = crew
        self.tree = SimpleNamespace(pid=100, pids=lambda: [100], poll=lambda: crew.exit_code)

    def wait_ready(self) -> None:
        self._crew.does("ready")

    def stop(self) -> Ending:
        self._crew.does("stop")
        return STOPPED

    def hold(self, when: str) -> None:
        if self._crew.exit_code is not None:
            what = f"server demo ended with exit code {self._crew.exit_code} {when}"
            raise MeasurementError(what, log="last words")


class FakeDrive:
    """Locust that reports one progress of the warm-up and two of the window."""

    def __init__(self, crew: FakeCrew) -> None:
        self._crew = crew
        self.tree = SimpleNamespace(pids=lambda: [200])
        self.argv = ("python", "-m", "harness.load.plugin")

    def watch(self):
        for at, word in enumerate(("warm up", "measure", "measuring")):
            self._crew.does(word)
            yield Progress(at_ns=at, start_ns=1, end_ns=3, done=at, failed=0)

    def result(self) -> Driven:
        self._crew.does("result")
        return Driven({**SUMMARY, "ok": 3}, TABLE, TABLE)


class FakeSampler:
    live: dict[str, float] = {"server_cpu_s": 0.5}  # noqa: RUF012

    def __init__(self, crew: FakeCrew) -> None:
        self._crew = crew

    def add(self, subject: Any) -> None:
        assert (subject.side, subject.pids()) == ("generator", [200])

    def start(self) -> None:
        self._crew.sampling += 1

    def stop(self) -> None:
        self._crew.sampling -= 1

    def cost(self) -> dict[str, Any]:
        return {"cpu_share": 0.01}

    def table(self) -> pa.Table:
        return TABLE

    def noise(self) -> pa.Table:
        return TABLE


class FakeCrew:
    """Everyone who works, on one list of what was done; `fails` maps a word to what is raised."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.fails: dict[str, BaseException] = {}
        self.only: str | None = None
        self.exit_code: int | None = None
        self.running = self.driving = self.sampling = 0
        self.asked: list[Any] = []
        self.ceilings: list[Any] = []
        self._server = ""

    def does(self, word: str) -> None:
        self.done.append(word)
        if word in self.fails and self.only in (None, self._server):
            raise self.fails[word]

    def environment(self, it):
        self._server = it.server.name
        self.does("environment")
        return ENVIRONMENT

    @contextmanager
    def launch(self, cell, environment, *, log, cpus):
        self.asked.append(("launch", cell.server.name, environment, tuple(cpus)))
        log.write_text(f"log of {cell.server.name}\n", "utf-8")
        self.does("launch")
        self.running += 1
        try:
            yield FakeServer(self)
        finally:
            self.running -= 1
            self.done.append("gone")

    def verify(self, host, port, checks):
        self.asked.append(("verify", host, port, tuple(checks)))
        self.does("verify")

    @contextmanager
    def drive(self, scenario, load, timing, *, url, work, cpus, seed):
        self.asked.append(("drive", scenario.name, load.users, timing, url, tuple(cpus), seed))
        work.mkdir()
        (work / "log").write_text("log of Locust\n", "utf-8")
        self.does("drive")
        self.driving += 1
        try:
            yield FakeDrive(self)
        finally:
            self.driving -= 1

    def sampler(self, subjects, cpus):
        assert cpus == {"server": (0,), "generator": (1,)}
        assert [(it.side, it.pids(), set(it.workers)) for it in subjects] == [
            ("server", [100], {101, 102})
        ]
        return FakeSampler(self)

    def ceiling(self, scenario, load, placement):
        self.ceilings.append((scenario.name, load, placement))
        return Ceiling(scenario.name, load, 100_000.0, 0.99, 0.5)

    @property
    def crew(self) -> Crew:
        return Crew(
            environment=self.environment,
            launch=cast(Any, self.launch),
            verify=self.verify,
            drive=cast(Any, self.drive),
            sampler=cast(Any, self.sampler),
            ceiling=self.ceiling,
        )


class Recording:
    """A Watch that writes down what it is told."""

    def __init__(self) -> None:
        self.ceilings: list[str] = []
        self.begun: list[tuple[int, int, str]] = []
        self.phases: list[list[str]] = []
        self.lives: list[Any] = []
        self.left: list[float] = []
        self.stored: list[Path] = []

    def ceiling(self, scenario):
        self.ceilings.append(scenario)

    def begin(self, number, of, it):
        self.begun.append((number, of, it.server.name))
        self.phases.append([])

    def phase(self, name):
        self.phases[-1].append(name)

    def live(self, progress, usage):
        self.lives.append((progress.done, dict(usage)))

    def done(self, trial, left_s):
        self.stored.append(trial.path)
        self.left.append(left_s)


def plan_of(*names: str, blocks: int = 1, seed: int = 5) -> Plan:
    return Plan(
        cells=tuple(cell(name) for name in names),
        blocks=blocks,
        seed=seed,
        timing=Timing(1.0, 2.0),
        placement=Placement((0,), (1,)),
        machine=MACHINE,
        command=("gatebench", "run"),
    )
