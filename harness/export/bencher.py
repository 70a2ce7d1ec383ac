"""Bencher Metric Format: what `bencher run --adapter json --file bencher.json` takes.

Source: bencher.dev, reference "Bencher Metric Format", whose built-in measures are `latency` in
nanoseconds and `throughput` in operations per second. It has no room for units: all others have
theirs in their names.
"""

from __future__ import annotations

import json
from pathlib import Path

from harness.export.figures import Figure, defended, figures
from harness.export.text import title
from harness.results import Results
from harness.store import write_text

# the measure's slug, and its unit for each of ours
MEASURES = {
    "throughput": ("throughput", 1.0),
    "p50": ("latency", 1e9),
    "p90": ("latency-p90-ns", 1e9),
    "cpu": ("server-cpu-ns-per-request", 1e6),
    "memory": ("server-pss-bytes", 1.0),
    "errors": ("errors-share", 1.0),
}


def write(results: Results, folder: Path) -> list[Path]:
    """`bencher.json`: medians, with the least and greatest trial as lower and upper values.

    `latency` is p50. Cells that are not defended are left out.
    """
    benchmarks = {
        title(row): {MEASURES[it.metric][0]: _metric(it) for it in figures(row)}
        for row in defended(results)
    }
    path = folder / "bencher.json"
    write_text(path, json.dumps(benchmarks, indent=1, allow_nan=False) + "\n")
    return [path]


def _metric(it: Figure) -> dict[str, float]:
    factor = MEASURES[it.metric][1]
    ends = {"value": it.value, "lower_value": it.low, "upper_value": it.high}
    return {name: end * factor for name, end in ends.items() if end is not None}
