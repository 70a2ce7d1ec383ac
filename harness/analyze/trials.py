"""One row per stored trial: what was measured in its window, and its verdict."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from harness import histogram
from harness.analyze.verdict import BUSY_GENERATOR, findings, verdict_of
from harness.store import StoredRun, StoredTrial

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "max": 100.0}
TICK_S = 0.1
SAME_TICK_NS = 40_000_000  # rows closer than that are of one round of the sampler

# fmt: off
COLUMNS = (
    "run", "number", "block",
    "server", "front", "app", "scenario", "workers", "threads", "slots", "speaks", "concurrency",
    "model", "users", "rate_per_s", "arrivals",
    "wait_s", "pause_s", "keeps_connections", "notes", "python", "versions", "argv",
    "outcome", "failure", "during", "log", "startup_s", "workers_seen", "window_s",
    "requests", "throughput_per_s", "errors", "error_kinds", "in_flight", "starved",
    "offered_per_s", "offered", "unsent", "unanswered", "lag_p99_s",
    "reopened_share",
    "latency_measure", "mean_s", "min_s", "longest_s", "p50_s", "p90_s", "p99_s", "max_s", "gap_s",
    "server_cpu_s", "server_cpu_s_per_1k", "server_cpu_share", "server_cpus", "shared_cpus",
    "server_pss_bytes", "server_rss_bytes", "server_idle_pss_bytes", "processes",
    "proxy_cpu_s", "proxy_cpu_s_per_1k", "proxy_cpu_share", "proxy_pss_bytes",
    "generator_bytes_per_user",
    "generator_cpu_share", "generator_cpus", "lost", "ceiling_per_s", "sampler_cpu_share", "client",
    "verdict", "reasons",
)
# fmt: on


def trials_frame(run: StoredRun) -> pd.DataFrame:
    """One row per trial, in the order they were made; columns as in COLUMNS.

    Seconds, bytes, and per second; `requests` counts right answers in the measured window,
    `errors` the failed ones there. A failed trial has missing values where it measured
    nothing, never zeros.
    """
    rows = [_row(run, trial) for trial in run.trials]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(run: StoredRun, trial: StoredTrial) -> dict[str, Any]:
    facts = trial.facts
    cell = facts["cell"]
    failure = facts["failure"] or {}
    row: dict[str, Any] = {
        "run": run.path.name,
        "number": facts["number"],
        "block": facts["block"],
        **{
            name: cell[name]
            for name in (
                "server",
                "app",
                "scenario",
                "workers",
                "threads",
                "slots",
                "speaks",
                "concurrency",
                "wait_s",
                "pause_s",
                "keeps_connections",
                "notes",
            )
        },
        "front": cell.get("front"),
        **{name: cell["load"].get(name) for name in ("model", "users", "rate_per_s", "arrivals")},
        "outcome": facts["outcome"],
        "failure": failure.get("reason"),
        "during": failure.get("during"),
        "log": failure.get("log"),
        "latency_measure": cell["latency"],
        "server_cpus": len(facts["placement"]["server"]),
        "shared_cpus": bool(
            set(facts["placement"]["server"]) & set(facts["placement"]["generator"])
        ),
        "startup_s": facts.get("startup_s"),
        "workers_seen": facts.get("workers_seen"),
        "python": facts.get("python"),
        "versions": facts.get("versions", {}),
        "argv": facts.get("argv", []),
    }
    if facts["outcome"] == "measured":
        row |= _measures(trial, cell)
        row["ceiling_per_s"] = _ceiling(run, cell)
    found = findings(row)
    row["verdict"] = verdict_of(row["outcome"], found)
    row["reasons"] = [finding.text for finding in found]
    return row


def _measures(trial: StoredTrial, cell: dict[str, Any]) -> dict[str, Any]:
    load = trial.facts["load"]
    window_s = (load["end_ns"] - load["start_ns"]) / 1e9
    measures: dict[str, Any] = {
        "window_s": window_s,
        "requests": load["ok"],
        "throughput_per_s": load["ok"] / window_s,
        "errors": load["failed"],
        "error_kinds": _error_kinds(load["errors"]),
        "in_flight": load["in_flight"],
        "starved": load["starved"],
        "reopened_share": _reopened(load) if cell["keeps_connections"] else None,
        "lost": list(load["lost"]),
        "generator_bytes_per_user": _per_user(load),
        "client": load["client"],
        "sampler_cpu_share": trial.facts["sampler"]["cpu_share"],
    }
    if load.get("offered") is not None:
        measures |= {name: load[name] for name in ("offered", "unsent", "unanswered")}
        measures["offered_per_s"] = load["offered"] / window_s
    measures |= _latencies(trial, cell["latency"])
    measures |= _pace(trial, window_s)
    measures |= _usage(trial, load)
    if load["ok"]:
        measures["server_cpu_s_per_1k"] = measures["server_cpu_s"] / load["ok"] * 1000
    measures["server_cpu_share"] = measures["server_cpu_s"] / window_s
    if (proxy_cpu_s := measures["proxy_cpu_s"]) is not None:
        measures["proxy_cpu_s_per_1k"] = proxy_cpu_s / load["ok"] * 1000 if load["ok"] else None
        measures["proxy_cpu_share"] = proxy_cpu_s / window_s
    # several processes use several CPUs, where there are as many
    cpus = min(load["processes"], len(trial.facts["placement"]["generator"]))
    measures["generator_cpus"] = cpus
    measures["generator_cpu_share"] = measures.pop("generator_cpu_s") / window_s / cpus
    return measures


def _ceiling(run: StoredRun, cell: dict[str, Any]) -> float | None:
    """What this generator reached against the null responder, where it was itself the limit."""
    load = cell["load"]
    for ceiling in run.ceilings:
        own = ceiling["load"]
        same_users = load["model"] == "open" or own["users"] == load["users"]
        if (ceiling["scenario"], own["processes"]) == (cell["scenario"], load["processes"]) and (
            same_users and (ceiling["generator_cpu_share"] or 0.0) > BUSY_GENERATOR
        ):
            return float(ceiling["throughput_per_s"])
    return None


def _per_user(load: dict[str, Any]) -> float | None:
    """What a user and its connection cost the generator in memory."""
    if not load.get("rss_before_bytes"):
        return None
    return float(load["rss_bytes"] - load["rss_before_bytes"]) / float(load["users"])


def _error_kinds(errors: list[dict[str, Any]]) -> dict[str, int]:
    """How many of each kind and name failed in the window."""
    kinds: Counter[str] = Counter()
    for error in errors:
        kinds[f"{error['kind']} {error['name']}"] += error["count"]
    return {kind: count for kind, count in kinds.items() if count}


def _reopened(load: dict[str, Any]) -> float | None:
    """Connections opened beyond the first of each user, for each request; None if not known."""
    total = load["since_start"]
    if not total.get("connects") or not total["sent"]:
        return None
    return max(0.0, float(total["connects"] - load["users"]) / float(total["sent"]))


def _latencies(trial: StoredTrial, measure: str) -> dict[str, Any]:
    table = trial.series("latency")
    if table is None:
        return {}
    frame = table.to_pandas()
    frame = frame[frame["second"] >= 0]
    response = frame[frame["measure"] == "response"]
    felt = frame[frame["measure"] == measure]
    lag = frame[frame["measure"] == "lag"]
    lowest, highest = histogram.bounds(response["bucket"].to_numpy())
    return {
        "min_s": float(lowest.min()) / 1e9 if len(lowest) else None,
        "longest_s": float(highest.max()) / 1e9 if len(highest) else None,
        "lag_p99_s": histogram.percentile_s(lag["bucket"].to_numpy(), lag["count"].to_numpy(), 99),
        **{
            f"{name}_s": histogram.percentile_s(
                felt["bucket"].to_numpy(), felt["count"].to_numpy(), q
            )
            for name, q in PERCENTILES.items()
        },
    }


def _pace(trial: StoredTrial, window_s: float) -> dict[str, Any]:
    """The mean response time, and the longest time without any completion, in seconds."""
    table = trial.series("ticks")
    if table is None:
        return {}
    frame = table.to_pandas()
    frame = frame[frame["tick"] >= 0]
    ok = int(frame["ok"].sum())
    busy = np.unique(frame.loc[frame["ok"] + frame["errors"] > 0, "tick"].to_numpy())
    edges = np.concatenate([[-1], busy, [round(window_s / TICK_S)]])
    return {
        "mean_s": float(frame["response_sum_ns"].sum()) / ok / 1e9 if ok else None,
        "gap_s": float(np.diff(edges).max() - 1) * TICK_S,
    }


def _usage(trial: StoredTrial, load: dict[str, Any]) -> dict[str, Any]:
    """CPU seconds of each side in the window, and the server's memory in it, in bytes."""
    table = trial.series("processes")
    if table is None:
        return {}
    frame = table.to_pandas()
    start, end = load["start_ns"], load["end_ns"]
    used = dict.fromkeys(("server", "proxy", "generator"), 0.0)
    for (side, _pid), rows in frame.groupby(["side", "pid"], observed=True):
        at = rows["at_ns"].to_numpy()
        cpu = (rows["cpu_user_s"] + rows["cpu_system_s"]).to_numpy()
        if at[0] >= end:
            continue  # it began after the window
        # a process first seen inside the window began in it, from nothing
        before = 0.0 if at[0] > start else float(np.interp(start, at, cpu))
        used[str(side)] += float(np.interp(end, at, cpu)) - before
    server = frame[frame["side"] == "server"].sort_values("at_ns")
    inside = server[(server["at_ns"] >= start) & (server["at_ns"] < end)]
    idle = server[server["at_ns"] < load.get("attached_ns", 0)]  # no user was there yet
    proxy = frame[frame["side"] == "proxy"].sort_values("at_ns")
    beside = proxy[(proxy["at_ns"] >= start) & (proxy["at_ns"] < end)]
    return {
        "server_cpu_s": used["server"],
        "generator_cpu_s": used["generator"],
        "processes": inside["pid"].nunique() + beside["pid"].nunique(),
        "server_pss_bytes": _held(inside, "pss_bytes"),
        "server_rss_bytes": _held(inside, "rss_bytes"),
        "server_idle_pss_bytes": _held(idle, "pss_bytes"),
        "proxy_cpu_s": used["proxy"] if len(beside) else None,
        "proxy_pss_bytes": _held(beside, "pss_bytes"),
    }


def _held(rows: pd.DataFrame, column: str) -> float | None:
    """The mean of the processes' memory together, in bytes; None where none was read."""
    tick = (rows["at_ns"].diff() > SAME_TICK_NS).cumsum()
    # a round in which one process was not read says nothing of the sum
    rounds = rows[column].groupby(tick).agg(lambda values: values.sum(skipna=False))
    mean = rounds.mean()
    return None if pd.isna(mean) else float(mean)
