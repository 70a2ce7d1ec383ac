"""Where names stand beside their points, so that none lies on another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

GAP = 8.0
SIDES = (
    (GAP, 0.0, "left"), (-GAP, 0.0, "right"), (0.0, -1.5 * GAP, "center"),
    (0.0, 1.5 * GAP, "center"),
    (GAP, -GAP, "left"), (GAP, GAP, "left"), (-GAP, -GAP, "right"), (-GAP, GAP, "right"),
)  # fmt: skip
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Place:
    """Pixels right of and below the point, and what end of the text is there."""

    dx: float
    dy: float
    align: str


def around(
    points: Sequence[tuple[float, float, str]], width: float, height: float, em: float = 6.2
) -> list[Place | None]:
    """Where each point's text stands, the first points first; None where there is no room.

    Points are in pixels from the upper left corner, with their texts; `em` is how wide a letter
    is about. Greedy: the first of SIDES at which the text hits no point and no other text.
    """
    taken: list[Box] = [(x - 5, y - 5, x + 5, y + 5) for x, y, _ in points]
    found: list[Place | None] = []
    for number, (x, y, text) in enumerate(points):
        others = taken[:number] + taken[number + 1 :]
        place = None
        for dx, dy, align in SIDES:
            box = _box(x + dx, y + dy, align, em * len(text))
            inside = box[0] >= 0 and box[2] <= width and box[1] >= 0 and box[3] <= height
            if inside and not any(_meet(box, other) for other in others):
                place = Place(dx, dy, align)
                taken.append(box)
                break
        found.append(place)
    return found


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The places nearest to those wanted that lie `gap` apart, between low and high, in order.

    Where there is no room for all they are evenly nearer than that.
    """
    count = len(wanted)
    if count > 1:
        gap = min(gap, (high - low) / (count - 1))
    order = sorted(range(count), key=lambda it: wanted[it])
    placed = [0.0] * count
    least = low
    for number in order:
        placed[number] = least = max(wanted[number], least)
        least += gap
    most = high
    for number in reversed(order):
        placed[number] = most = min(placed[number], most)
        most -= gap
    return placed


def _box(x: float, y: float, align: str, width: float) -> Box:
    left = {"left": x, "right": x - width, "center": x - width / 2}[align]
    return left, y - 6, left + width, y + 6


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
