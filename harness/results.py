"""The public way to what was measured: runs as tidy DataFrames.

    from harness import load_run, load_runs

    run = load_run()                        # the newest below results/
    run.trials[["server", "throughput_per_s", "p99_s", "verdict"]]
    run.percentiles(by=["server", "scenario"])
    both = load_runs(["results/20260301T120000Z", "results/20260401T120000Z"])
    both.cells.groupby(["run", "server"])["throughput_per_s"].first()
    run.columns("trials")                   # what each column is, and its unit

The terminal's tables, the page, the exports and the notebooks read runs by this and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from harness.analyze import cells_frame, comparisons_frame, rankings_frame, records, trials_frame
from harness.analyze.cells import KEYS, grouped, used_of
from harness.analyze.columns import described, frame
from harness.analyze.histograms import BY, QUANTILES, histograms_frame, merged, percentiles_frame
from harness.analyze.long import Trial
from harness.analyze.probes import newest_probe, probe_folder, probes_frame
from harness.analyze.series import series_frame, ticks_frame
from harness.histogram import Histogram
from harness.store import StoredRun, UnreadableRunError, newest_run, read_run, run_folder

RUN_FACTS = ("command", "machine", "placement", "timing", "blocks", "seed", "notes")
TRIAL_FACTS = ("number", "block", "cell", "placement", "timing", "outcome", "failure")
CELL = tuple(name for name in BY if name not in ("number", "block", "name"))

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Results:
    """What one or several runs measured. Each frame is read and computed when first asked for.

    Every frame has the columns and types of `columns`, also without rows, and a column `run`.
    A missing value is NA, never 0. Reading raises UnreadableRunError, which names the file, if
    what is stored is damaged. `probe` is the folder of the probe that was asked for, if any.
    """

    runs: tuple[StoredRun, ...]
    probe: Path | None = None

    @property
    def run(self) -> StoredRun:
        """The run itself; ValueError if there are several."""
        (only,) = self.runs
        return only

    @cached_property
    def trials(self) -> pd.DataFrame:
        """A row per trial, see `harness.analyze.trials`."""
        return _below("trials", map(trials_frame, self.runs))

    @cached_property
    def cells(self) -> pd.DataFrame:
        """A row per run and cell, as they were asked for; see `harness.analyze.cells`."""
        cells = cells_frame(self.trials)
        asked = (
            _asked(run.path.name, cell) for run in self.runs for cell in run.facts.get("cells", [])
        )
        place = {key: number for number, key in enumerate(asked)}
        told = [tuple(row[name] for name in ("run", *KEYS)) for row in records(cells)]
        order = sorted(range(len(told)), key=lambda at: place.get(told[at], len(place)))
        return cells.iloc[order].reset_index(drop=True)

    @cached_property
    def comparisons(self) -> pd.DataFrame:
        """A row per run, pair of servers and metric, see `harness.analyze.comparison`."""
        each = (comparisons_frame(run, _of(run, self.trials)) for run in self.runs)
        return _below("comparisons", each)

    @cached_property
    def rankings(self) -> pd.DataFrame:
        """A row per run, scenario and ranked server, see `harness.analyze.ranking`."""
        each = (rankings_frame(_of(run, self.comparisons)) for run in self.runs)
        return _below("rankings", each)

    @cached_property
    def histograms(self) -> pd.DataFrame:
        """A row per trial, request name, measure and bucket, see `harness.analyze.histograms`.

        Thousands of rows for each trial: `percentiles` reads them without this frame.
        """
        return histograms_frame(self._each_trial)

    @cached_property
    def series(self) -> pd.DataFrame:
        """A row per trial, sample and role of processes, see `harness.analyze.series`."""
        return series_frame(self._each_trial)

    @cached_property
    def ticks(self) -> pd.DataFrame:
        """A row per trial and tenth of a second: its answers, see `harness.analyze.series`."""
        return ticks_frame(self._each_trial)

    @cached_property
    def probes(self) -> pd.DataFrame:
        """A row per server and probe, see `harness.analyze.probes`; of the probe that was named
        when the run was loaded, or the newest beside each run.
        """
        if self.probe is not None:
            return probes_frame([self.probe])
        beside = dict.fromkeys(run.path.resolve().parent for run in self.runs)
        return probes_frame(probe for folder in beside if (probe := newest_probe(folder)))

    def percentiles(
        self,
        qs: Sequence[float] = QUANTILES,
        by: str | Sequence[str] = CELL,
        measure: str | None = None,
        *,
        used: bool = True,
    ) -> pd.DataFrame:
        """Latency percentiles in seconds: counts are merged first, and never percentiles averaged.

        A row for each value of `by` (names of the trial, its cell, or `name` of the request) and
        measure, with a column for each of `qs`: `p99_s` for 0.99. `measure` None is what each
        cell's latencies are of. Merged are the trials that a cell's verdict rests on, or all that
        measured if not `used`; `verdict` says what they are worth. A percentile is missing where
        fewer than ten of the `samples` lie beyond it: chance would have made it. (The cells'
        `p99_s` is something else: the median of what each trial's own was.) ValueError for what
        there is not.
        """
        names = (by,) if isinstance(by, str) else tuple(by)
        wanted = (it for it in self._each_trial if it.used or not used)
        return percentiles_frame(wanted, tuple(qs), names, measure)

    @staticmethod
    def columns(frame: str) -> pd.DataFrame:
        """What each column of a frame is: name, dtype, unit, about. ValueError for no frame."""
        return described(frame)

    def trials_of(self, cell: Row) -> list[Row]:
        """The trials of a row of `cells`, as dictionaries with None for what is missing.

        It needs `harness.analyze.cells.KEYS` of the row, and `run` where there are several.
        """
        return self._by_cell.get(self._key(cell), [])

    def latencies_of(self, cell: Row) -> Histogram:
        """The latencies of the trials that a row of `cells` rests on, merged; kept once read."""
        key = self._key(cell)
        if key not in self._latencies:
            self._latencies[key] = merged(self._used.get(key, ()))
        return self._latencies[key]

    def _key(self, row: Row) -> tuple[Any, ...]:
        run = row.get("run") or self.run.path.name
        return (run, *(row[name] for name in KEYS))

    @cached_property
    def _latencies(self) -> dict[tuple[Any, ...], Histogram]:
        return {}

    @cached_property
    def _used(self) -> dict[tuple[Any, ...], list[Trial]]:
        used: dict[tuple[Any, ...], list[Trial]] = {}
        for trial in self._each_trial:
            if trial.used:
                used.setdefault(self._key(trial.row), []).append(trial)
        return used

    @cached_property
    def _rows(self) -> list[dict[str, Any]]:
        return records(self.trials)

    @cached_property
    def _by_cell(self) -> dict[tuple[Any, ...], list[Row]]:
        return grouped(self._rows)

    @cached_property
    def _each_trial(self) -> list[Trial]:
        used = {id(row) for cell in self._by_cell.values() for row in used_of(cell)}
        stored = (trial for run in self.runs for trial in run.trials)
        return [
            Trial(row, trial, id(row) in used)
            for row, trial in zip(self._rows, stored, strict=True)
        ]


def load_run(
    run: str | Path | None = None,
    results: str | Path = "results",
    probe: str | Path | None = None,
) -> Results:
    """One run: its folder, its name in `results`, or the newest there.

    `probe` is a probe's folder, by default the newest beside the run. UnreadableRunError in one
    clear line if there is none, if it is damaged or of another schema.
    """
    named = None if probe is None else probe_folder(Path(probe))
    return Results((_read(_path(run, Path(results))),), named)


def load_runs(
    runs: Iterable[str | Path], results: str | Path = "results", probe: str | Path | None = None
) -> Results:
    """Several runs, in this order; the frames' column `run` tells them apart.

    UnreadableRunError as for one, and if two have the same name.
    """
    paths = [_path(run, Path(results)) for run in runs]
    for place, path in enumerate(paths):
        if twin := next((it for it in paths[:place] if it.name == path.name), None):
            raise UnreadableRunError(
                f"{path}: has the name of {twin}, and runs are told apart by their names; "
                "leave one out, or rename a copy of it"
            )
    named = None if probe is None else probe_folder(Path(probe))
    return Results(tuple(map(_read, paths)), named)


def _path(run: str | Path | None, results: Path) -> Path:
    return newest_run(results) if run is None else run_folder(run, results)


def _read(path: Path) -> StoredRun:
    run = read_run(path)
    for held, needed in [(run.facts, RUN_FACTS), *((it.facts, TRIAL_FACTS) for it in run.trials)]:
        if missing := [name for name in needed if name not in held]:
            raise UnreadableRunError(f"{path}: is damaged (it lacks {', '.join(missing)})")
    return run


def _of(run: StoredRun, rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["run"] == run.path.name]


def _asked(run: str, cell: Mapping[str, Any]) -> tuple[Any, ...]:
    """A cell as the plan has it, by what its row in `cells` has."""
    known = {**cell["load"], **cell, "run": run}
    return tuple(known.get(name) for name in ("run", *KEYS))


def _below(name: str, frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """The runs' frames below one another."""
    several = list(frames)
    if len(several) == 1:
        return several[0]
    return pd.concat(several, ignore_index=True) if several else frame(name, [])
