"""One epoll set for all connections of a Locust process, served from gevent's hub.

Locust's users stay ordinary: each owns a connection here and sleeps while it works. What
costs in a greenlet client is the switch and the layers for each request; here a ready socket
is read, checked, recorded and written to again in one go, and nothing yields between the
timestamps of a request.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import gevent
import gevent.event
import numpy as np
import numpy.typing as npt
from gevent import monkey

from harness.load import timer
from harness.load.errors import PROTOCOL, TIMEOUT, WrongAnswerError, kind_of
from harness.load.recorder import Track, recorder
from harness.load.statistics import feed

# Locust monkey-patches both away; these sockets never block, and this epoll never waits
Socket: Any = monkey.get_original("socket", "socket")
Epoll: Any = monkey.get_original("select", "epoll")

READ, WRITE = 1, 4  # EPOLLIN and EPOLLOUT; Locust removes the names
BATCH = 256  # events taken at once
TURN_NS = 5_000_000  # the longest turn before the hub, and Locust in it, gets its own
FEED_S = 0.5
TIMEOUT_S = 60.0
RECEIVE_BYTES = 65536
PENDING = (errno.EINPROGRESS, errno.EAGAIN, errno.ENOTCONN)

clock = time.monotonic_ns


class Reactor:
    """The connections of this process and the one place where they are woken."""

    _by_environment: ClassVar[WeakKeyDictionary[Any, Reactor]] = WeakKeyDictionary()

    def __init__(self, environment: Any) -> None:
        self._environment = environment
        self._epoll = Epoll()
        self._connections: dict[int, Connection] = {}
        self.arrivals: Timetable | None = None
        self.halted = False
        self.deadline_s = TIMEOUT_S  # for each request, from when it was due
        hub = gevent.get_hub()
        self._watcher = hub.loop.io(self._epoll.fileno(), 1)
        self._watcher.start(self._turn)
        environment.events.test_stop.add_listener(lambda **_: feed(environment.stats))
        gevent.spawn(self._keep_house)

    def follow_timetable(self) -> Timetable:
        """From now on send when requests are due, not when the last was answered."""
        self.arrivals = Timetable()
        self._epoll.register(self.arrivals.timer, READ)
        return self.arrivals

    @classmethod
    def of(cls, environment: Any) -> Reactor:
        """The reactor of a Locust environment, made at first use."""
        if environment not in cls._by_environment:
            cls._by_environment[environment] = cls(environment)
        return cls._by_environment[environment]

    def add(self, connection: Connection, descriptor: int) -> None:
        """Wake `connection` when `descriptor` can be read."""
        self._connections[descriptor] = connection
        self._epoll.register(descriptor, READ)

    def want_write(self, descriptor: int, wanted: bool) -> None:
        """Wake it also when it can be written, or no longer."""
        self._epoll.modify(descriptor, READ | WRITE if wanted else READ)

    def remove(self, descriptor: int) -> None:
        """Forget a descriptor that is about to be closed."""
        if self._connections.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def halt(self) -> int:
        """Send nothing more and close all; returns how many requests were in flight."""
        self.halted = True
        connections = list(self._connections.values())
        in_flight = sum(connection.waiting for connection in connections)
        for connection in connections:
            connection.close()
        return in_flight

    def waiting_since(self, instant_ns: int) -> int:
        """How many requests are out that were sent before `instant_ns`."""
        return sum(
            connection.waiting and connection.due < instant_ns
            for connection in self._connections.values()
        )

    def _turn(self) -> None:
        """Serve what is ready, until nothing is or the turn is over. Runs in the hub."""
        poll, connections = self._epoll.poll, self._connections
        end = clock() + TURN_NS
        while events := poll(0, BATCH):
            for descriptor, event in events:
                connection = connections.get(descriptor)
                if connection is None:
                    if self.arrivals is not None and descriptor == self.arrivals.timer:
                        self.arrivals.send_due()
                    continue  # or closed within this batch
                if event & WRITE:
                    connection.writable()
                if event & ~WRITE and connections.get(descriptor) is connection:
                    connection.readable()
            if clock() > end:
                return

    def _keep_house(self) -> None:
        """Feed Locust's statistics, and end requests that have waited too long."""
        while True:
            gevent.sleep(FEED_S)
            feed(self._environment.stats)
            late = clock() - int(TIMEOUT_S * 1e9)
            for connection in list(self._connections.values()):
                if connection.waiting and connection.due < late:
                    connection.fail(TimeoutError(f"no answer within {TIMEOUT_S:.0f} s"))


