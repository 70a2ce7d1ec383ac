"""timerfd: a descriptor that can be read from an instant on, exact to microseconds.

gevent's own timers are rounded to milliseconds. Python has timerfd from 3.13 on; until that
is the oldest Python here, the C library is asked.
"""

from __future__ import annotations

import ctypes
import os

CLOCK_MONOTONIC = 1
TFD_NONBLOCK = 0o4000
TFD_CLOEXEC = 0o2000000
TFD_TIMER_ABSTIME = 1

_libc = ctypes.CDLL(None, use_errno=True)


class _Spec(ctypes.Structure):
    """struct itimerspec: interval, then value, each seconds and nanoseconds."""

    _fields_ = [(name, ctypes.c_long) for name in ("every_s", "every_ns", "at_s", "at_ns")]


def create() -> int:
    """A timer's descriptor; OSError if the kernel gives none."""
    descriptor: int = _libc.timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create")
    return descriptor


def set_absolute(descriptor: int, instant_ns: int) -> None:
    """Make it readable from an instant on (monotonic nanoseconds; the past means now)."""
    spec = _Spec(0, 0, *divmod(max(instant_ns, 1), 1_000_000_000))
    if _libc.timerfd_settime(descriptor, TFD_TIMER_ABSTIME, ctypes.byref(spec), None) < 0:
        raise OSError(ctypes.get_errno(), "timerfd_settime")


def drain(descriptor: int) -> None:
    """Make it unreadable until the next instant that is set."""
    try:
        os.read(descriptor, 8)
    except BlockingIOError:
        return
