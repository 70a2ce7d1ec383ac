"""How the notebooks show what they found: sentences, tables, figures, and where there is nothing.

Names of servers come from outside: they stand in code spans and escaped cells, and matplotlib does
not read them as formulas.
"""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from IPython.display import HTML, Image, Markdown, display
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from harness import UnreadableRunError

RANKED = ("valid", "server-limited")  # verdicts whose figures may be ranked; the others are hollow
LOAD = ["scenario", "model", "users", "rate_per_s", "arrivals"]
SERVER = ["server", "app", "workers", "threads"]
BLUE, GREY, RED, INK = "#2f6db5", "#6e7781", "#b3382c", "#1b1f24"
UNKNOWN = "–"
# Linux tells a process's CPU in steps of 10 ms: of less than that they are over 5 %
LEAST_CPU_S = 0.2
DPI = 144  # of screens that show two dots for a point
POINT = 72

mpl.rcParams.update({
    "text.parse_math": False,
    "figure.facecolor": "white",  # a page may be dark, ink is not
    "savefig.facecolor": "white",
    "figure.constrained_layout.use": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e7eb",
    "axes.titlesize": "medium",
    "font.size": 9.5,
})  # fmt: skip

Row = Mapping[str, Any]


class NothingToShow(Exception):  # noqa: N818  it is an answer
    """The notebook ends here, and has said why; `gatebench notebooks` takes it for an answer."""

    def _render_traceback_(self) -> list[str]:
        """What IPython prints of it: nothing."""
        return []


def stop(why: str) -> None:
    """End the notebook with a sentence in Markdown."""
    display(Markdown(f"> **Nothing to show.** {why}"))
    raise NothingToShow(why)


@contextmanager
def readable() -> Iterator[None]:
    """Where a run is read: one that cannot be read ends the notebook with the reason."""
    try:
        yield
    except UnreadableRunError as error:
        stop(plain(str(error)))


def say(*sentences: str) -> None:
    """Sentences in Markdown, one below the other; empty ones are left out."""
    display(Markdown("\n".join(f"- {sentence}" for sentence in sentences if sentence)))


def heading(text: str) -> None:
    """A line that says what the next ones are about."""
    display(Markdown(f"**{plain(text)}**"))


def code(name: object) -> str:
    """A name from outside, as Markdown that shows it as it is."""
    return f"`{_visible(str(name)).replace('`', 'ˋ')}`"


def names(several: Iterable[object], most: int = 12) -> str:
    """Names from outside, one after the other, each once; of many the first alone."""
    each = [code(name) for name in dict.fromkeys(several)]
    beyond = len(each) - most
    return ", ".join(each[:most]) + (f" and {beyond} more" if beyond > 0 else "")


def plain(text: str) -> str:
    """A text from outside, of which Markdown and HTML read nothing."""
    return "".join(
        char if char.isalnum() or char in " ,;:/%" else f"&#{ord(char)};" for char in _visible(text)
    )


def table(frame: pd.DataFrame, **units: Callable[[Any], str]) -> None:
    """A table; `units` says for a column, its spaces and `/` as `_`, how its numbers are written.

    The columns without are texts, and begin at the left.
    """
    write = [units.get(re.sub(r"[ /]", "_", str(name))) for name in frame.columns]
    sides = ["left" if how is None else "right" for how in write]
    lines = [_line("th", sides, map(str, frame.columns))]
    for row in frame.itertuples(index=False):
        texts = (
            UNKNOWN if _missing(value) else (how or _text)(value)
            for how, value in zip(write, row, strict=True)
        )
        lines.append(_line("td", sides, texts))
    display(HTML(f"<table>{''.join(lines)}</table>"))


def figure(made: Figure, about: str) -> None:
    """A figure; `about` says in words what it shows, for those who do not see it."""
    picture = io.BytesIO()
    made.savefig(picture, format="png", dpi=DPI)
    plt.close(made)
    width = round(made.get_figwidth() * POINT)
    display(Image(picture.getvalue(), alt=_visible(about), width=width))


def rows(panels: int, lines: int) -> tuple[Figure, Sequence[Axes]]:
    """A figure of so many panels beside each other, with a line for each server."""
    made, axes = plt.subplots(
        1, panels, figsize=(2.2 + 2.9 * panels, 0.9 + 0.27 * lines), sharey=True, squeeze=False
    )
    return made, list(axes[0])


def bars(panel: Axes, frame: pd.DataFrame, column: str, scale: float = 1.0) -> None:
    """A bar for each row of cells, its whisker from the least trial to the greatest.

    Hollow where the row's verdict is not to be ranked.
    """
    place, values = np.arange(len(frame)), numbers(frame[column]) * scale
    known = np.isfinite(values)
    solid = frame["verdict"].isin(RANKED).to_numpy(dtype=bool)[known]
    colors = [BLUE if filled else "none" for filled in solid]
    panel.barh(place[known], values[known], 0.66, color=colors, edgecolor=BLUE, linewidth=1)
    if not known.any():
        panel.set_xlim(0, 1)
        panel.set_xticks([])
        panel.text(0.5, 0.5, "not known", transform=panel.transAxes, ha="center", color=GREY)
    if f"{column}_low" in frame:
        low, high = (numbers(frame[f"{column}_{end}"]) * scale for end in ("low", "high"))
        several = np.isfinite(low)
        panel.hlines(place[several], low[several], high[several], color=INK, linewidth=1)
    beside(panel, frame)


