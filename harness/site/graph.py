"""One series as matplotlib draws it: PNG and SVG for READMEs and the summaries of builds."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.figure
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from matplotlib.transforms import blended_transform_factory

from harness.history import State
from harness.model import visible
from harness.report.figures.plot import DPI, SETTINGS
from harness.report.figures.scale import tick_text
from harness.report.figures.style import LIGHT
from harness.site.board import Entry, Topic
from harness.site.event import Event, events
from harness.store import write_bytes, write_text

SIZE = (8.2, 3.4)  # inches
PLACE = (0.085, 0.13, 0.895, 0.69)  # of the axes: left, bottom, width, height
LEFT = 0.015  # of the texts
ROOM = 0.25  # of what is drawn, above and below it
LEAST = 0.02  # of the level: a narrower reach would make mountains of noise
TOLD = 12  # changes whose size is written; of more only the newest


def draw(topic: Topic, entry: Entry, stem: Path) -> None:
    """Write the graph of a series to `stem`.svg and `stem`.png; the same series, the same bytes."""
    with mpl.rc_context(SETTINGS):  # type: ignore[arg-type] # its type lists every key by name
        canvas = _Graph(topic, entry).canvas
        text, data = io.StringIO(), io.BytesIO()
        facts = {"Date": None, "Creator": None, "Title": _title(topic, entry),
                 "Description": description(entry)}  # fmt: skip
        canvas.savefig(text, format="svg", metadata=facts)
        canvas.savefig(data, format="png", dpi=2 * DPI, metadata={"Software": None})
    write_text(stem.with_suffix(".svg"), text.getvalue())
    write_bytes(stem.with_suffix(".png"), data.getvalue())


def description(entry: Entry) -> str:
    """The graph in words."""
    series = entry.series
    note = f": {visible(series.note)}" if series.note else ""
    return f"{len(series.valued)} of {len(series.points)} runs have a value; {series.state}{note}"


class _Graph:
    """A series on its way to a canvas."""

    def __init__(self, topic: Topic, entry: Entry) -> None:
        self.entry, self.series = entry, entry.series
        self.colour = LIGHT.hues[entry.hue]
        self.canvas = matplotlib.figure.Figure(figsize=SIZE, dpi=DPI, facecolor=LIGHT.background)
        self.axes: Axes = self.canvas.add_axes(PLACE)
        self.axes.xaxis_date()
        points = self.series.points
        # in days, as matplotlib counts them
        self.at = [float(date2num(datetime.fromisoformat(point.at))) for point in points]  # type: ignore[no-untyped-call]
        self.place = {point.run_id: at for point, at in zip(points, self.at, strict=True)}
        self._frame(topic)
        self._events()
        self._points()
        self._levels()
        self._changes()

    def _frame(self, topic: Topic) -> None:
        axes, colours = self.axes, LIGHT
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color(colours.grid)
        axes.tick_params(colors=colours.quiet, length=0, labelsize=8.5)
        axes.grid(True, axis="y", color=colours.grid, linewidth=0.7)
        axes.set_axisbelow(True)
        lines = (0.945, 0.875)
        self.canvas.text(LEFT, lines[0], _title(topic, self.entry), color=colours.text, fontsize=11,
                         va="center")  # fmt: skip
        self.canvas.text(LEFT, lines[1], visible(self.entry.axis.title), color=colours.quiet,
                         va="center")  # fmt: skip
        self.canvas.text(1 - LEFT, lines[0], str(self.series.state), color=colours.text, ha="right",
                         va="center")  # fmt: skip
        first, last = (self.series.points[at].at[:10] for at in (0, -1))
        self.canvas.text(1 - LEFT, lines[1], f"{first} to {last}", color=colours.quiet, ha="right",
                         va="center")  # fmt: skip
        locator = AutoDateLocator(minticks=3, maxticks=8)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(
            ConciseDateFormatter(locator, show_offset=False)  # type: ignore[no-untyped-call]
        )
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        axis = self.entry.axis
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value, axis)))

    def _points(self) -> None:
        valued = [(self.place[it.run_id], it.value, it) for it in self.series.valued if it.value]
        ends = [(at, it.low, it.high) for at, _, it in valued if it.low and it.high]
        if ends:
            self.axes.vlines(*zip(*ends, strict=True), color=self.colour, linewidth=0.7, alpha=0.35)
        suspect = len(valued) - (self.series.state == State.SUSPECT)
        x, y = [at for at, _, _ in valued], [value for _, value, _ in valued]
        pen: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 3.4,
                               "color": self.colour}  # fmt: skip
        self.axes.plot(x[:suspect], y[:suspect], **pen)
        if suspect < len(x):
            pen |= {"markersize": 6, "markerfacecolor": LIGHT.background, "markeredgewidth": 1.4}
            self.axes.plot(x[suspect:], y[suspect:], **pen)
        self._limits(y)
        gone = [at for at, it in zip(self.at, self.series.points, strict=True) if it.value is None]
        place = blended_transform_factory(self.axes.transData, self.axes.transAxes)
        self.axes.plot(gone, [0.03] * len(gone), linestyle="none", marker="x", markersize=4.5,
                       color=LIGHT.quiet, transform=place)  # fmt: skip

    def _limits(self, values: Sequence[float]) -> None:
        """What is drawn with room around it; not from zero: it is about changes. Intervals of few
        blocks are wide, and are cut off, so that they do not make the rest flat.
        """
        if not values:
            self.axes.set_ylim(0, 1)
            self.axes.set_yticks([])
            return
        low, high = min(values), max(values)
        room = max(ROOM * (high - low), LEAST * high)
        self.axes.set_ylim(max(0, low - room), high + room)

    def _levels(self) -> None:
        valued = self.series.valued
        for it in self.series.segments:
            ends = [self.place[valued[at].run_id] for at in (it.begin, it.end - 1)]
            self.axes.plot(ends, [it.value] * 2, color=LIGHT.text, linewidth=1.5, zorder=3)

    def _changes(self) -> None:
        """A line where the level changed, with its size."""
        shown = self.series.changes[-TOLD:]
        place = blended_transform_factory(self.axes.transData, self.axes.transAxes)
        for it in self.series.changes:
            at = self.place[it.run_id]
            self.axes.axvline(at, color=LIGHT.text, linewidth=0.9,
                              linestyle="-" if it.settled else (0, (3, 2)))  # fmt: skip
            if it in shown:
                self.axes.text(at, 0.99, f" {it.ratio - 1:+.1%}", color=LIGHT.text, fontsize=8,
                               va="top", transform=place)  # fmt: skip

    def _events(self) -> None:
        for it in events(self.series.points):
            self.axes.axvline(self.at[it.at], color=LIGHT.quiet, linewidth=0.7, alpha=0.7,
                              linestyle=_dash(it))  # fmt: skip


def _dash(event: Event) -> Any:
    return (0, (5, 3)) if event.kind == "version" else (0, (1, 2))


def _title(topic: Topic, entry: Entry) -> str:
    return visible(f"{entry.name}: {topic.scenario}, {topic.load}")


def _tick(value: float, axis: Any) -> str:
    if axis.unit == "bytes":
        return f"{value / 2**20:.4g} MiB"
    return tick_text(value, axis)
