"""The public way to what was measured: runs as tidy DataFrames.

    from harness import load_run, load_runs

    run = load_run()                        # the newest below results/
    run.trials[["server", "throughput_per_s", "p99_s", "verdict"]]
    both = load_runs(["results/20260301T120000Z", "results/20260401T120000Z"])
    both.cells.groupby(["run", "server"])["throughput_per_s"].first()

The terminal's tables, the page, the exports and the notebooks read runs by this and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from harness.analyze import cells_frame, comparisons_frame, rankings_frame, trials_frame
from harness.store import StoredRun, UnreadableRunError, newest_run, read_run

RUN_FACTS = ("command", "machine", "placement", "timing", "blocks", "seed", "notes")
TRIAL_FACTS = ("number", "block", "cell", "placement", "outcome", "failure")


@dataclass(frozen=True)
class Results:
    """What one or several runs measured. Each frame is read and computed when first asked for."""

    runs: tuple[StoredRun, ...]

    @property
    def run(self) -> StoredRun:
        """The run itself; ValueError if there are several."""
        (only,) = self.runs
        return only

    @cached_property
    def trials(self) -> pd.DataFrame:
        """A row per trial, see `harness.analyze.trials`."""
        return _each(self.runs, trials_frame)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """A row per run and cell, see `harness.analyze.cells`."""
        return _each(self.runs, lambda run: cells_frame(self._trials_of(run)))

    @cached_property
    def comparisons(self) -> pd.DataFrame:
        """A row per run, pair of servers and metric, see `harness.analyze.comparison`."""
        return _each(self.runs, lambda run: comparisons_frame(run, self._trials_of(run)))

    @cached_property
    def rankings(self) -> pd.DataFrame:
        """A row per run, scenario and ranked server, see `harness.analyze.ranking`."""
        return _each(
            self.runs,
            lambda run: rankings_frame(self.comparisons[self.comparisons["run"] == run.path.name]),
        )

    def _trials_of(self, run: StoredRun) -> pd.DataFrame:
        return self.trials[self.trials["run"] == run.path.name]


def load_run(run: str | Path | None = None, results: str | Path = "results") -> Results:
    """One run: its folder, its name in `results`, or the newest there.

    UnreadableRunError in one clear line if there is none, if it is damaged or of another schema.
    """
    if run is None:
        path = newest_run(Path(results))
    else:
        path = Path(run)
        if not path.exists() and (Path(results) / path).exists():
            path = Path(results) / path
    return Results((_read(path),))


def load_runs(runs: Iterable[str | Path], results: str | Path = "results") -> Results:
    """Several runs, in this order; the frames' column `run` tells them apart."""
    return Results(tuple(load_run(run, results).run for run in runs))


def _read(path: Path) -> StoredRun:
    run = read_run(path)
    for held, needed in [(run.facts, RUN_FACTS), *((it.facts, TRIAL_FACTS) for it in run.trials)]:
        if missing := [name for name in needed if name not in held]:
            raise UnreadableRunError(f"{path}: is damaged (it lacks {', '.join(missing)})")
    return run


def _each(
    runs: Iterable[StoredRun], frame_of: Callable[[StoredRun], pd.DataFrame]
) -> pd.DataFrame:
    """The runs' frames below one another, each row with its run's name."""
    frames = [frame_of(run).assign(run=run.path.name) for run in runs]
    return pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
