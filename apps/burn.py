"""More CPU for each request, on purpose, so that a comparison has a known answer.

GATEBENCH_BURN is nanoseconds for each request (`12000ns`), or a share (`0.05`) of the CPU time
that this process spends on each request otherwise. A share is settled anew after every hundred
requests, from the process's own clock less what was burnt: it follows what the requests cost,
whatever serves them. The first hundred of a process burn nothing of a share.

What burns is reading the thread's CPU clock until enough has passed, so what is burnt is measured,
and what was too much is taken off the next request. Only what a call costs before the clock is
first read, some tenths of a microsecond, has to be guessed; it is measured once.

It is the least that a request costs more: the work beside it was seen to become dearer, too (of
uvicorn's requests by 40 % under a share of 0.5), and a share is of that.
"""

from __future__ import annotations

import threading
import time

SETTLED_AFTER = 100
CALLS, TRIES = 1_000, 9
COLD = 1.6  # times what a call costs in a loop of nothing else is what it costs among real work


class Burner:
    """Burns CPU each time that it is called."""

    def __init__(self, burn: str) -> None:
        self._share = 0.0 if burn.endswith("ns") else float(burn)
        self._fixed_ns = 0.0 if self._share else float(burn.removesuffix("ns"))
        self._settling = threading.Lock()
        self._since_ns: int | None = None
        self._each_ns = self._owed_ns = self._burnt_ns = 0.0
        # what its own clock does not show: of each call, and beside that of one that burns
        self._call_ns = self._clock_ns = 0.0
        self._left = 2 * CALLS * TRIES + 1  # none is settled while these are measured
        self._call_ns = self._unseen_ns(owed_ns=0.0)
        self._clock_ns = self._unseen_ns(owed_ns=self._call_ns + 1.0)
        self._each_ns = self._fixed_ns
        self._owed_ns, self._left = 0.0, 0

    def __call__(self) -> None:
        """Burn for one request, or let it add up until it is worth the clock."""
        self._owed_ns += self._each_ns - self._call_ns
        if self._owed_ns > self._clock_ns:
            began_ns = now_ns = time.thread_time_ns()
            end_ns = began_ns + self._owed_ns - self._clock_ns
            while now_ns < end_ns:
                now_ns = time.thread_time_ns()
            burnt_ns = now_ns - began_ns + self._clock_ns
            self._owed_ns -= burnt_ns
            self._burnt_ns += burnt_ns
        self._left -= 1
        if self._left <= 0:
            self._settle()

    def _settle(self) -> None:
        if not self._settling.acquire(blocking=False):
            return  # another thread does
        if self._left <= 0:
            now_ns, calls = time.process_time_ns(), SETTLED_AFTER - self._left
            # the first time, and in a child that began its clock anew, there is nothing to go by
            if self._since_ns is not None and now_ns > self._since_ns:
                burnt_ns = self._burnt_ns + calls * self._call_ns
                own_ns = max(0.0, now_ns - self._since_ns - burnt_ns)
                self._each_ns = self._fixed_ns + self._share * own_ns / calls
            # before the first share is known, calls are paid by nobody
            self._owed_ns = max(self._owed_ns, -self._clock_ns)
            self._since_ns, self._left, self._burnt_ns = now_ns, SETTLED_AFTER, 0.0
        self._settling.release()

    def _unseen_ns(self, owed_ns: float) -> float:
        """What a call costs that owes so much, less what its own clock shows; the usual one."""
        found = []
        for _ in range(TRIES):
            self._burnt_ns, began_ns = 0.0, time.thread_time_ns()
            for _ in range(CALLS):
                self._owed_ns = owed_ns
                self()
            unseen_ns = time.thread_time_ns() - began_ns - self._burnt_ns
            found.append(unseen_ns / CALLS)
        return COLD * sorted(found)[TRIES // 2] - self._call_ns
