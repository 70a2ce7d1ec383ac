"""A series at a glance: a line as wide as a word or two, for the overview."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.history import Series

SHOWN = 60  # runs, the newest
WIDTH, HEIGHT, EDGE = 132, 30, 4  # pixels
LEAST = math.log(1.1)  # what fills the height at the least: noise is to look like noise


@dataclass(frozen=True, slots=True)
class Spark:
    """A path, the place of its last point, and those of changes along x; in pixels."""

    path: str
    end: tuple[float, float]
    changes: tuple[float, ...]


def spark(series: Series) -> Spark | None:
    """The newest runs of a series, on logarithms; None if it has no value yet."""
    valued = series.valued[-SHOWN:]
    if not valued:
        return None
    first = len(series.valued) - len(valued)
    values = [math.log(point.value or math.nan) for point in valued]
    middle = (max(values) + min(values)) / 2
    half = max(max(values) - min(values), LEAST) / 2
    step = (WIDTH - 2 * EDGE) / max(1, len(values) - 1)
    x = [round(EDGE + step * at, 1) for at in range(len(values))]
    y = [round(HEIGHT / 2 - (value - middle) / half * (HEIGHT / 2 - EDGE), 1) for value in values]
    path = "M" + "L".join(f"{across:g},{down:g}" for across, down in zip(x, y, strict=True))
    changes = tuple(x[it.index - first] for it in series.changes if it.index >= first)
    return Spark(path, (x[-1], y[-1]), changes)
