"""A figure as a value: tidy data, and what of it is drawn where.

Two renderers draw it, `vega` for the page and `plot` for files. They know the kinds below and
nothing of servers, so that a figure is made once and looks alike in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from harness.report.figures.style import Style

# dots: a name in each row, its value as a dot with an interval; rows are in the frame's order
# lines: few measured points each, joined; trace: many points, drawn as a line alone
# scatter: a labelled point for each name
Kind = Literal["dots", "lines", "trace", "scatter"]
# "" is a plain number, "/s" per second, "share" of 1
Unit = Literal["", "/s", "s", "bytes", "share"]

SOLID, HOLLOW, CROSS = "solid", "hollow", "cross"


@dataclass(frozen=True, slots=True)
class Axis:
    """A column and how it is shown: its values are in `unit`, whatever the axis says.

    `ticks` are values and their texts, where the usual ones would not do.
    """

    column: str
    title: str
    unit: Unit = ""
    log: bool = False
    ticks: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """A reference line across the figure, at a value of the axis `of`."""

    of: Literal["x", "y"]
    at: float
    text: str


@dataclass(frozen=True, eq=False)
class Figure:
    """One figure.

    name: unique in a report, safe as a file's name; kind: see Kind.
    frame: a row per point, in the order in which they are drawn and listed.
    x, y: the axes; of `dots`, y is the names.
    group: the column that colour, shape and dash tell apart; styles: by its values.
    low, high: columns of an interval, along x for `dots` and along y for the others.
    shown: a column of SOLID, HOLLOW or CROSS: what is not to be ranked looks it.
    dashed: a column whose two or three values are told by dashes, in place of the styles'.
    against: of `dots`, a column of what was to be expected in that row, drawn as a bar across.
    faint: more points, small and pale (single trials); curve: thin lines (a fitted law). Both
    have the columns of the axes and of the group.
    tips: what else is said of a point on hovering; small: one of several at a glance.
    about: how to read it; says: what it shows, in words, which is also its text alternative.
    """

    name: str
    title: str
    scenario: str
    kind: Kind
    frame: pd.DataFrame
    x: Axis
    y: Axis
    group: str
    styles: Mapping[str, Style]
    about: str
    says: str
    low: str | None = None
    high: str | None = None
    shown: str | None = None
    dashed: str | None = None
    against: str | None = None
    faint: pd.DataFrame | None = None
    curve: pd.DataFrame | None = None
    marks: tuple[Mark, ...] = ()
    tips: tuple[Axis, ...] = field(default=())
    small: bool = False

    @property
    def names(self) -> list[str]:
        """The groups, in the frame's order."""
        return [str(name) for name in self.frame[self.group].unique()]
