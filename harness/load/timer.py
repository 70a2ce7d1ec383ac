"""Alarms, and a queue of calls that one alarm serves.

Where the kernel has timerfd, an alarm is a descriptor that can be read from an instant on, exact
to microseconds; gevent's own timers, which serve elsewhere, are rounded to milliseconds. Python
has timerfd from 3.13 on; until that is the oldest Python here, the C library is asked.
"""

from __future__ import annotations

import ctypes
import heapq
import itertools
import os
import time
from collections.abc import Callable
from typing import Any, Protocol

import gevent

CLOCK_MONOTONIC = 1
TFD_NONBLOCK = 0o4000
TFD_CLOEXEC = 0o2000000
TFD_TIMER_ABSTIME = 1

_libc = ctypes.CDLL(None, use_errno=True)
AVAILABLE = hasattr(_libc, "timerfd_create")

Ring = Callable[[], None]


class Alarm(Protocol):
    """Calls when an instant has come."""

    def set(self, instant_ns: int) -> None:
        """Ring once, from this instant on (monotonic nanoseconds; the past means now)."""


class _Spec(ctypes.Structure):
    """struct itimerspec: interval, then value, each seconds and nanoseconds."""

    _fields_ = [(name, ctypes.c_long) for name in ("every_s", "every_ns", "at_s", "at_ns")]


class TimerfdAlarm:
    """A timerfd, to be watched for READ by whoever calls `readable` then."""

    def __init__(self, ring: Ring) -> None:
        self.descriptor: int = _libc.timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._ring = ring

    def set(self, instant_ns: int) -> None:
        """Ring once, from this instant on."""
        spec = _Spec(0, 0, *divmod(max(instant_ns, 1), 1_000_000_000))
        if _libc.timerfd_settime(self.descriptor, TFD_TIMER_ABSTIME, ctypes.byref(spec), None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def readable(self) -> None:
        """It rang: make it unreadable until the next instant that is set."""
        try:
            os.read(self.descriptor, 8)
        except BlockingIOError:
            return
        self._ring()


class LoopAlarm:
    """A timer of gevent's loop."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._timer: Any = None

    def set(self, instant_ns: int) -> None:
        """Ring once, from about this instant on; it may be a little early."""
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
        after_s = max(instant_ns - time.monotonic_ns(), 0) / 1e9
        self._timer = gevent.get_hub().loop.timer(after_s)
        self._timer.start(self._ring, update=True)


class Queue:
    """Calls that wait for their instants, however many, and one alarm for all of them.

    A call cannot be taken back: what is called has to see whether it is still wanted.
    """

    def __init__(self, make_alarm: Callable[[Ring], Alarm]) -> None:
        self._calls: list[tuple[int, int, Ring]] = []
        self._order = itertools.count()
        self._alarm = make_alarm(self._ring)

    def at(self, instant_ns: int, call: Ring) -> None:
        """Call at this instant, or as soon after as the reactor comes to it."""
        heapq.heappush(self._calls, (instant_ns, next(self._order), call))
        if self._calls[0][0] == instant_ns:
            self._alarm.set(instant_ns)

    def _ring(self) -> None:
        calls, now = self._calls, time.monotonic_ns()
        # what these calls enter for `now` or later waits for the next alarm
        due = []
        while calls and calls[0][0] <= now:
            due.append(heapq.heappop(calls)[2])
        for call in due:
            call()
        if calls:
            self._alarm.set(calls[0][0])
