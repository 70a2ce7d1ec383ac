"""Advice as a sheet: what was tried, what to run, and why."""

from __future__ import annotations

from harness.analyze.advice import Advice, Configuration
from harness.report import units
from harness.report.sheet import Head, Sheet
from harness.report.table import interval, p99_s

HEADS = (
    Head("workers"), Head("threads"), Head("req/s"), Head("of fastest"), Head("p50"), Head("p99"),
    Head("errors"), Head("CPU"), Head("CPU s/1k"), Head("PSS"), Head("verdict", right=False),
    Head("", right=False),
)  # fmt: skip


def advice_sheet(it: Advice) -> Sheet:
    """The sheet of one server and scenario."""
    marked = it.configurations.index(it.chosen) if it.chosen else None
    notes = [
        f"{tried.name}: {reason}" for tried in it.configurations for reason in tried.cell["reasons"]
    ]
    return Sheet(
        f"{it.scenario} · {it.server} ({it.app}) · {it.users} users on {it.cpus} CPU(s)",
        HEADS, tuple(_row(it, tried) for tried in it.configurations),
        findings=(advice_text(it), *it.cautions), notes=tuple(notes), marked=marked,
    )  # fmt: skip


def advice_text(it: Advice) -> str:
    """What to run and why, in one line."""
    if it.chosen is None:
        return f"no advice: {it.why}"
    return f"run {it.server} with {it.chosen.name}: {it.why}"


def _row(it: Advice, tried: Configuration) -> tuple[str, ...]:
    cell = tried.cell
    marks = ["advised"] if tried is it.chosen else ["tied"] if tried.tied else []
    marks += ["folklore"] if tried.folklore else []
    return (
        f"{tried.workers}",
        f"{tried.threads}" if tried.threads is not None else units.NOTHING,
        interval(cell, "throughput_per_s", units.rate),
        units.share(tried.ratio),
        units.seconds(cell["p50_s"]),
        units.seconds(p99_s(cell)),
        units.count(cell["errors"]),
        units.share(tried.busy),
        units.cpu(cell["server_cpu_s_per_1k"]),
        units.size(cell["server_pss_bytes"]),
        cell["verdict"],
        ", ".join(marks),
    )
