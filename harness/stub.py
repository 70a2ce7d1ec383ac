"""The stub: a server whose answers, faults and service times are known exactly, to test with.

Runs as `python -I -S stub.py PORT [knobs]` (`--help` lists them), with the standard library
alone; prints `ready` once it listens on 127.0.0.1; ends on SIGTERM. It speaks the part of the
app contract that scenarios use: `/`, `/echo`, `/sleep/<ms>`, `/whoami`, `/poll`, `/events`, `/ws`,
`/ws/ticks`; bodies need a Content-Length. `GET /__counters__` is answered at once with what the
stub has done so far (see COUNTERS); a connection that begins with it is not counted.

A service time begins when a request's last byte was read and is never cut short; the processor
spins for the last SPIN_NS before an answer is due. With `--concurrency` each service begins when
the one before it was due, not when its answer got out, so the stub's own lateness (`late_max_s`,
`late_mean_s`) does not add up. The work of a request whose client has gone is done all the same.

A connection's requests, or WebSocket messages, are answered one at a time and in order. Polls,
ticks, handshakes and `/whoami` take no service time. An n-th is counted over all requests where
nothing else is said; a request suffers one fault at most: drop, stall, status, wrong body, in
this order. At rest: received = answered + dropped + stalled + abandoned (the client left first).
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
import time
from collections import deque
from collections.abc import Callable, Generator
from http import HTTPStatus
from time import monotonic_ns as now_ns
from typing import Any, NamedTuple

LIMIT_BYTES = 17 * 1024 * 1024  # of one request or frame, its head included
SPIN_NS = 250_000  # by so much a timed wait may end too late
EPOCH_NS = int(os.environ.get("GATEBENCH_EPOCH_NS", "0"))
PERIOD_NS = int(os.environ.get("GATEBENCH_PERIOD_NS", "500000000"))
HOLD_NS = int(float(os.environ.get("GATEBENCH_HOLD_S", "30")) * 1e9)
WEBSOCKET_KEY = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
UPGRADE = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
STREAM = b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
COUNTERS = (
    "accepted", "open", "max_open", "received", "answered", "dropped", "stalled", "abandoned",
    "closed", "wrong_statuses", "wrong_bodies", "bad_requests", "ws_received", "ws_sent",
    "ws_dropped", "ws_duplicated", "ws_reordered", "queue_max",
)  # fmt: skip

Talk = Generator[int, None, None]  # yields what it waits for: READ, WRITE, or a time in ns
READ, WRITE = 0, 1


class Station:
    """Servers behind one queue, first come first served, and the freeze.

    Lindley's recursion gives each service's end at its arrival, so no queue is simulated.
    """

    def __init__(self, knobs: argparse.Namespace) -> None:
        self.knobs, self.random = knobs, random.Random(knobs.seed)
        self.ends: list[int] = []  # a heap of when each server is done with all it has
        self.starts: deque[int] = deque()  # when each service that waits will begin
        self.frozen = (0, 0)

    def begin(self, arrived_ns: int) -> None:
        """Fix the freeze, which is relative to the first request."""
        at, length = self.knobs.freeze
        if length and not self.frozen[1]:
            self.frozen = (arrived_ns + at, arrived_ns + at + length)

    def thaw(self, due_ns: int) -> int:
        """When something due then gets out: at the freeze's end if it falls into the freeze."""
        begin, end = self.frozen
        return end if begin <= due_ns < end else due_ns

    def admit(self, arrived_ns: int, extra_ns: int) -> int:
        """When the service of what came now is over: its own time, and `extra_ns`."""
        while self.ends and self.ends[0] <= arrived_ns:
            heapq.heappop(self.ends)
        start = arrived_ns
        if self.knobs.concurrency and len(self.ends) >= self.knobs.concurrency:
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