class Timetable:
    """The requests of an open load: each sent when it is due, by whichever connection rests.

    Where none rests the request is not sent at all, and counted: `unsent` has the instants.
    Nothing slows the timetable down; a wake-up that comes late shows as lag.
    """

    def __init__(self) -> None:
        self._due: list[int] = []
        self._next = 0
        self.idle: list[Connection] = []
        self.unsent: list[int] = []
        self.timer = timer.create()

    def begin(self, due_ns: npt.NDArray[np.int64]) -> None:
        """Send when these instants come (monotonic nanoseconds, ascending)."""
        self._due = due_ns.tolist()
        self._arm()

    @property
    def left(self) -> int:
        """How many requests have not been sent yet, nor counted as unsent."""
        return len(self._due) - self._next

    def send_due(self) -> None:
        """Send all that is due by now, and wake again for the next."""
        timer.drain(self.timer)
        due, idle = self._due, self.idle
        while self._next < len(due) and due[self._next] <= clock():
            instant = due[self._next]
            self._next += 1
            if idle:
                idle.pop().call(instant)  # the one that rested last: the others may be closed
            else:
                self.unsent.append(instant)
        self._arm()

    def _arm(self) -> None:
        if self._next < len(self._due):
            timer.set_absolute(self.timer, self._due[self._next])


