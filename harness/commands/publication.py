"""A run that is stored, read back and shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from harness.commands.console import out, print_json, say
from harness.report.document import document
from harness.report.markdown import markdown
from harness.report.searched import searched
from harness.report.sheets import sheets_of
from harness.report.terminal import print_report
from harness.results import load_run
from harness.store import StoredRun, write_text

Frames = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]


def frames_of(path: Path) -> tuple[StoredRun, Frames]:
    """A run, and its trials, cells and comparisons; UnreadableRunError if facts are missing."""
    results = load_run(path)
    return results.run, (results.trials, results.cells, results.comparisons)


def whole_document(run: StoredRun, frames: Frames) -> dict[str, Any]:
    """The run as JSON: its cells and comparisons, curves, and what was asked for beside."""
    return document(run, *frames[1:]) | searched(run, frames[0])


def publish(run: StoredRun, frames: Frames, as_json: bool) -> None:
    """Print the report, and write report.md; a disk that is full does not hide the first."""
    sheets = sheets_of(run, frames[0])
    if as_json:
        print_json(whole_document(run, frames))
    else:
        print_report(run, *frames[1:], out, sheets)
    try:
        write_text(run.path / "report.md", markdown(run, *frames[1:], sheets))
    except OSError as error:
        say(f"{run.path / 'report.md'} cannot be written: {error.strerror}")
