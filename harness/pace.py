"""How often something may be done ten times a second, so that it costs no more than its share."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Pace:
    """`share` of one CPU is what it may cost; `every` is the number of ticks between two turns."""

    def __init__(self, share: float, ticks_per_s: float) -> None:
        self.every = 1
        self._allowed_s = share / ticks_per_s
        self._cost_s: float | None = None

    def turn(self, tick: int) -> bool:
        """Whether it is this tick's turn."""
        return tick % self.every == 0

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Around one turn: what the calling thread spends decides how often there is another.

        The last turns count most, so that one that was dear, as the first is, is forgotten.
        """
        began = time.thread_time()
        yield
        spent_s = time.thread_time() - began
        self._cost_s = spent_s if self._cost_s is None else (3 * self._cost_s + spent_s) / 4
        self.every = max(1, math.ceil(self._cost_s / self._allowed_s))
