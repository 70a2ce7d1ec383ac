"""The stub: a server whose answers, faults and service times are known exactly, to test with.

Runs as `python -I -S stub.py PORT [knobs]` (`--help` lists them), with the standard library
alone; prints `ready` once it listens on 127.0.0.1; ends on SIGTERM. It speaks the part of the
app contract that scenarios use, see `route`; bodies need a Content-Length. `GET /__counters__` is
answered at once with what has been done; a connection that begins with it is not counted.

A service time begins when a request's last byte was read and is never cut short; the processor
spins for the last SPIN_NS before an answer is due. With `--concurrency` each service begins when
the one before it was due, not when its answer got out, so the stub's own lateness (`late_max_s`,
`late_mean_s`) does not add up. The work of a request whose client has gone is done all the same.

A connection's requests, or WebSocket messages, are answered one at a time and in order. `/`,
`/echo`, `/sleep` and each message take a service time, all else none. An n-th is counted over all
requests where nothing else is said, and over each connection's own messages; a request suffers
one fault at most: drop, stall, status or wrong body, in this order. At rest: received = answered
+ dropped + stalled + abandoned (the client left before its answer was out).
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import gc
import hashlib
import heapq
import itertools
import json
import math
import os
import platform
import random
import re
import resource
import select
import signal
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable, Generator
from http.client import responses
from time import monotonic_ns as now_ns
from typing import Any, NamedTuple

LIMIT_BYTES = 17 * 1024 * 1024  # of one request or frame, its head included
SPIN_NS = 250_000  # by so much a timed wait may end too late
SPLIT_GAP_NS = 100_000  # between two pieces, so that they are read apart
EPOCH_NS = int(os.environ.get("GATEBENCH_EPOCH_NS", "0"))
PERIOD_NS = int(os.environ.get("GATEBENCH_PERIOD_NS", "500000000"))
HOLD_NS = int(float(os.environ.get("GATEBENCH_HOLD_S", "30")) * 1e9)
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
FIELDS = b"Content-Type: %s\r\nContent-Length: %d\r\n"
STREAM = b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
UPGRADE = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
ACCEPT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
COUNTERS = (
    "accepted", "open", "max_open", "received", "answered", "dropped", "stalled", "abandoned",
    "closed", "wrong_statuses", "wrong_bodies", "bad_requests", "ws_received", "ws_sent",
    "ws_dropped", "ws_duplicated", "ws_reordered", "queue_max",
)  # fmt: skip
READ, WRITE = 0, 1
Talk = Generator[int, None, None]  # yields what it waits for: READ, WRITE, or a time in ns


class Answer(NamedTuple):
    """What to send when; `then` is how the connection goes on, if not with a next request."""

    due_ns: int
    body: bytes = b""
    media: bytes = b"text/plain"
    status: int = 200
    fields: bytes = b""
    then: Callable[[Connection], Talk] | None = None


class Connection:
    """A connection's socket, what it has sent, and where its conversation stands."""

    def __init__(self, sock: socket.socket, converse: Callable[[Connection], Talk]) -> None:
        self.sock, self.buffer, self.talk = sock, bytearray(), converse(self)
        self.arrived_ns, self.requests, self.waits_for = 0, 0, READ
        self.open = self.counted = True


class Station:
    """Servers behind one queue, first come first served.

    Lindley's recursion gives each service's end at its arrival, so no queue is simulated.
    """

    def __init__(self, knobs: argparse.Namespace) -> None:
        self.knobs, self.random = knobs, random.Random(knobs.seed)
        self.ends: list[int] = []  # a heap of when each server is done with all it has
        self.starts: deque[int] = deque()  # when each service that waits will begin

    def admit(self, arrived_ns: int, extra_ns: int) -> int:
        """When the service of what came now is over: its own time and `extra_ns`."""
        while self.ends and self.ends[0] <= arrived_ns:
            heapq.heappop(self.ends)
        start = arrived_ns
        if 0 < self.knobs.concurrency <= len(self.ends):
            start = heapq.heappop(self.ends)
            self.starts.append(start)
        end: int = start + self.knobs.service(self.random) + extra_ns
        heapq.heappush(self.ends, end)
        return end

    def queued(self, at_ns: int) -> int:
        """How many wait for their service to begin."""
        while self.starts and self.starts[0] <= at_ns:
            self.starts.popleft()
        return len(self.starts)


