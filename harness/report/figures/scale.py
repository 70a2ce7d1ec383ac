"""Axes in numbers: the units in which they are drawn, their ticks, and their texts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.report import units
from harness.report.figures.figure import Axis, Figure

MOST = 7  # ticks of a logarithmic axis


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis as it is drawn: values over `factor`, under a `title` that names the unit.

    `ticks` are None where the renderer chooses, as it may on a linear axis.
    """

    axis: Axis
    factor: float
    title: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...] | None


def scale(figure: Figure, axis: Axis) -> Scale:
    """The scale of an axis over all that is drawn along it."""
    low, high = _reach(figure, axis)
    factor, unit = 1.0, ""
    if axis.unit == "bytes":
        factor, unit = (2.0**20, ", MiB") if high >= 4 * 2**20 else (2.0**10, ", KiB")
    ticks = axis.ticks or None
    if axis.log and not ticks:
        ticks = tuple((it, tick_text(it, axis)) for it in log_ticks(low / factor, high / factor))
    return Scale(axis, factor, f"{axis.title}{unit}", low / factor, high / factor, ticks)


def log_ticks(low: float, high: float) -> list[float]:
    """The finest of some round steps in each power of ten that makes MOST ticks or fewer."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 5), (1, 3), (1,)):
        told = [step * 10.0**it for it in decades for step in steps]
        inside = [it for it in told if low * 0.98 <= it <= high * 1.02]
        if len(inside) <= MOST:
            break
    return [float(f"{it:.3g}") for it in inside]


def tick_text(value: float, axis: Axis) -> str:
    """A tick's text: as the report writes it, without digits that say nothing."""
    if not value:
        return "0"
    if axis.unit == "s":
        number, _, unit = units.seconds(value).partition(" ")
        return f"{_bare(number)} {unit}"
    return f"{value:.0%}" if axis.unit == "share" else _bare(f"{value:,.6f}")


def value_text(value: object, axis: Axis) -> str:
    """A value with its unit."""
    if not isinstance(value, int | float | np.number):
        return str(value)
    show = {"s": units.seconds, "bytes": units.size, "/s": units.rate, "share": units.share}
    return show.get(axis.unit, units.significant)(float(value))


def _bare(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number else number


def _reach(figure: Figure, axis: Axis) -> tuple[float, float]:
    """The least and the greatest of an axis's values, intervals and references included."""
    along = "x" if axis is figure.x else "y"
    columns = [axis.column]
    if (figure.kind == "dots") == (along == "x"):
        columns += [it for it in (figure.low, figure.high, figure.against) if it]
    frames = [it for it in (figure.frame, figure.faint, figure.curve) if it is not None]
    values = [
        pd.to_numeric(it[column]).dropna() for it in frames for column in columns if column in it
    ]
    values.append(pd.Series([mark.at for mark in figure.marks if mark.of == along], dtype=float))
    whole = pd.concat([it for it in values if len(it)])
    if axis.log:
        whole = whole[whole > 0]
    return float(whole.min()), float(whole.max())
