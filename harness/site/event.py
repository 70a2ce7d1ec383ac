"""What became another between two runs of a series: versions, sources, and the environment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.history import Point
from harness.history.subject import conditions_changed

Kind = Literal["version", "environment"]


@dataclass(frozen=True, slots=True)
class Event:
    """With the point `at` (of all points) something was not as before: `text` says what, in one
    line. A `version` is the server's own; what happened to the reference is of the environment.
    """

    at: int
    kind: Kind
    text: str


def events(points: Sequence[Point]) -> Iterator[Event]:
    """Every event of a series, oldest first; what is not known of a run is no event."""
    known: Point | None = None
    for at, point in enumerate(points):
        if not point.subject.versions:  # it did not start
            continue
        if known is not None:
            yield from _between(known, point, at)
        known = point


def _between(old: Point, new: Point, at: int) -> Iterator[Event]:
    if old.subject != new.subject:
        packages = old.subject.packages(new.subject)
        if told := [*map(str, packages), *old.subject.sources(new.subject)]:
            yield Event(at, "version", ", ".join(told))
    others: list[str] = []
    if old.beside and new.beside and old.beside != new.beside:
        packages = old.beside.packages(new.beside)
        renewed = [*map(str, packages), *old.beside.sources(new.beside)]
        others = [f"the reference: {it}" for it in renewed]
    if old.conditions != new.conditions:
        others += conditions_changed(old.conditions, new.conditions)
    if others:
        yield Event(at, "environment", ", ".join(others))