class Connection:
    """A connection's socket, what it has sent, and where its conversation stands."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.buffer = sock, bytearray()
        self.arrived_ns = self.requests = 0
        self.open = self.counted = True
        self.waits_for = READ
        self.talk: Talk


class Request(NamedTuple):
    """A whole request; field names are in lower case."""

    method: bytes
    path: bytes
    query: bytes
    fields: dict[bytes, bytes]
    body: bytes
    keep: bool


class Answer(NamedTuple):
    """What to answer, `extra_ns` after the service time, or at `due_ns` without one.

    `then` is how the conversation goes on after an answer that is a head of `fields` alone.
    """

    status: int = 200
    body: bytes = b""
    media: bytes = b"text/plain"
    extra_ns: int = 0
    due_ns: int | None = None
    fields: bytes = b""
    then: Callable[[Connection], Talk] | None = None


class Stub:
    """One thread, one epoll set, one heap of what is due, and a generator per connection."""

    def __init__(self, knobs: argparse.Namespace, listener: socket.socket) -> None:
        self.knobs, self.listener, self.station = knobs, listener, Station(knobs)
        self.counts = dict.fromkeys(COUNTERS, 0)
        self.connections: dict[int, Connection] = {}
        self.due: list[tuple[int, int, Connection]] = []
        self.order = itertools.count()
        self.late_ns, self.late_max_ns, self.timed = 0, 0, 0
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
            arrived = [it for fd, event in events if (it := self.read(fd, event))]
            for it in arrived:
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
        """Take what a socket has for us; return its connection if that waited for it."""
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
        it.arrived_ns = now_ns()
        it.buffer += data
        if not data or len(it.buffer) > LIMIT_BYTES:
            self.step(it, ConnectionAbortedError())
            return None
        return it if it.waits_for == READ else None

    def enter(self, sock: socket.socket) -> None:
        """Begin the conversation of a new connection."""
        sock.setblocking(False)
        it = self.connections[sock.fileno()] = Connection(sock)
        it.talk = self.converse(it)
        self.epoll.register(sock, select.EPOLLIN)
        self.count("accepted", "open")
        self.step(it)

    def count(self, *names: str) -> None:
        """Count one of each."""
        for name in names:
            self.counts[name] += 1

    def note_open(self) -> None:
        """Keep the maximum; called before it falls, so that a counters' reader is not in it."""
        self.counts["max_open"] = max(self.counts["max_open"], self.counts["open"])

    def report(self) -> bytes:
        """The counters, what is in the station now, and by how much answers were late."""
        self.note_open()
        now = {
            "queued": self.station.queued(now_ns()),
            "in_service": sum(end > now_ns() for end in self.station.ends),
            "late_mean_s": self.late_ns / max(1, self.timed) / 1e9,
            "late_max_s": self.late_max_ns / 1e9,
        }
        return json.dumps(self.counts | now).encode()

    # -- conversations: each ends its connection by returning, or by an exception ------------

    def converse(self, it: Connection) -> Talk:
        """Answer request after request. ValueError if one makes no sense."""
        knobs, counts = self.knobs, self.counts
        while True:
            while (request := parse_request(it.buffer)) is None:
                yield READ
            if request.path == b"/__counters__":
                if it.counted and not it.requests:
                    it.counted = False
                    counts["accepted"] -= 1
                    counts["open"] -= 1
                body = self.report()
                yield from self.write(it, [head_of(Answer(body=body), request.keep) + body])
            else:
                self.count("received")
                it.requests += 1
                self.station.begin(it.arrived_ns)
                if nth(knobs.drop_every, it.requests):
                    self.count("dropped")
                    if knobs.drop_how == "reset":
                        linger = struct.pack("ii", 1, 0)
                        it.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    return
                if nth(knobs.stall_every, counts["received"]):
                    self.count("stalled")
                    while True:
                        yield READ
                answer = self.spoil(self.right(request))
                yield from self.answer(it, answer, request.keep)
                if answer.then:
                    yield from answer.then(it)
                elif it.requests == knobs.close_after:
                    self.count("closed")
                    return
            if not request.keep:
                return
            it.arrived_ns = now_ns()  # of what the buffer may hold already: its turn begins

    def answer(self, it: Connection, answer: Answer, keep: bool) -> Talk:
        """Answer when it is due, in the pieces that the knobs ask for."""
        knobs = self.knobs
        head = head_of(answer, keep and not (knobs.announce and it.requests == knobs.close_after))
        pieces = [head, answer.body] if knobs.nagle else [head + answer.body]
        if knobs.split:
            whole = head + answer.body
            pieces = [whole[at : at + knobs.split] for at in range(0, len(whole), knobs.split)]
        try:
            if answer.due_ns is None:
                yield from self.serve_one(it, answer.extra_ns)
            else:
                yield self.station.thaw(max(answer.due_ns, it.arrived_ns))
            yield from self.write(it, pieces)
        except OSError:
            self.count("abandoned")
            raise
        self.count("answered")

    def serve_one(self, it: Connection, extra_ns: int = 0) -> Talk:
        """Wait until what just arrived has been served."""
        due_ns = self.station.thaw(self.station.admit(it.arrived_ns, extra_ns))
        queued = self.station.queued(it.arrived_ns)
        self.counts["queue_max"] = max(self.counts["queue_max"], queued)
        yield due_ns
        late_ns = now_ns() - due_ns
        self.timed += 1
        self.late_ns += late_ns
        self.late_max_ns = max(self.late_max_ns, late_ns)

    def write(self, it: Connection, pieces: list[bytes]) -> Talk:
        """Send each piece by a system call of its own, and the gap between them."""
        for number, piece in enumerate(pieces):
            if number and self.knobs.split_gap:
                yield now_ns() + round(self.knobs.split_gap * 1e9)
            rest = memoryview(piece)
            while rest:
                try:
                    rest = rest[it.sock.send(rest) :]
                except BlockingIOError:
                    yield WRITE

    def spoil(self, right: Answer) -> Answer:
        """The right answer, or the wrong one whose turn it is."""
        number = self.counts["received"]
        every, status = self.knobs.status_every
        if nth(every, number):
            self.count("wrong_statuses")
            return right._replace(status=status, body=b"as told\n", fields=b"", then=None)
        if nth(self.knobs.wrong_body_every, number) and right.body:
            self.count("wrong_bodies")
            return right._replace(body=right.body[:-1] + bytes([right.body[-1] ^ 1]))
        return right

    def right(self, request: Request) -> Answer:
        """What the app contract answers; an unknown path is 404."""
        method, path, query, fields, body, _ = request
        key = fields.get(b"sec-websocket-key")
        if key is not None and path in (b"/ws", b"/ws/ticks"):
            digest = hashlib.sha1(key + WEBSOCKET_KEY).digest()  # noqa: S324  the RFC's choice
            then = self.echo if path == b"/ws" else self.push_messages
            return Answer(101, due_ns=0, fields=UPGRADE % base64.b64encode(digest), then=then)
        if method == b"POST" and path == b"/echo":
            media = fields.get(b"content-type", b"application/octet-stream")
            return Answer(body=body, media=media)
        if method != b"GET":
            return Answer(404, b"not found\n")
        if path == b"/":
            return Answer(body=b"Hello, world!")
        if slept := re.fullmatch(rb"/sleep/(\d{1,12})", path):
            return Answer(body=b"slept %s ms" % slept[1], extra_ns=int(slept[1]) * 1_000_000)
        if path == b"/poll":
            after = re.search(rb"(?:^|&)after=(\d{1,12})$", query)
            event = int(after[1]) + 1 if after else next_event()
            if event_ns(event) - now_ns() > HOLD_NS:
                return Answer(204, due_ns=now_ns() + HOLD_NS)
            return Answer(body=b"%d %d" % (event, event_ns(event)), due_ns=event_ns(event))
        if path == b"/events":
            return Answer(due_ns=0, fields=STREAM, then=self.push_events)
        if path == b"/whoami":
            facts = {"pid": os.getpid(), "thread": "MainThread", "server": "stub", "loop": None}
            facts |= {"interface": "stub", "http": "1.1", "python": platform.python_version()}
            return Answer(body=json.dumps(facts).encode(), media=b"application/json", due_ns=0)
        return Answer(404, b"not found\n")

    def echo(self, it: Connection) -> Talk:
        """Echo WebSocket messages, but for those whose turn is another."""
        held, knobs, counts = b"", self.knobs, self.counts
        try:
            for number in itertools.count(1):
                it.arrived_ns = now_ns() if it.buffer else 0
                while (message := yield from self.control(it)) is None:
                    yield READ
                self.count("ws_received")
                if nth(knobs.ws_drop_every, number):
                    self.count("ws_dropped")
                    continue
                if nth(knobs.ws_reorder_every, number) and not held:
                    held = message
                    continue
                again = nth(knobs.ws_duplicate_every, number)
                messages = [message] * (1 + again) + [held] * bool(held)
                yield from self.serve_one(it)
                yield from self.write(it, messages)
                counts["ws_sent"] += len(messages)
                counts["ws_duplicated"] += again
                counts["ws_reordered"] += bool(held)
                held = b""
        finally:
            counts["ws_dropped"] += bool(held)  # its next never came

    def control(self, it: Connection) -> Generator[int, None, bytes | None]:
        """Answer control frames up to a message; return its echo, None if there is none yet."""
        while frame := parse_frame(it.buffer):
            opcode, payload = frame
            if opcode in (TEXT, BINARY):
                return frame_of(opcode, payload)
            if opcode in (PING, CLOSE):
                yield from self.write(it, [frame_of(opcode + (opcode == PING), payload)])
            if opcode == CLOSE:
                raise ConnectionAbortedError
        return None

    def push_messages(self, it: Connection) -> Talk:
        """Send every tick as a message, and look after control frames as often."""
        for event in itertools.count(next_event()):
            yield self.station.thaw(event_ns(event))
            while (yield from self.control(it)) is not None:
                pass
            yield from self.write(it, [frame_of(TEXT, b"%d %d" % (event, event_ns(event)))])
            self.count("ws_sent")

    def push_events(self, it: Connection) -> Talk:
        """Send every tick as a server-sent event."""
        for event in itertools.count(next_event()):
            yield self.station.thaw(event_ns(event))
            text = b"id: %d\ndata: %d %d\n\n" % (event, event, event_ns(event))
            yield from self.write(it, [b"%x\r\n%s\r\n" % (len(text), text)])


