"""Curves: how a server's throughput and latency change with one thing that was varied.

Read from the trials alone: wherever a server has trials of several users, rates, workers or
threads with all else equal, they lie on a curve.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.analyze.cells import cells_frame, records
from harness.analyze.scalability import NoFitError, Scalability, fit
from harness.analyze.verdict import RANKED

# what may vary, as the trials' frame calls it and as `--sweep` does
ALONG = {"users": "users", "rate_per_s": "rate", "workers": "workers", "threads": "threads"}
SAME = ("server", "app", "scenario", "model", "arrivals")
FEWEST = 2


@dataclass(frozen=True, slots=True)
class Point:
    """One value of what was varied, and its cell as in the cells' frame.

    `in_system` is throughput x (mean response time + pause), the median of its trials: by Little's
    law the requests in the system. `little` is that over the users of a closed load, which should
    be 1; None for an open load, where the number in the system is a result and not known otherwise.
    """

    value: float
    cell: dict[str, Any]
    in_system: float | None
    little: float | None


@dataclass(frozen=True, slots=True)
class Curve:
    """One server along one thing; `fixed` is what else was chosen and stayed the same.

    `law` is the universal scalability law through its ranked trials; None where that is not
    defended, and `why` says the reason.
    """

    server: str
    app: str
    scenario: str
    model: str
    along: str
    fixed: dict[str, Any]
    points: tuple[Point, ...]
    law: Scalability | None
    why: str


def curves(trials: pd.DataFrame) -> list[Curve]:
    """Every curve of two points or more, in the order in which the servers appear."""
    found: list[Curve] = []
    for _, group in trials.groupby(list(SAME), sort=False, dropna=False):
        varied = [name for name in ALONG if group[name].nunique() >= FEWEST]
        for along in varied:
            others = [name for name in ALONG if name != along]
            for _, rows in group.groupby(others, sort=False, dropna=False):
                if rows[along].nunique() >= FEWEST:
                    found.append(_curve(along, others, rows))
    return found


def _curve(along: str, others: list[str], rows: pd.DataFrame) -> Curve:
    first = records(rows)[0]
    law, why = None, ""
    try:
        law = _law(first["model"], along, rows)
    except NoFitError as reason:
        why = str(reason)
    return Curve(
        **{name: first[name] for name in ("server", "app", "scenario", "model")},
        along=ALONG[along],
        fixed={ALONG[name]: first[name] for name in others if first[name] is not None},
        points=tuple(_points(along, rows)),
        law=law,
        why=why,
    )


def _points(along: str, rows: pd.DataFrame) -> Iterator[Point]:
    for _, group in rows.groupby(along):
        (cell,) = records(cells_frame(group))
        known = group[group["verdict"] == cell["verdict"]].dropna(subset=["mean_s"])
        if cell["verdict"] in RANKED:
            known = group[group["verdict"].isin(RANKED)]
        within = known["throughput_per_s"] * (known["mean_s"] + known["pause_s"])
        in_system = float(within.median()) if len(within) else None
        little = None
        if in_system is not None and cell["model"] == "closed":
            little = in_system / cell["users"]
        yield Point(float(cell[along]), cell, in_system, little)


def _law(model: str, along: str, rows: pd.DataFrame) -> Scalability:
    if model != "closed":
        raise NoFitError(
            "an open load's throughput is the rate that was asked for, until it breaks"
        )
    ranked = rows[rows["verdict"].isin(RANKED)]
    return fit(ranked[along].to_numpy(np.float64), ranked["throughput_per_s"].to_numpy(np.float64))
