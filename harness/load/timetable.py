"""The requests of an open load, sent when they are due."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from harness.load.timer import Alarm, Ring


class Callee(Protocol):
    """Who rests until a request is due."""

    def call(self, due: int) -> None:
        """A request is due."""


class Timetable:
    """The requests of an open load: each sent when it is due, by whichever connection rests.

    Where none rests the request is not sent at all, and counted: `unsent` has the instants.
    Nothing slows the timetable down; a wake-up that comes late shows as lag.
    """

    def __init__(self, make_alarm: Callable[[Ring], Alarm]) -> None:
        self._due: list[int] = []
        self._next = 0
        self.idle: list[Callee] = []
        self.unsent: list[int] = []
        self._alarm = make_alarm(self._send_due)

    def begin(self, due_ns: npt.NDArray[np.int64]) -> None:
        """Send when these instants come (monotonic nanoseconds, ascending)."""
        self._due = due_ns.tolist()
        self._arm()

    @property
    def left(self) -> int:
        """How many requests have not been sent yet, nor counted as unsent."""
        return len(self._due) - self._next

    def _send_due(self) -> None:
        """Send all that is due by now, and wake again for the next."""
        due, idle = self._due, self.idle
        while self._next < len(due) and due[self._next] <= time.monotonic_ns():
            instant = due[self._next]
            self._next += 1
            if idle:
                idle.pop().call(instant)  # the one that rested last: the others may be closed
            else:
                self.unsent.append(instant)
        self._arm()

    def _arm(self) -> None:
        if self._next < len(self._due):
            self._alarm.set(self._due[self._next])
