"""A curve as a sheet: a row for each point, and the law through them if one is defended."""

from __future__ import annotations

from harness.analyze.curve import Curve, Point
from harness.analyze.scalability import Estimate, Scalability
from harness.report import units
from harness.report.sheet import Head, Sheet
from harness.report.table import interval, p99_s

LAW = "universal scalability law"


def curve_sheet(curve: Curve) -> Sheet:
    """The sheet of one curve."""
    heads = (
        Head(curve.along), Head("req/s"), *([Head("law")] if curve.law else []), Head("p50"),
        Head("p90"), Head("p99"), Head("in system"), Head("of users"), Head("errors"),
        Head("CPU s/1k"), Head("PSS"), Head("gen. CPU"), Head("verdict", right=False),
    )  # fmt: skip
    fixed = ", ".join(f"{name} {value:g}" for name, value in curve.fixed.items())
    title = f"{curve.scenario} · {curve.server} ({curve.app}) along {curve.along}"
    rows = tuple(_row(curve, point) for point in curve.points)
    notes = [
        f"{curve.along} {point.value:g}: {reason}"
        for point in curve.points
        for reason in point.cell["reasons"]
    ]
    return Sheet(
        f"{title} · {fixed}" if fixed else title, heads, rows,
        findings=(_law(curve),), notes=tuple(notes),
    )  # fmt: skip


def _row(curve: Curve, point: Point) -> tuple[str, ...]:
    cell = point.cell
    law = [units.rate(curve.law.at(point.value))] if curve.law else []
    return (
        f"{point.value:g}",
        interval(cell, "throughput_per_s", units.rate),
        *law,
        *(units.seconds(it) for it in (cell["p50_s"], cell["p90_s"], p99_s(cell))),
        units.NOTHING if point.in_system is None else units.significant(point.in_system),
        units.share(point.little),
        units.count(cell["errors"]),
        units.cpu(cell["server_cpu_s_per_1k"]),
        units.size(cell["server_pss_bytes"]),
        units.share(cell["generator_cpu_share"]),
        cell["verdict"],
    )


def _law(curve: Curve) -> str:
    if curve.law is None:
        return f"no {LAW}: {curve.why}"
    law = curve.law
    return (
        f"{LAW}: {_estimate(law.rate)}/s for one, contention {_estimate(law.contention)}, "
        f"coherency {_estimate(law.coherency)}; {_peak(curve, law)} "
        f"(95 % intervals; no point is more than {law.off:.0%} off)"
    )


def _peak(curve: Curve, law: Scalability) -> str:
    if law.peak is None:
        return "no peak can be told"
    last = curve.points[-1].value
    beyond = ", beyond what was measured" if law.peak.value > last else ""
    return f"peak at {_estimate(law.peak)} {curve.along}{beyond}"


def _estimate(it: Estimate) -> str:
    low, high = (units.significant(value) for value in (it.low, it.high))
    return f"{units.significant(it.value)} [{low}..{high}]"
