"""The Go benchmark data format, a line for each trial, so that benchstat does its statistics.

    benchstat -col /server benchfmt.txt             # the servers of a run side by side
    benchstat before/benchfmt.txt after/benchfmt.txt

Sources: golang.org/design/14313-benchmark-format, and golang.org/x/perf/benchfmt for `Unit` lines.
benchstat compares only what has the same configuration lines, so these say what machine it was, and
all else is in comments.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from harness.analyze import records
from harness.analyze.verdict import RANKED
from harness.export.figures import Row, count_text, error_share
from harness.export.frames import each_run
from harness.export.text import parts
from harness.model import visible
from harness.report.table import p99_s
from harness.results import Results
from harness.store import write_text


class Unit(NamedTuple):
    """A unit that says what is measured, the trial's column, and the unit for each of ours."""

    name: str
    column: str
    factor: float
    better: str = "lower"


UNITS = (
    Unit("ns/op", "mean_s", 1e9),
    Unit("req/s", "throughput_per_s", 1.0, "higher"),
    Unit("p50-ns", "p50_s", 1e9),
    Unit("p90-ns", "p90_s", 1e9),
    Unit("p99-ns", "p99_s", 1e9),
    Unit("server-cpu-ns/op", "server_cpu_s_per_1k", 1e6),
    Unit("server-pss-bytes", "server_pss_bytes", 1.0),
    Unit("errors/op", "error_share", 1.0),
)


def write(results: Results, folder: Path) -> list[Path]:
    """`benchfmt.txt`. Trials that are not defended are comments that say why.

    The runs of several are told apart by the configuration key `run`.
    """
    lines = [f"Unit {it.name} better={it.better}" for it in UNITS]
    for each in each_run(results):
        lines += ["", *_head(each, several=len(results.runs) > 1), ""]
        lines += map(_line, records(each.trials))
    path = folder / "benchfmt.txt"
    write_text(path, "\n".join(lines) + "\n")
    return [path]


def left_out(results: Results) -> str:
    """How many trials are comments, and of which verdicts, in words; empty if none is."""
    rows = records(results.trials)
    return count_text([None if _counts(row) else row["verdict"] for row in rows], "trials")


def _counts(row: Row) -> bool:
    return row["verdict"] in RANKED and bool(row["requests"])


def _head(results: Results, *, several: bool) -> Iterator[str]:
    run = results.run
    machine = run.facts["machine"]
    yield f"# gatebench {run.facts['gatebench']}, run {visible(run.path.name)}"
    yield f"# began {run.facts['created']}, {run.ended}, kernel {visible(machine['kernel'])}"
    yield f"# {visible(shlex.join(run.facts['command']))}"
    if several:
        yield f"run: {visible(run.path.name)}"
    yield "goos: linux"
    yield f"goarch: {visible(machine['architecture'])}"
    yield f"cpu: {visible(machine['cpu'])}"
    yield f"cpus-usable: {len(machine['cpus_usable'])}"
    # whole gibibytes: what a kernel keeps for itself differs from one to the next
    yield f"memory-gib: {machine['memory_bytes'] / 2**30:.0f}"


def _line(row: Row) -> str:
    name = "".join(f"/{key}={value}" for key, value in parts(row).items())
    if not _counts(row):
        why = "; ".join(row["reasons"]) or "no right answer"
        return f"# trial {row['number']} is left out, {row['verdict']}: {name[1:]}: {visible(why)}"
    known = {**row, "error_share": error_share(row), "p99_s": p99_s(row)}
    values = [
        f"{known[it.column] * it.factor:.10g} {it.name}"
        for it in UNITS
        if known[it.column] is not None
    ]
    return " ".join([f"BenchmarkServing{name}", f"{row['requests']:.0f}", *values])
