"""One trial over time: what its processes used, and what came out of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.analyze.steady import TICK_S
from harness.model import visible
from harness.report import units
from harness.report.figures.figure import Axis, Figure, Mark
from harness.report.figures.style import styles
from harness.report.figures.subject import Row, Slugs
from harness.store import StoredTrial

STEPS = 18  # points of a line, about: a glance, in a page that holds many of these
LEAST_S = 0.2
FIELDS = ("at_ns", "side", "role", "pid", "cpu_user_s", "cpu_system_s", "pss_bytes", "rss_bytes")
AT = Axis("at_s", "seconds from the window's start")
CPU = Axis("cpus", "CPUs used")
MEMORY = Axis("pss_bytes", "memory (PSS)", "bytes")
RATE = Axis("per_s", "answers per second", "/s")

Numbers = npt.NDArray[np.float64]


def series(row: Row, stored: StoredTrial, slugs: Slugs) -> list[Figure]:
    """CPU and memory by role, and throughput, of one trial, whose row of the frame is given."""
    load = stored.facts.get("load")
    processes, ticks = stored.series("processes"), stored.series("ticks")
    if not load or processes is None or ticks is None:
        return []
    frame = processes.select([it for it in FIELDS if it in processes.column_names]).to_pandas()
    frame["at_s"] = (frame["at_ns"] - load["start_ns"]) / 1e9
    frame["role"] = _roles(frame)
    edges = _edges(frame, (load["end_ns"] - load["start_ns"]) / 1e9)
    marks = (Mark("x", float(row["skipped_s"] or 0), "counts from here"),)
    who = f"{visible(str(row['server']))}, {visible(str(row['scenario']))}"
    common = {"scenario": visible(str(row["scenario"])), "kind": "trace", "x": AT, "marks": marks}
    about = f"Trial {row['number']}, the nearest to the median of those that count"
    used, held = _used(frame, edges), _held(frame, edges)
    rate = _rate(ticks.to_pandas(), edges)
    made: list[tuple[str, str, pd.DataFrame, Axis, str]] = [
        ("cpu", "CPU", used, CPU, "CPUs used by the processes of each role"),
        ("memory", "Memory", held, MEMORY, "memory of the processes of each role"),
        ("pace", "Throughput", rate, RATE, "right answers, and errors, per second"),
    ]
    roles = styles(sorted(set(frame["role"])))
    return [
        Figure(
            name=slugs(f"{what}-{row['server']}-{row['scenario']}"),
            title=f"{title}: {who}",
            frame=points,
            y=axis,
            group="what",
            styles=roles if what != "pace" else styles(points["what"].unique()),
            about=f"{about}: {meaning}.",
            says=_says(points, axis),
            small=True,
            **common,  # type: ignore[arg-type]
        )
        for what, title, points, axis, meaning in made
        if len(points)
    ]


def nearest_median(trials: Sequence[Row]) -> Row | None:
    """The trial whose throughput is nearest the median of them all; None if none has one."""
    known = [it for it in trials if it["throughput_per_s"] is not None]
    if not known:
        return None
    middle = float(np.median([it["throughput_per_s"] for it in known]))
    return min(known, key=lambda it: abs(it["throughput_per_s"] - middle))


def _roles(frame: pd.DataFrame) -> pd.Series[Any]:
    """Side and role in a word or two."""
    side, role = frame["side"].astype(str), frame["role"].astype(str)
    return side.where(side == role, side + " " + role)


def _edges(frame: pd.DataFrame, end_s: float) -> Numbers:
    """Steps of whole ticks from the first sample to the window's end, one at the window's start."""
    begin_s = float(frame["at_s"].min()) if len(frame) else 0.0
    step_s = max(LEAST_S, math.ceil((end_s - begin_s) / STEPS / TICK_S) * TICK_S)
    first, last = math.ceil(begin_s / step_s), math.floor(end_s / step_s + 1e-9)
    return np.arange(first, last + 1, dtype=np.float64) * step_s


def _used(frame: pd.DataFrame, edges: Numbers) -> pd.DataFrame:
    """CPUs by role between the edges: how much the sums of all its processes grew."""
    frame = frame.assign(cpu_s=frame["cpu_user_s"] + frame["cpu_system_s"])
    parts = []
    for role, own in frame.groupby("role", sort=True):
        cpus = np.zeros(len(edges) - 1)
        for _, process in own.groupby("pid"):
            at, used = process["at_s"].to_numpy(), process["cpu_s"].to_numpy()
            # before its first sample it had used as much already; after its last it uses nothing
            cpus += np.diff(np.interp(edges, at, used)) / np.diff(edges)
        parts.append(_part(str(role), edges, CPU.column, cpus))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _held(frame: pd.DataFrame, edges: Numbers) -> pd.DataFrame:
    """Memory by role: the mean of each process between the edges, added up."""
    column = "pss_bytes" if "pss_bytes" in frame else "rss_bytes"
    step = np.digitize(frame["at_s"], edges) - 1
    inside = frame.assign(step=step)[(step >= 0) & (step < len(edges) - 1)]
    means = inside.groupby(["role", "step", "pid"])[column].mean()
    sums = means.groupby(["role", "step"]).sum(min_count=1).dropna().reset_index()
    middle = (edges[:-1] + edges[1:]) / 2
    return pd.DataFrame(
        {
            "what": sums["role"],
            AT.column: middle[sums["step"].to_numpy(dtype=int)].round(3),
            MEMORY.column: sums[column],
        }
    )


def _rate(ticks: pd.DataFrame, edges: Numbers) -> pd.DataFrame:
    """Right answers per second between the edges, and errors where there are any."""
    parts = []
    for column, name in (("ok", "right answers"), ("errors", "errors")):
        if column == "errors" and not ticks[column].sum():
            continue
        # a tick is counted where its middle lies
        counted, _ = np.histogram((ticks["tick"] + 0.5) * TICK_S, edges, weights=ticks[column])
        parts.append(_part(name, edges, RATE.column, counted / np.diff(edges)))
    return pd.concat(parts, ignore_index=True)


def _part(name: str, edges: Numbers, column: str, values: Numbers) -> pd.DataFrame:
    middle = (edges[:-1] + edges[1:]) / 2
    return pd.DataFrame({"what": name, AT.column: middle.round(3), column: values})


def _says(points: pd.DataFrame, axis: Axis) -> str:
    """The mean of each line over the window."""
    inside = points[points[AT.column] >= 0]
    show: Mapping[str, Any] = {"bytes": units.size, "/s": units.rate, "": units.significant}
    means = inside.groupby("what", sort=False)[axis.column].mean().dropna()
    return "; ".join(f"{name}: {show[axis.unit](mean)} on average" for name, mean in means.items())
