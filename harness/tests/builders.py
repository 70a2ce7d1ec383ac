"""Runs with known answers: stored as the conductor stores them, out of requests made by numpy.

Times of `Requests` are seconds from the start of the measured window; below 0 is the warm-up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from harness import histogram
from harness.ceiling import Ceiling
from harness.model import App, Cell, Load, Placement, Scenario, Server, Timing
from harness.noise import SCHEMA
from harness.plan import Plan, describe
from harness.sample import INTEGERS
from harness.store import StoredRun, StoredTrial, read_run
from harness.writer import RunWriter

START_NS = 1_000_000_000_000_000  # a machine that has been up for twelve days
HZ = 10
MIB = 2**20
MACHINE = {
    "cpu": "Imaginary 9000",
    "cpus_usable": [0, 1],
    "cpus_online": 2,
    "cores": 2,
    "memory_bytes": 8 * 2**30,
    "hypervisor": True,
    "kernel": "6.1.0",
    "architecture": "x86_64",
    "system": "Imaginary Linux 12",
    "governor": None,
    "python": "3.11.0",
    "libc": "glibc 2.36",
    "hostname": "nowhere",
}
SUMMARY = {
    "users": 10,
    "processes": 1,
    "lost": [],
    "in_flight": 10,
    "starved": 0,
    "client": "gatebench's load engine",
    "locust": "2.47.0",
    "python": "3.11.0",
}
Numbers = npt.NDArray[np.float64]


def none() -> Numbers:
    return np.empty(0)


def server(name: str = "demo", **changes: Any) -> Server:
    row = Server(
        name=name,
        speaks="wsgi",
        packages=(name,),
        command="demo -w {workers} --port {port} {app}",
        concurrency="process",
        origin=f"servers.toml [servers.{name}]",
    )
    return replace(row, **changes)


def scenario(name: str = "hello", **changes: Any) -> Scenario:
    row = Scenario(
        name=name,
        file=Path(f"{name}.py"),
        about="what it is",
        checks=("hello",),
        origin=f"scenarios.toml [scenarios.{name}]",
    )
    return replace(row, **changes)


APP = App(name="wsgi", speaks="wsgi", folder=Path("apps"), target="wsgi:app", origin="apps.toml")


def cell(
    name: str = "demo",
    work: Scenario | None = None,
    *,
    users: int = 10,
    workers: int = 2,
    threads: int | None = None,
    rate_per_s: float | None = None,
    **row: Any,
) -> Cell:
    load = Load(users) if rate_per_s is None else Load(users, "open", rate_per_s, "constant")
    return Cell(server(name, **row), APP, work or scenario(), load, workers, threads)


@dataclass(frozen=True)
class Requests:
    """When each right answer was complete and how long it took; when errors ended; delays.

    `lag_s` is how late each was sent, and `first_s` how long its first byte took, in the order
    of `done_s`; empty where nothing was due, or where no answer came in pieces.
    """

    done_s: Numbers
    took_s: Numbers
    failed_at_s: Numbers = field(default_factory=none)
    delayed_at_s: Numbers = field(default_factory=none)
    delay_s: Numbers = field(default_factory=none)
    lag_s: Numbers = field(default_factory=none)
    first_s: Numbers = field(default_factory=none)

    def without(self, begin_s: float, end_s: float) -> Requests:
        """These without the answers complete in a stretch of time."""
        keep = (self.done_s < begin_s) | (self.done_s >= end_s)
        lag = self.lag_s[keep] if len(self.lag_s) else self.lag_s
        return replace(self, done_s=self.done_s[keep], took_s=self.took_s[keep], lag_s=lag)


def closed(
    users: int = 10, took_s: float = 0.05, *, seconds: float = 5.0, warmup_s: float = 1.0
) -> Requests:
    """Users that each send when their last answer came, evenly apart; every answer takes alike."""
    rounds = int((warmup_s + seconds) / took_s) + 2
    begin = -warmup_s + np.arange(users) * took_s / users
    done = (begin[:, None] + np.arange(1, rounds + 1) * took_s).ravel()
    done = np.sort(done[nanoseconds(done) < seconds * 1e9])
    return Requests(done, np.full(len(done), took_s))


def random_times(
    users: int = 10, *, median_s: float = 0.02, seconds: float = 5.0, warmup_s: float = 1.0
) -> Requests:
    """The same with lognormal response times."""
    random = np.random.default_rng(42)
    took = random.lognormal(np.log(median_s), 0.6, (users, int(4 * (seconds + 1) / median_s)))
    done = -warmup_s + np.cumsum(took, axis=1)
    assert done[:, -1].min() > seconds
    kept = done < seconds
    order = np.argsort(done[kept])
    return Requests(done[kept][order], took[kept][order])


def constant_rate(
    rate_per_s: float = 200.0,
    took_s: float = 0.01,
    lag_s: float = 0.0001,
    *,
    seconds: float = 5.0,
    warmup_s: float = 1.0,
) -> Requests:
    """Requests due at a constant rate, each answered `took_s` after it was due."""
    due = -warmup_s + np.arange(int((seconds + warmup_s) * rate_per_s)) / rate_per_s
    done = (due + took_s)[nanoseconds(due + took_s) < seconds * 1e9]
    return Requests(done, np.full(len(done), took_s), lag_s=np.full(len(done), lag_s))


def nanoseconds(seconds: Numbers) -> npt.NDArray[np.int64]:
    return np.rint(np.asarray(seconds) * 1e9).astype(np.int64)


def latency_table(requests: Requests, name: str = "GET /") -> pa.Table:
    """A row per sample: counting rows that repeat is the reader's business."""
    sent_at_s = requests.done_s[: len(requests.lag_s)]
    begun_at_s = requests.done_s[: len(requests.first_s)]
    at = np.concatenate([requests.done_s, requests.delayed_at_s, sent_at_s, begun_at_s])
    value = np.concatenate([requests.took_s, requests.delay_s, requests.lag_s, requests.first_s])
    measures = [
        *["response"] * len(requests.done_s),
        *["delay"] * len(requests.delay_s),
        *["lag"] * len(requests.lag_s),
        *["first"] * len(requests.first_s),
    ]
    return pa.table(
        {
            "second": pa.array(nanoseconds(at) // 1_000_000_000, pa.int32()),
            "name": pa.array([name] * len(at), pa.string()).dictionary_encode(),
            "measure": pa.array(measures, pa.string()).dictionary_encode(),
            "bucket": pa.array(histogram.indices(nanoseconds(value)), pa.int32()),
            "count": pa.array(np.ones(len(at), np.int64), pa.int64()),
        }
    )


def ticks_table(requests: Requests, name: str = "GET /") -> pa.Table:
    done = nanoseconds(requests.done_s) // 100_000_000
    failed = nanoseconds(requests.failed_at_s) // 100_000_000
    took = nanoseconds(requests.took_s)
    ticks = sorted({*done.tolist(), *failed.tolist()})
    return pa.table(
        {
            "tick": pa.array(ticks, pa.int32()),
            "name": pa.array([name] * len(ticks), pa.string()).dictionary_encode(),
            "ok": pa.array([int((done == tick).sum()) for tick in ticks], pa.int64()),
            "errors": pa.array([int((failed == tick).sum()) for tick in ticks], pa.int64()),
            "response_sum_ns": pa.array(
                [int(took[done == tick].sum()) for tick in ticks], pa.int64()
            ),
        }
    )


@dataclass(frozen=True)
class Process:
    """One process as sampled: it lives from `born_s` to `died_s` and uses `cpu` CPUs.

    `cpu` may also be a function from the seconds since the window's start to CPU-seconds used
    so far; `pss` a function from them to bytes, or None where it was not read. `waited` is the
    share of the time in which it was ready and had no CPU.
    """

    side: str
    pid: int
    cpu: Any = 0.1
    born_s: float = -1.0
    died_s: float = 6.0
    role: str = "worker"
    waited: float = 0.0
    pss: Any = 50 * MIB
    rss: Any = 60 * MIB

    def rows(self) -> list[dict[str, Any]]:
        # samples never fall on an edge of the window
        instants = np.arange(-1.0 + 0.037, 6.0, 1 / HZ)
        return [self._row(float(at)) for at in instants if self.born_s <= at < self.died_s]

    def _row(self, at: float) -> dict[str, Any]:
        used = self.cpu(at) if callable(self.cpu) else self.cpu * (at - self.born_s)
        return {
            "at_ns": START_NS + round(at * 1e9),
            "side": self.side,
            "role": self.role,
            "pid": self.pid,
            "cpu_user_s": used * 0.75,
            "cpu_system_s": used * 0.25,
            **dict.fromkeys(INTEGERS, 1),
            "waited_ns": round(self.waited * (at - self.born_s) * 1e9),
            "rss_bytes": self.rss(at) if callable(self.rss) else self.rss,
            "pss_bytes": self.pss(at) if callable(self.pss) else self.pss,
        }


def processes_table(processes: Iterable[Process]) -> pa.Table:
    rows = sorted((row for it in processes for row in it.rows()), key=lambda row: row["at_ns"])
    schema = pa.schema(
        [
            ("at_ns", pa.int64()),
            ("side", pa.dictionary(pa.int32(), pa.string())),
            ("role", pa.dictionary(pa.int32(), pa.string())),
            ("pid", pa.int32()),
            ("cpu_user_s", pa.float64()),
            ("cpu_system_s", pa.float64()),
            *((name, pa.int64()) for name in INTEGERS),
        ]
    )
    return pa.Table.from_pylist(rows, schema)


def quiet_table(**changes: Any) -> pa.Table:
    """What a quiet machine shows: nobody but us; `changes` are functions of the seconds."""
    at = np.arange(-1.0 + 0.037, 6.0, 1 / HZ)
    columns = {
        "at_ns": START_NS + nanoseconds(at),
        "late_ns": np.full(len(at), 100_000),
        "waited_ns": np.zeros(len(at), np.int64),
        "pressure_us": np.zeros(len(at), np.int64),
        "own_cpu_s": 0.01 * at,
        "server_busy_s": 0.4 * at,
        "generator_busy_s": 0.31 * at,
    }
    changed = {name: change(at) for name, change in changes.items()}
    rows = pd.DataFrame(columns | changed, columns=SCHEMA.names)
    return pa.Table.from_pandas(rows.fillna(0.0), SCHEMA, preserve_index=False, safe=False)


SERVER = Process("server", 100, cpu=0.4)
GENERATOR = Process("generator", 200, cpu=0.3)


class RunBuilder:
    """A run on disk, trial by trial."""

    def __init__(
        self,
        results: Path,
        cells: Iterable[Cell] = (),
        *,
        blocks: int = 1,
        server_cpus: tuple[int, ...] = (0,),
        generator_cpus: tuple[int, ...] = (7,),
        seconds: float = 5.0,
        notes: tuple[str, ...] = (),
        ceilings: tuple[Ceiling, ...] = (),
        asked: Mapping[str, Any] | None = None,
    ) -> None:
        self.plan = Plan(
            cells=tuple(cells),
            blocks=blocks,
            seed=11,
            timing=Timing(2.0, seconds),
            placement=Placement(server_cpus, generator_cpus),
            machine=MACHINE,
            command=("gatebench", "run", "demo"),
            notes=notes,
        )
        self.writer = RunWriter.begin(results, {**self.plan.facts(), **(asked or {})})
        self.writer.keep_ceilings(ceilings)
        self.number = 0

    def measured(
        self,
        it: Cell,
        requests: Requests,
        processes: Iterable[Process] | pa.Table = (SERVER, GENERATOR),
        *,
        load: Mapping[str, Any] | None = None,
        errors: Mapping[str, int] | None = None,
        tables: tuple[pa.Table, pa.Table] | None = None,
        noise: pa.Table | None = None,
        **facts: Any,
    ) -> StoredTrial:
        """Store a trial that measured `requests`; `load` and `facts` replace what it says."""
        seconds = self.plan.timing.duration_s
        assert (nanoseconds(requests.done_s) < seconds * 1e9).all()
        summary = {
            **SUMMARY,
            "users": it.load.users,
            "start_ns": START_NS,
            "end_ns": START_NS + round(seconds * 1e9),
            "ok": int((nanoseconds(requests.done_s) >= 0).sum()),
            "failed": int((nanoseconds(requests.failed_at_s) >= 0).sum()),
            "errors": [
                {"name": "GET /", "kind": kind, "count": count, "examples": []}
                for kind, count in (errors or {}).items()
            ],
            "since_start": {
                "sent": len(requests.done_s) + len(requests.failed_at_s) + it.load.users,
                "ok": len(requests.done_s),
                "failed": len(requests.failed_at_s),
                "connects": it.load.users,
            },
            **(load or {}),
        }
        latency, ticks = tables or (latency_table(requests), ticks_table(requests))
        return self._store(
            it,
            {
                **self._started(it),
                "outcome": "measured",
                "failure": None,
                "load": summary,
                "sampler": {"cpu_share": 0.01, "ticks": 70, "latest_s": 0.0, "pss_every_ticks": 1},
                **facts,
            },
            {
                "latency": latency,
                "ticks": ticks,
                "processes": processes
                if isinstance(processes, pa.Table)
                else processes_table(processes),
                "noise": quiet_table() if noise is None else noise,
            },
        )

    def failed(
        self, it: Cell, during: str = "ready", reason: str = "it did not start", log: str = ""
    ) -> StoredTrial:
        """Store a trial that failed; before `ready` it knows nothing of its server."""
        known = {} if during in ("environment", "launch") else self._started(it)
        failure = {"during": during, "reason": reason, "log": log}
        return self._store(it, {**known, "outcome": "failed", "failure": failure}, {})

    def read(self, how: str = "complete") -> StoredRun:
        """End the run, and read it."""
        self.writer.end(how)
        return read_run(self.writer.path)

    def _started(self, it: Cell) -> dict[str, Any]:
        return {
            "versions": {it.server.name: "1.2.3"},
            "python": "3.11.0",
            "argv": ["demo", "--port", "8000"],
            "port": 8000,
            "pid": 100,
            "startup_s": 0.25,
            "workers_seen": it.workers,
        }

    def _store(
        self, it: Cell, facts: Mapping[str, Any], series: Mapping[str, pa.Table]
    ) -> StoredTrial:
        self.number += 1
        return self.writer.store(
            self.number,
            {
                "number": self.number,
                "block": 1 + (self.number - 1) // max(1, len(self.plan.cells)),
                "cell": describe(it),
                "placement": self.plan.placement,
                "timing": self.plan.timing,
                **facts,
            },
            series,
            {},
        )
