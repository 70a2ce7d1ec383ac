"""What else the machine does while a trial runs, as the kernel tells it; read by the sampler.

All figures are sums since some beginning: their differences count. A source that this machine
does not have is missing, with the reason, and never a zero.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from harness.pace import Pace

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# the columns of a CPU's line in /proc/stat, proc(5)
USER, NICE, SYSTEM, IRQ, SOFTIRQ, STEAL = 0, 1, 2, 5, 6, 7


SIDES = ("server", "generator")
SHARE = 0.001  # of one CPU
UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Seconds that a set of CPUs spent, together: on processes, on interrupts, and taken by the
    hypervisor for others (steal).
    """

    busy_s: float
    interrupts_s: float
    steal_s: float


class Queued(NamedTuple):
    """How many threads a process has, and what they met in the scheduler, those that ended
    included: switches to others, of their own will (to wait) or not, and nanoseconds of waiting
    for a CPU while ready to run; UNKNOWN where the kernel does not tell.
    """

    threads: int
    voluntary: int
    involuntary: int
    waited_ns: int


class Kernel:
    """The machine's own figures. `sides` are the CPUs of the server and of the generator."""

    def __init__(self, sides: Mapping[str, Sequence[int]], proc: Path = PROC) -> None:
        self._sides = {side: tuple(cpus) for side, cpus in sides.items()}
        self._stat = proc / "stat"
        self._pressure = proc / "pressure" / "cpu"
        self._own = proc / "thread-self" / "schedstat"
        self.missing: dict[str, str] = {}

    def cpu_times(self) -> dict[str, CpuTimes]:
        """By side; a side with a CPU that /proc/stat does not list is left out."""
        if (text := self._read("cpu", self._stat)) is None:
            return {}
        seconds: dict[str, list[float]] = {}
        for line in text.splitlines():
            name, *ticks = line.split()
            if not name.startswith("cpu"):
                break  # they stand first, and what follows is long
            seconds[name] = [int(count) / TICKS_PER_S for count in ticks]
        return {
            side: _together([seconds[f"cpu{cpu}"] for cpu in cpus])
            for side, cpus in self._sides.items()
            if all(f"cpu{cpu}" in seconds for cpu in cpus)
        }

    def pressure_us(self) -> int | None:
        """Microseconds in which some process waited for a CPU, on the whole machine (PSI)."""
        text = self._read("pressure", self._pressure)
        for line in (text or "").splitlines():
            if line.startswith("some"):
                return int(line.rpartition("total=")[2])
        return None

    def own_wait_ns(self) -> int | None:
        """For how long the calling thread was ready to run, and had no CPU."""
        text = self._read("run queue", self._own)
        return None if text is None else int(text.split()[1])

    def _read(self, source: str, path: Path) -> str | None:
        if source in self.missing:
            return None
        try:
            return path.read_text("ascii")
        except OSError as error:
            self.missing[source] = f"{path}: {error.strerror}"
            return None


class NoiseLog:
    """The kernel's figures, and how late their reader is woken up, tick by tick.

    A virtual machine whose host is busy may show that in nothing else than its wake-ups.
    """

    def __init__(self, kernel: Kernel, ticks_per_s: float) -> None:
        self._kernel = kernel
        self._pace = Pace(SHARE, ticks_per_s)
        self._rows: list[dict[str, Any]] = []

    def note(self, tick: int, late_ns: int) -> None:
        """One tick, whose beginning came so late."""
        row: dict[str, Any] = {
            "at_ns": time.monotonic_ns(),
            "late_ns": late_ns,
            "waited_ns": self._kernel.own_wait_ns(),
            "own_cpu_s": time.process_time(),
        }
        if self._pace.turn(tick):
            with self._pace.timed():
                row["pressure_us"] = self._kernel.pressure_us()
                for side, times in self._kernel.cpu_times().items():
                    row |= {f"{side}_{name}": getattr(times, name) for name in CpuTimes.__slots__}
        self._rows.append(row)

    def table(self) -> pa.Table:
        """A row for each tick; sums since some beginning but for `late_ns`.

        at_ns (monotonic), late_ns; waited_ns, for which the reader was ready and had no CPU, and
        own_cpu_s, the CPU seconds of its whole process; pressure_us as in Kernel, and SIDE_busy_s,
        SIDE_interrupts_s, SIDE_steal_s as in CpuTimes: null where not read.
        """
        return pa.Table.from_pylist(self._rows, SCHEMA)


SCHEMA = pa.schema(
    [
        *((name, pa.int64()) for name in ("at_ns", "late_ns", "waited_ns", "pressure_us")),
        ("own_cpu_s", pa.float64()),
        *((f"{side}_{name}", pa.float64()) for side in SIDES for name in CpuTimes.__slots__),
    ]
)


@dataclass(slots=True)
class Scheduled:
    """A process's threads, each with what was last known of it."""

    pid: int
    proc: Path = PROC
    _known: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    def read(self) -> Queued:
        """The sums over its threads. FileNotFoundError or ProcessLookupError once it is gone."""
        tasks = f"{self.proc}/{self.pid}/task"
        threads = os.listdir(tasks)
        for thread in threads:
            try:
                with open(f"{tasks}/{thread}/status", "rb") as file:
                    voluntary, involuntary = _switches(file.read())
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended just now
            waited_ns = _waited_ns(f"{tasks}/{thread}")
            self._known[thread] = voluntary, involuntary, waited_ns
        if not self._known:
            raise ProcessLookupError(self.pid)
        voluntary, involuntary, waited_ns = map(sum, zip(*self._known.values(), strict=True))
        return Queued(len(threads), voluntary, involuntary, max(UNKNOWN, waited_ns))


def _together(cpus: list[list[float]]) -> CpuTimes:
    return CpuTimes(
        sum(cpu[USER] + cpu[NICE] + cpu[SYSTEM] for cpu in cpus),
        sum(cpu[IRQ] + cpu[SOFTIRQ] for cpu in cpus),
        sum(cpu[STEAL] for cpu in cpus),
    )


def _waited_ns(task: str) -> int:
    """Since the thread began; UNKNOWN where the kernel was built without it."""
    try:
        with open(f"{task}/schedstat", "rb") as file:
            return int(file.read().split()[1])
    except OSError:
        return UNKNOWN


def _switches(status: bytes) -> tuple[int, int]:
    """The two counts at the end of a thread's status."""
    _, voluntary, involuntary = status.rsplit(b"ctxt_switches:", 2)
    return int(voluntary.split()[0]), int(involuntary.split()[0])