def beside(panel: Axes, frame: pd.DataFrame) -> None:
    """The servers' names down the left side, the first at the top."""
    panel.set_yticks(np.arange(len(frame)), [_visible(who)[:44] for who in frame["who"]])
    panel.set_ylim(len(frame) - 0.4, -0.6)
    panel.grid(visible=False, axis="y")


def spans(panel: Axes, frame: pd.DataFrame) -> None:
    """A line from p50 to p99 for each row of cells, in milliseconds; hollow as `bars`."""
    p50, p90, p99 = (numbers(frame[f"{name}_s"]) * 1e3 for name in ("p50", "p90", "p99"))
    solid = frame["verdict"].isin(RANKED).to_numpy(dtype=bool)
    fill = [BLUE if filled else "white" for filled in solid]
    place = np.arange(len(frame))
    panel.hlines(place, p50, p99, color=GREY, linewidth=1.2)
    panel.scatter(p90, place, 60, GREY, marker="|")
    for values, shape in ((p50, "o"), (p99, "D")):
        panel.scatter(values, place, 22, fill, marker=shape, edgecolors=BLUE, zorder=3)
    panel.set_xscale("log")
    few(panel.xaxis, [*p50, *p99])
    panel.set_xlabel("p50 ●, p90 |, p99 ◆, ms")
    beside(panel, frame)


def few(axis: Axis, values: Sequence[float]) -> None:
    """Few and plain numbers at an axis of logarithms that shows `values`."""
    known = [value for value in values if value > 0]
    wide = bool(known) and max(known) / min(known) > 30
    axis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:,.4g}"))
    axis.set_minor_formatter(NullFormatter())


def numbers(values: pd.Series[Any]) -> npt.NDArray[np.float64]:
    """A column as floats, missing values as NaN."""
    return pd.to_numeric(values, errors="coerce").to_numpy(dtype=float, na_value=np.nan)


def defended(frame: pd.DataFrame) -> pd.DataFrame:
    """Cells or trials without CPU figures that rest on too few steps of the kernel's clock."""
    used_s = numbers(frame["server_cpu_s_per_1k"]) * numbers(frame["requests"]) / 1000
    figures = [name for name in map(str, frame) if name.startswith("server_cpu_s_per_1k")]
    known = frame.copy()
    known[figures] = known[figures].where(pd.Series(used_s >= LEAST_CPU_S, frame.index), np.nan)
    return known


def labels(frame: pd.DataFrame) -> list[str]:
    """A name for each row of cells under one load: its server, and what tells it from others."""
    told = [column for column in SERVER if column != "server"]
    found = []
    for row in frame.to_dict("records"):
        rivals = frame[frame["server"] == row["server"]]
        parts = [_part(column, row[column]) for column in told if _differs(rivals[column])]
        found.append(f"{row['server']} ({', '.join(parts)})" if parts else str(row["server"]))
    return found


def load(row: Row) -> str:
    """The load of a row of cells, such as `32 users, closed`."""
    users = f"{int(row['users'])} users"
    if row["model"] == "closed":
        return f"{users}, closed"
    return f"{row['rate_per_s']:,.4g}/s {row['arrivals']}, at most {users}"


def loads(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of each scenario and load, with a title for them; cells get a name, `who`."""
    for _, group in frame.groupby(LOAD, sort=False, dropna=False):
        first = group.iloc[0]
        named = group.assign(who=labels(group)) if "server" in group else group
        yield f"{first['scenario']} ({load(dict(first))})", named.reset_index(drop=True)


# -- numbers as people read them ---------------------------------------------------------------


def rate(value: float) -> str:
    """Per second."""
    return f"{value:,.0f}/s" if value >= 100 else f"{value:.3g}/s"


def seconds(value: float) -> str:
    """A time in the unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= size:
            return f"{value / size:.3g} {unit}" if value / size < 999.5 else f"{value:,.0f} s"
    return f"{value * 1e9:.3g} ns"


def memory(value: float) -> str:
    """Bytes in the unit that suits it."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f} B"


def share(value: float) -> str:
    """A part of a whole."""
    return f"{value:.0%}" if value >= 0.1 or not value else f"{value:.2%}"


def ratio(value: float) -> str:
    """A ratio, to a tenth of a percent."""
    return f"{value:.3f}" if value < 10 else f"{value:.3g}"


def count(value: float) -> str:
    """How many."""
    return f"{value:,.0f}"


def plural(value: float, what: str) -> str:
    """A whole number of things: 1 block, 8 blocks."""
    return f"{value:,.0f} {what}" + "s" * (value != 1)


def number(value: float) -> str:
    """Three digits."""
    return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _line(kind: str, sides: Iterable[str], texts: Iterable[str]) -> str:
    """A line of a table."""
    cells = (
        f'<{kind} style="text-align: {side}">{html.escape(text)}</{kind}>'
        for side, text in zip(sides, texts, strict=True)
    )
    return f"<tr>{''.join(cells)}</tr>"


def _part(column: str, value: Any) -> str:
    if column == "app":
        return str(value)
    count = 0 if _missing(value) else value
    return f"{count:g} {column.removesuffix('s')}" + "s" * (count != 1)


def _differs(values: pd.Series[Any]) -> bool:
    return int(values.nunique(dropna=False)) > 1


def _missing(value: Any) -> bool:
    return bool(pd.api.types.is_scalar(value) and pd.isna(value))


def _text(value: Any) -> str:
    if isinstance(value, float):
        return number(value) if math.isfinite(value) else UNKNOWN
    return _visible("; ".join(map(str, value)) if isinstance(value, list | tuple) else str(value))


def _visible(text: str) -> str:
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
