"""One row per stored trial: what was measured in its window, and its verdict.

All of it is computed from the trial's files. Where MSER-5 says that steady state began after the
window did, the seconds before count for nothing: throughput, latencies, CPU and memory are those
of the seconds that are left. What is stored for the whole window only stays that: what an open
load offered and did not send, kinds of errors, users that starved.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from harness.analyze.arrays import Arrays, arrays, arrays_or_none
from harness.analyze.columns import frame, names
from harness.analyze.findings import findings
from harness.analyze.latency import latencies
from harness.analyze.noise import noise
from harness.analyze.rules import BUSY_GENERATOR
from harness.analyze.steady import TICK_S, Steady, steady
from harness.analyze.usage import usage
from harness.analyze.verdict import FAILED, most_severe
from harness.store import StoredRun, StoredTrial

COLUMNS = names("trials")


def trials_frame(run: StoredRun) -> pd.DataFrame:
    """One row per trial, in the order they were made; columns as in `harness.analyze.columns`.

    Seconds, bytes, and per second; `requests` counts right answers in the part of the window
    that counts, `window_s` long, `errors` the failed ones there. `steady` is whether the trial
    reached a steady state (None: not known) and `steady_at_s` when, from the window's start. A
    failed trial has missing values where it measured nothing, never zeros.
    """
    return frame("trials", [_row(run, trial) for trial in run.trials])


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
        "twin_of": cell.get("twin_of"),
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
        "warmup_s": facts["timing"]["warmup_s"],
        "python": facts.get("python"),
        "versions": facts.get("versions", {}),
        "argv": facts.get("argv", []),
    }
    if facts["outcome"] == "measured":
        row |= _measures(trial, cell)
        row["ceiling_per_s"] = _ceiling(run, cell)
    found = findings(dict.fromkeys(COLUMNS) | row)
    row["findings"] = found
    row["reasons"] = [finding.text for finding in found]
    row["verdict"] = (
        FAILED if row["outcome"] == "failed" else most_severe(each.verdict for each in found)
    )
    return row


def _measures(trial: StoredTrial, cell: dict[str, Any]) -> dict[str, Any]:
    load, placement = trial.facts["load"], trial.facts["placement"]
    ticks, latency, processes = (arrays(trial, it) for it in ("ticks", "latency", "processes"))
    whole_s = (load["end_ns"] - load["start_ns"]) / 1e9
    state = steady(ticks, whole_s)
    skipped_s = state.skip_s if state else 0
    start_ns, end_ns = load["start_ns"] + skipped_s * 1_000_000_000, load["end_ns"]
    window_s = whole_s - skipped_s
    measures: dict[str, Any] = {
        "window_s": window_s,
        "skipped_s": skipped_s,
        **_state(state),
        "error_kinds": _error_kinds(load["errors"]),
        "in_flight": load["in_flight"],
        "starved": load["starved"],
        "reopened_share": _reopened(load) if cell["keeps_connections"] else None,
        "lost": list(load["lost"]),
        "generator_bytes_per_user": _per_user(load),
        "client": load["client"],
        "page": load.get("page"),
        "sampler_cpu_share": trial.facts["sampler"]["cpu_share"],
    }
    if load.get("offered") is not None:
        measures |= {name: load[name] for name in ("offered", "unsent", "unanswered")}
        measures["offered_per_s"] = load["offered"] / whole_s
        measures["begun"] = sum(load[name] for name in ("ok", "failed", "unsent", "unanswered"))
    measures |= _pace(ticks, skipped_s, whole_s)
    counted = latency.where(latency["second"] >= skipped_s)
    measures |= latencies(counted, cell["latency"], cell["wait_s"])
    used = usage(processes, start_ns, end_ns, load.get("attached_ns", 0))
    measures |= _shares(used, measures["requests"], window_s)
    # several processes use several CPUs, where there are as many
    cpus = min(load["processes"], len(placement["generator"]))
    measures["generator_cpus"] = cpus
    measures["generator_cpu_share"] = used["generator_cpu_s"] / window_s / cpus
    meanwhile = arrays_or_none(trial, "noise")
    measures["noise"] = noise(meanwhile, used, placement, start_ns, end_ns)
    return measures


def _state(state: Steady | None) -> dict[str, Any]:
    if state is None:
        return {"steady": None}
    return {
        "steady": state.reached,
        "steady_at_s": state.at_s,
        "before_s": state.before_s,
        "after_s": state.after_s,
    }


def _pace(ticks: Arrays, skipped_s: int, whole_s: float) -> dict[str, Any]:
    """Counts, the mean response time, and the longest time without any completion, in seconds."""
    first = round(skipped_s / TICK_S)
    inside, before = ticks.where(ticks["tick"] >= first), ticks.where(ticks["tick"] < 0)
    ok, errors = int(inside["ok"].sum()), int(inside["errors"].sum())
    busy = np.unique(inside["tick"][inside["ok"] + inside["errors"] > 0])
    edges = np.concatenate([[first - 1], busy, [round(whole_s / TICK_S)]])
    return {
        "requests": ok,
        "errors": errors,
        "throughput_per_s": ok / (whole_s - skipped_s),
        "warmup_requests": int(before["ok"].sum() + before["errors"].sum()),
        "mean_s": float(inside["response_sum_ns"].sum()) / ok / 1e9 if ok else None,
        "gap_s": float(np.diff(edges).max() - 1) * TICK_S,
    }


def _shares(used: dict[str, Any], requests: int, window_s: float) -> dict[str, Any]:
    """What was used, also for each 1,000 right answers and as a share of one CPU."""
    shares = {name: value for name, value in used.items() if name in COLUMNS}
    for side in ("server", "proxy"):
        if (cpu_s := used[f"{side}_cpu_s"]) is not None:
            shares[f"{side}_cpu_share"] = cpu_s / window_s
            shares[f"{side}_cpu_s_per_1k"] = cpu_s / requests * 1000 if requests else None
    return shares


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
