"""What was varied and searched, as JSON: beside the cells, in seconds, bytes and per second.

A run has `curves`; one of `gatebench capacity` also `slo` and `capacities`, one of `gatebench tune`
`advice`. A figure that is infinite, because requests were missed, is null.
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from harness.analyze.advice import Advice, Configuration, advise
from harness.analyze.capacity import Capacity, Tried, capacities
from harness.analyze.curve import Curve, Point, curves
from harness.analyze.scalability import Estimate, Scalability
from harness.report.advice import advice_text
from harness.report.capacity import capacity_text
from harness.store import StoredRun

LATENCIES = ("p50", "p90", "p99", "max")


def searched(run: StoredRun, trials: pd.DataFrame) -> dict[str, Any]:
    """The keys that a run's document has for these."""
    found: dict[str, Any] = {"curves": [_curve(it) for it in curves(trials)]}
    if "capacity" in run.facts:
        found["slo"] = run.facts["capacity"]["slo"]
        found["capacities"] = [_capacity(it) for it in capacities(run, trials)]
    if "tune" in run.facts:
        found["advice"] = [_advice(it) for it in advise(run, trials)]
    return found


def _curve(it: Curve) -> dict[str, Any]:
    return {
        **{name: getattr(it, name) for name in ("server", "app", "scenario", "model", "along")},
        "fixed": it.fixed,
        "points": [_point(point) for point in it.points],
        "law": None if it.law is None else _law(it.law),
        "why": it.why or None,
    }


def _point(it: Point) -> dict[str, Any]:
    return {
        "value": it.value,
        "throughput_per_s": _spread(it.cell, "throughput_per_s"),
        "latency_s": {name: _spread(it.cell, f"{name}_s") for name in LATENCIES},
        "in_system": it.in_system,
        "little": it.little,
        "trials": it.cell["trials"],
        "used": it.cell["used"],
        "verdict": it.cell["verdict"],
    }


def _law(it: Scalability) -> dict[str, Any]:
    return {
        "name": "universal scalability",
        "confidence": 0.95,
        "lambda_per_s": _estimate(it.rate),
        "sigma": _estimate(it.contention),
        "kappa": _estimate(it.coherency),
        "peak": None if it.peak is None else _estimate(it.peak),
        "off": it.off,
    }


def _capacity(it: Capacity) -> dict[str, Any]:
    found = it.found
    ends = {"median": _middle(found.low, found.high), "low": found.low, "high": found.high}
    return {
        **_who(it),
        "conclusion": found.conclusion,
        "capacity_per_s": ends,
        "text": capacity_text(it),
        "tries": [_tried(tried) for tried in it.tries],
    }


def _middle(low: float | None, high: float | None) -> float | None:
    """Between the rate that was met and the one that was not, on a logarithmic scale."""
    return low if low is None or high is None else math.sqrt(low * high)


def _tried(it: Tried) -> dict[str, Any]:
    figures = {name: value if math.isfinite(value) else None for name, value in it.figures.items()}
    return {
        "trial": it.number,
        "rate": it.rate_per_s,
        "stage": it.stage,
        "outcome": it.outcome,
        "why": it.why or None,
        "duration_s": it.window_s,
        "due": it.due,
        "missed": it.missed,
        "figures": figures,
    }


def _advice(it: Advice) -> dict[str, Any]:
    return {
        **{name: getattr(it, name) for name in ("server", "app", "scenario", "users", "cpus")},
        "workers": it.chosen.workers if it.chosen else None,
        "threads": it.chosen.threads if it.chosen else None,
        "text": advice_text(it),
        "why": it.why,
        "cautions": it.cautions,
        "tried": [_configuration(tried) for tried in it.configurations],
    }


def _configuration(it: Configuration) -> dict[str, Any]:
    cell = it.cell
    return {
        "workers": it.workers,
        "threads": it.threads,
        "throughput_per_s": _spread(cell, "throughput_per_s"),
        "ratio": it.ratio,
        "ratio_high": it.high,
        "tied": it.tied,
        "folklore": it.folklore,
        "latency_s": {name: _spread(cell, f"{name}_s") for name in LATENCIES},
        "server_cpu_share": it.busy,
        "server_cpu_s_per_1k": cell["server_cpu_s_per_1k"],
        "server_pss_bytes": cell["server_pss_bytes"],
        "errors": cell["errors"],
        "verdict": cell["verdict"],
        "reasons": list(cell["reasons"]),
    }


def _who(it: Capacity) -> dict[str, Any]:
    return {name: getattr(it, name) for name in ("server", "app", "scenario", "workers", "threads")}


def _estimate(it: Estimate) -> dict[str, Any]:
    return {"median": it.value, "low": it.low, "high": it.high}


def _spread(row: dict[str, Any], name: str) -> dict[str, Any]:
    return {"median": row[name], "low": row[f"{name}_low"], "high": row[f"{name}_high"]}
