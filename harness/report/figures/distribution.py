"""Latency distributions, as HdrHistogram plots them: each percentile, the rare ones spread out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from harness.analyze.histograms import told_s
from harness.histogram import BEYOND, Histogram
from harness.report import units
from harness.report.figures.figure import Axis, Figure
from harness.report.figures.style import Style
from harness.report.figures.subject import Subject, caveats, listed, point, ranked

# the x axis: of so many answers one takes longer; 10 is p90, 1,000 is p99.9
STEPS = 12  # for each factor of 10
TICKS = ((2.0, "p50"), (10.0, "p90"), (100.0, "p99"), (1000.0, "p99.9"))
# from about p10 on, and at each tick
ONE_IN = np.union1d(10 ** (np.arange(1, 3 * STEPS + 1) / STEPS), [at for at, _ in TICKS])


def distribution(subject: Subject, styles: dict[str, Style]) -> Figure | None:
    """The latencies of a load's servers, each over all the trials that count."""
    parts = []
    rows = ranked(subject.rows)
    for row in rows:
        told = percentiles(subject.latencies(row))
        told["percentile"] = (100 * (1 - 1 / told["one_in"])).round(3)
        parts.append(told.assign(**{k: v for k, v in point(row).items() if k != "shown"}))
    points = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if points.empty:
        return None
    delay = subject.first["latency_measure"] != "response"
    queue = subject.first["model"] == "closed" and not delay
    return Figure(
        name=f"distribution-{subject.slug}",
        title=subject.title("Latency distribution"),
        scenario=subject.scenario,
        kind="trace",
        frame=points,
        x=Axis("one_in", "percentile", log=True, ticks=TICKS),
        y=Axis("latency_s", "delay" if delay else "response time", "s", log=True),
        group="name",
        styles=styles,
        tips=(Axis("percentile", "percentile"),),
        about=f"{subject.load}. {_about(queue)}",
        says=_says(points, [row["name"] for row in rows]) + caveats(subject.rows, "Left out"),
    )


def percentiles(counted: Histogram) -> pd.DataFrame:
    """A histogram's percentiles, in seconds, for each of ONE_IN that can be told of it."""
    told = [(float(it), told_s(counted, 1 - 1 / it)) for it in ONE_IN]
    return pd.DataFrame([it for it in told if it[1] is not None], columns=["one_in", "latency_s"])


def _about(queue: bool) -> str:
    waiting = (
        " Under a closed load most of it is the queue that its users make: an open one tells what "
        "a response takes."
        if queue
        else ""
    )
    return (
        "How many of the answers took at most so long; the histograms of the trials are merged, "
        f"and a line ends where fewer than {BEYOND} answers lie beyond.{waiting}"
    )


def _says(points: pd.DataFrame, names: Sequence[str]) -> str:
    """The least and the greatest p99, and of whom there is none."""
    near = points[np.isclose(points["one_in"], 100)].sort_values("latency_s")
    few = [name for name in names if name not in set(near["name"])]
    said = []
    if len(near):
        best, worst = near.iloc[0], near.iloc[-1]
        of = f" of {len(near)} servers" if few else ""
        said.append(
            f"{best['name']}: p99 {units.seconds(best['latency_s'])}."
            if len(near) == 1
            else f"p99{of} lies between {units.seconds(best['latency_s'])} ({best['name']}) and "
            f"{units.seconds(worst['latency_s'])} ({worst['name']})."
        )
    if few:
        said.append(f"Too few answers to tell a p99, fewer than {BEYOND} beyond it: {listed(few)}.")
    undrawn = [name for name in few if name not in set(points["name"])]
    if undrawn:
        said.append(f"Too few to be drawn at all: {listed(undrawn)}.")
    return " ".join(said)