class Stub:
    """One thread, one epoll set, one heap of what is due, and a generator per connection."""

    def __init__(self, knobs: argparse.Namespace, listener: socket.socket) -> None:
        self.knobs, self.listener, self.station = knobs, listener, Station(knobs)
        self.counts = dict.fromkeys(COUNTERS, 0)
        self.connections: dict[int, Connection] = {}
        self.due: list[tuple[int, int, Connection]] = []
        self.order = itertools.count()
        self.first_ns = self.waits = self.late_ns = self.late_max_ns = 0
        self.epoll = select.epoll()
        self.epoll.register(listener, select.EPOLLIN)

    def serve(self) -> None:
        """Serve for ever."""
        while True:
            self.run_due()
            left_ns = self.due[0][0] - now_ns() - SPIN_NS if self.due else 0
            if left_ns > 0:  # epoll's own timeouts are whole milliseconds, select's are not
                select.select([self.epoll], (), (), left_ns / 1e9)
            events = self.epoll.poll(0 if self.due else None)
            # all is read before any is answered, so that each arrival's time is its own
            for it in [it for fd, event in events if (it := self.read(fd, event))]:
                self.step(it)
                self.run_due()

    def run_due(self) -> None:
        """Go on with every conversation that waits for a time that has come."""
        while self.due and self.due[0][0] <= now_ns():
            it = heapq.heappop(self.due)[2]
            if it.open:
                self.step(it)

    def step(self, it: Connection, error: Exception | None = None) -> None:
        """Let a conversation go on until it waits or ends; `error` is why it has to end."""
        try:
            it.waits_for = it.talk.throw(error) if error else next(it.talk)
        except (StopIteration, OSError, ValueError) as end:
            self.counts["bad_requests"] += isinstance(end, ValueError)
            self.note_open()
            self.counts["open"] -= it.counted
            del self.connections[it.sock.fileno()]
            it.open = False
            it.sock.close()
            return
        if it.waits_for == WRITE:
            self.epoll.modify(it.sock, select.EPOLLIN | select.EPOLLOUT)
        elif it.waits_for != READ:
            heapq.heappush(self.due, (it.waits_for, next(self.order), it))

    def read(self, fd: int, event: int) -> Connection | None:
        """Take what a socket has for us; return its connection if it waited for that."""
        it = self.connections.get(fd)
        if it is None:
            with contextlib.suppress(OSError):  # none waits, or there is no descriptor for it
                while True:
                    self.enter(self.listener.accept()[0])
            return None
        if event & select.EPOLLOUT:
            self.epoll.modify(fd, select.EPOLLIN)
            return it
        try:
            data = it.sock.recv(65536)
        except OSError:
            data = b""
        it.arrived_ns = now_ns() if it.waits_for == READ else it.arrived_ns
        it.buffer += data
        if not data or len(it.buffer) > LIMIT_BYTES:
            self.step(it, ConnectionAbortedError())
        return it if it.open and it.waits_for == READ else None

    def enter(self, sock: socket.socket) -> None:
        """Begin the conversation of a new connection."""
        sock.setblocking(False)
        self.connections[sock.fileno()] = Connection(sock, self.converse)
        self.epoll.register(sock, select.EPOLLIN)
        self.counts["accepted"] += 1
        self.counts["open"] += 1
        self.step(self.connections[sock.fileno()])

    def note_open(self) -> None:
        """Keep the maximum; called before it falls, so that a counters' reader is not in it."""
        self.counts["max_open"] = max(self.counts["max_open"], self.counts["open"])

    # -- conversations: each ends its connection by returning, or by an exception ------------

    def converse(self, it: Connection) -> Talk:
        """Answer request after request. ValueError if one makes no sense."""
        knobs, counts = self.knobs, self.counts
        while True:
            while (request := parse_request(it.buffer)) is None:
                yield READ
            path, fields, keep = request[1], request[3], request[5]
            if path == b"/__counters__":
                if it.counted and not it.requests:
                    it.counted = False
                    counts["accepted"] -= 1
                    counts["open"] -= 1
                answer = Answer(0, self.report())
                yield from self.write(it, [head_of(answer, keep) + answer.body])
            else:
                counts["received"] += 1
                it.requests += 1
                self.first_ns = self.first_ns or it.arrived_ns
                if nth(knobs.drop_every, it.requests):
                    counts["dropped"] += 1
                    if knobs.drop_how == "reset":
                        linger = struct.pack("ii", 1, 0)
                        it.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    return
                if nth(knobs.stall_every, counts["received"]):
                    counts["stalled"] += 1
                    while True:
                        yield READ
                answer = self.spoil(self.route(it, *request[:5]))
                last = answer.then is None and it.requests == knobs.close_after
                head = head_of(answer, keep and not (last and knobs.announce))
                try:
                    yield from self.wait(answer.due_ns)
                    yield from self.write(it, self.cut(head, answer.body))
                except OSError:
                    counts["abandoned"] += 1
                    raise
                counts["answered"] += 1
                if answer.then:
                    yield from answer.then(it)
                counts["closed"] += last
                keep = keep and not last
            if not keep:
                return
            it.arrived_ns = now_ns()  # whatever the buffer holds already: its turn begins now