def parse_request(buffer: bytearray) -> Request | None:
    """Take one request off the buffer; None if it is not whole, ValueError if it is nonsense."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    line, *lines = bytes(buffer[:end]).split(b"\r\n")
    method, target, version = line.split(b" ")
    pairs = (line.partition(b":") for line in lines)
    fields = {name.lower(): value.strip() for name, _, value in pairs}
    length = fields.get(b"content-length", b"0")
    if b"transfer-encoding" in fields or not length.isdigit():
        raise ValueError("a body needs a Content-Length")
    begin, end = end + 4, end + 4 + int(length)
    if len(buffer) < end:
        return None
    body = bytes(buffer[begin:end])
    del buffer[:end]
    path, _, query = target.partition(b"?")
    keep = version == b"HTTP/1.1" and fields.get(b"connection", b"").lower() != b"close"
    return Request(method, path, query, fields, body, keep)


def head_of(answer: Answer, keep: bool) -> bytes:
    """The head of a response."""
    try:
        phrase = HTTPStatus(answer.status).phrase
    except ValueError:  # a status of the user's own
        phrase = "Unknown"
    fields = answer.fields
    if not fields and answer.status != 204:
        fields = b"Content-Type: %s\r\nContent-Length: %d\r\n" % (answer.media, len(answer.body))
    end = b"\r\n" if keep else b"Connection: close\r\n\r\n"
    return f"HTTP/1.1 {answer.status} {phrase}\r\n".encode() + fields + end


def parse_frame(buffer: bytearray) -> tuple[int, bytes] | None:
    """Take (opcode, payload) of a frame off the buffer; None if it is not whole.

    ValueError if it is not masked, or a fragment.
    """
    if len(buffer) < 2:
        return None
    size, at = buffer[1] & 127, 2
    if not buffer[1] & 128 or buffer[0] & 240 != 128:
        raise ValueError("a frame has to be masked and whole")
    if size > 125:
        at = 4 if size == 126 else 10
        size = int.from_bytes(buffer[2:at], "big") if len(buffer) >= at else LIMIT_BYTES
    if len(buffer) < at + 4 + size:
        return None
    mask = (bytes(buffer[at : at + 4]) * (size // 4 + 1))[:size]
    masked = int.from_bytes(buffer[at + 4 : at + 4 + size], "big")
    opcode = buffer[0] & 15
    del buffer[: at + 4 + size]
    return opcode, (masked ^ int.from_bytes(mask, "big")).to_bytes(size, "big")


def frame_of(opcode: int, payload: bytes) -> bytes:
    """A whole frame from the server."""
    size, first = len(payload), opcode | 128
    if size < 126:
        return bytes((first, size)) + payload
    short = size < 65536
    return struct.pack("!BBH" if short else "!BBQ", first, 127 - short, size) + payload


def next_event() -> int:
    """The first event that has not happened yet."""
    return max(0, (now_ns() - EPOCH_NS) // PERIOD_NS + 1)


def event_ns(event: int) -> int:
    """When the event happens, on CLOCK_MONOTONIC."""
    return EPOCH_NS + event * PERIOD_NS


def nth(every: int, number: int) -> bool:
    """Whether it is this one's turn; never, if `every` is 0."""
    return every > 0 and number % every == 0


