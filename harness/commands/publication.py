"""A run that is stored, read back and shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from harness.commands.console import out, print_json, say
from harness.model import NOTHING
from harness.report.document import document
from harness.report.figures.gallery import figures, write_figures
from harness.report.markdown import markdown
from harness.report.page import write_page
from harness.report.searched import searched
from harness.report.sheets import sheets_of
from harness.report.terminal import print_report
from harness.results import Results, load_run
from harness.store import StoredRun, write_text

Frames = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]


def frames_of(path: Path) -> tuple[StoredRun, Frames]:
    """A run, and its trials, cells and comparisons; UnreadableRunError if facts are missing."""
    results = load_run(path)
    return results.run, (results.trials, results.cells, results.comparisons)


def whole_document(run: StoredRun, frames: Frames) -> dict[str, Any]:
    """The run as JSON: its cells and comparisons, curves, and what was asked for beside."""
    return document(run, *frames[1:]) | searched(run, frames[0])


def publish(
    run: StoredRun, frames: Frames, as_json: bool, more: Mapping[str, Any] = NOTHING
) -> None:
    """Print the report, and write report.md and report.html; a full disk does not hide the first.

    The JSON document has `more` in it.
    """
    sheets = sheets_of(run, frames[0])
    if as_json:
        print_json(whole_document(run, frames) | dict(more))
    else:
        print_report(run, *frames[1:], out, sheets)
    results = _results(run, frames)
    drawn = figures(results)
    if (
        _written(run.path / "figures", lambda path: write_figures(drawn, path))
        and _written(
            run.path / "report.md",
            lambda path: write_text(path, markdown(run, *frames[1:], sheets, drawn)),
        )
        and _written(run.path / "report.html", lambda path: write_page(results, path, drawn))
    ):
        say(f"page: {run.path / 'report.html'}")


def _written(path: Path, write: Callable[[Path], object]) -> bool:
    """Whether a file could be written; if not, why is said."""
    try:
        write(path)
    except OSError as error:
        say(f"{path} cannot be written: {error.strerror}")
        return False
    return True


def _results(run: StoredRun, frames: Frames) -> Results:
    """The run with the frames that are there already, so that none is computed again."""
    results = Results((run,))
    vars(results).update(zip(("trials", "cells", "comparisons"), frames, strict=True))
    return results
