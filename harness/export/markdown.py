"""The report as Markdown, for a wiki, a pull request or a release's notes."""

from __future__ import annotations

from pathlib import Path

from harness.report.markdown import markdown
from harness.report.sheets import sheets_of
from harness.results import Results
from harness.store import write_text


def write(results: Results, folder: Path) -> list[Path]:
    """`report.md`, the text that lies beside the run."""
    run = results.run
    sheets = sheets_of(run, results.trials)
    path = folder / "report.md"
    write_text(path, markdown(run, results.cells, results.comparisons, sheets))
    return [path]
