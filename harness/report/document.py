"""A run as one JSON document: the contract that other programs read."""

from __future__ import annotations

from typing import Any

import pandas as pd

from harness.analyze import rankings_frame, records
from harness.analyze.noise import missing_noise
from harness.store import SCHEMA, StoredRun

LATENCIES = ("p50", "p90", "p99", "max")
COMPARED = (
    "a", "b", "scenario", "metric", "ratio", "low", "high", "verdict", "bound", "confidence",
    "pairs", "p", "p_holm", "p_sign_flip", "fragile", "delta", "smallest_effect", "gates",
    "difference", "difference_low", "difference_high",
)  # fmt: skip
FOUND = ("name", "verdict", "rule", "text", "figures", "advice", "trials")
RANKED = ("scenario", "metric", "server", "rank", "rank_last", "tied")


def document(run: StoredRun, cells: pd.DataFrame, comparisons: pd.DataFrame) -> dict[str, Any]:
    """The document; seconds, bytes and requests per second; null where there is no number."""
    return {
        "schema": SCHEMA,
        "run": str(run.path),
        "ended": run.ended,
        "planned": len(run.facts.get("order", ())),
        "sittings": len(run.sittings),
        "repeated": len(run.repeated),
        "machine": run.facts["machine"],
        "placement": run.facts["placement"],
        "timing": run.facts["timing"],
        "seed": run.facts["seed"],
        "blocks": run.facts["blocks"],
        "notes": run.facts["notes"],
        "ceilings": run.ceilings,
        "noise_missing": missing_noise(run),
        "cells": [_cell(row) for row in records(cells)],
        "comparisons": [_compared(row) for row in records(comparisons) if not row["placebo"]],
        "placebo": [_compared(row) for row in records(comparisons) if row["placebo"]],
        "rankings": [_ranked(row) for row in records(rankings_frame(comparisons))],
    }


def _compared(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in COMPARED} | {"load": _asked(row)}


def _ranked(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in RANKED} | {"load": _asked(row)}


def _cell(row: dict[Any, Any]) -> dict[str, Any]:
    return {
        "server": row["server"],
        "twin_of": row["twin_of"],
        "front": row["front"],
        "app": row["app"],
        "scenario": row["scenario"],
        "workers": int(row["workers"]),
        "threads": _whole(row["threads"]),
        "slots": _whole(row["slots"]),
        "load": _load(row),
        "trials": int(row["trials"]),
        "used": int(row["used"]),
        "verdict": row["verdict"],
        "reasons": list(row["reasons"]),
        "findings": [{name: found[name] for name in FOUND} for found in row["findings"]],
        "noise": row["noise"],
        "throughput_per_s": _spread(row, "throughput_per_s"),
        "latency_s": {name: _spread(row, f"{name}_s") for name in LATENCIES},
        "p99_by_chance": row["p99_by_chance"],
        "latency_measure": row["latency_measure"],
        "errors": _whole(row["errors"]),
        "requests": _whole(row["requests"]),
        "server_cpu_s_per_1k": row["server_cpu_s_per_1k"],
        "server_pss_bytes": row["server_pss_bytes"],
        "proxy_cpu_s_per_1k": row["proxy_cpu_s_per_1k"],
        "proxy_pss_bytes": row["proxy_pss_bytes"],
        "server_idle_pss_bytes": row["server_idle_pss_bytes"],
        "generator_bytes_per_user": row["generator_bytes_per_user"],
        "generator_cpu_share": row["generator_cpu_share"],
        "sampler_cpu_share": row["sampler_cpu_share"],
        "startup_s": _spread(row, "startup_s"),
        "steady_at_s": row["steady_at_s"],
        "client": row["client"],
        "python": row["python"],
        "versions": row["versions"],
        "command": list(row["argv"]),
        "log": row["log"],
    }


def _asked(row: dict[str, Any]) -> dict[str, Any]:
    if row["model"] == "closed":
        return {"model": "closed", "users": int(row["users"])}
    return {
        "model": "open",
        "rate": row["rate_per_s"],
        "arrivals": row["arrivals"],
        "users": int(row["users"]),
    }


def _load(row: dict[str, Any]) -> dict[str, Any]:
    """The load asked for, and of an open one what came of it."""
    if row["model"] == "closed":
        return _asked(row)
    return _asked(row) | {
        "offered_per_s": row["offered_per_s"],
        "unsent": _whole(row["unsent"]),
    }


def _spread(row: dict[Any, Any], name: str) -> dict[str, Any]:
    return {
        "median": row[name],
        "low": row[f"{name}_low"],
        "high": row[f"{name}_high"],
    }


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
