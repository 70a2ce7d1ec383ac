"""The report as Markdown, written beside the run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from harness.analyze import records
from harness.report import units
from harness.report.escape import code, safe
from harness.report.figures.figure import Figure
from harness.report.sheet import NONE, Sheet, sheet_markdown
from harness.report.table import columns_for, legend, load_text, log_lines, ranking, remarks
from harness.report.terminal import run_lines
from harness.report.verdicts import sentences, verdicts
from harness.store import StoredRun


def markdown(
    run: StoredRun,
    cells: pd.DataFrame,
    comparisons: pd.DataFrame,
    sheets: Mapping[str, Sequence[Sheet]] = NONE,
    figures: Sequence[Figure] = (),
) -> str:
    """The whole report; every text that came from outside is escaped.

    `sheets` stand in place of the ranking of their scenario; `figures` lie beside the report, as
    `figures/NAME.svg`.
    """
    parts = [
        f"# gatebench run {safe(run.path.name)}",
        f"Made by `{made_by(run)}`.",
    ]
    if cells.empty:
        return "\n\n".join([*parts, f"No trial was finished ({run.ended}).", ""])
    if judged := verdicts(comparisons):
        parts.append("\n".join(f"- {safe(line)}" for line in judged))
    for scenario in cells["scenario"].unique():
        if scenario in sheets:
            parts += map(sheet_markdown, sheets[scenario])
            continue
        rows = ranking(cells, comparisons, scenario)
        parts.append(f"## {safe(scenario)} ({load_text(rows[0])})")
        parts.append(ranking_table(rows))
        if found := remarks(rows):
            parts.append("\n".join(f"- {safe(line)}" for line in found))
        parts += [
            f"Last lines of {safe(row['server'])}'s log:\n\n"
            + "\n".join(f"    {line}" for line in log_lines(row))
            for row in rows
            if row["log"]
        ]
    if said := sentences(comparisons):
        parts.append("\n".join(f"- {safe(line)}" for line in said))
    parts += [legend(comparisons), *_figures(figures), "## Servers"]
    for row in records(cells.drop_duplicates("server")):
        versions = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
        notes = "".join(f"\n- {safe(note)}" for note in row["notes"])
        command = f"\n- `{code(shlex.join(row['argv']))}`" if row["argv"] else ""
        parts.append(
            f"**{safe(row['server'])}**, Python {row['python'] or units.NOTHING}: "
            f"{safe(versions) or 'not installed'}{command}{notes}"
        )
    parts += ["## Run", "\n".join(f"- {safe(line)}" for line in run_lines(run, cells))]
    return "\n\n".join(parts) + "\n"


def ranking_table(rows: list[dict[str, Any]]) -> str:
    """The cells of a scenario as a table, in their order."""
    columns = columns_for(rows)
    head = [column.head for column in columns]
    rule = ["---:" if column.right else "---" for column in columns]
    lines = [_line(head), _line(rule)]
    lines += [_line([safe(column.show(row)) for column in columns]) for row in rows]
    return "\n".join(lines)


def _figures(figures: Sequence[Figure]) -> list[str]:
    """Each figure with how to read it; what it shows stands for it where it cannot be seen."""
    head = ["## Figures"] if figures else []
    return head + [
        f"![{safe(figure.title)}. {safe(figure.says)}](figures/{figure.name}.svg)\n\n"
        f"{safe(figure.about)}"
        for figure in figures
    ]


def made_by(run: StoredRun) -> str:
    """The command that made a run, to stand between backticks."""
    return code(shlex.join(run.facts["command"]))


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
