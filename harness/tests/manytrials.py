"""A big run with known answers: many servers, scenarios and blocks, written in seconds.

Every request is drawn from a seed. The first two servers are the same, and some cells are what a
reader must get over: one fails with a log full of control characters, one is invalid, one is
limited by the generator, and one server's name is a piece of HTML.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa

from harness import histogram
from harness.ceiling import Ceiling
from harness.model import Cell, Scenario
from harness.sample import INTEGERS
from harness.tests.builders import (
    MIB,
    START_NS,
    Numbers,
    Requests,
    RunBuilder,
    cell,
    nanoseconds,
    quiet_table,
    scenario,
)

SCRIPT = "<script>alert(1)</script>"
NAMES = (
    "gunicorn-sync", "gunicorn-gthread", SCRIPT, "uwsgi", "waitress", "uvicorn-h11", "hypercorn",
    "granian-asgi", "daphne", "cheroot", "meinheld", "bjoern",
)  # fmt: skip
ALIKE = NAMES[:2]
FAILING, INVALID, LIMITED = NAMES[3:6]  # in the first scenario
LOG = (
    "Traceback:\x1b[31m red \x1b[0m\x00\x07\r\n\tboom </pre><script>alert(2)</script> \u202e\n" * 50
)
WORK = (
    scenario("hello"),
    scenario("echo"),
    scenario("blocking_io", wait_s=0.005),
    scenario("websocket_echo"),
)
USERS, WORKERS, CPUS = 32, 2, (0, 1)
OPEN_PER_S = 400.0
WARMUP_S, SECONDS = 2.0, 5.0
NOISE, DRIFT = 0.01, 0.02  # of a trial's rate, and of a block's


@dataclass(frozen=True)
class Truth:
    """What a server does in a scenario, but for noise."""

    rate_per_s: float
    cpus: float
    pss_bytes: float


def truth(server: int, work: int) -> Truth:
    """Servers are some percent apart, each a little different in each scenario."""
    place = max(server, 1)  # the first two are alike
    rate = 2400.0 * 0.94 ** (place - 1) * (1.0, 0.9, 0.45, 0.7)[work % 4]
    return Truth(rate * (1 + 0.02 * ((place * 7 + work) % 5)), 1.96, (40 + 9 * place) * MIB)


def big_run(
    folder: Path, servers: int = 12, scenarios: int = 4, blocks: int = 8, seed: int = 1
) -> Path:
    """Write the run below `folder`, and say where: servers x scenarios x blocks trials.

    Scenarios beyond four repeat the four under other names; every fourth is an open load.
    """
    places = [(server, work) for work in range(scenarios) for server in range(servers)]
    cells = [_cell(server, work) for server, work in places]
    place_of = {
        (it.server.name, it.scenario.name): at for it, at in zip(cells, places, strict=True)
    }
    limit = Ceiling("hello", cells[0].load, 21_000.0, 0.98, 0.9)
    builder = RunBuilder(
        folder, cells, blocks=blocks, server_cpus=CPUS, seconds=SECONDS, ceilings=(limit,)
    )
    random = np.random.default_rng(seed)
    drift = 1 + DRIFT * random.standard_normal(blocks + 1)
    noise = quiet_table(server_busy_s=lambda at: 1.97 * at)
    with patch.object(os, "fsync"):  # nobody pulls the plug of a test
        for block, it in builder.plan.order():
            known = truth(*place_of[it.server.name, it.scenario.name])
            _trial(builder, it, known, float(drift[block]), random, noise)
        builder.writer.end("complete")
    return builder.writer.path


def _name(server: int) -> str:
    again = server // len(NAMES)
    return NAMES[server % len(NAMES)] + (f"-{again + 1}" if again else "")


def _work(number: int) -> Scenario:
    again, row = number // len(WORK), WORK[number % len(WORK)]
    return scenario(f"{row.name}_{again + 1}", wait_s=row.wait_s) if again else row


def _cell(server: int, work: int) -> Cell:
    rate = OPEN_PER_S if work % len(WORK) == 3 else None
    row = {"workers": WORKERS, "rate_per_s": rate, "concurrency": "event-loop"}
    return cell(_name(server), _work(work), users=USERS, **row)


def _trial(
    builder: RunBuilder,
    it: Cell,
    known: Truth,
    drift: float,
    random: np.random.Generator,
    noise: pa.Table,
) -> None:
    name = it.server.name if it.scenario.name == WORK[0].name else ""
    if name == FAILING:
        builder.failed(it, "ready", "it ended by itself with code 1\x1b[2J", LOG)
        return
    rate = known.rate_per_s * drift * (1 + NOISE * float(random.standard_normal()))
    requests = _requests(it, rate, random)
    offered = int((requests.done_s >= 0).sum())
    load: dict[str, Any] = {"lost": ["worker-1"]} if name == INVALID else {}
    if it.load.model == "open":
        load |= {"offered": offered, "unsent": 0, "unanswered": 0}
    share = float(it.load.rate_per_s or rate) / rate
    builder.measured(
        it,
        requests,
        _processes(known, share, 0.97 if name == LIMITED else 0.5, random),
        load=load,
        tables=(_latency(requests), _ticks(requests)),
        noise=noise,
        sampler={"cpu_share": 0.01, "ticks": 70, "latest_s": 0.0, "missing": {}},
    )


def _requests(it: Cell, rate: float, random: np.random.Generator) -> Requests:
    """Lognormal times; a closed load's mean is as Little's law has it."""
    opened = it.load.rate_per_s
    pace = opened or rate
    number = int((WARMUP_S + SECONDS) * pace)
    done = np.arange(number) / pace - WARMUP_S
    mean = 2 / rate if opened else USERS / rate
    spread = 0.25
    wait = it.scenario.wait_s
    took = wait + random.lognormal(np.log(mean - wait) - spread**2 / 2, spread, number)
    lag = random.exponential(2e-5, number) if opened else np.empty(0)
    return Requests(done, took, lag_s=lag, first_s=took * 0.9)


def _latency(requests: Requests) -> pa.Table:
    """What builders.latency_table says, counted, as the recorder does."""
    measures = {"response": requests.took_s, "lag": requests.lag_s, "first": requests.first_s}
    second = nanoseconds(requests.done_s) // 1_000_000_000
    parts = []
    for number, values in enumerate(measures.values()):
        key = second[: len(values)] * histogram.SIZE + histogram.indices(nanoseconds(values))
        keys, counts = np.unique(key, return_counts=True)
        parts.append((np.full(len(keys), number), keys, counts))
    kind, keys, counts = (np.concatenate(column) for column in zip(*parts, strict=True))
    return pa.table(
        {
            "second": pa.array(keys // histogram.SIZE, pa.int32()),
            "name": _words(["GET /"], np.zeros(len(keys))),
            "measure": _words(list(measures), kind),
            "bucket": pa.array(keys % histogram.SIZE, pa.int32()),
            "count": pa.array(counts, pa.int64()),
        }
    )


def _ticks(requests: Requests) -> pa.Table:
    tick = nanoseconds(requests.done_s) // 100_000_000
    numbers, place = np.unique(tick, return_inverse=True)
    sums = np.bincount(place, nanoseconds(requests.took_s))
    return pa.table(
        {
            "tick": pa.array(numbers, pa.int32()),
            "name": _words(["GET /"], np.zeros(len(numbers))),
            "ok": pa.array(np.bincount(place), pa.int64()),
            "errors": pa.array(np.zeros(len(numbers)), pa.int64()),
            "response_sum_ns": pa.array(sums.astype(np.int64), pa.int64()),
        }
    )


def _processes(
    known: Truth, share: float, generator: float, random: np.random.Generator
) -> pa.Table:
    """A master and its two workers, and the generator, ten times a second."""
    instants = np.arange(-WARMUP_S + 0.037, SECONDS + 0.5, 0.1)
    each = known.cpus * share / WORKERS * (1 + 0.005 * random.standard_normal(WORKERS))
    held = known.pss_bytes / WORKERS * (1 + 0.003 * random.standard_normal())
    rows = [("server", "master", 100, 0.0, 20.0 * MIB)]
    rows += [("server", "worker", 101 + it, float(each[it]), held) for it in range(WORKERS)]
    rows += [("generator", "worker", 200, generator, 60.0 * MIB)]
    at, who = (it.ravel() for it in np.meshgrid(instants, np.arange(len(rows)), indexing="ij"))
    sides, roles, pids, cpus, memory = zip(*rows, strict=True)
    used = np.array(cpus)[who] * (at + WARMUP_S + 0.2)
    bytes_held = np.array(memory)[who].astype(np.int64)
    counts = dict.fromkeys(INTEGERS, np.ones(len(at), np.int64))
    waited = (0.01 * (at + WARMUP_S) * 1e9).astype(np.int64)
    counts |= {"rss_bytes": bytes_held + 10 * MIB, "pss_bytes": bytes_held, "waited_ns": waited}
    counts |= {"switches_voluntary": (at * 100 + 300).astype(np.int64)}
    return pa.table(
        {
            "at_ns": pa.array(START_NS + nanoseconds(at) + who * 50_000, pa.int64()),
            "side": _words(
                ["server", "generator"], np.array([side != "server" for side in sides])[who]
            ),
            "role": _words(
                ["worker", "master"], np.array([role == "master" for role in roles])[who]
            ),
            "pid": pa.array(np.array(pids)[who], pa.int32()),
            "cpu_user_s": pa.array(used * 0.75, pa.float64()),
            "cpu_system_s": pa.array(used * 0.25, pa.float64()),
            **{name: pa.array(counts[name], pa.int64()) for name in INTEGERS},
        }
    )


def _words(words: list[str], at: Numbers) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(at.astype(np.int32)), pa.array(words))
