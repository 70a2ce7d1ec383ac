"""More CPU for each request, on purpose, so that a comparison has a known answer.

GATEBENCH_BURN is nanoseconds for each request (`12000ns`), or a share (`0.05`) of the CPU time
that this process spends on each request otherwise.

Whatever burns makes the work beside it dearer, too, so what is burnt cannot be told from inside.
Therefore every other hundred of requests burns twice as much, and the hundreds between burn
nothing: their costs by the process's own clock say what the burning really costs here, and the
passes of an empty loop that it takes are set by that, again and again.
"""

from __future__ import annotations

import threading
import time

BATCH = 100
BLEND, GAIN = 0.1, 0.03  # of a new batch in what is known; of its error in the passes
PASSES = 20_000  # to learn what one costs, for the first guess


class Burner:
    """Burns CPU each time that it is called."""

    def __init__(self, burn: str) -> None:
        self._share = 0.0 if burn.endswith("ns") else float(burn)
        self._fixed_ns = 0.0 if self._share else float(burn.removesuffix("ns"))
        self._turning = threading.Lock()
        self._burns = False
        self._left = BATCH
        self._since_ns: int | None = None
        self._plain_ns = self._burning_ns = 0.0  # what a request costs in either kind of batch
        self._passes = 0.0
        began_ns = time.process_time_ns()
        self._spin(PASSES)
        self._pass_ns = max(1.0, (time.process_time_ns() - began_ns) / PASSES)

    def __call__(self) -> None:
        """Burn for one request, or not."""
        if self._burns:
            self._spin(round(self._passes))
        self._left -= 1
        if self._left <= 0 and self._turning.acquire(blocking=False):  # else another thread does
            self._turn()
            self._turning.release()

    def _spin(self, passes: int) -> None:
        for _ in range(passes):
            pass

    def _turn(self) -> None:
        """A batch is over: learn from it, and let the next one be of the other kind."""
        now_ns, calls = time.process_time_ns(), BATCH - self._left
        # the first batch has no beginning, nor has that of a child, whose clock began anew
        if self._since_ns is not None and now_ns > self._since_ns:
            self._learn((now_ns - self._since_ns) / calls)
        self._since_ns, self._left, self._burns = now_ns, BATCH, not self._burns

    def _learn(self, cost_ns: float) -> None:
        if not self._burns:
            self._plain_ns += (cost_ns - self._plain_ns) * (BLEND if self._plain_ns else 1.0)
            return
        wanted_ns = 2 * (self._fixed_ns or self._share * self._plain_ns)
        if not self._passes:
            self._passes = wanted_ns / self._pass_ns
            return
        before_ns = self._burning_ns or self._plain_ns + wanted_ns
        self._burning_ns = before_ns + (cost_ns - before_ns) * BLEND
        seen_ns = max(self._burning_ns - self._plain_ns, wanted_ns / 2)
        self._passes *= (wanted_ns / seen_ns) ** GAIN
