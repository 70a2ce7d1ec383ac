"""Each generator's figures: started beside a fresh server, read, and gone afterwards."""

from __future__ import annotations

import http.client
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from harness.calibrate import wrk
from harness.calibrate.plan import OURS, WEBSOCKET_CLIENT, WRK, window_s
from harness.companion import NULL_RESPONDER, STUB, companion
from harness.drive import Driven, drive
from harness.model import Load, MeasurementError, Placement, Progress, Scenario, Timing
from harness.ports import HOST
from harness.process import Tree, last_lines, scratch_folder

HERE = Path(__file__).parent
RIVALS = HERE / "rivals.py"
METER = HERE / "meter.py"
PACKAGES = ("locust", "gevent", "geventhttpclient", "requests", WEBSOCKET_CLIENT)

CONNECTIONS = 32
WARMUP_S = 0.5  # of those that know what a warm-up is; wrk's few first requests are not many
FEW, MANY = 10, 2000  # connections, to see what one more costs
SPARE_FILES = 100
SETTLE_S = 0.5  # before memory is read
IDLE_S = 1.0  # how long processor time is watched while all is idle
STARTED_WITHIN_S = 30.0
ENDED_WITHIN_S = 30.0
POLL_S = 0.1

Figures = dict[str, float]


@dataclass(frozen=True)
class Bench:
    """Where and with what is measured: our scenarios, the CPUs, the window in seconds."""

    scenarios: Mapping[str, Scenario]
    placement: Placement
    duration_s: float

    @property
    def cpu(self) -> tuple[int, ...]:
        """The one CPU that a generator gets."""
        return self.placement.generator[:1]

    def scenario(self, name: str) -> Scenario:
        """A scenario by its name; MeasurementError if there is none."""
        if name not in self.scenarios:
            raise MeasurementError(f"there is no scenario {name} to measure gatebench with")
        return self.scenarios[name]


@dataclass(frozen=True)
class Server:
    """A running null responder or stub."""

    url: str
    port: int
    tree: Tree

    def counters(self) -> dict[str, Any]:
        """What a stub has done so far."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=10)
        try:
            connection.request("GET", "/__counters__")
            counters: dict[str, Any] = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException) as error:
            raise MeasurementError(f"the stub server does not answer: {error}") from None
        finally:
            connection.close()
        return counters


class Gauge:
    """A process's CPU-seconds, read now and then; between two readings they grow evenly."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._at_ns: list[int] = []
        self._cpu_s: list[float] = []
        self.read()

    def read(self) -> None:
        """Read it now; MeasurementError if the process is gone."""
        try:
            used_s = _cpu_s(self._pid)
        except (OSError, psutil.NoSuchProcess):
            raise MeasurementError("a process ended while it was measured") from None
        self._at_ns.append(time.monotonic_ns())
        self._cpu_s.append(used_s)

    def share(self, start_ns: int, end_ns: int) -> float:
        """The share of one CPU that it used from one instant to another."""
        begin, end = np.interp([start_ns, end_ns], self._at_ns, self._cpu_s)
        return float(end - begin) / ((end_ns - start_ns) / 1e9)


def versions() -> dict[str, str | None]:
    """The version of each generator and of what it rests on; None where it is not installed."""
    found: dict[str, str | None] = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found | {WRK: _wrk_version()}


def missing() -> dict[str, str]:
    """The generators that are not there, and what would install each."""
    return {} if shutil.which("wrk") else {WRK: wrk.INSTALL}


# What is measured


