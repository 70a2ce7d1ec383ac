"""Figures as Vega-Lite: a specification that the page draws, data and all.

What differs between a light and a dark page are colours alone, see `style.LIGHT` and `DARK`.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd

from harness.report.figures.configuration import Spec, config
from harness.report.figures.expressions import DIGITS, written, written_ticks
from harness.report.figures.figure import CROSS, SOLID, Axis, Figure
from harness.report.figures.labels import Place, around
from harness.report.figures.scale import Scale, scale
from harness.report.figures.style import Style, Theme, theme

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
HEIGHTS = {"lines": 320, "trace": 300, "scatter": 360}
SMALL = 150
ROW = 21  # pixels of a row of dots
LABELLED_WIDTH, LABELLED = 640.0, 420  # where labels are placed for, and shown from, in pixels
X_SHAPE = "M-.7,-.7L.7,.7M.7,-.7L-.7,.7"
DASH_OF = ([1, 0], [5, 3], [2, 2])
# not by the signal `width`: it changes while the legend is laid out, and rows are cut off
COLUMNS = "max(1, floor((containerSize()[0] || 800) / 190))"
GREY = Style(None, "circle", ())


def vega(figure: Figure, dark: bool = False) -> Spec:
    """The specification; it is as wide as what it stands in.

    Data lie in `datasets`: `points`, and `faint`, `curve` and `marks` where there are any. Names
    in the legend and lines can be picked, and hovering dims the others.
    """
    return _spec(_Drawn(figure, theme(dark)))


def light_and_dark(figure: Figure) -> tuple[Spec, Spec]:
    """Both specifications, of the same data."""
    drawn = _Drawn(figure, theme(dark=False))
    light = _spec(drawn)
    drawn.theme = theme(dark=True)
    return light, _spec(drawn)


def _spec(drawn: _Drawn) -> Spec:
    figure = drawn.figure
    draw = {"dots": drawn.dots, "lines": drawn.lines, "trace": drawn.trace,
            "scatter": drawn.scatter}  # fmt: skip
    # the first layers share their positions, and with them the axes
    inner = {"layer": draw[figure.kind](), "encoding": drawn.positions()}
    layers = [inner, *drawn.marks()]
    return {
        "$schema": SCHEMA,
        "description": f"{figure.title}. {figure.says}",
        "width": "container",
        "height": drawn.height(),
        "autosize": {"type": "fit-x", "contains": "padding"},
        "datasets": drawn.datasets,
        "layer": layers,
        "config": config(drawn.theme),
        # `ast`: expressions are interpreted, so that a page may forbid eval
        "usermeta": {"embedOptions": {"renderer": "svg", "actions": False, "ast": True}},
    }


class _Drawn:
    """One figure on its way to a specification."""

    def __init__(self, figure: Figure, colours: Theme) -> None:
        self.figure, self.theme = figure, colours
        self.x = scale(figure, figure.x) if figure.x.column != figure.group else None
        self.y = scale(figure, figure.y) if figure.y.column != figure.group else None
        self.names = figure.names
        if figure.curve is not None:
            self.names += [it for it in figure.curve[figure.group].unique() if it not in self.names]
        self.grey = [it for it in self.names if figure.styles.get(it, GREY).hue is None]
        behind = figure.frame[figure.group].isin(self.grey) & (figure.kind != "dots")
        frame = pd.concat([figure.frame[behind], figure.frame[~behind]])
        self.datasets: dict[str, list[Spec]] = {"points": self._rows(frame)}
        for name, beside in (("faint", figure.faint), ("curve", figure.curve)):
            if beside is not None:
                self.datasets[name] = self._rows(beside)

    def height(self) -> int | Spec:
        """In pixels, of all or of a row."""
        if self.figure.kind == "dots":
            return {"step": ROW}
        return SMALL if self.figure.small else HEIGHTS[self.figure.kind]

    def dots(self) -> list[Spec]:
        """Rows of names: trials, intervals, what was expected, the medians."""
        figure, layers = self.figure, []
        if figure.faint is not None:
            mark = {"type": "point", "size": 14, "opacity": 0.45}
            layers.append(self._layer("faint", mark, self._faces(figure.faint)))
        layers += self._intervals()
        if figure.against:
            tick = {"type": "tick", "thickness": 2, "size": 15, "color": self.theme.text}
            layers.append(self._layer("points", tick, {"x": self._place("x", figure.against)}))
        point = {"type": "point", "size": 75, "strokeWidth": 2, "opacity": 1}
        point["tooltip"] = self._tips()
        return [*layers, self._layer("points", point, self._faces(figure.frame))]

    def lines(self) -> list[Spec]:
        """Measured points with intervals, joined; and what was fitted to them."""
        figure, layers = self.figure, []
        if figure.curve is not None:
            thin = {"type": "line", "strokeWidth": 1, "opacity": 0.7}
            layers.append(self._layer("curve", thin, {"color": self._colour(legend=False)}))
        layers += self._intervals()
        return [*layers, self._line(2 if figure.curve is None else 0.6), *self._points(55)]

    def trace(self) -> list[Spec]:
        """Lines alone; their points are there to be pointed at."""
        return [self._line(1.8), *self._points(40, seen=False)]

    def scatter(self) -> list[Spec]:
        """Points with their names beside them, as far as there is room."""
        point = {"type": "point", "size": 90, "strokeWidth": 2, "tooltip": self._tips()}
        faces = self._faces(self.figure.frame, legend=True, shapes=True)
        points = self._layer("points", point, faces)
        points["params"] = [_picked(self.figure.group), _over(self.figure.group)]
        points["encoding"]["opacity"] = _dimmed(0.2)
        best_first = sorted(
            self.datasets["points"], key=lambda row: row[self.figure.group] in self.grey
        )
        for row, place in zip(best_first, self._places(best_first), strict=True):
            if place is not None:
                row |= {"dx": place.dx, "dy": place.dy, "side": place.align}
        text = {
            "type": "text", "fontSize": 11, "baseline": "middle", "color": self.theme.quiet,
            **{to: {"expr": f"datum.{name}"} for to, name in
               (("dx", "dx"), ("dy", "dy"), ("align", "side"))},
        }  # fmt: skip
        shown = {"condition": {"test": f"isValid(datum.side) && width > {LABELLED}", "value": 1},
                 "value": 0}  # fmt: skip
        named = {"text": {"field": self.figure.group}, "opacity": shown}
        return [points, self._layer("points", text, named)]

    def marks(self) -> list[Spec]:
        """Reference lines with their texts."""
        layers: list[Spec] = []
        for of in ("x", "y"):
            own = [mark for mark in self.figure.marks if mark.of == of]
            if not own:
                continue
            along = self._scale(of)
            self.datasets[f"marks_{of}"] = [
                {"at": _number(mark.at / along.factor), "text": mark.text} for mark in own
            ]
            place = {of: self._place(of, "at")}
            rule = {"type": "rule", "strokeDash": [4, 3], "color": self.theme.quiet}
            beside = {"dx": -4, "align": "right", "y": -5} if of == "x" else {
                "dy": -6, "align": "right", "x": "width"}  # fmt: skip
            if of == "x" and own[0].at - along.low < 0.5 * (along.high - along.low):
                beside |= {"dx": 4, "align": "left"}
            text = {"type": "text", "fontSize": 10, "color": self.theme.quiet, **beside}
            layers += [
                self._layer(f"marks_{of}", rule, place),
                self._layer(f"marks_{of}", text, place | {"text": {"field": "text"}}),
            ]
        return layers

    def _rows(self, frame: pd.DataFrame) -> list[Spec]:
        """The columns that are drawn, in the units in which they are."""
        figure = self.figure
        wanted = [
            figure.x.column, figure.y.column, figure.group, figure.low, figure.high, figure.against,
            figure.shown, figure.dashed, *(tip.column for tip in figure.tips),
        ]  # fmt: skip
        columns = [it for it in dict.fromkeys(wanted) if it in frame]
        kept = frame[columns].copy()
        for along in (self.x, self.y):
            if along is not None and along.factor != 1:
                ends = (figure.low, figure.high, figure.against)
                drawn = [along.axis.column, *(it for it in ends if it and self._values is along)]
                for column in set(drawn) & set(kept):
                    kept[column] = pd.to_numeric(kept[column]) / along.factor
        return [
            {str(name): _plain(value) for name, value in row.items() if not _missing(value)}
            for row in kept.to_dict("records")
        ]

    @property
    def _values(self) -> Scale:
        """The axis along which the intervals lie."""
        return self._scale("x" if self.figure.kind == "dots" else "y")

    def _scale(self, of: str) -> Scale:
        found = self.x if of == "x" else self.y
        if found is None:
            raise ValueError(f"{self.figure.name} has names along {of}, and no numbers")
        return found

    def _layer(self, data: str, mark: Spec, encoding: Spec) -> Spec:
        # the description tells it in words; thousands of points one by one do not
        return {"data": {"name": data}, "mark": {**mark, "aria": False}, "encoding": encoding}

    def positions(self) -> Spec:
        """Where points lie, and the axes that tell it."""
        return {of: self._position(of) for of in ("x", "y")}

    def _place(self, of: str, column: str) -> Spec:
        """Where another column lies, on the axis that is there."""
        return {"field": column, "type": "quantitative", "title": self._scale(of).title}

    def _position(self, of: str) -> Spec:
        along = self.x if of == "x" else self.y
        if along is None:
            names = {"field": self.figure.group, "type": "nominal", "sort": self.names}
            return names | {"title": None, "axis": {"labelLimit": 190, "ticks": False}}
        lined = self.figure.kind == "trace" or of == "y"
        domain: Spec = {"zero": not along.axis.log and (of == "y" or self.y is None), "nice": False}
        if along.axis.log:
            domain = {"type": "log", "nice": False}
            domain["domain"] = [_number(along.low * 0.9), _number(along.high * 1.1)]
            if of == "x" and self.figure.kind == "trace":
                domain["domain"] = [_number(along.low), _number(along.high)]
        elif not (of == "x" and self.figure.kind == "trace"):
            domain["nice"] = True
        if self.figure.kind == "scatter" and not along.axis.log:
            domain |= {"zero": True, "nice": True}
        axis: Spec = written_ticks(along) | {"grid": True}
        axis["tickCount"] = 5 if lined else {"expr": "max(2, floor(width / 90))"}
        if along.ticks:
            axis["values"] = [value for value, _ in along.ticks]
        if along.axis.ticks:
            texts = {f"{_plain(value)}": text for value, text in along.axis.ticks}
            axis = {**axis, "labelExpr": f"{json.dumps(texts)}[datum.value]"}
        return {
            "field": along.axis.column,
            "type": "quantitative",
            "title": along.title,
            "scale": domain,
            "axis": axis,
        }

    def _colour(self, legend: bool) -> Spec:
        colours = [self.theme.colour(self.figure.styles.get(it, GREY)) for it in self.names]
        return {
            "field": self.figure.group,
            "type": "nominal",
            "scale": {"domain": self.names, "range": colours},
            "legend": self._legend() if legend else None,
        }

    def _legend(self) -> Spec | None:
        """The names that have a colour; the grey ones tell theirs on hovering."""
        coloured = [it for it in self.names if it not in self.grey]
        if len(self.names) < 2:
            return None
        lined = self.figure.kind == "trace"
        return {"title": None, "orient": "bottom", "labelLimit": 150, "values": coloured,
                "columns": {"expr": COLUMNS},
                **({"symbolType": "stroke", "symbolSize": 500} if lined else {})}  # fmt: skip

    def _faces(self, frame: pd.DataFrame, legend: bool = False, shapes: bool = False) -> Spec:
        """Colour, fill and shape of points, which tell the name and what it is worth."""
        figure = self.figure
        colour = self._colour(legend)
        face: Spec = {"stroke": colour, "fill": colour}
        own: Spec = {"value": "circle"}
        if shapes:
            made = [figure.styles.get(it, GREY).shape for it in self.names]
            own = {"field": figure.group, "type": "nominal", "legend": colour["legend"],
                   "scale": {"domain": self.names, "range": made}}  # fmt: skip
        if figure.shown and figure.shown in frame and set(frame[figure.shown]) - {SOLID}:
            solid = f"datum.{figure.shown} === '{SOLID}'"
            face["fill"] = {"condition": {"test": solid, **colour},
                            "value": self.theme.background}  # fmt: skip
            crossed = f"datum.{figure.shown} === '{CROSS}'"
            # a condition with a value goes before a scale
            own = {**own, "condition": {"test": crossed, "value": X_SHAPE}}
        return face | {"shape": own}

    def _intervals(self) -> list[Spec]:
        figure = self.figure
        if not figure.low or not figure.high or figure.frame[figure.low].isna().all():
            return []
        of = "x" if figure.kind == "dots" else "y"
        rule: Spec = {"type": "rule", "strokeWidth": 2 if figure.kind == "dots" else 1.2}
        ends = {of: self._place(of, figure.low), f"{of}2": {"field": figure.high}}
        ends["color"] = self._colour(legend=False)
        if figure.kind == "lines":
            ends["opacity"] = _dimmed(0.1)
        return [self._layer("points", rule, ends)]

    def _line(self, width: float) -> Spec:
        figure = self.figure
        encoding = {"color": self._colour(legend=True), "opacity": _dimmed(0.12)}
        if figure.dashed:
            kinds = list(dict.fromkeys(figure.frame[figure.dashed]))
            encoding["strokeDash"] = {
                "field": figure.dashed, "type": "nominal",
                "scale": {"domain": kinds, "range": [*DASH_OF[: len(kinds)]]},
                "legend": {"title": None, "orient": "bottom",
                           "symbolStrokeColor": self.theme.quiet},
            }  # fmt: skip
        elif len(self.names) > 1:
            dashes = [[*(figure.styles.get(it, GREY).dash or (1, 0))] for it in self.names]
            encoding["strokeDash"] = {
                "field": figure.group, "type": "nominal", "legend": self._legend(),
                "scale": {"domain": self.names, "range": dashes},
            }  # fmt: skip
        if self.grey:
            widths = [0.7 if it in self.grey else width for it in self.names]
            encoding["strokeWidth"] = {
                "field": figure.group, "type": "nominal", "legend": None,
                "scale": {"domain": self.names, "range": widths},
            }  # fmt: skip
        mark = {"type": "line", "strokeWidth": width}
        return self._layer("points", mark, encoding) | {"params": [_picked(figure.group)]}

    def _points(self, size: float, seen: bool = True) -> list[Spec]:
        """The points of lines, which hovering meets."""
        figure = self.figure
        mark: Spec = {"type": "point", "size": size, "strokeWidth": 1.5, "tooltip": self._tips()}
        encoding: Spec = {}
        if seen:
            encoding = self._faces(figure.frame, shapes=True) | {"opacity": _dimmed(0.12)}
        else:
            mark |= {"type": "circle", "opacity": 0}
        return [self._layer("points", mark, encoding) | {"params": [_over(figure.group)]}]

    def _tips(self) -> Spec:
        """What hovering tells; numbers are formatted then, which keeps the data small."""
        figure = self.figure
        told = [(figure.group, f"datum.{figure.group}")]
        for along in (self.x, self.y):
            if along is not None and not along.axis.ticks:
                told.append((along.axis.title, written(along.axis, along.factor)))
        values = self._values
        for column, end in ((figure.low, "least"), (figure.high, "greatest")):
            if column and figure.frame[column].notna().any():
                told.append((end, written(Axis(column, end, values.axis.unit), values.factor)))
        told += [(tip.title, self._tip(tip)) for tip in figure.tips]
        pairs = ", ".join(f"{json.dumps(title)}: {text}" for title, text in told)
        return {"expr": f"{{{pairs}}}"}

    def _tip(self, axis: Axis) -> str:
        numeric = pd.api.types.is_numeric_dtype(self.figure.frame[axis.column])
        return written(axis, 1.0) if numeric else f"datum.{axis.column}"

    def _places(self, rows: list[Spec]) -> list[Place | None]:
        width, height = LABELLED_WIDTH, HEIGHTS["scatter"]
        x, y = self._scale("x"), self._scale("y")
        at = [
            (width * _along_axis(x, row[x.axis.column]),
             height * (1 - _along_axis(y, row[y.axis.column])), str(row[self.figure.group]))
            for row in rows
        ]  # fmt: skip
        return around(at, width, height)


def _along_axis(along: Scale, value: float) -> float:
    """How far along its axis a value is, 0..1."""
    if along.axis.log:
        low, high = math.log(along.low * 0.9), math.log(along.high * 1.1)
        return (math.log(value) - low) / (high - low)
    return value / (along.high * 1.05)


def _picked(group: str) -> Spec:
    return {"name": "picked", "select": {"type": "point", "fields": [group]}, "bind": "legend"}


def _over(group: str) -> Spec:
    pointing = {"type": "point", "fields": [group], "on": "pointerover", "clear": "pointerout"}
    return {"name": "over", "select": pointing}


def _dimmed(rest: float) -> Spec:
    """Opaque where picked and pointed at, or where nothing is."""
    both = {"and": [{"param": "picked"}, {"param": "over"}]}
    return {"condition": {"test": both, "value": 1}, "value": rest}


def _number(value: float) -> float | int:
    shorter = float(f"{value:.{DIGITS}g}")
    return int(shorter) if shorter.is_integer() and abs(shorter) < 1e15 else shorter


def _plain(value: Any) -> Any:
    """A value as JSON has it, with as many digits as it needs."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | float | np.number):
        return _number(float(value))
    return str(value)


def _missing(value: Any) -> bool:
    return bool(pd.api.types.is_scalar(value) and pd.isna(value))
