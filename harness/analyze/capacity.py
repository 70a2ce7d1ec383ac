"""Capacities: what each try of a search came to, and the search gone through again from the disk.

The search is pure (harness.search), so its end follows from the stored trials alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from harness import histogram
from harness.analyze.cells import records
from harness.analyze.rules import BUSY_GENERATOR
from harness.analyze.verdict import FAILED, GENERATOR_LIMITED, INVALID
from harness.objective import Objective, Term, parse_objective
from harness.search import Found, Outcome, Stage, seek
from harness.store import StoredRun, StoredTrial

PILOT_SHARE = 0.25  # of the closed load's throughput, where the search begins
SAME = ("server", "app", "scenario", "workers", "threads")


@dataclass(frozen=True, slots=True)
class Tried:
    """One rate, tried once: per second, and what it came to.

    `figures` are by the objective's metrics, in seconds, as a share, or per second; infinity is a
    request that was missed. `missed` requests of `due` failed, were not answered in time, or
    could not be sent. `why` says in words what was not kept, or what was in the way.
    """

    number: int
    rate_per_s: float
    stage: Stage
    outcome: Outcome
    why: str
    due: int
    missed: int
    window_s: float | None
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Capacity:
    """What one server can keep the objective at, and every try that it follows from."""

    server: str
    app: str
    scenario: str
    workers: int
    threads: int | None
    objective: Objective
    found: Found
    tries: tuple[Tried, ...]


def objective_of(run: StoredRun) -> Objective | None:
    """The objective of a run of `gatebench capacity`; None for any other run."""
    asked = run.facts.get("capacity")
    return None if asked is None else parse_objective(asked["slo"])


def capacities(run: StoredRun, frame: pd.DataFrame) -> list[Capacity]:
    """The capacity of each server of the run, whose trials' frame is given, in its order."""
    objective = objective_of(run)
    if objective is None:
        return []
    trials = {trial.facts["number"]: trial for trial in run.trials}
    found = []
    for _, group in frame.groupby(list(SAME), sort=False, dropna=False):
        rows = records(group)
        pilots = [row for row in rows if row["model"] == "closed"]
        tries = [row for row in rows if row["model"] == "open"]
        if pilots:
            known: dict[str, Any] = {name: rows[0][name] for name in SAME}
            known["threads"] = None if known["threads"] is None else int(known["threads"])
            precision = run.facts["capacity"]["precision"]
            end, tried = _again(pilots[0], tries, trials, objective, precision)
            found.append(Capacity(**known, objective=objective, found=end, tries=tuple(tried)))
    return found


def first_rate(pilot: Mapping[str, Any]) -> float | None:
    """Where to begin, from a closed load's row of the trials' frame; None if that has failed."""
    if pilot["verdict"] in (FAILED, INVALID) or not pilot["requests"]:
        return None
    return float(pilot["throughput_per_s"]) * PILOT_SHARE


def _again(
    pilot: Mapping[str, Any],
    rows: list[dict[str, Any]],
    trials: Mapping[int, StoredTrial],
    objective: Objective,
    precision: float,
) -> tuple[Found, list[Tried]]:
    """The search gone through with the stored tries; unsettled where it was not ended."""
    begin = first_rate(pilot)
    if begin is None:
        return Found("failed", None, None), []
    tried: list[Tried] = []
    search = seek(begin, precision)
    asked = next(search)
    try:
        for row in rows:
            tried.append(judge(row, trials[row["number"]], objective, asked.stage))
            if asked.rate_per_s != row["rate_per_s"]:
                break  # another version of the rules would have searched elsewhere
            asked = search.send(tried[-1].outcome)
    except StopIteration as end:
        return end.value, tried
    return Found("unsettled", *_ends(tried)), tried


def _ends(tried: list[Tried]) -> tuple[float | None, float | None]:
    """What is known without the search's end: the best of the rates, the longer tries first."""
    held = [it for it in tried if it.stage == "confirm"] or tried
    missed = [it.rate_per_s for it in held if it.outcome == "missed"]
    high = min(missed, default=None)
    met = [it.rate_per_s for it in tried if it.outcome == "met"]
    return max((it for it in met if high is None or it < high), default=None), high


