"""Latency histograms of trials, and percentiles of what several of them counted together.

Percentiles are never averaged: counts are added, and a percentile is taken of the sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness import histogram
from harness.analyze.arrays import Arrays, arrays
from harness.analyze.columns import FRAMES, NUMBER, WORD, Column, typed
from harness.analyze.long import Part, Trial, Words, long_frame
from harness.analyze.verdict import most_severe
from harness.histogram import Histogram

QUANTILES = (0.5, 0.9, 0.99, 0.999)
MEASURES = ("response", "service", "first", "lag", "connect", "delay", "lateness")
NOTHING = Arrays(
    {name: np.empty(0, dtype=np.int64) for name in ("name", "measure", "bucket", "count")},
    {"name": (), "measure": ()},
)
BY = tuple(
    column.name
    for column in FRAMES["histograms"]
    if column.name not in ("measure", "used", "low_s", "high_s", "count")
)


def histograms_frame(trials: Iterable[Trial]) -> pd.DataFrame:
    """A row for each bucket of each trial, request name and measure in which something is.

    It is over the part of the window that counts, in `harness.histogram`'s buckets, which are a
    thousandth wide. A trial has thousands of rows: `percentiles_frame` does without them.
    """
    return long_frame("histograms", (_part(trial) for trial in trials if trial.measured))


def percentiles_frame(
    trials: Iterable[Trial], qs: Sequence[float], by: Sequence[str], measure: str | None
) -> pd.DataFrame:
    """Percentiles of the trials' counts, merged by `by` (of BY) and measure.

    `measure` None is what each cell's latencies are of. A column for each of `qs`, in seconds:
    0.999 is `p99_9_s`. It is missing where fewer than BEYOND `samples` lie on either side of it;
    `verdict` is the worst of the merged trials. ValueError for unknown names and shares that are
    not between 0 and 1.
    """
    _check(qs, by, measure)
    groups: dict[tuple[Any, ...], list[tuple[Trial, Histogram]]] = {}
    for trial in trials:
        for key, counted in _split(trial, by, measure):
            groups.setdefault(key, []).append((trial, counted))
    rows = [_told(group, qs) for group in groups.values()]
    known = {column.name: column for column in (*FRAMES["histograms"], *FRAMES["percentiles"])}
    columns = {
        name: _typed([key[place] for key in groups], known[name])
        for place, name in enumerate((*by, "measure"))
    }
    for name in ("verdict", "trials", "samples"):
        columns[name] = _typed([row[name] for row in rows], known[name])
    for q in qs:
        columns[column_of(q)] = typed([row[q] for row in rows], NUMBER)
    return pd.DataFrame(columns)


def merged(trials: Iterable[Trial]) -> Histogram:
    """What each trial's cell calls its latencies, of all the trials together."""
    return _sum([counted for trial in trials for _, counted in _split(trial, (), None)])


def told_s(counted: Histogram, q: float) -> float | None:
    """The percentile at a share, in seconds; None where fewer than BEYOND lie on either side."""
    return counted.percentile_s(q * 100) if counted.tells(q * 100) else None


def column_of(q: float) -> str:
    """The column that a percentile is in: 0.5 in `p50_s`, 0.999 in `p99_9_s`."""
    return f"p{q * 100:.10g}_s".replace(".", "_")


def _part(trial: Trial) -> Part:
    latency = _counted(trial)
    names, measures = latency.words["name"], latency.words["measure"]
    kind = latency["name"].astype(np.int64) * len(measures) + latency["measure"]
    keys, place = np.unique(kind * histogram.SIZE + latency["bucket"], return_inverse=True)
    counts = np.bincount(place, weights=latency["count"], minlength=len(keys))
    kind, bucket = keys // histogram.SIZE, keys % histogram.SIZE
    low, high = histogram.bounds(bucket)
    many = max(1, len(measures))
    columns: dict[str, Any] = {
        "name": Words(kind // many, names),
        "measure": Words(kind % many, measures),
        "low_s": low / 1e9,
        "high_s": high / 1e9,
        "count": counts,
    }
    return Part({**trial.row, "used": trial.used}, columns)


def _counted(trial: Trial) -> Arrays:
    latency = arrays(trial.stored, "latency")
    return latency.where((latency["second"] >= trial.row["skipped_s"]) & (latency["count"] > 0))


def _check(qs: Sequence[float], by: Sequence[str], measure: str | None) -> None:
    if measure is not None and measure not in MEASURES:
        raise ValueError(f"there is no measure {measure!r}; there are {', '.join(MEASURES)}")
    for name in by:
        if name not in BY:
            raise ValueError(f"percentiles cannot be told by {name!r}, but by {', '.join(BY)}")
    for q in qs:
        if not 0 < q < 1:
            raise ValueError(f"a percentile is given as a share between 0 and 1, and {q} is not")


def _split(
    trial: Trial, by: Sequence[str], measure: str | None
) -> Iterable[tuple[tuple[Any, ...], Histogram]]:
    """What a trial adds, and to which group; a trial without samples adds none to its own."""
    told = measure or trial.row["latency_measure"]
    latency = _counted(trial) if trial.measured else NOTHING
    latency = latency.where(latency.said("measure", told))
    apart = [name for name in latency.words["name"] if latency.said("name", name).any()]
    for name in apart if "name" in by and apart else [None]:
        own = latency if name is None else latency.where(latency.said("name", name))
        row = {**trial.row, "name": name}
        yield (*(row[it] for it in by), told), Histogram.merged(own["bucket"], own["count"])


def _told(group: Sequence[tuple[Trial, Histogram]], qs: Sequence[float]) -> dict[Any, Any]:
    whole = _sum([counted for _, counted in group])
    return {
        "verdict": most_severe(trial.row["verdict"] for trial, _ in group),
        "trials": len(group),
        "samples": whole.total,
        **{q: told_s(whole, q) for q in qs},
    }


def _sum(several: Sequence[Histogram]) -> Histogram:
    none: list[Any] = [np.empty(0, dtype=np.int64)]
    return Histogram.merged(
        np.concatenate(none + [counted.buckets for counted in several]),
        np.concatenate(none + [counted.counts for counted in several]),
    )


def _typed(values: Sequence[Any], column: Column) -> Any:
    if column.dtype == WORD:
        return pd.Categorical(typed(values, "string"))
    return typed(values, column.dtype)