def throughput(part: str, generator: str, bench: Bench) -> Figures:
    """Requests (or messages) per second and per CPU-second, closed, against the null responder."""
    with scratch_folder() as work, serve(NULL_RESPONDER, work, bench) as server:
        gauge = Gauge(server.tree.pid)
        if generator == OURS:
            driven = drive_ours(part, Load(CONNECTIONS), server, work, bench, gauge)
            window = (driven.summary["start_ns"], driven.summary["end_ns"])
            ok, failed = driven.summary["ok"], driven.summary["failed"]
            cpu_s, spent_s = driven.summary["cpu_s"], (window[1] - window[0]) / 1e9
        elif generator == WRK:
            script, header = None, "Connection: close" if part == "connect" else None
            if part == "echo":
                script = work / "echo.lua"
                script.write_text(wrk.ECHO, "ascii")
            argv = wrk.command(
                server.url, connections=CONNECTIONS, duration_s=bench.duration_s,
                script=script, header=header,
            )  # fmt: skip
            output, used = run_wrk(argv, work, bench, gauge)
            window = (used["start_ns"], used["end_ns"])
            ok, failed = output.requests, sum(output.errors.values())
            cpu_s, spent_s = used["cpu_s"], output.seconds
        else:
            begin, end = _rival(part, generator, server, work, bench, gauge)
            window = (begin["at_ns"], end["at_ns"])
            failed = end["failures"] - begin["failures"]
            ok = end["requests"] - begin["requests"] - failed
            cpu_s, spent_s = end["cpu_s"] - begin["cpu_s"], (window[1] - window[0]) / 1e9
        if ok <= 0 or cpu_s <= 0:
            raise MeasurementError(
                f"{generator} had no right answer in {spent_s:.1f} s, and {failed} errors",
                log=last_lines(work / "log"),
            )
        return {
            "requests_per_s": ok / spent_s,
            "requests_per_cpu_s": ok / cpu_s,
            "cpu_share": cpu_s / spent_s,
            "server_cpu_share": gauge.share(*window),
            "errors": failed,
        }


def idle(part: str, generator: str, bench: Bench) -> Figures:
    """Memory for each further connection (bytes), and the share of a CPU with many idle."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    many = MANY if soft == resource.RLIM_INFINITY else min(MANY, soft - SPARE_FILES)
    if many <= FEW:
        raise MeasurementError(f"only {soft} files may be open: ulimit -n 4096, before gatebench")
    few_rss, _ = _held(part, generator, FEW, bench)
    many_rss, share = _held(part, generator, many, bench, watch_s=IDLE_S)
    return {
        "connections": many,
        "bytes_per_connection": (many_rss - few_rss) / (many - FEW),
        "rss_few_bytes": few_rss,
        "rss_many_bytes": many_rss,
        "cpu_share": share,
    }


# How it is run


@contextmanager
def serve(program: Path, work: Path, bench: Bench, *knobs: str) -> Iterator[Server]:
    """A server of ours on the server's CPUs, once it is ready."""
    cpus = bench.placement.server
    with companion(program, *knobs, log=work / "server.log", cpus=cpus) as (port, tree):
        yield Server(f"http://{HOST}:{port}", port, tree)


def drive_ours(
    name: str, load: Load, server: Server, work: Path, bench: Bench, gauge: Gauge,
    at: Callable[[Progress], None] = lambda _: None,
) -> Driven:  # fmt: skip
    """Our load on a scenario of ours; `at` is told of its progress."""
    with drive(
        bench.scenario(name), load, Timing(WARMUP_S, bench.duration_s),
        url=server.url, work=work / "drive", cpus=bench.cpu,
    ) as driving:  # fmt: skip
        for progress in driving.watch():
            at(progress)
            gauge.read()
        gauge.read()
        return driving.result()


def run_wrk(
    argv: Sequence[str], work: Path, bench: Bench, gauge: Gauge
) -> tuple[wrk.Output, dict[str, Any]]:
    """What a run of wrk printed, and what the kernel counted of it."""
    metered = [sys.executable, "-I", "-S", str(METER), str(work / "used.json"), *argv]
    log = work / "log"
    with Tree(metered, cwd=work, env=_environment(work), log=log, cpus=bench.cpu) as tree:
        _finish(WRK, tree, log, bench, gauge)
    try:
        used: dict[str, Any] = json.loads((work / "used.json").read_text("ascii"))
    except FileNotFoundError:
        raise MeasurementError("wrk left no result", log=last_lines(log)) from None
    if used["code"]:
        raise MeasurementError(f"wrk ended with exit code {used['code']}", log=last_lines(log))
    return wrk.parse(log.read_text("utf-8", errors="replace")), used


