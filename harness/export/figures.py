"""Which figures of which cells are handed to programs that draw trends and raise alarms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from harness.analyze import records
from harness.analyze.decision import METRICS
from harness.analyze.verdict import RANKED
from harness.results import Results

Row = Mapping[str, Any]


class Figure(NamedTuple):
    """A figure of a cell: the metric's name, the frame's column, the median, least and greatest.

    In seconds, bytes, per second and shares; `low` and `high` are None with a single trial.
    """

    metric: str
    column: str
    more_is_better: bool
    value: float
    low: float | None
    high: float | None


def defended(results: Results) -> list[dict[str, Any]]:
    """The cells whose numbers are the server's and mean the same in every run, as records.

    A placebo is no server of its own, and the rates that a search for a capacity tries are its
    own: they never come again.
    """
    return [row for row, why_not in _judged(results) if why_not is None]


def left_out(results: Results) -> str:
    """How many cells are not among `defended`, and why, in words; empty if all are."""
    return count_text([why_not for _, why_not in _judged(results)], "cells")


def count_text(reasons: Sequence[str | None], what: str) -> str:
    """`2 of 9 cells: 1 failed, 1 invalid`, of the reason of each, None for none."""
    counted = Counter(reason for reason in reasons if reason is not None)
    told = ", ".join(f"{counted[reason]} {reason}" for reason in sorted(counted))
    return f"{counted.total()} of {len(reasons)} {what}: {told}" if counted else ""


def figures(row: Row) -> Iterator[Figure]:
    """A cell's figures, as far as it has them, of the metrics that comparisons judge.

    The worst percentiles are not among them: single events of the machine make them, and an
    alarm would go off for nothing.
    """
    for metric in METRICS:
        if not metric.gates:
            continue
        if metric.column == "error_share":
            yield Figure(metric.name, metric.column, False, error_share(row), None, None)
        elif row[metric.column] is not None:
            ends = (row[f"{metric.column}_{end}"] for end in ("low", "high"))
            yield Figure(
                metric.name, metric.column, metric.more_is_better, row[metric.column], *ends
            )


def error_share(row: Row) -> float:
    """The share of a cell's or a trial's requests that failed; ZeroDivisionError without any."""
    return float(row["errors"] / (row["errors"] + row["requests"]))


def _judged(results: Results) -> Iterator[tuple[dict[str, Any], str | None]]:
    """Each cell, and why it is left out."""
    searches = {run.path.name for run in results.runs if "capacity" in run.facts}
    for row in records(results.cells):
        why_not = None
        if row["verdict"] not in RANKED:
            why_not = row["verdict"]
        elif not row["requests"]:
            why_not = "without a right answer"
        elif row["twin_of"] is not None:
            why_not = "placebo"
        elif row["run"] in searches and row["model"] == "open":
            why_not = "tried in a search"
        yield row, why_not
