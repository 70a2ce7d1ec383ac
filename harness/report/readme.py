"""A run's tables spliced into a Markdown file, with the command, machine and date that made them.

What stands between `<!-- results -->` and `<!-- /results -->` is replaced, and nothing else.
"""

from __future__ import annotations

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

BEGIN, END = "<!-- results -->", "<!-- /results -->"


def splice(path: Path, results: Results) -> None:
    """Put the run's block between the marks of a file.

    ConfigurationError where it cannot be read, or has not one pair of marks.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--splice {path}: cannot be read: {error}") from None
    if (text.count(BEGIN), text.count(END)) != (1, 1) or text.index(END) < text.index(BEGIN):
        raise ConfigurationError(
            f"--splice {path}: has to have a line {BEGIN} and, below it, a line {END}, once each"
        )
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    write_text(path, f"{before}{BEGIN}\n{block(results)}\n{END}{after}")


def block(results: Results) -> str:
    """How the run was made, its verdicts, and a table for each scenario."""
    run, cells, comparisons = results.run, results.cells, results.comparisons
    parts = [_origin(run.facts)]
    if judged := verdicts(comparisons):
        parts.append("\n".join(f"- {safe(line)}" for line in judged))
    for scenario in cells["scenario"].unique():
        rows = ranking(cells, comparisons, scenario)
        parts += [f"**{safe(scenario)}** ({load_text(rows[0])})", ranking_table(rows)]
    if cells.empty:
        parts.append(f"No trial was finished ({run.ended}).")
    return "\n\n".join([f"Made by `{made_by(run)}`:", *parts])


def _origin(facts: dict[str, Any]) -> str:
    """When, where and how, in one sentence."""
    machine, timing = facts["machine"], facts["timing"]
    day = datetime.fromisoformat(facts["created"]).date().isoformat()
    kind = "a virtual machine" if machine["hypervisor"] else "a machine"
    blocks = "one block" if facts["blocks"] == 1 else f"{facts['blocks']} blocks"
    return safe(
        f"{day}, on {kind} with {len(machine['cpus_usable'])} CPUs ({machine['cpu']}), "
        f"{machine['system']}, Python {machine['python']}; {blocks}, {timing['duration_s']:g} s "
        f"each after {timing['warmup_s']:g} s of warm-up. Numbers of one machine: ratios mean "
        "more than values."
    )
