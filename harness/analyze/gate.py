"""What a gate says of a run that has a base and a head: whether head is worse."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from harness.analyze.cells import records
from harness.analyze.decision import BETTER, FEWEST, INCONCLUSIVE, METRICS, WORSE
from harness.analyze.verdict import FAILED, RANKED
from harness.model import ConfigurationError
from harness.store import StoredRun

Outcome = Literal["passed", "worse", "inconclusive", "not measured"]
COLUMNS = {metric.name: metric.column for metric in METRICS}


@dataclass(frozen=True, slots=True)
class Check:
    """One figure of one scenario. `row` is head's comparison with base, see `comparison`.

    `why` says what kept it from being measured, where that is not said of the whole scenario.
    """

    outcome: Outcome
    row: Mapping[str, Any]
    why: str = ""


@dataclass(frozen=True, slots=True)
class Gate:
    """Every figure that gates, and those that are shown beside them.

    `base` and `head` are the labels of the two; `gaps` say why a scenario was not measured.
    """

    base: str
    head: str
    checks: tuple[Check, ...]
    shown: tuple[Mapping[str, Any], ...]
    gaps: tuple[str, ...]

    @property
    def outcome(self) -> Outcome:
        """The one word of them all. What was not measured is neither passed nor worse."""
        if self.gaps or not self.checks:
            return "not measured"
        found = {check.outcome for check in self.checks}
        order: tuple[Outcome, ...] = ("not measured", "worse", "inconclusive")
        return next((outcome for outcome in order if outcome in found), "passed")

    def of(self, outcome: Outcome) -> list[Check]:
        """The checks that came out so."""
        return [check for check in self.checks if check.outcome == outcome]


def sides_of(run: StoredRun) -> tuple[str, str]:
    """The labels of base and head; ConfigurationError if the run has no such sides."""
    cells = run.facts.get("cells", ())
    labels = {it.get("side"): it["server"] for it in cells if it.get("twin_of") is None}
    try:
        return labels["base"], labels["head"]
    except KeyError:
        raise ConfigurationError(
            f"{run.path}: is not a gate's: it has no base and head; measure both with "
            "`gatebench gate --base A --head B`"
        ) from None


def judge_gate(run: StoredRun, trials: pd.DataFrame, comparisons: pd.DataFrame) -> Gate:
    """The gate's word from a run's trials and comparisons.

    A figure is worse where the comparison says so and the placebo does not say the same of base
    and itself. What failed to start or to answer, and what has fewer than FEWEST pairs of valid
    trials, is not measured: a server that crashes now and then passes no gate.
    """
    base, head = sides_of(run)
    rows = records(comparisons)
    compared = [row for row in rows if (row["a"], row["b"]) == (base, head)]
    alarms = {
        (row["scenario"], row["metric"])
        for row in rows
        if row["placebo"] and row["verdict"] in (BETTER, WORSE)
    }
    both = trials[trials["server"].isin((base, head))]
    gaps = []
    if run.ended not in ("complete", "budget"):
        gaps.append(f"the run is {run.ended}: {len(trials)} trials of {_planned(run)} were made")
    scenarios = list(dict.fromkeys(cell["scenario"] for cell in run.facts["cells"]))
    for scenario in scenarios:
        tried = records(both[both["scenario"] == scenario])
        gaps += _failures(scenario, tried, (base, head))
        pairs = [row["pairs"] for row in compared if row["scenario"] == scenario]
        if max(pairs, default=0) < FEWEST:
            gaps.append(_too_few(scenario, max(pairs, default=0), tried, (base, head)))
    ready = [row for row in compared if row["gates"] and not _absent(row, both)]
    told = {row["scenario"] for row in compared if row["pairs"] >= FEWEST}
    checks = tuple(_check(row, alarms, row["scenario"] in told) for row in ready)
    shown = tuple(row for row in compared if not row["gates"])
    return Gate(base, head, checks, shown, tuple(gaps))


def _check(row: Mapping[str, Any], alarms: Iterable[tuple[str, str]], others: bool) -> Check:
    """The check of a figure; whether `others` of the scenario have pairs enough."""
    if row["pairs"] < FEWEST:
        why = f"{row['pairs']} pairs of valid trials have it, {FEWEST} are needed"
        return Check("not measured", row, why if others else "")
    if row["verdict"] == WORSE and (row["scenario"], row["metric"]) in alarms:
        why = "head is called worse, and so base was called different from itself (the placebo)"
        return Check("not measured", row, why)
    if row["verdict"] == WORSE:
        return Check("worse", row)
    return Check("inconclusive" if row["verdict"] == INCONCLUSIVE else "passed", row)


def _absent(row: Mapping[str, Any], both: pd.DataFrame) -> bool:
    """Whether neither side has such a figure in this scenario, as ticks have no throughput."""
    column = COLUMNS[row["metric"]]
    used = both[(both["scenario"] == row["scenario"]) & both["verdict"].isin(RANKED)]
    return column in used and len(used) > 0 and bool(used[column].isna().all())


def _failures(scenario: str, tried: list[dict[str, Any]], sides: tuple[str, str]) -> Iterator[str]:
    for side in sides:
        own = [row for row in tried if row["server"] == side]
        if failed := [row for row in own if row["verdict"] == FAILED]:
            yield (
                f"{scenario}: {len(failed)} of {len(own)} trials of {side} failed: "
                f"{failed[0]['failure'] or '; '.join(failed[0]['reasons'])}"
            )


def _too_few(scenario: str, pairs: int, tried: list[dict[str, Any]], sides: tuple[str, str]) -> str:
    """How many pairs there are, and what became of the trials that make none."""
    lost = [
        f"{side} {row['verdict']}: {'; '.join(row['reasons'])}"
        for side in sides
        for row in [
            next((it for it in tried if it["server"] == side and it["verdict"] not in RANKED), None)
        ]
        if row is not None and row["verdict"] != FAILED
    ]
    why = f" ({'; '.join(lost)})" if lost else ""
    return f"{scenario}: {pairs} pairs of valid trials, {FEWEST} are needed{why}"


def _planned(run: StoredRun) -> int:
    return len(run.facts.get("order", ()))
