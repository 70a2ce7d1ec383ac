"""For Apache Otava, which looks for change points: a CSV of each cell, with a row for each run.

    cd EXPORT/otava && otava analyze --config-file otava.yaml all

Source: otava.apache.org, "Importing results from CSV". Otava takes no holes, so a run has no row
where its cell is not defended, and a metric that one of the rows lacks is left out; otava.yaml
says which.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from harness.export.csv import csv_bytes
from harness.export.figures import Row, defended, figures, left_out
from harness.export.frames import each_run
from harness.export.text import file_name, title
from harness.model import visible
from harness.results import Results
from harness.store import StoredRun, write_bytes, write_text

ATTRIBUTES = ("run", "verdict", "gatebench", "kernel", "versions")
GROUP = "all"
HEAD = (
    "# For Apache Otava: cd here, then `otava analyze --config-file otava.yaml all`",
    "# Seconds, bytes and per second; medians of the trials that count; a row for each run.",
)


def write(results: Results, folder: Path) -> list[Path]:
    """`otava/otava.yaml` and the files that it names; runs on unlike machines are kept apart."""
    place = folder / "otava"
    place.mkdir(exist_ok=True)
    written, tests, gaps = [], {}, list(_gaps(results))
    for number, (name, rows) in enumerate(_series(results).items(), 1):
        frame, directions = _table(rows)
        gaps += [
            f"{name}: {metric} is left out, {len(rows) - known} of {len(rows)} runs lack it"
            for metric, known in _known(rows).items()
            if known < len(rows)
        ]
        path = place / f"{number:03}-{file_name(name)[:150]}.csv"
        write_bytes(path, csv_bytes(frame))
        written.append(path)
        tests[name] = {
            "type": "csv",
            "file": path.name,
            "time_column": "time",
            "attributes": list(ATTRIBUTES),
            "metrics": {
                column: {"column": column, "direction": direction}
                for column, direction in directions.items()
            },
        }
    # JSON is YAML, and needs no library to be written right
    config = {"tests": tests, "test_groups": {GROUP: list(tests)}}
    comments = [*HEAD, *(f"# {visible(gap)}" for gap in gaps)]
    path = place / "otava.yaml"
    write_text(path, "\n".join([*comments, json.dumps(config, indent=1)]) + "\n")
    return [*written, path]


def _series(results: Results) -> dict[str, list[dict[str, Any]]]:
    """The rows of each cell, by the time of their runs."""
    runs = {run.path.name: run for run in results.runs}
    machines = {name: _machine(run) for name, run in runs.items()}
    several = len(set(machines.values())) > 1
    series: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(defended(results), key=lambda row: runs[row["run"]].facts["created"]):
        name = title(row) + (f" on {machines[row['run']]}" if several else "")
        series.setdefault(name, []).append(row | _facts(row, runs[row["run"]]))
    return series


def _machine(run: StoredRun) -> str:
    machine = run.facts["machine"]
    return visible(
        f"{machine['cpu']}, {len(machine['cpus_usable'])} CPUs, "
        f"{machine['memory_bytes'] / 2**30:.0f} GiB"
    )


def _facts(row: Row, run: StoredRun) -> dict[str, Any]:
    return {
        "time": run.facts["created"],
        "gatebench": run.facts["gatebench"],
        "kernel": run.facts["machine"]["kernel"],
        "versions": " ".join(f"{name}-{version}" for name, version in row["versions"].items()),
    }


def _known(rows: Sequence[Row]) -> dict[str, int]:
    """How many of the rows have each figure."""
    counted: dict[str, int] = {}
    for row in rows:
        for it in figures(row):
            counted[it.column] = counted.get(it.column, 0) + 1
    return counted


def _table(rows: Sequence[Row]) -> tuple[pd.DataFrame, dict[str, int]]:
    """The file's columns, and for each metric 1 where more is better, else -1."""
    whole = [column for column, known in _known(rows).items() if known == len(rows)]
    found = [{it.column: it for it in figures(row)} for row in rows]
    lines = [
        {"time": row["time"]}
        | {column: its[column].value for column in whole}
        | {name: row[name] for name in ATTRIBUTES}
        for row, its in zip(rows, found, strict=True)
    ]
    directions = {column: 1 if found[0][column].more_is_better else -1 for column in whole}
    return pd.DataFrame(lines), directions


def _gaps(results: Results) -> Iterator[str]:
    """What is in no file, by run."""
    for each in each_run(results):
        if text := left_out(each):
            yield f"run {each.run.path.name} lacks {text}"
