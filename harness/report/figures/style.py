"""What tells names apart in a figure: colour, shape and dash, so that colour is never alone."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "triangle-right")
DASHES: tuple[tuple[int, ...], ...] = ((), (7, 3), (2, 2), (8, 3, 2, 3))  # pixels on, pixels off
ALL = 16  # as many names each have a style of their own: two rounds of the colours
FIRST = 8  # of more names, so many; the others are grey, and lie behind

Pattern = TypeVar("Pattern")


@dataclass(frozen=True, slots=True)
class Style:
    """How a name looks; `hue` is a place in the theme's colours, None for the grey ones."""

    hue: int | None
    shape: str
    dash: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours of a background, as #rrggbb."""

    background: str
    text: str
    quiet: str  # axes and their texts
    grid: str
    grey: str  # names without a colour
    hues: tuple[str, ...]

    def colour(self, style: Style) -> str:
        """The colour of a style."""
        return self.grey if style.hue is None else self.hues[style.hue]


# Near the hues of Okabe and Ito 2008 ("Color universal design"), found by a search for the greatest
# least distance in OKLab, also as seen with protanopia, deuteranopia and tritanopia (Machado,
# Oliveira and Fernandes 2009), each with a contrast of 3 to its background (WCAG 1.4.11). A colour
# has the same place in both, and none is there twice: the one theme is the other by replacement.
LIGHT = Theme(
    "#ffffff", "#1b1f24", "#57606a", "#e4e7eb", "#8c959f",
    ("#0353a1", "#965d09", "#44a48a", "#641759", "#2e7da5", "#d87a19", "#9c75fb", "#484303"),
)  # fmt: skip
DARK = Theme(
    "#14171c", "#e6e9ed", "#a3abb6", "#2c323a", "#79828d",
    ("#82cfff", "#dba44c", "#60fcd8", "#aa6e87", "#65a5db", "#d55924", "#7d6ee8", "#f1d870"),
)  # fmt: skip


def theme(dark: bool) -> Theme:
    """The colours for a dark or a light background."""
    return DARK if dark else LIGHT


def styles(names: Iterable[str], together: Iterable[Iterable[str]] = ()) -> dict[str, Style]:
    """A style for each name, the first ones first.

    A name asks for the same colour wherever it appears, so that it keeps it from report to
    report; it gets the next one where an earlier name has it. Up to ALL names all have colours,
    of more the FIRST. `together` are the names of each figure, by default one of all: a figure's
    names have shapes and dashes of their own, until all are used.
    """
    several = list(dict.fromkeys(names))
    groups = [set(it) for it in together] or [set(several)]
    coloured = len(several) if len(several) <= ALL else FIRST
    found: dict[str, Style] = {}
    free: list[int] = []
    for place, name in enumerate(several):
        wish = zlib.crc32(name.encode()) % len(LIGHT.hues)
        if place >= coloured:
            found[name] = Style(None, SHAPES[wish % len(SHAPES)], DASHES[0])
            continue
        free = free or list(range(len(LIGHT.hues)))
        hue = min(free, key=lambda it, wish=wish: (it - wish) % len(LIGHT.hues))  # type: ignore[misc]
        free.remove(hue)
        mates = [it for group in groups if name in group for it in group if it in found]
        beside = [found[it] for it in mates]
        alike = [it for it in beside if it.hue == hue]
        shape = _rarest(SHAPES, [it.shape for it in beside], [it.shape for it in alike])
        dash = _rarest(DASHES, [it.dash for it in beside], [it.dash for it in alike])
        found[name] = Style(hue, shape, dash)
    return found


def _rarest(
    several: Sequence[Pattern], beside: Sequence[Pattern], alike: Sequence[Pattern]
) -> Pattern:
    """The one least used in the same figures, first of all in the same colour."""
    return min(several, key=lambda it: (alike.count(it), beside.count(it)))
