"""Figures as matplotlib draws them: for report.md, papers and notebooks.

Only matplotlib's objects are used, never pyplot, so that nothing is shared between figures. SVG
keeps its texts as texts: they can be searched and read aloud, and files are a fifth of the size.
The same figure gives the same bytes.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.figure
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from matplotlib.transforms import blended_transform_factory

from harness.report.figures.figure import CROSS, HOLLOW, SOLID, Figure, Mark
from harness.report.figures.labels import around, spread
from harness.report.figures.scale import Scale, scale, tick_text
from harness.report.figures.style import LIGHT, Style, theme
from harness.store import write_text

DPI = 100
POINTS = 72 / DPI  # of a pixel: offsets in points are the same at any resolution
WIDTH, HEIGHT, SMALL, ROW = 8.2, 4.2, 2.4, 0.215  # inches
TOP, ONE_LINE, BOTTOM, RIGHT = 0.62, 0.42, 0.5, 0.25
LETTER, LEFT = 0.071, 0.78  # inches: how wide a letter of a label is about, and the least margin
LABELLED = 20  # lines with a name at their end; of more, those that have a colour
GAP = 11.0  # pixels between names at the ends of lines
MARKERS = {
    "circle": "o", "square": "s", "triangle-up": "^", "diamond": "D", "triangle-down": "v",
    "triangle-right": ">",
}  # fmt: skip
DASHED = ("-", (0, (4, 2)), (0, (1, 1.5)))
GREY = Style(None, "circle", ())
SETTINGS: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.size": 8.5,
    "text.parse_math": False,  # a name may hold a $
    "svg.fonttype": "none",
    "svg.hashsalt": "gatebench",
    "axes.unicode_minus": False,
}


def plot(figure: Figure) -> matplotlib.figure.Figure:
    """The figure on a canvas of its own, for a light background."""
    with _settings():
        return _Plot(figure).drawn()


def write_svg(figure: Figure, path: Path) -> Path:
    """The figure as SVG, whole or not at all."""
    text = io.StringIO()
    with _settings():
        facts = {"Date": None, "Creator": None, "Title": figure.title, "Description": figure.says}
        plot(figure).savefig(text, format="svg", metadata=facts)
    write_text(path, text.getvalue())
    return path


def write_png(figure: Figure, path: Path) -> Path:
    """The figure as PNG, twice as fine as a screen's points."""
    with _settings():
        plot(figure).savefig(path, format="png", dpi=2 * DPI, metadata={"Software": None})
    return path


@contextmanager
def _settings() -> Iterator[None]:
    with mpl.rc_context(SETTINGS):  # type: ignore[arg-type] # its type lists every key by name
        yield


