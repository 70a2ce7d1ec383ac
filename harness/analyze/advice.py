"""Which number of workers and threads to run: the smallest that nothing tried was better than.

One server, one app and one scenario on one machine: what is advised holds for these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.analyze.cells import cells_frame, records
from harness.analyze.decision import METRICS
from harness.analyze.pairs import Paired
from harness.analyze.verdict import GENERATOR_LIMITED, RANKED
from harness.store import StoredRun

SAME = ("server", "app", "scenario")
CHOICE = ("workers", "threads")
USABLE = (*RANKED, GENERATOR_LIMITED)
ERRORS = 0.001  # of the requests; a configuration that fails more often is not advised
DELTA = next(metric.delta for metric in METRICS if metric.name == "throughput")
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Configuration:
    """One number of workers and threads, and how it did; threads None where none can be chosen.

    `cell` is its row of the cells' frame. `ratio` is its throughput over that of the fastest, from
    pairs of a block, and `high` the upper end of the ratio's 95 % interval; `busy` how much of the
    server's CPUs it used; `usable` whether it may be advised; `folklore` whether it is
    2 x CPUs + 1 workers. What it could not measure is None.
    """

    workers: int
    threads: int | None
    cell: dict[str, Any]
    ratio: float | None
    high: float | None
    busy: float | None
    usable: bool
    folklore: bool

    @property
    def tied(self) -> bool:
        """Whether it is not told to be slower than the fastest by more than delta.

        A single block tells no interval, and the ratio has to do.
        """
        known = self.ratio if self.high is None else self.high
        return self.usable and known is not None and known >= 1 - DELTA

    @property
    def name(self) -> str:
        """Workers and threads in words."""
        workers = f"{self.workers} worker{'s' * (self.workers != 1)}"
        if self.threads is None:
            return workers
        return f"{workers} × {self.threads} thread{'s' * (self.threads != 1)}"


@dataclass(frozen=True, slots=True)
class Advice:
    """The configurations of one server from the smallest on, and which of them to run.

    `chosen` is None where none could be measured; `why` is one line, from what was measured;
    `cautions` are lines on what the advice does not rest on.
    """

    server: str
    app: str
    scenario: str
    users: int
    cpus: int
    configurations: tuple[Configuration, ...]
    chosen: Configuration | None
    why: str
    cautions: tuple[str, ...]


def advise(run: StoredRun, trials: pd.DataFrame) -> list[Advice]:
    """The advice for each server and scenario of a run of `gatebench tune`; of others none."""
    if "tune" not in run.facts:
        return []
    return [
        _advise(dict(zip(SAME, key, strict=True)), group)
        for key, group in trials.groupby(list(SAME), sort=False)
    ]


def _advise(key: dict[str, Any], trials: pd.DataFrame) -> Advice:
    cpus = int(trials["server_cpus"].iloc[0])
    tried = _configurations(trials, cpus)
    chosen = next((it for it in tried if it.tied), None)
    cautions = () if chosen is None else tuple(_cautions(chosen, tried))
    why = "no configuration could be measured" if chosen is None else _why(chosen, tried)
    users = int(trials["users"].iloc[0])
    return Advice(**key, users=users, cpus=cpus, configurations=tuple(tried), chosen=chosen,
                  why=why, cautions=cautions)  # fmt: skip


def _configurations(trials: pd.DataFrame, cpus: int) -> list[Configuration]:
    """From the smallest on: a worker costs more memory than a thread does."""
    rows = sorted(
        records(cells_frame(trials)), key=lambda row: (row["workers"], row["threads"] or 0)
    )
    figures = {_choice(row): _by_block(trials, row) for row in rows}
    usable = {_choice(row): _usable(row) for row in rows}
    medians = {it: float(figures[it].median()) for it in figures if usable[it]}
    fastest = max(medians, key=lambda it: medians[it], default=None)
    folklore = next((_choice(row) for row in rows if row["workers"] == 2 * cpus + 1), None)
    found = []
    for row in rows:
        it = _choice(row)
        ratio, high = (
            _beside(figures[it], figures[fastest]) if fastest and usable[it] else (None,) * 2
        )
        busy = _of(trials, row)["server_cpu_share"].dropna()
        found.append(
            Configuration(
                *it, row, ratio, high, float(busy.median()) / cpus if len(busy) else None,
                usable[it], it == folklore,
            )
        )  # fmt: skip
    return found


def _choice(row: dict[str, Any]) -> tuple[int, int | None]:
    return int(row["workers"]), None if row["threads"] is None else int(row["threads"])


def _usable(row: dict[str, Any]) -> bool:
    if row["verdict"] not in USABLE or not row["requests"]:
        return False
    return bool(row["errors"] <= ERRORS * (row["errors"] + row["requests"]))


def _of(trials: pd.DataFrame, row: dict[str, Any]) -> pd.DataFrame:
    """The usable trials of a configuration."""
    workers, threads = _choice(row)
    same = trials["threads"].isna() if threads is None else trials["threads"] == threads
    return trials[(trials["workers"] == workers) & same & trials["verdict"].isin(USABLE)]


def _by_block(trials: pd.DataFrame, row: dict[str, Any]) -> pd.Series:
    return _of(trials, row).set_index("block")["throughput_per_s"].astype(float)


def _beside(it: pd.Series, fastest: pd.Series) -> tuple[float, float | None]:
    """The ratio of throughputs within blocks, and the upper end of its interval."""
    if it is fastest or it.equals(fastest):
        return 1.0, 1.0
    paired = Paired.of(np.log((it / fastest).to_numpy(dtype=float)))
    high = float(paired.interval(CONFIDENCE)[1])
    return float(np.exp(paired.mean)), None if np.isnan(high) else float(np.exp(high))


def _why(chosen: Configuration, tried: list[Configuration]) -> str:
    """What was measured that speaks for it, in one line."""
    usable = [it for it in tried if it.usable]
    least = usable[0]
    busy = f"the server's CPU was {least.busy or 0:.0%} busy with {least.name}"
    if chosen is least:
        others = [it for it in usable if it is not least]
        if not others:
            return f"{busy}, and nothing else could be measured"
        best = max(others, key=lambda it: it.cell["throughput_per_s"])
        gain = best.cell["throughput_per_s"] / least.cell["throughput_per_s"] - 1
        return (
            f"{busy} already, and nothing larger was distinguishably faster "
            f"(the best of the others, {best.name}: {gain:+.0%})"
        )
    growth = chosen.cell["throughput_per_s"] / least.cell["throughput_per_s"]
    waits = ": its requests wait more than they compute" if (least.busy or 0) < 0.5 else ""
    return f"{busy}{waits}, and throughput grew {growth:.3g}× with {chosen.name}"


def _cautions(chosen: Configuration, tried: list[Configuration]) -> list[str]:
    said = []
    slots, users = chosen.cell["slots"], chosen.cell["users"]
    if slots is not None and slots >= users:
        said.append(f"all {users:.0f} users were served at once: with more --users it may be more")
    elif chosen.ratio == 1.0 and chosen is max((it for it in tried if it.usable), key=_size):
        said.append("nothing larger was tried: with more workers or threads it may do more still")
    fastest = max((it for it in tried if it.usable), key=lambda it: it.ratio or 0.0)
    if chosen.ratio is not None and chosen.ratio < 1 - DELTA:
        said.append(
            f"{fastest.name} did {1 / chosen.ratio:.3g}× as much, which the noise of these blocks "
            "could explain: more --blocks tell"
        )
    if chosen.cell["verdict"] == GENERATOR_LIMITED:
        said.append("the load generator was the limit: a larger configuration may do more")
    folklore = next((it for it in tried if it.folklore), None)
    if folklore is None or folklore is chosen:
        return said
    cell, own = folklore.cell, chosen.cell
    if not folklore.usable:
        return [
            *said,
            f"the folklore, 2 × CPUs + 1 workers, could not be measured: {cell['verdict']}",
        ]
    memory = ""
    if cell["server_pss_bytes"] and own["server_pss_bytes"]:
        memory = f", with {cell['server_pss_bytes'] / own['server_pss_bytes']:.2g}× its memory"
    share = cell["throughput_per_s"] / own["throughput_per_s"]
    said.append(
        f"the folklore, 2 × CPUs + 1 = {folklore.workers} workers ({folklore.name}), did "
        f"{share:.0%} of its throughput{memory}"
    )
    return said


def _size(it: Configuration) -> tuple[int, int]:
    return it.workers, it.threads or 0
