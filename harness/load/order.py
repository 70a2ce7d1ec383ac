"""Numbers that should come once each and in order: which were late, came twice, never came."""

from __future__ import annotations

from enum import Enum

PATIENCE = 64


class Place(Enum):
    """How a number came."""

    RIGHT = "in order"
    LATE = "out of order"
    TWICE = "twice"


class Order:
    """The numbers of one stream.

    A number that is skipped is not lost yet: it may come late, which is a fault of another
    kind. It is given up when one comes that is `patience` ahead of it, or when the stream ends.
    Each number is found in exactly one place, or lost once; of two that changed places, the
    later one is late and the other right.
    """

    def __init__(self, first: int, patience: int = PATIENCE) -> None:
        self.expected = first
        self.missing: dict[int, None] = {}  # in ascending order
        self._patience = patience

    def take(self, number: int) -> tuple[Place, list[int]]:
        """Where `number` stands, and which numbers are given up with it.

        ValueError for one that skips so many that it must be nonsense.
        """
        if number < self.expected:
            if number in self.missing:
                del self.missing[number]
                return Place.LATE, []
            return Place.TWICE, []
        if number - self.expected > 1000 * self._patience:
            raise ValueError(f"{number} where {self.expected} should have come")
        self.missing |= dict.fromkeys(range(self.expected, number))
        self.expected = number + 1
        lost: list[int] = []
        for each in self.missing:
            if number - each < self._patience:
                break
            lost.append(each)
        for each in lost:
            del self.missing[each]
        return Place.RIGHT, lost

    def end(self) -> list[int]:
        """The stream has ended: which numbers never came."""
        lost = list(self.missing)
        self.missing.clear()
        return lost
