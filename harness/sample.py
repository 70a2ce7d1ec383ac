"""psutil over process trees, ten times a second: what the server and the generator use.

CPU seconds, context switches, waits for a CPU, threads, file descriptors, resident and
proportional memory of every process of a tree, with its role; and beside them what else the
machine did (see noise). Reading the proportional set size walks the process's page tables under
its memory lock, so it costs the measured process too, and what the scheduler did is read of every
thread: these are read as often as fits in a share of one CPU, every time for small trees.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil
import pyarrow as pa

from harness.noise import UNKNOWN, Kernel, NoiseLog, Scheduled
from harness.pace import Pace

HZ = 10.0
TREE_S = 1.0  # how often the tree is looked through for new processes
# of one CPU, for what is costly to read
PSS_SHARE = 0.003
THREADS_SHARE = 0.002

INTEGERS = (
    "rss_bytes",
    "pss_bytes",
    "threads",
    "fds",
    "switches_voluntary",
    "switches_involuntary",
    "waited_ns",
)
SECONDS = ("cpu_user_s", "cpu_system_s")
UNTOLD = (UNKNOWN,) * 5


@dataclass
class Subject:
    """A tree to sample: whose side it is on, and how to list its processes, the root first."""

    side: str
    pids: Callable[[], list[int]]
    workers: frozenset[int] = frozenset()
    processes: dict[int, psutil.Process] = field(default_factory=dict)
    scheduled: dict[int, Scheduled] = field(default_factory=dict)
    roles: dict[int, str] = field(default_factory=dict)

    def look(self) -> None:
        """Find the processes that the tree has now, and the role of each."""
        pids = self.pids()
        for pid in pids:
            if pid not in self.processes:
                try:
                    self.processes[pid] = psutil.Process(pid)
                except psutil.NoSuchProcess:
                    continue
                self.scheduled[pid] = Scheduled(pid)
        for index, pid in enumerate(pids):
            if pid in self.processes:
                self.roles[pid] = self._role(pid, index == 0, len(pids) == 1)

    def _role(self, pid: int, first: bool, alone: bool) -> str:
        if pid in self.workers or alone:
            return "worker"
        if first:
            return "master"
        try:
            words = " ".join(self.processes[pid].cmdline())
        except psutil.Error:
            words = ""
        # multiprocessing's bookkeeper of shared memory serves nothing
        return "helper" if "resource_tracker" in words else "worker"


class Sampler:
    """A thread that samples its subjects from `start` to `stop`.

    `cpus` are those of the server and of the generator, by side.
    """

    def __init__(self, subjects: list[Subject], cpus: Mapping[str, Sequence[int]]) -> None:
        self._subjects = subjects
        self._kernel = Kernel(cpus)
        self._noise = NoiseLog(self._kernel, HZ)
        self._rows: list[tuple[int, str, str, int]] = []
        self._integers = {name: array("q") for name in INTEGERS}
        self._seconds = {name: array("d") for name in SECONDS}
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._began_s = 0.0
        self._ended_s = 0.0
        self._cpu_s = 0.0
        self._pss_pace = Pace(PSS_SHARE, HZ)
        self._threads_pace = Pace(THREADS_SHARE, HZ)
        self._late_s = 0.0
        self._ticks = 0
        self.live: Mapping[str, float] = {}

    def add(self, subject: Subject) -> None:
        """Sample one tree more, from now on."""
        subject.look()
        self._subjects = [*self._subjects, subject]

    def start(self) -> None:
        """Begin to sample."""
        self._thread.start()

    def stop(self) -> None:
        """End sampling; idempotent."""
        self._halt.set()
        if self._thread.is_alive():
            self._thread.join()

    def cost(self) -> dict[str, Any]:
        """What sampling itself cost: share of one CPU, ticks, the latest tick's lateness; and the
        sources of noise that this machine does not have, each with the reason.
        """
        wall = max(self._ended_s - self._began_s, 1e-9)
        return {
            "cpu_share": self._cpu_s / wall,
            "ticks": self._ticks,
            "latest_s": self._late_s,
            "pss_every_ticks": self._pss_pace.every,
            "threads_every_ticks": self._threads_pace.every,
            "missing": self._kernel.missing,
        }

    def noise(self) -> pa.Table:
        """What else the machine did, see NoiseLog."""
        return self._noise.table()

    def table(self) -> pa.Table:
        """All samples: at_ns (monotonic), side, role, pid, and the columns named above.

        A figure that could not be read is null; so are those that are costly to read between
        their readings. CPU seconds, switches and waits (of all threads) are sums since the
        process began.
        """
        columns: dict[str, pa.Array] = {
            "at_ns": pa.array([row[0] for row in self._rows], pa.int64()),
            "side": pa.array([row[1] for row in self._rows], pa.string()).dictionary_encode(),
            "role": pa.array([row[2] for row in self._rows], pa.string()).dictionary_encode(),
            "pid": pa.array([row[3] for row in self._rows], pa.int32()),
        }
        for name, seconds in self._seconds.items():
            columns[name] = pa.array(seconds, pa.float64())
        for name, values in self._integers.items():
            columns[name] = pa.array(
                [None if value == UNKNOWN else value for value in values], pa.int64()
            )
        return pa.table(columns)

    def _run(self) -> None:
        self._began_s = due = looked = time.monotonic()
        cpu = time.thread_time()
        for subject in self._subjects:
            subject.look()
        while not self._halt.wait(max(0.0, due - time.monotonic())):
            now = time.monotonic()
            late_s = max(0.0, now - due)
            self._late_s = max(self._late_s, late_s)
            due = max(due + 1 / HZ, now)
            if now - looked > TREE_S:
                looked = now
                for subject in self._subjects:
                    subject.look()
            self._noise.note(self._ticks, round(late_s * 1e9))
            self._sample()
            self._ticks += 1
        self._cpu_s = time.thread_time() - cpu
        self._ended_s = time.monotonic()

    def _sample(self) -> None:
        """One tick."""
        pss = self._memory() if self._pss_pace.turn(self._ticks) else {}
        threads = self._threads() if self._threads_pace.turn(self._ticks) else {}
        live: dict[str, float] = {"at_s": time.monotonic()}
        for subject in self._subjects:
            for pid, process in list(subject.processes.items()):
                try:
                    with process.oneshot():
                        cpu = process.cpu_times()
                        memory = process.memory_info()
                except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
                    del subject.processes[pid]  # it ended; what it used stays in the rows
                    continue
                self._rows.append((time.monotonic_ns(), subject.side, subject.roles[pid], pid))
                self._seconds["cpu_user_s"].append(cpu.user)
                self._seconds["cpu_system_s"].append(cpu.system)
                memories = (memory.rss, pss.get(pid, UNKNOWN))
                told = threads.get(pid, UNTOLD)
                for name, value in zip(INTEGERS, (*memories, *told), strict=True):
                    self._integers[name].append(value)
                live[f"{subject.side}_cpu_s"] = (
                    live.get(f"{subject.side}_cpu_s", 0.0) + cpu.user + cpu.system
                )
                live[f"{subject.side}_rss_bytes"] = (
                    live.get(f"{subject.side}_rss_bytes", 0.0) + memory.rss
                )
        self.live = live

    def _memory(self) -> dict[int, int]:
        """The proportional set size of each process that is there."""
        with self._pss_pace.timed():
            return {pid: _pss(pid) for it in self._subjects for pid in it.processes}

    def _threads(self) -> dict[int, tuple[int, ...]]:
        """Threads, descriptors, and what the scheduler did to each process that is there."""
        found: dict[int, tuple[int, ...]] = {}
        with self._threads_pace.timed():
            for subject in self._subjects:
                for pid, process in subject.processes.items():
                    with contextlib.suppress(OSError, psutil.Error):
                        met = subject.scheduled[pid].read()
                        found[pid] = (met.threads, process.num_fds(), *met[1:])
        return found


def _pss(pid: int) -> int:
    """The proportional set size in bytes; UNKNOWN where the kernel does not tell."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except (PermissionError, FileNotFoundError, ProcessLookupError):
        pass
    return UNKNOWN


def pin(cpus: tuple[int, ...]) -> None:
    """Keep gatebench itself off the server's CPUs; a machine that forbids it is not harmed."""
    try:
        os.sched_setaffinity(0, cpus)
    except OSError:
        return