class _Plot:
    """One figure on its way to a canvas."""

    def __init__(self, figure: Figure) -> None:
        self.figure = figure
        self.names = figure.names
        self.theme = LIGHT
        self.place = {name: at for at, name in enumerate(self.names)}
        self.x = scale(figure, figure.x)
        self.y = None if figure.kind == "dots" else scale(figure, figure.y)
        top = TOP if self.y else ONE_LINE
        height = (
            (SMALL if figure.small else HEIGHT)
            if self.y
            else top + BOTTOM + ROW * max(2, len(self.names))
        )
        self.canvas = matplotlib.figure.Figure(
            figsize=(WIDTH, height), dpi=DPI, facecolor=self.theme.background
        )
        longest = max(map(len, self.names))
        left = max(LEFT, 0.2 + LETTER * longest) if self.y is None else LEFT
        right = 0.25 + LETTER * longest if figure.kind in ("lines", "trace") else RIGHT
        room = (WIDTH - left - right) / WIDTH, (height - top - BOTTOM) / height
        self.axes: Axes = self.canvas.add_axes((left / WIDTH, BOTTOM / height, *room))
        self.pixels = (room[0] * WIDTH * DPI, room[1] * height * DPI)

    def drawn(self) -> matplotlib.figure.Figure:
        """The canvas with all on it."""
        self._frame()
        {"dots": self._dots, "lines": self._lines, "trace": self._lines,
         "scatter": self._scatter}[self.figure.kind]()  # fmt: skip
        for mark in self.figure.marks:
            self._mark(mark)
        return self.canvas

    def _frame(self) -> None:
        axes, colours = self.axes, self.theme
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color(colours.grid)
        axes.tick_params(colors=colours.quiet, length=0, labelsize=8.5)
        axes.grid(True, axis="x" if self.y is None else "both", color=colours.grid, linewidth=0.7)
        axes.set_axisbelow(True)
        height = self.canvas.get_figheight()
        self.canvas.text(
            0.12 / WIDTH, 1 - 0.2 / height, self.figure.title,
            color=colours.text, fontsize=11, va="center",
        )  # fmt: skip
        self._axis("x", self.x)
        axes.set_xlabel(self.x.title, color=colours.quiet)
        if self.y is not None:
            self._axis("y", self.y)
            self.canvas.text(
                0.12 / WIDTH, 1 - 0.46 / height, self.y.title, color=colours.quiet, va="center"
            )
        else:
            axes.set_yticks(range(len(self.names)), self.names)
            axes.set_ylim(len(self.names) - 0.4, -0.6)

    def _axis(self, of: str, along: Scale) -> None:
        """Limits and ticks."""
        axis = self.axes.xaxis if of == "x" else self.axes.yaxis
        limits = self.axes.set_xlim if of == "x" else self.axes.set_ylim
        low, high = _limits(self.figure, of, along)
        if along.axis.log:
            (self.axes.set_xscale if of == "x" else self.axes.set_yscale)("log")
        limits(low, high)
        axis.set_minor_locator(NullLocator())
        if along.ticks is None:
            axis.set_major_locator(MaxNLocator(7 if of == "x" else 5, steps=[1, 2, 2.5, 5, 10]))
            axis.set_major_formatter(FuncFormatter(lambda value, _: tick_text(value, along.axis)))
            return
        axis.set_major_locator(FixedLocator([value for value, _ in along.ticks]))
        axis.set_major_formatter(FixedFormatter([text for _, text in along.ticks]))

    def _dots(self) -> None:
        figure = self.figure
        if figure.faint is not None:
            for row in self._rows(figure.faint):
                self._point(row, self.place[row["name"]], size=2.6, alpha=0.4)
        for row in self._rows(figure.frame):
            at, colour = self.place[row["name"]], self._colour(row["name"])
            if not _missing(row["low"]):
                self.axes.plot([row["low"], row["high"]], [at, at], color=colour, linewidth=1.6)
            if not _missing(row["against"]):
                across = [at - 0.35, at + 0.35]
                self.axes.plot([row["against"]] * 2, across, color=self.theme.text, linewidth=1.6)
            self._point(row, at, size=7)

    def _lines(self) -> None:
        figure, joined = self.figure, self.figure.kind == "lines"
        if figure.curve is not None:
            for name, own in figure.curve.groupby(figure.group, sort=False):
                self.axes.plot(*self._columns(own), color=self._colour(name), linewidth=0.9)
        # grey lines lie behind the coloured ones
        for name in sorted(self.names, key=lambda it: self._style(it).hue is not None):
            own = figure.frame[figure.frame[figure.group] == name]
            kinds = [None] if figure.dashed is None else list(own[figure.dashed].unique())
            for kind in kinds:
                told = own if kind is None else own[own[figure.dashed] == kind]
                self.axes.plot(*self._columns(told), **self._pen(name, kind))
            if joined:
                for row in self._rows(own):
                    self._interval(row)
                    self._point(row, row["y"], size=5, shaped=True)
        self._ends()

    def _scatter(self) -> None:
        rows = list(self._rows(self.figure.frame))
        for row in reversed(rows):  # the first lie on top
            self._point(row, row["y"], size=7, shaped=True)
        width, height = self.pixels
        at = [self._pixels(row["x"], row["y"]) for row in rows]
        points = [(x, height - y, row["name"]) for (x, y), row in zip(at, rows, strict=True)]
        for row, place in zip(rows, around(points, width, height), strict=True):
            if place is not None:
                self.axes.annotate(
                    row["name"], (row["x"], row["y"]), (place.dx * POINTS, -place.dy * POINTS),
                    textcoords="offset points", ha=place.align, va="center",
                    color=self.theme.quiet, fontsize=8, annotation_clip=False,
                )  # fmt: skip

    def _ends(self) -> None:
        """Names where their lines end, spread so that none lies on another."""
        figure = self.figure
        told = [it for it in self.names if self._style(it).hue is not None]
        told = self.names if len(self.names) <= LABELLED else told
        last = {}
        for name in told:
            own = [row for row in self._rows(figure.frame) if row["name"] == name]
            last[name] = max(own, key=lambda row: (row["x"], row["y"]))
        wanted = [self._pixels(row["x"], row["y"])[1] for row in last.values()]
        places = spread(wanted, GAP, 0, self.pixels[1])
        for name, at in zip(last, places, strict=True):
            self.axes.annotate(
                name, (1, at / self.pixels[1]), (5, 0), self.axes.transAxes,
                textcoords="offset points", va="center", color=self._colour(name), fontsize=8,
                annotation_clip=False,
            )  # fmt: skip
        if figure.dashed:
            kinds = list(dict.fromkeys(figure.frame[figure.dashed]))
            for kind, dash in zip(kinds, DASHED, strict=False):
                self.axes.plot([], [], color=self.theme.quiet, linestyle=dash, label=str(kind))
            self.axes.legend(loc="lower right", frameon=False, ncols=len(kinds),
                             labelcolor=self.theme.quiet, bbox_to_anchor=(1, 1),
                             borderpad=0.4)  # fmt: skip

    def _mark(self, mark: Mark) -> None:
        along = self.x if mark.of == "x" else self._upright
        at, colours = mark.at / along.factor, self.theme
        line: dict[str, Any] = {"color": colours.quiet, "linestyle": (0, (4, 3)), "linewidth": 0.9}
        text: dict[str, Any] = {"color": colours.quiet, "fontsize": 8}
        if mark.of == "x":
            self.axes.axvline(at, **line)
            where = blended_transform_factory(self.axes.transData, self.axes.transAxes)
            right = self._pixels(at, None)[0] < self.pixels[0] / 2
            self.axes.text(at, 1.005, f" {mark.text} ", ha="left" if right else "right",
                           va="bottom", transform=where, **text)  # fmt: skip
        else:
            self.axes.axhline(at, **line)
            where = blended_transform_factory(self.axes.transAxes, self.axes.transData)
            self.axes.text(1, at, mark.text, ha="right", va="bottom", transform=where, **text)

    def _rows(self, frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
        """Points in the axes' units, under the names that the drawing calls them by."""
        figure = self.figure
        values = self.x if self.y is None else self.y
        for row in frame.to_dict("records"):
            told = {
                name: None if column not in row or _missing(row[column])
                else row[column] / values.factor
                for name, column in (("low", figure.low), ("high", figure.high),
                                     ("against", figure.against))
            }  # fmt: skip
            yield {
                "name": str(row[figure.group]),
                "x": row[figure.x.column] / self.x.factor,
                "y": None if self.y is None else row[figure.y.column] / self.y.factor,
                "shown": row.get(figure.shown, SOLID) if figure.shown else SOLID,
                **told,
            }

    def _columns(self, frame: pd.DataFrame) -> tuple[Any, Any]:
        x, y = self.x, self._upright
        return frame[x.axis.column] / x.factor, frame[y.axis.column] / y.factor

    @property
    def _upright(self) -> Scale:
        if self.y is None:
            raise ValueError(f"{self.figure.name} has names along y, and no numbers")
        return self.y

    def _point(
        self, row: dict[str, Any], y: float, size: float, alpha: float = 1.0, shaped: bool = False
    ) -> None:
        """One point: hollow or a cross where it is not to be ranked."""
        colour = self._colour(row["name"])
        crossed = row["shown"] == CROSS
        marker = MARKERS[self._style(row["name"]).shape] if shaped else "o"
        self.axes.plot(
            [row["x"]], [y], marker="x" if crossed else marker, markersize=size, alpha=alpha,
            color=colour, markeredgewidth=1.4 if size > 3 else 0.8,
            markerfacecolor=self.theme.background if row["shown"] == HOLLOW else colour,
            zorder=3, clip_on=False, linestyle="none",
        )  # fmt: skip

    def _interval(self, row: dict[str, Any]) -> None:
        if row["low"] is not None and row["high"] is not None:
            ends = [row["low"], row["high"]]
            self.axes.plot([row["x"]] * 2, ends, color=self._colour(row["name"]), linewidth=1)

    def _pen(self, name: str, kind: str | None) -> dict[str, Any]:
        """How a line is drawn."""
        figure, style = self.figure, self._style(name)
        if kind is not None:
            kinds = list(dict.fromkeys(figure.frame[figure.dashed]))
            dash: Any = DASHED[kinds.index(kind) % len(DASHED)]
        else:
            dash = (0, tuple(it / 2 for it in style.dash)) if style.dash else "-"
        width = 0.7 if style.hue is None else (0.7 if figure.curve is not None else 1.5)
        return {"color": self._colour(name), "linestyle": dash, "linewidth": width}

    def _pixels(self, x: float, y: float | None) -> tuple[float, float]:
        """Where a point lies from the axes' lower left corner."""
        low, high = _limits(self.figure, "x", self.x)
        across = _share(x, low, high, self.x.axis.log) * self.pixels[0]
        if y is None or self.y is None:
            return across, 0.0
        low, high = _limits(self.figure, "y", self.y)
        return across, _share(y, low, high, self.y.axis.log) * self.pixels[1]

    def _style(self, name: str) -> Style:
        return self.figure.styles.get(name, GREY)

    def _colour(self, name: Any) -> str:
        return theme(dark=False).colour(self._style(str(name)))


def _limits(figure: Figure, of: str, along: Scale) -> tuple[float, float]:
    """From zero but for logarithms and time; a little beyond what is drawn."""
    if figure.kind == "trace" and of == "x":
        return along.low, along.high
    if along.axis.log:
        return along.low * 0.9, along.high * 1.1
    if figure.kind == "lines" and of == "x":
        beyond = 0.03 * (along.high - along.low)
        return along.low - beyond, along.high + beyond
    return min(0.0, along.low), along.high * 1.05 or 1.0


def _share(value: float, low: float, high: float, log: bool) -> float:
    if log:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def _missing(value: Any) -> bool:
    return value is None or bool(pd.isna(value))
