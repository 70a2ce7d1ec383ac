"""For the GitHub action benchmark-action/github-action-benchmark, which draws a chart of each.

It takes two files, one for each direction: `tool: customBiggerIsBetter` and `tool:
customSmallerIsBetter`. Source: that action's README, and `extractRangeInfo`, which reads a range
of the form "± number" with two digits or more.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from harness.export.figures import Figure, Row, defended, figures
from harness.export.text import title
from harness.results import Results
from harness.store import write_text

BIGGER, SMALLER = "bigger-is-better.json", "smaller-is-better.json"


class Shown(NamedTuple):
    """What a metric is called on a chart, its unit there, and that unit for each of ours."""

    name: str
    unit: str
    factor: float


SHOWN = {
    "throughput": Shown("throughput", "req/s", 1.0),
    "p50": Shown("p50", "ms", 1e3),
    "p90": Shown("p90", "ms", 1e3),
    "cpu": Shown("server CPU", "s/1000 req", 1.0),
    "memory": Shown("server memory (PSS)", "MiB", 1 / 2**20),
    "errors": Shown("errors", "%", 100.0),
}


def write(results: Results, folder: Path) -> list[Path]:
    """Both files, each a list that may be empty; cells that are not defended are left out."""
    entries: dict[str, list[dict[str, Any]]] = {BIGGER: [], SMALLER: []}
    for row in defended(results):
        for it in figures(row):
            entries[BIGGER if it.more_is_better else SMALLER].append(_entry(row, it))
    written = []
    for name, listed in entries.items():
        path = folder / name
        write_text(path, json.dumps(listed, indent=1, allow_nan=False) + "\n")
        written.append(path)
    return written


def _entry(row: Row, it: Figure) -> dict[str, Any]:
    shown = SHOWN[it.metric]
    entry = {
        "name": f"{title(row)} {shown.name}",
        "unit": shown.unit,
        "value": it.value * shown.factor,
        "extra": _extra(row, it, shown),
    }
    if it.low is not None and it.high is not None:
        entry["range"] = f"± {(it.high - it.low) / 2 * shown.factor:#.6g}"
    return entry


def _extra(row: Row, it: Figure, shown: Shown) -> str:
    told = [f"{row['verdict']}", f"median of {row['used']} of {row['trials']} trials"]
    if it.low is not None and it.high is not None:
        ends = (f"{end * shown.factor:.6g}" for end in (it.low, it.high))
        told.append(f"{' to '.join(ends)} {shown.unit}")
    told.append(f"{row['errors']:.0f} errors")
    return "\n".join([*told, f"run {row['run']}"])
