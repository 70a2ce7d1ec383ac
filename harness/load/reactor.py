"""One epoll set for all connections of a Locust process, served from gevent's hub.

Locust's users stay ordinary: each owns a connection here and sleeps while it works. What
costs in a greenlet client is the switch and the layers for each request; here a ready socket
is read, checked, recorded and written to again in one go, and nothing yields between the
timestamps of a request.
"""

from __future__ import annotations

import itertools
import resource
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar, Protocol
from weakref import WeakKeyDictionary

import gevent
from locust.exception import StopTest

from harness.load import poller, timer
from harness.load.poller import READ, WRITE
from harness.load.recorder import recorder
from harness.load.statistics import feed
from harness.load.timetable import Callee, Timetable

BATCH = 256  # events taken at once
TURN_NS = 5_000_000  # the longest turn before the hub, and Locust in it, gets its own
# Locust's statistics are fed so often, and whenever so many requests have ended: few at a time
# take little time, in which no other answer is taken
FEED_S = 1.0
FEED_REQUESTS = 16384
HOUSE_S = 0.05
DEADLINE_S = 60.0
BEAT_NS = 20_000_000
LOOKS = 20  # for late requests, in each deadline
LOOK_S = (0.01, 0.5)  # but no more and no less often than this
SPARE_DESCRIPTORS = 64  # for Locust itself, and connections that end while others begin
GOLDEN = 0.6180339887498949

clock = time.monotonic_ns


class Handler(Protocol):
    """Who is woken for a descriptor."""

    def readable(self) -> None:
        """It can be read, or has ended, or has an error."""


class Peer(Callee, Handler, Protocol):
    """What the reactor knows of a connection."""

    waiting: int

    @property
    def since(self) -> int:
        """When the request that is out was due."""

    @property
    def pending(self) -> bool:
        """Whether a request is out, or waits for the connection to open."""

    def writable(self) -> None:
        """It can be written."""

    def fail(self, error: Exception) -> None:
        """Count an error, and open anew."""

    def close(self) -> None:
        """Close the socket, if there is one."""


