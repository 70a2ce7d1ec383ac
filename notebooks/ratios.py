"""Servers as ratios to a reference server of the same run, over many runs, and where they step.

What the machine does to all servers of a run cancels in the ratio. A step between two runs is a
mark to look at, no verdict: one run alone never is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import show

METRICS = (
    "throughput_per_s", "p50_s", "p90_s", "p99_s", "server_cpu_s_per_1k", "server_pss_bytes",
)  # fmt: skip
LEAST = 0.05  # a step that matters
LOAD = ["scenario", "load"]
SERIES = [*LOAD, "server"]
COLUMNS = [
    *SERIES, "run", "ratio", "low", "high", "pairs", "versions", "reference_versions", "kernel",
]  # fmt: skip


def contender(key: Any, several: Sequence[Any]) -> str:
    """The name of a series' server, with what else tells it from the others of `several` keys."""
    rivals = [it for it in several if it.server == key.server]
    parts = [key.server]
    if len({it.app for it in rivals}) > 1:
        parts.append(key.app)
    if len({(it.workers, it.threads) for it in rivals}) > 1:
        parts.append(show.plural(key.workers, "worker"))
        parts += [show.plural(key.threads, "thread")] if key.threads else []
    return f"{parts[0]} ({', '.join(parts[1:])})" if parts[1:] else parts[0]


def ratios(series: Sequence[Any], metric: str) -> pd.DataFrame:
    """A row for each run and series of `History.series` that is a ratio, oldest first.

    `ratio` is the geometric mean over the run's blocks, `low` and `high` its 99 % interval by
    Student's t (missing with one pair). Runs in which it has none are left out.
    """
    own = [it for it in series if it.key.reference and it.metric.column == metric]
    keys = [it.key for it in own]
    rows = [
        (it.key.scenario, it.key.load, contender(it.key, keys), point.run,
         point.value, point.low, point.high, point.blocks,
         point.subject.versions, point.beside.versions, point.conditions.get("kernel"))
        for it in own
        for point in it.points
        if point.value is not None
    ]  # fmt: skip
    found = pd.DataFrame(rows, columns=COLUMNS)
    numbers = ["ratio", "low", "high"]
    found[numbers] = found[numbers].astype(float)
    return found


def steps(series: pd.DataFrame) -> pd.DataFrame:
    """The rows of one series, in the order of the runs, that stepped away from the row before.

    Both intervals are known and do not overlap, and the ratio changed by LEAST or more; `change`
    is by how much, -0.1 for 10 % less, `before` the earlier run.
    """
    earlier = series.shift()
    change = series["ratio"] / earlier["ratio"] - 1
    apart = (series["low"] > earlier["high"]) | (series["high"] < earlier["low"])
    found = series.assign(
        change=change, before=earlier["run"], versions_before=earlier["versions"],
        reference_versions_before=earlier["reference_versions"], kernel_before=earlier["kernel"],
    )  # fmt: skip
    return found[apart & (change.abs() >= LEAST)]


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """The packages of which the versions differ, as `name 1.0 to 1.1`."""
    return [
        f"{name} {before.get(name, 'absent')} to {after.get(name, 'absent')}"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]
