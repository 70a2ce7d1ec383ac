"""A run as one JSON document: the contract that other programs read."""

from __future__ import annotations

from typing import Any

import pandas as pd

from harness.analyze import records
from harness.store import SCHEMA, StoredRun

LATENCIES = ("p50", "p90", "p99", "max")


def document(run: StoredRun, cells: pd.DataFrame, comparisons: pd.DataFrame) -> dict[str, Any]:
    """The document; seconds, bytes and requests per second; null where there is no number."""
    return {
        "schema": SCHEMA,
        "run": str(run.path),
        "ended": run.ended,
        "machine": run.facts["machine"],
        "placement": run.facts["placement"],
        "timing": run.facts["timing"],
        "seed": run.facts["seed"],
        "blocks": run.facts["blocks"],
        "notes": run.facts["notes"],
        "ceilings": run.ceilings,
        "cells": [_cell(row) for row in records(cells)],
        "comparisons": [
            {
                name: row[name]
                for name in (
                    "a",
                    "b",
                    "scenario",
                    "metric",
                    "ratio",
                    "low",
                    "high",
                    "verdict",
                    "bound",
                )
            }
            for row in records(comparisons)
        ],
    }


def _cell(row: dict[Any, Any]) -> dict[str, Any]:
    return {
        "server": row["server"],
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
        "throughput_per_s": _spread(row, "throughput_per_s"),
        "latency_s": {name: _spread(row, f"{name}_s") for name in LATENCIES},
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
        "startup_s": row["startup_s"],
        "client": row["client"],
        "python": row["python"],
        "versions": row["versions"],
        "command": list(row["argv"]),
        "log": row["log"],
    }


def _load(row: dict[str, Any]) -> dict[str, Any]:
    if row["model"] == "closed":
        return {"model": "closed", "users": int(row["users"])}
    return {
        "model": "open",
        "rate": row["rate_per_s"],
        "arrivals": row["arrivals"],
        "users": int(row["users"]),
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
