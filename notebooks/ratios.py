"""Servers as ratios to a reference server of the same run, over many runs, and where they step.

What the machine does to all servers of a run cancels in the ratio. A step between two runs is a
mark to look at, no verdict: one run alone never is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import show
from scipy import stats

METRICS = (
    "throughput_per_s", "p50_s", "p90_s", "p99_s", "server_cpu_s_per_1k", "server_pss_bytes",
)  # fmt: skip
SERIES = [*show.LOAD, *show.SERVER]
CONFIDENCE = 0.99  # of two intervals that are not to overlap, between many runs and servers
LEAST = 0.05  # a step that matters
MACHINE = ("cpu", "cpus_usable", "cores", "memory_bytes", "hypervisor")
COLUMNS = [*SERIES, "run", "ratio", "low", "high", "pairs", "versions", "reference_versions"]


def machine_class(machine: Mapping[str, Any]) -> tuple[Any, ...]:
    """What must be alike in runs that stand in one series; the number of CPUs, not which."""
    usable = machine.get("cpus_usable", ())
    known = {**machine, "cpus_usable": len(usable)}
    return tuple(known.get(name) for name in MACHINE)


def usual_reference(trials: pd.DataFrame) -> str | None:
    """The server that stands in the most runs and loads beside others; None if none does."""
    own = _own(trials)
    beside = own.groupby(["run", *show.LOAD], dropna=False)["server"].transform("nunique") > 1
    times = own[beside].drop_duplicates(["run", *show.LOAD, "server"])["server"].value_counts()
    most = sorted(str(server) for server in times[times == times.max()].index)
    return most[0] if most else None


def ratios(trials: pd.DataFrame, reference: str, metric: str) -> pd.DataFrame:
    """A row for each run, load and server: `metric` as a ratio to the reference's.

    In each block ln(server / reference) is taken of trials that may be ranked; `ratio` is their
    mean, `low` and `high` its interval by Student's t (missing with one pair).
    """
    own = _own(trials)
    base = own[own["server"] == reference].drop_duplicates(["run", "block", *show.LOAD])
    base = base[["run", "block", *show.LOAD, metric, "versions"]]
    other = own[own["server"] != reference]
    beside = other.merge(base, on=["run", "block", *show.LOAD], suffixes=("", "_reference"))
    over, under = (show.numbers(beside[name]) for name in (metric, f"{metric}_reference"))
    with np.errstate(divide="ignore", invalid="ignore"):
        beside["d"] = np.log(over / under)
    beside = beside[np.isfinite(beside["d"])]
    rows = [
        dict(zip([*SERIES, "run"], key, strict=True)) | _estimate(group)
        for key, group in beside.groupby([*SERIES, "run"], sort=False, dropna=False)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


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
        reference_versions_before=earlier["reference_versions"],
    )  # fmt: skip
    return found[apart & (change.abs() >= LEAST)]


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """The packages of which the versions differ, as `name 1.0 to 1.1`."""
    return [
        f"{name} {before.get(name, 'absent')} to {after.get(name, 'absent')}"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]


def _own(trials: pd.DataFrame) -> pd.DataFrame:
    """What may be ranked and is no placebo."""
    return trials[trials["verdict"].isin(show.RANKED) & trials["twin_of"].isna()]


def _estimate(group: pd.DataFrame) -> dict[str, Any]:
    d = group["d"].to_numpy(dtype=float)
    half = np.nan
    if len(d) > 1:
        half = stats.t.ppf((1 + CONFIDENCE) / 2, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return {
        "ratio": np.exp(d.mean()), "low": np.exp(d.mean() - half), "high": np.exp(d.mean() + half),
        "pairs": len(d), "versions": group["versions"].iloc[-1],
        "reference_versions": group["versions_reference"].iloc[-1],
    }  # fmt: skip
