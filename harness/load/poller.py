"""What wakes the reactor: epoll where there is one, gevent's own watchers where there is none.

Both are level-triggered and offer the same few methods. `poll(0, limit)` gives (descriptor,
events) pairs and never waits; `turn` is called from gevent's hub when there is something to
poll. GATEBENCH_POLLER=portable forces the second kind, which costs more for each request and
whose timers are less exact.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol

import gevent
from gevent import monkey

from harness.load import timer

READ, WRITE = 1, 4  # EPOLLIN and EPOLLOUT; Locust removes the names
_GEVENT_WRITE = 2

Turn = Callable[[], None]


class Poller(Protocol):
    """Descriptors, and what they are waited for: READ, or READ | WRITE."""

    def poll(self, timeout: float, limit: int) -> list[tuple[int, int]]:
        """What is ready now; `timeout` is 0."""

    def register(self, descriptor: int, events: int) -> None:
        """Watch a descriptor."""

    def modify(self, descriptor: int, events: int) -> None:
        """Watch it for something else."""

    def unregister(self, descriptor: int) -> None:
        """Watch it no longer."""


def create(turn: Turn) -> Poller:
    """The best poller of this machine, which calls `turn` from now on."""
    if portable():
        return WatcherPoller(turn)
    epoll: Any = monkey.get_original("select", "epoll")()  # Locust patches the name away
    watcher = gevent.get_hub().loop.io(epoll.fileno(), 1)
    watcher.start(turn)
    WATCHERS.append(watcher)  # it works as long as it lives
    poller: Poller = epoll
    return poller


def portable() -> bool:
    """Whether to do without epoll and timerfd."""
    return os.environ.get("GATEBENCH_POLLER") == "portable" or not timer.AVAILABLE


WATCHERS: list[Any] = []


class WatcherPoller:
    """One of gevent's io watchers for each descriptor: kqueue, poll or select below it."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._loop = gevent.get_hub().loop
        self._watchers: dict[int, Any] = {}
        self._ready: list[tuple[int, int]] = []

    def poll(self, _timeout: float, _limit: int) -> list[tuple[int, int]]:
        """What woke us, once."""
        ready, self._ready = self._ready, []
        return ready

    def register(self, descriptor: int, events: int) -> None:
        """Watch a descriptor."""
        wanted = 1 | (_GEVENT_WRITE if events & WRITE else 0)
        watcher = self._watchers[descriptor] = self._loop.io(descriptor, wanted)
        watcher.start(self._wake, descriptor, pass_events=True)

    def modify(self, descriptor: int, events: int) -> None:
        """Watch it for something else."""
        self.unregister(descriptor)
        self.register(descriptor, events)

    def unregister(self, descriptor: int) -> None:
        """Watch it no longer."""
        watcher = self._watchers.pop(descriptor)
        watcher.stop()
        watcher.close()

    def _wake(self, events: int, descriptor: int) -> None:
        found = (READ if events & 1 else 0) | (WRITE if events & _GEVENT_WRITE else 0)
        self._ready.append((descriptor, found))
        self._turn()
