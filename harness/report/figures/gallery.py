"""All the figures that a run has data for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from harness.analyze import capacities, curves
from harness.analyze.cells import used_of
from harness.analyze.verdict import RANKED
from harness.model import visible
from harness.report.figures.cost import concurrency, connections, cost
from harness.report.figures.distribution import distribution
from harness.report.figures.figure import Figure
from harness.report.figures.series import nearest_median, series
from harness.report.figures.speed import speed
from harness.report.figures.style import Style, styles
from harness.report.figures.subject import Slugs, Subject, ranked, subjects
from harness.report.figures.sweep import sweeps
from harness.results import Results
from harness.store import StoredRun

OF_A_LOAD = (speed, distribution, concurrency, connections, cost)
# along these every point is a load of its own, and a figure of one point says nothing
LOADS = ("users", "rate")


def figures(results: Results) -> list[Figure]:
    """Every figure of the runs, in the order of their scenarios; none of what has no data."""
    slugs, several = Slugs(), len(results.runs) > 1
    drawn: list[Figure] = []
    for run in results.runs:
        for figure in _of_run(results, run):
            of = f" ({visible(run.path.name)})" * several
            title = f"{figure.title}{of}"
            drawn.append(replace(figure, name=slugs(f"{figure.name}{of}"), title=title))
    return drawn


def cell_figures(results: Results, cell: Mapping[str, Any]) -> list[Figure]:
    """One cell over time: CPU and memory by role, and throughput, of one of its trials.

    `cell` is a row of the cells' frame, or as much of it as `analyze.cells.KEYS` (and `run`, where
    there are several). It is the trial nearest the median of those that the verdict rests on.
    """
    run = next((it for it in results.runs if it.path.name == cell.get("run")), results.runs[0])
    own = results.trials_of(cell)
    row = nearest_median(used_of(own)) if own else None
    if row is None:
        return []
    stored = next(it for it in run.trials if it.facts["number"] == row["number"])
    return series(row, stored, Slugs())


def write_figures(several: Sequence[Figure], folder: Path) -> list[Path]:
    """Each figure as NAME.svg in `folder`, which is made if needed; OSError of a full disk."""
    if not several:
        return []
    from harness.report.figures.plot import write_svg  # noqa: PLC0415 - takes a second

    folder.mkdir(exist_ok=True)
    return [write_svg(figure, folder / f"{figure.name}.svg") for figure in several]


def _of_run(results: Results, run: StoredRun) -> Iterator[Figure]:
    trials, cells, compared = (
        _own(it, run) for it in (results.trials, results.cells, results.comparisons)
    )
    if cells.empty:
        return
    varied = curves(trials)
    swept = {curve.scenario for curve in varied if curve.along in LOADS}
    own = cells[~cells["scenario"].isin(swept)]
    single = [*subjects(trials, own, compared, results.latencies_of)]
    known = _styles(single)
    for subject in single:
        for make in OF_A_LOAD:
            if (figure := make(subject, known)) is not None:
                yield figure
    yield from sweeps(varied, capacities(run, trials), known)


def _styles(several: list[Subject]) -> dict[str, Style]:
    """The same style for a name in all figures; the best of each scenario choose first.

    Lines are drawn of those that may be ranked, points of all.
    """
    rows = [(at, row) for it in several for at, row in enumerate(it.rows)]
    first = sorted(rows, key=lambda it: (it[1]["verdict"] not in RANKED, it[0]))
    lines = [[row["name"] for row in ranked(it.rows)] for it in several]
    points = [[row["name"] for row in it.rows] for it in several]
    return styles((row["name"] for _, row in first), [*lines, *points])


def _own(frame: pd.DataFrame, run: StoredRun) -> pd.DataFrame:
    return frame[frame["run"] == run.path.name]
