"""The first question: who is fastest, with how much doubt."""

from __future__ import annotations

from typing import Any

from harness.analyze.comparison import headline
from harness.report import units
from harness.report.figures.figure import Axis, Figure
from harness.report.figures.style import Style
from harness.report.figures.subject import (
    TIPS,
    VERDICTS,
    Row,
    Subject,
    caveats,
    frame,
    listed,
    point,
    ranked,
    shown,
)
from harness.report.table import p99_s

THROUGHPUT = Axis("throughput_per_s", "right answers per second", "/s")
MEDIAN = Axis("p50_s", "median response time", "s")
DELAY = Axis("p50_s", "median delay from an event to its arrival", "s")


def speed(subject: Subject, styles: dict[str, Style]) -> Figure | None:
    """What ranks the servers of a load: throughput, or the median latency where it is given."""
    fastest = headline(subject.first) == "throughput"
    axis = THROUGHPUT if fastest else latency_axis(subject)
    column = axis.column
    points = frame(
        (
            {**point(row), **{name: row[name] for name in (column, "p50_s", "errors")}}
            | {"p99_s": p99_s(row), "low": row[f"{column}_low"], "high": row[f"{column}_high"]}
            for row in subject.rows
        ),
        column,
    )
    if points.empty:
        return None
    trials = [
        {**_named(row), **{name: it[name] for name in ("verdict", "block", column)}}
        | {"shown": shown(it["verdict"])}
        for row in subject.rows
        if row["trials"] > 1
        for it in subject.trials[row["name"]]
    ]
    tips = (Axis("p50_s", "p50", "s"), Axis("p99_s", "p99", "s"), Axis("errors", "errors"))
    return Figure(
        name=f"{'throughput' if fastest else 'latency'}-{subject.slug}",
        title=subject.title("Throughput" if fastest else axis.title.capitalize()),
        scenario=subject.scenario,
        kind="dots",
        frame=points,
        x=axis,
        y=Axis("name", "server"),
        group="name",
        styles=styles,
        low="low",
        high="high",
        shown="shown",
        faint=frame(trials, column) if trials else None,
        tips=(*(it for it in tips if it.column != column), *TIPS),
        about=f"{subject.load}. {_about(bool(trials))} {VERDICTS}",
        says=_says(subject.rows, axis, fastest) + caveats(subject.rows),
    )


def latency_axis(subject: Subject) -> Axis:
    """What the users of a scenario feel."""
    return MEDIAN if subject.first["latency_measure"] == "response" else DELAY


def _named(row: Row) -> dict[str, Any]:
    return {name: row[name] for name in ("name", "server", "app", "speaks")}


def _about(several: bool) -> str:
    if not several:
        return "One trial each, so that nothing is known of how much they vary."
    return (
        "The point is the median of the trials, the bar goes from the least to the greatest, and "
        "the small dots are the trials themselves."
    )


def _says(rows: tuple[Row, ...], axis: Axis, fastest: bool) -> str:
    """Who is first and who last, ties as ties."""
    show = (lambda value: f"{units.rate(value)}/s") if fastest else units.seconds
    able = [row for row in ranked(rows) if row[axis.column] is not None]
    if not able:
        return "Nothing can be ranked."
    best, last = able[0], able[-1]
    if len(able) == 1:
        return f"{best['name']}: {show(best[axis.column])}."
    ties = [row["name"] for row in able if str(row.get("rank", "")).partition("–")[0] == "1"]
    lead = f"{best['name']} leads with {show(best[axis.column])}"
    if len(ties) > 1:
        lead = f"{listed(ties)} are not told apart at the front; {best['name']} has " + show(
            best[axis.column]
        )
    many = f" of {len(able)} ranked" if len(able) > 2 else ""
    unjudged = "" if "rank" in best else " These are numbers, without a verdict on differences."
    return f"{lead}, {last['name']} is last{many} with {show(last[axis.column])}.{unjudged}"