class Connection:
    """One user's connection: opened, used again and again, opened anew when it ends.

    A protocol gives `opened` (the first thing to send) and `received` (bytes that came).
    """

    def __init__(self, reactor: Reactor, address: tuple[str, int], method: str, name: str) -> None:
        self.reactor = reactor
        self.address = address
        self.track: Track = recorder.track(method, name)
        self.waiting = False  # a request is out, and its answer is not complete
        self.called = False  # a request is due, and the connection being opened for it
        self.due = 0  # when the request should have been sent; in a closed load, when it was
        self.sent_at = 0
        self._unsent = b""
        self._connecting = False
        self._socket: Any = None
        self._retry: Any = None
        self.receive: Callable[[int], bytes]
        self._send: Callable[[bytes], int]

    def open(self) -> None:
        """Connect without waiting; a failure is counted, and tried again a little later."""
        if self.reactor.halted:
            return
        made = Socket(socket.AF_INET, socket.SOCK_STREAM)
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket, self.receive, self._send = made, made.recv, made.send
        self._connecting = True
        self.track.connects += 1
        self.reactor.add(self, made.fileno())
        code = made.connect_ex(self.address)
        if code not in (0, *PENDING):
            self.fail(OSError(code, "connect"))
            return
        self.opened()

    def opened(self) -> None:
        """Send the first request; the protocol's part."""
        raise NotImplementedError

    def received(self, data: bytes, now: int) -> None:
        """Take in bytes that came at `now`; the protocol's part."""
        raise NotImplementedError

    def ended(self, _now: int) -> None:
        """The server closed the connection. Whether that is an error is the protocol's part."""
        raise NotImplementedError

    def record(self, now: int) -> None:
        """The answer is whole and right."""
        self.waiting = False
        if self.reactor.arrivals is None:
            self.track.answer(now, now - self.sent_at)
        else:
            self.track.timely(self.due, self.sent_at, now)

    def settle(self, now: int) -> None:
        """Record a right answer, then ask again, or rest until a request is due."""
        self.record(now)
        self.begin()

    def begin(self) -> None:
        """The connection is ready: ask at once in a closed load, else rest until one is due."""
        if self.reactor.arrivals is None or self.called:
            self.called = False
            self.ask()
        else:
            self.reactor.arrivals.idle.append(self)

    def call(self, due: int) -> None:
        """A request is due. Connections of an open load are opened when first needed: a server
        with few workers would be blocked by one that is open and silent.
        """
        self.due = due
        if self._socket is None:
            self.called = True
            self.open()
        else:
            self.ask()

    def rest(self) -> None:
        """Without a connection: open the next at once in a closed load, else when one is due."""
        self._retry = None
        if self.reactor.arrivals is None:
            self.open()
        else:
            self.reactor.arrivals.idle.append(self)

    def ask(self) -> None:
        """Send the next request; the protocol's part."""
        raise NotImplementedError

    def send(self, data: bytes, counted: bool = True) -> None:
        """Send a request whole; what the socket does not take now follows when it does.

        What is not `counted` belongs to the protocol and is nobody's request.
        """
        self.sent_at = clock()
        if counted:
            self.waiting = True
            self.track.sent += 1
            if self.reactor.arrivals is None:
                self.due = self.sent_at
        try:
            taken = self._send(data)
        except OSError as error:
            if error.errno not in PENDING:
                self.fail(error)
                return
            taken = 0
        if taken < len(data):
            self._unsent += data[taken:]
            self.reactor.want_write(self._socket.fileno(), True)

    def writable(self) -> None:
        """The socket takes more, or its connecting ended."""
        if self._connecting:
            code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self.fail(OSError(code, "connect"))
                return
            self._connecting = False
        try:
            taken = self._send(self._unsent)
        except OSError as error:
            if error.errno not in PENDING:
                self.fail(error)
            return
        self._unsent = self._unsent[taken:]
        if not self._unsent:
            self.reactor.want_write(self._socket.fileno(), False)

    def readable(self) -> None:
        """Bytes came, or the end, or an error."""
        try:
            data = self.receive(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self.fail(error)
            return
        now = clock()
        if data:
            self._connecting = False
            self.received(data, now)
        elif self.waiting or self.called or self.reactor.arrivals is None:
            self.ended(now)
        else:
            self.close()  # it rested too long for the server, which is no error

    def fail(self, error: Exception) -> None:
        """Count an error by its name, and open anew."""
        now = clock()
        kind = kind_of(error)
        taken = int(TIMEOUT_S * 1e9) if kind == TIMEOUT else now - self.due
        counts_to = now if self.reactor.arrivals is None else self.due
        if not self.waiting:  # connecting failed, or a server spoke that was not asked
            self.track.sent += 1
            if not self.called:
                taken, counts_to = 0, now
                self._leave()
        self.waiting = self.called = False
        self.track.error(counts_to, taken, kind, str(error))
        self.close()
        # a server that refuses is not helped by a busy loop
        self._retry = gevent.spawn_later(0.1 if self._connecting else 0.0, self.rest)

    def wrong(self, kind: str, detail: str) -> None:
        """An answer that breaks the rules or the expectation."""
        self.fail(WrongAnswerError(kind or PROTOCOL, detail))

    def reopen(self) -> None:
        """The server ended the connection as it may."""
        self.close()
        self.rest()

    def close(self) -> None:
        """Close the socket, if there is one; idempotent."""
        self._unsent = b""
        if self._socket is not None:
            self.reactor.remove(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def retire(self) -> None:
        """The user is gone: close, and do not open again."""
        if self._retry is not None:
            self._retry.kill()
        self._leave()
        self.close()

    def _leave(self) -> None:
        """Rest no longer."""
        if self.reactor.arrivals is not None:
            with suppress(ValueError):
                self.reactor.arrivals.idle.remove(self)


def until_killed(connection: Connection) -> None:
    """Keep a Locust user's connection at work until Locust kills the user's greenlet."""
    connection.rest()
    try:
        gevent.event.Event().wait()
    finally:
        connection.retire()
