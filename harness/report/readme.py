"""Tables spliced into a Markdown file, with the command, machine and date that made them.

What stands between two marks, `<!-- results -->` and `<!-- /results -->` for a run, is replaced,
and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.model import ConfigurationError
from harness.report.escape import safe
from harness.report.markdown import made_by, ranking_table
from harness.report.table import load_text, ranking
from harness.report.verdicts import verdicts
from harness.results import Results
from harness.store import write_text

RESULTS, RELEASES = "results", "releases"  # what the marks of a run and of a history say


def splice(path: Path, text: str, mark: str = RESULTS) -> None:
    """Put a block between the marks of a file.

    ConfigurationError where it cannot be read, or has not one pair of marks.
    """
    begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    try:
        whole = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--splice {path}: cannot be read: {error}") from None
    if (whole.count(begin), whole.count(end)) != (1, 1) or whole.index(end) < whole.index(begin):
        raise ConfigurationError(
            f"--splice {path}: has to have a line {begin} and, below it, a line {end}, once each"
        )
    before, _, rest = whole.partition(begin)
    _, _, after = rest.partition(end)
    write_text(path, f"{before}{begin}\n{text}\n{end}{after}")


def block(results: Results) -> str:
    """How the run was made, its verdicts, and a table for each scenario."""
    run, cells, comparisons = results.run, results.cells, results.comparisons
    told = origin(*(run.facts[name] for name in ("created", "machine", "timing", "blocks")))
    parts = [f"{told} Numbers of one machine: ratios mean more than values."]
    if judged := verdicts(comparisons):
        parts.append("\n".join(f"- {safe(line)}" for line in judged))
    for scenario in cells["scenario"].unique():
        rows = ranking(cells, comparisons, scenario)
        parts += [f"**{safe(scenario)}** ({load_text(rows[0])})", ranking_table(rows)]
    if cells.empty:
        parts.append(f"No trial was finished ({run.ended}).")
    return "\n\n".join([f"Made by `{made_by(run)}`:", *parts])


def origin(
    created: str, machine: Mapping[str, Any], timing: Mapping[str, float], blocks: int
) -> str:
    """When, where and how a run was made, in one sentence."""
    day = datetime.fromisoformat(created).date().isoformat()
    kind = "a virtual machine" if machine["hypervisor"] else "a machine"
    many = "one block" if blocks == 1 else f"{blocks} blocks"
    return safe(
        f"{day}, on {kind} with {len(machine['cpus_usable'])} CPUs ({machine['cpu']}), "
        f"{machine['system']}, Python {machine['python']}; {many}, {timing['duration_s']:g} s "
        f"each after {timing['warmup_s']:g} s of warm-up."
    )
