"""Figures along what was varied: latency and throughput against users, rate, workers, threads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd

from harness.analyze.capacity import Capacity
from harness.analyze.curve import Curve
from harness.analyze.scalability import Scalability
from harness.analyze.verdict import RANKED
from harness.histogram import BEYOND
from harness.model import visible
from harness.report import units
from harness.report.capacity import capacity_text
from harness.report.figures.figure import Axis, Figure, Mark, Unit
from harness.report.figures.style import Style, styles
from harness.report.figures.subject import (
    TIPS,
    VERDICTS,
    Row,
    Slugs,
    caveats,
    frame,
    listed,
    point,
)
from harness.report.table import p99_s

ALONG = {
    "users": "users",
    "rate": "requests due per second",
    "workers": "workers",
    "threads": "threads of each worker",
}
WIDE = 8.0  # between the least and the greatest value: then the axis is logarithmic
GRID = 60  # points of a fitted law


def sweeps(
    curves: Iterable[Curve], capacities: Sequence[Capacity], known: dict[str, Style]
) -> Iterator[Figure]:
    """Two figures of each scenario and thing that was varied."""
    together: dict[tuple[str, str, str], list[Curve]] = {}
    for curve in curves:
        together.setdefault((curve.scenario, curve.along, curve.model), []).append(curve)
    slugs = Slugs()
    for (scenario, along, _), several in together.items():
        named = dict(zip(_names(several), several, strict=True))
        own = known if set(named) <= set(known) else styles(named)
        searched = [it for it in capacities if it.scenario == scenario]
        slug = slugs(f"{scenario}-by-{along}")
        for made in (_latency(slug, named, searched, own), _throughput(slug, named, own)):
            if made is not None:
                yield made


def _latency(
    slug: str, named: dict[str, Curve], searched: Sequence[Capacity], own: dict[str, Style]
) -> Figure | None:
    rows = [
        {**it, "percentile": name, "latency_s": cell[f"{name}_s"]}
        | {"low": cell[f"{name}_s_low"], "high": cell[f"{name}_s_high"]}
        for it, cell in _points(named)
        for name in ("p50", "p99")
        if _tells(cell, name)
    ]
    points = frame(rows, "latency_s")
    if points.empty:
        return None
    first = next(iter(named.values()))
    limits = {term.text: term.limit for it in searched for term in it.objective.terms
              if term.is_time}  # fmt: skip
    return Figure(
        name=f"latency-{slug}",
        title=f"Latency along {first.along}: {visible(first.scenario)}",
        scenario=visible(first.scenario),
        kind="lines",
        frame=points,
        x=_axis(first, points),
        y=Axis("latency_s", "response time", "s", log=True),
        group="name",
        styles=own,
        low="low",
        high="high",
        shown="shown",
        dashed="percentile",
        marks=tuple(Mark("y", limit, text) for text, limit in limits.items()),
        tips=(Axis("percentile", "percentile"), *TIPS),
        about="p50 and p99 of the responses; bars go from the least trial to the greatest. A "
        f"percentile is left out where fewer than {BEYOND} answers lie beyond it. {VERDICTS}",
        says=" ".join(visible(capacity_text(it)) + "." for it in searched)
        or _span(points[points["percentile"] == "p50"], "latency_s", "p50", first.along),
    )


def _tells(cell: Row, percentile: str) -> bool:
    """Whether BEYOND answers of each trial lie beyond; half of them do beyond p50."""
    if percentile == "p99":
        return p99_s(cell) is not None
    return bool((cell["requests"] or 0) >= 2 * BEYOND * cell["used"])


def _throughput(slug: str, named: dict[str, Curve], own: dict[str, Style]) -> Figure | None:
    rows = [
        {**it, "throughput_per_s": cell["throughput_per_s"]}
        | {"low": cell["throughput_per_s_low"], "high": cell["throughput_per_s_high"]}
        for it, cell in _points(named)
    ]
    points = frame(rows, "throughput_per_s")
    if points.empty:
        return None
    first = next(iter(named.values()))
    laws = [_law(name, curve, curve.law) for name, curve in named.items() if curve.law]
    fitted = [name for name, curve in named.items() if curve.law]
    law = (
        f" Thin lines: the universal scalability law, fitted for {listed(fitted)}."
        if fitted
        else ""
    )
    return Figure(
        name=f"throughput-{slug}",
        title=f"Throughput along {first.along}: {visible(first.scenario)}",
        scenario=visible(first.scenario),
        kind="lines",
        frame=points,
        x=_axis(first, points),
        y=Axis("throughput_per_s", "right answers per second", "/s"),
        group="name",
        styles=own,
        low="low",
        high="high",
        shown="shown",
        curve=pd.concat(laws, ignore_index=True) if laws else None,
        tips=TIPS,
        about=f"Bars go from the least trial to the greatest.{law} {VERDICTS}",
        says=_span(points, "throughput_per_s", "throughput", first.along)
        + caveats(it for it in rows if it["throughput_per_s"] is None),
    )


def _points(named: dict[str, Curve]) -> Iterator[tuple[Row, Row]]:
    """What each point has in common, and its cell."""
    for name, curve in named.items():
        for it in curve.points:
            yield {**point({**it.cell, "name": name}), curve.along: it.value}, it.cell


def _names(several: Sequence[Curve]) -> list[str]:
    """A name for each curve: its server, and what else tells it from the others."""
    parts = [
        (curve.server, {"app": curve.app, **{k: f"{v:g} {k}" for k, v in curve.fixed.items()}})
        for curve in several
    ]
    names = []
    for server, own in parts:
        rivals = [other for name, other in parts if name == server]
        told = [text for what, text in own.items()
                if any(other.get(what) != text for other in rivals)]  # fmt: skip
        names.append(visible(f"{server} ({', '.join(told)})" if told else server))
    return names


def _axis(curve: Curve, points: pd.DataFrame) -> Axis:
    values = points[curve.along]
    far = bool(values.min() > 0 and values.max() >= WIDE * values.min())
    few = sorted(values.unique())
    ticks = tuple((it, f"{it:,g}") for it in few) if len(few) <= 9 and curve.along != "rate" else ()
    unit: Unit = "/s" if curve.along == "rate" else ""
    return Axis(curve.along, ALONG[curve.along], unit, log=far, ticks=ticks)


def _law(name: str, curve: Curve, law: Scalability) -> pd.DataFrame:
    """The fitted law between the first and the last point."""
    ends = curve.points[0].value, curve.points[-1].value
    along = np.geomspace(*ends, GRID)
    return pd.DataFrame(
        {
            "name": name,
            "server": curve.server,
            curve.along: along,
            "throughput_per_s": [law.at(it) for it in along],
        }
    )


def _span(points: pd.DataFrame, column: str, what: str, along: str) -> str:
    """The greatest and the least of each of the first few names, where it was."""
    ranked = points[points["verdict"].isin(RANKED)]
    show = (lambda it: f"{units.rate(it)}/s") if column.endswith("_per_s") else units.seconds
    said = [
        f"{name}: {what} from {show(own[column].min())} to {show(own[column].max())}, the "
        f"greatest at {_value(float(own.sort_values(column)[along].iloc[-1]), along)}."
        for name, own in list(ranked.groupby("name", sort=False))[:3]
    ]
    return " ".join(said) or "Nothing can be ranked."


def _value(value: float, along: str) -> str:
    return f"{units.rate(value)} due per second" if along == "rate" else f"{value:g} {along}"