def _rival(
    part: str, generator: str, server: Server, work: Path, bench: Bench, gauge: Gauge
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Locust's own readings at both ends of the window."""
    window = {"warmup_s": WARMUP_S, "duration_s": window_s(generator, bench.duration_s)}
    (work / "window.json").write_text(json.dumps(window), "utf-8")
    user = "WebSocketEcho" if generator == WEBSOCKET_CLIENT else f"{part.capitalize()}{generator}"
    argv = [sys.executable, "-m", "locust", "-f", str(RIVALS), user, "--headless", "--only-summary"]
    argv += ["--host", server.url, "-u", str(CONNECTIONS), "-r", str(CONNECTIONS)]
    argv += ["--loglevel", "WARNING"]
    env = _environment(work) | {"GATEBENCH_WORK": str(work)}
    log = work / "log"
    with Tree(argv, cwd=work, env=env, log=log, cpus=bench.cpu) as tree:
        _finish(generator, tree, log, bench, gauge)
    try:
        figures = json.loads((work / "figures.json").read_text("utf-8"))
    except FileNotFoundError:
        raise MeasurementError(f"{generator} left no figures", log=last_lines(log)) from None
    return figures["begin"], figures["end"]


def _finish(name: str, tree: Tree, log: Path, bench: Bench, gauge: Gauge) -> None:
    """Wait for the generator's own end, the server's use being read meanwhile."""
    deadline = time.monotonic() + WARMUP_S + bench.duration_s + ENDED_WITHIN_S
    while tree.wait(POLL_S) is None:
        gauge.read()
        if time.monotonic() > deadline:
            raise MeasurementError(f"{name} did not end in time", log=last_lines(log))
    gauge.read()


def _held(
    part: str, generator: str, connections: int, bench: Bench, watch_s: float = 0.0
) -> tuple[int, float]:
    """Resident bytes while connections are held, and the share of a CPU used over `watch_s`."""
    with (
        scratch_folder() as work,
        serve(STUB, work, bench, "--service", "fixed:60") as server,
        _holding(part, generator, connections, server, work, bench) as tree,
    ):
        counter = "ws_received" if part == "idle-websocket" else "received"
        deadline = time.monotonic() + STARTED_WITHIN_S
        while (held := server.counters()[counter]) < connections:
            if tree.wait(POLL_S) is not None or time.monotonic() > deadline:
                raise MeasurementError(f"{generator} held {held} of {connections} connections")
        tree.wait(SETTLE_S)
        gauge = Gauge(tree.pid)
        begin_ns = time.monotonic_ns()
        if tree.wait(watch_s) is not None:
            raise MeasurementError(f"{generator} ended with {connections} connections open")
        gauge.read()
        share = gauge.share(begin_ns, time.monotonic_ns()) if watch_s else 0.0
        return psutil.Process(tree.pid).memory_info().rss, share


@contextmanager
def _holding(
    part: str, generator: str, connections: int, server: Server, work: Path, bench: Bench
) -> Iterator[Tree]:
    """A generator whose connections each wait for an answer that takes a minute."""
    if generator == OURS:
        name = "websocket-echo" if part == "idle-websocket" else "hello"
        with drive(
            bench.scenario(name), Load(connections), Timing(0.0, 60.0),
            url=server.url, work=work / "drive", cpus=bench.cpu,
        ) as driving:  # fmt: skip
            yield driving.tree
    else:
        argv = wrk.command(server.url, connections=connections, duration_s=60.0)
        with Tree(argv, cwd=work, env=_environment(work), log=work / "log", cpus=bench.cpu) as tree:
            yield tree


def _cpu_s(pid: int) -> float:
    """CPU-seconds of a process and its threads: in ns where the kernel says so, else in ticks."""
    threads = list(Path(f"/proc/{pid}/task").glob("*/schedstat"))
    if threads:
        return sum(int(thread.read_text("ascii").split()[0]) for thread in threads) / 1e9
    used = psutil.Process(pid).cpu_times()
    return float(used.user + used.system)


def _environment(home: Path) -> dict[str, str]:
    """A child's variables: no setting of the user's can change a figure."""
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "LANG": "C.UTF-8"}


def _wrk_version() -> str | None:
    if missing():
        return None
    # it prints its version and usage, and exits 1
    said = subprocess.run(["wrk", "-v"], capture_output=True, text=True, timeout=10, check=False)
    words = said.stdout.split()
    return words[1] if words[:1] == ["wrk"] and len(words) > 1 else None