class Reactor:
    """The connections of this process and the one place where they are woken."""

    _by_environment: ClassVar[WeakKeyDictionary[Any, Reactor]] = WeakKeyDictionary()

    def __init__(self, environment: Any) -> None:
        self._environment = environment
        self._readers: dict[int, Callable[[], None]] = {}
        self._connections: dict[int, Peer] = {}
        self._poller = poller.create(self._turn)
        self._shares = itertools.count()
        self._taken = 0
        self._limit = _raise_limit()
        self.arrivals: Timetable | None = None
        self.halted = False
        self._deadline_s = DEADLINE_S
        self._look_at = 0
        self.later = timer.Queue(self._alarm)
        self._beat_ns = clock() + BEAT_NS
        self._lateness = recorder.track("LOOP", "reactor").lateness
        self.later.at(self._beat_ns, self._beat)
        self._look_out()
        environment.events.test_stop.add_listener(lambda **_: feed(environment.stats))
        gevent.spawn(self._keep_house)

    @classmethod
    def of(cls, environment: Any) -> Reactor:
        """The reactor of a Locust environment, made at first use."""
        if environment not in cls._by_environment:
            cls._by_environment[environment] = cls(environment)
        return cls._by_environment[environment]

    def follow_timetable(self) -> Timetable:
        """From now on send when requests are due, not when the last was answered."""
        self.arrivals = Timetable(self._alarm)
        return self.arrivals

    @property
    def deadline_s(self) -> float:
        """How long a request may take, from when it was due; then it is ended as a timeout."""
        return self._deadline_s

    @deadline_s.setter
    def deadline_s(self, seconds: float) -> None:
        self._deadline_s = seconds
        self._look_at = 0
        self._look_out()

    def share(self) -> float:
        """Where in a pause one more user begins, from 0 to below 1.

        However many ask, they are spread evenly: the multiples of the golden ratio are.
        """
        return next(self._shares) * GOLDEN % 1.0

    def seat(self) -> None:
        """Take a place for one more user; StopTest if the process may not connect so many."""
        self._taken += 1
        wanted = max(self._taken, getattr(self._environment.runner, "target_user_count", 0))
        if wanted + SPARE_DESCRIPTORS > self._limit:
            raise StopTest(
                f"{wanted} users in one process need more open files than its hard limit of "
                f"{self._limit}: give fewer users, or raise it (ulimit -Hn, as root)"
            )

    def give_up_seat(self) -> None:
        """The user has left."""
        self._taken -= 1

    def add(self, connection: Peer, descriptor: int) -> None:
        """Wake a connection when its descriptor can be read."""
        self._connections[descriptor] = connection
        self.watch(connection, descriptor)

    def watch(self, handler: Handler, descriptor: int) -> None:
        """Wake whoever it is when the descriptor can be read."""
        self._readers[descriptor] = handler.readable
        self._poller.register(descriptor, READ)

    def want_write(self, descriptor: int, wanted: bool) -> None:
        """Wake it also when it can be written, or no longer."""
        self._poller.modify(descriptor, READ | WRITE if wanted else READ)

    def remove(self, descriptor: int) -> None:
        """Forget a descriptor that is about to be closed."""
        self._connections.pop(descriptor, None)
        if self._readers.pop(descriptor, None) is not None:
            self._poller.unregister(descriptor)

    def halt(self) -> int:
        """Send nothing more and close all; returns how many requests were in flight."""
        self.halted = True
        connections = list(self._connections.values())
        in_flight = sum(connection.waiting for connection in connections)
        for connection in connections:
            connection.close()
        return in_flight

    def waiting_since(self, instant_ns: int) -> int:
        """How many connections wait since before `instant_ns` for an answer, or to be opened."""
        return sum(
            connection.pending and connection.since < instant_ns
            for connection in self._connections.values()
        )

    def _turn(self) -> None:
        """Serve what is ready, until nothing is or the turn is over. Runs in the hub."""
        poll, readers = self._poller.poll, self._readers
        end = clock() + TURN_NS
        while events := poll(0, BATCH):
            for descriptor, event in events:
                if event == READ:
                    if (read := readers.get(descriptor)) is not None:  # else closed just now
                        read()
                else:
                    self._serve(descriptor, event)
            if clock() > end:
                return

    def _serve(self, descriptor: int, event: int) -> None:
        """What is not simply readable: writable, ended, broken."""
        connection = self._connections.get(descriptor)
        if connection is not None and event & WRITE:
            connection.writable()
        still = self._connections.get(descriptor) is connection
        if event & ~WRITE and still and (read := self._readers.get(descriptor)) is not None:
            read()

    def _alarm(self, ring: timer.Ring) -> timer.Alarm:
        if poller.portable():
            return timer.LoopAlarm(ring)
        alarm = timer.TimerfdAlarm(ring)
        self.watch(alarm, alarm.descriptor)
        return alarm

    def _beat(self) -> None:
        """Note by how much this call is late; one that never came for a stall counts as well."""
        now = clock()
        while self._beat_ns <= now:
            self._lateness(now, now - self._beat_ns)
            self._beat_ns += BEAT_NS
        if not self.halted:
            self.later.at(self._beat_ns, self._beat)

    def _look_out(self) -> None:
        """End requests that have waited too long."""
        now = clock()
        if now < self._look_at or self.halted:
            return  # a look that was put off when the deadline changed
        late = now - int(self.deadline_s * 1e9)
        for connection in list(self._connections.values()):
            if connection.pending and connection.since < late:
                connection.fail(TimeoutError(f"no answer within {self.deadline_s:g} s"))
        least, most = LOOK_S
        self._look_at = now + int(min(max(self.deadline_s / LOOKS, least), most) * 1e9)
        self.later.at(self._look_at, self._look_out)

    def _keep_house(self) -> None:
        """Feed Locust's statistics."""
        fed_at = clock()
        while True:
            gevent.sleep(HOUSE_S)
            if clock() - fed_at > FEED_S * 1e9 or recorder.undrained > FEED_REQUESTS:
                fed_at = clock()
                feed(self._environment.stats, gently=True)


def _raise_limit() -> int:
    """Let this process open as many files as it may at all; returns how many that is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS has a limit below the one it names
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 62 if soft == resource.RLIM_INFINITY else soft