def judge(row: Mapping[str, Any], trial: StoredTrial, objective: Objective, stage: Stage) -> Tried:
    """What a try came to; `row` is its row of the trials' frame."""
    known = {"number": row["number"], "rate_per_s": row["rate_per_s"], "stage": stage}
    if row["verdict"] == FAILED:
        why = f"failed during {row['during']}: {row['failure']}"
        return Tried(**known, outcome="failed", why=why, due=0, missed=0, window_s=None)
    measured = _Measured(trial, objective)
    said = {**known, "due": measured.due, "missed": measured.missed}
    said["window_s"] = measured.window_s
    if not measured.due:
        return Tried(**said, outcome="failed", why="no request was due in so short a window")
    if row["verdict"] == INVALID and row["requests"]:
        return Tried(**said, outcome="failed", why="; ".join(row["reasons"]))
    figures = measured.figures("response")
    said["figures"] = figures
    broken = objective.missed(figures)
    if not broken:
        # due times count, so a generator that was late has only made it look worse
        return Tried(**said, outcome="met", why="")
    in_the_way = list(_in_the_way(row, measured, objective))
    if in_the_way:
        return Tried(**said, outcome="held back", why="; ".join(in_the_way))
    return Tried(**said, outcome="missed", why=", ".join(_said(term, figures) for term in broken))


def _in_the_way(row: Mapping[str, Any], measured: _Measured, objective: Objective) -> Iterator[str]:
    """What the generator itself may have spoilt the try with."""
    share = row["generator_cpu_share"]
    if not row["requests"] and share is not None and share > BUSY_GENERATOR:
        yield f"without a right answer, and the generator used {share:.0%} of its CPU"
    for finding in row["findings"]:
        if finding.verdict != GENERATOR_LIMITED:
            continue
        # by Little's law, with rate x limit in flight the mean response is at the limit already
        enough = row["rate_per_s"] * (objective.longest_s or math.inf)
        if finding.name == "in-flight cap" and row["users"] >= enough:
            continue
        # lag alone is to blame only if the time from the sending on keeps to the objective
        if finding.name != "lag" or not objective.missed(measured.figures("service")):
            yield finding.text


class _Measured:
    """The answers that were due in a trial's window, and those that were missed."""

    def __init__(self, trial: StoredTrial, objective: Objective) -> None:
        load, timing = trial.facts["load"], trial.facts["cell"]["load"]
        self._objective = objective
        self._deadline_s: float = timing["deadline_s"]
        self.window_s = (load["end_ns"] - load["start_ns"]) / 1e9
        self._ok: int = load["ok"]
        # what was due and is in no other count was not even begun
        self.due = max(
            load.get("offered") or 0,
            self._ok + load["failed"] + (load.get("unsent") or 0) + (load.get("unanswered") or 0),
        )
        self.missed = self.due - self._ok
        table = trial.series("latency")
        self._latency = None if table is None else table.to_pandas()

    def figures(self, measure: str) -> dict[str, float]:
        """The objective's metrics, of a measure of the latencies."""
        return {term.metric: self._figure(term, measure) for term in self._objective.terms}

    def _figure(self, term: Term, measure: str) -> float:
        if term.metric == "errors":
            return self.missed / self.due if self.due else 1.0
        if term.metric == "throughput":
            return float(self._ok / self.window_s)
        if not self._ok or self._latency is None:
            return math.inf
        frame = self._latency
        frame = frame[(frame["second"] >= 0) & (frame["measure"] == measure)]
        buckets, counts = frame["bucket"].to_numpy(), frame["count"].to_numpy()
        if term.metric == "mean":  # a missed request took the deadline, at the least
            mean_s = histogram.mean_s(buckets, counts)
            waited_s = self.missed * self._deadline_s
            return math.inf if mean_s is None else (mean_s * self._ok + waited_s) / self.due
        quantile = 100.0 if term.quantile is None else term.quantile
        rank = max(1, math.ceil(quantile / 100 * self.due - 1e-9))
        if rank > self._ok:
            return math.inf
        value = histogram.percentile_s(buckets, counts, rank / self._ok * 100)
        return math.inf if value is None else value


def _said(term: Term, figures: Mapping[str, float]) -> str:
    value = figures[term.metric]
    if term.is_time:
        shown = "beyond the deadline" if math.isinf(value) else f"{value * 1e3:.1f} ms"
    else:
        shown = f"{value:.2%}" if term.metric == "errors" else f"{value:.1f}/s"
    return f"{term.metric} {shown}"
