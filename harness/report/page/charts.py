"""Figures as the page carries them: the specification of a drawing, in light and in dark."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from harness.analyze import records
from harness.cache import cache_root
from harness.report.figures.figure import Figure
from harness.report.figures.vega import light_and_dark
from harness.report.page.embed import json_of
from harness.store import write_text

CARD = 250  # pixels, about, of what stands around a drawing: title, text, axis, buttons


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure in the page: its texts, its JSON for charts.js, and about how high it is drawn, in
    pixels.
    """

    name: str
    title: str
    scenario: str
    about: str
    says: str
    data: Markup
    height: float


def chart(figure: Figure, name: str) -> Chart:
    """The chart of a figure, under a name that is its own in the page."""
    light, dark = light_and_dark(figure)
    drawing = {
        "name": figure.name,
        "group": figure.group,
        "heads": _heads(figure),
        "frame": _table(records(_frame(figure)[list(_heads(figure))])),
        "datasets": {name: _table(rows) for name, rows in light.pop("datasets").items()},
        "spec": light,
        "dark": list(_patches(light, {it: dark[it] for it in light})),
    }
    height = light["height"]
    return Chart(
        name, figure.title, figure.scenario, figure.about, figure.says, json_of(drawing),
        height["step"] * len(figure.names) if isinstance(height, dict) else height,
    )  # fmt: skip


def charts(figures: Iterable[Figure]) -> list[Chart]:
    """The charts of a report's figures."""
    return [chart(figure, figure.name) for figure in figures]


def stacks(several: Iterable[Chart]) -> list[tuple[list[Chart], ...]]:
    """Each scenario's charts as one or two stacks that are about as high, to stand side by side."""
    found: dict[str, tuple[list[Chart], list[Chart]]] = {}
    for it in several:
        beside = found.setdefault(it.scenario, ([], []))
        min(beside, key=lambda stack: sum(CARD + it.height for it in stack)).append(it)
    return [tuple(stack for stack in beside if stack) for beside in found.values()]


@cache
def bundle() -> str:
    """Vega, Vega-Lite and vega-embed as one JavaScript module.

    It takes seconds to make, and is kept for the next page where the cache can be written.
    """
    kept = cache_root() / "charts" / f"vl-convert-{version('vl-convert-python')}.js"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return kept.read_text("utf-8")
    import vl_convert  # noqa: PLC0415 - 40 MiB that only a page with charts needs

    made = str(vl_convert.javascript_bundle())  # type: ignore[call-arg] # the stub has no default
    with contextlib.suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_text(kept, made)
    return made


def _frame(figure: Figure) -> pd.DataFrame:
    """The figure's data; where an axis has ticks of its own, what lies at them comes first."""
    frame = figure.frame
    if not figure.x.ticks:
        return frame
    at = np.isclose(frame[figure.x.column].to_numpy()[:, None], [it for it, _ in figure.x.ticks])
    order = np.argsort(~at.any(axis=1), kind="stable")
    return frame.iloc[order]


def _heads(figure: Figure) -> dict[str, str]:
    """The columns of a figure's frame that are its data, with the words for them.

    Of two with the same words the later one is shown: an axis in the reader's own terms.
    """
    named = {figure.group: figure.group}
    if figure.dashed:
        named[figure.dashed] = figure.dashed
    for axis in (figure.x, figure.y, *figure.tips):
        unit = f" ({axis.unit})" if axis.unit else ""
        named.setdefault(axis.column, f"{axis.title}{unit}")
    for column, words in ((figure.low, "least"), (figure.high, "greatest"),
                          (figure.against, "expected"), (figure.shown, "shown")):  # fmt: skip
        if column:
            named.setdefault(column, words)
    shown = {words: column for column, words in named.items() if column in figure.frame}
    return {column: words for words, column in shown.items()}


def _table(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Rows with their names said once."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return {"columns": columns, "rows": [[_value(row.get(it)) for it in columns] for row in rows]}


def _patches(light: Any, dark: Any, *path: str | int) -> Iterator[list[Any]]:
    """What another drawing has in other places of this one: [the path to it, the value]."""
    pairs: Iterable[tuple[str | int, Any]] = ()
    if isinstance(light, dict) and isinstance(dark, dict) and light.keys() == dark.keys():
        pairs = light.items()
    elif isinstance(light, list) and isinstance(dark, list) and len(light) == len(dark):
        pairs = enumerate(light)
    if pairs:
        for name, value in pairs:
            yield from _patches(value, dark[name], *path, name)
    elif light != dark:
        yield [list(path), dark]


def _value(value: Any) -> Any:
    """A number in as many digits as a drawing has room for; none where there is no number."""
    if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)):
        return None
    if isinstance(value, bool | str):
        return value
    if hasattr(value, "item"):
        value = value.item()
    return float(f"{value:.7g}") if isinstance(value, float) else value