def service(text: str) -> Callable[[random.Random], int]:
    """Read a distribution of service times as a draw of nanoseconds; ValueError if it is none."""
    kind, _, rest = text.partition(":")
    first, *more = map(float, rest.split(","))
    if kind == "fixed" and first >= 0 and not more:
        return lambda _: round(first * 1e9)
    if kind == "exp" and first > 0 and not more:
        return lambda source: round(source.expovariate(first) * 1e9)
    if kind == "lognormal" and first > 0 and len(more) == 1:
        return lambda source: round(source.lognormvariate(math.log(first), more[0]) * 1e9)
    raise ValueError(text)


def status(text: str) -> tuple[int, int]:
    """Read `N:STATUS`; ValueError if it is not that."""
    every, code = map(int, text.split(":"))
    return every, code


def span(text: str) -> tuple[int, int]:
    """Read `AT_S,FOR_S` as nanoseconds; ValueError if it is not that."""
    at, length = (round(float(word) * 1e9) for word in text.split(","))
    return at, length


KNOBS: tuple[tuple[str, Callable[[str], Any], str, str], ...] = (
    ("--service", service, "fixed:0", "fixed:S, exp:RATE (per second) or lognormal:MEDIAN_S,SIGMA"),
    ("--seed", int, "1", "of the service times"),
    ("--concurrency", int, "0", "requests in service at once, 0: no limit"),
    ("--freeze", span, "0,0", "AT_S,FOR_S after the first request: what is due then waits"),
    ("--drop-every", int, "0", "N: a connection's n-th request ends it, unanswered"),
    ("--drop-how", str, "close", "close (the default) or reset"),
    ("--close-after", int, "0", "N: close a connection after its n-th answer"),
    ("--status-every", status, "0:503", "N:STATUS: the n-th request's status"),
    ("--wrong-body-every", int, "0", "N: one byte of the n-th request's answer is wrong"),
    ("--stall-every", int, "0", "N: the n-th request is never answered, and occupies nothing"),
    ("--split", int, "0", "BYTES: answers are written in pieces of that size"),
    ("--split-gap", float, "0", "SECONDS between two pieces of an answer"),
    ("--ws-drop-every", int, "0", "N: a WebSocket's n-th message is not echoed"),
    ("--ws-duplicate-every", int, "0", "N: a WebSocket's n-th message is echoed twice"),
    ("--ws-reorder-every", int, "0", "N: a WebSocket's n-th message is echoed after its next"),
)


def main(arguments: list[str]) -> str | None:
    """Run the stub; return what to exit with, None if all was well."""
    parser = argparse.ArgumentParser(prog="stub.py")
    parser.add_argument("port", type=int)
    for flag, kind, default, text in KNOBS:
        parser.add_argument(flag, type=kind, default=default, help=text)
    parser.add_argument("--announce", action="store_true", help="--close-after says so before")
    parser.add_argument("--nagle", action="store_true", help="head, then body; no TCP_NODELAY")
    knobs = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # connections inherit it
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, not knobs.nagle)
    try:
        listener.bind(("127.0.0.1", knobs.port))
        listener.listen(4096)
    except (OSError, OverflowError) as error:
        return f"stub: cannot listen on 127.0.0.1:{knobs.port}: {error}"
    listener.setblocking(False)
    gc.disable()  # a collection would make answers late
    print("ready", flush=True)
    Stub(knobs, listener).serve()
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
