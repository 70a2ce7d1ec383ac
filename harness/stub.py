"""The stub: a server whose answers, faults and service times are known exactly, to test with.

Runs as `python -I -S stub.py PORT [knobs]` (`--help` lists them), with the standard library
alone; prints `ready` once it listens on 127.0.0.1 (and on a unix socket); ends on SIGTERM. It
speaks the part of the app contract that scenarios use, see `route`; bodies need a Content-Length.
`GET /__counters__` is answered at once with what has been done; a connection that begins with it
is not counted.

A service time begins when a request's last byte was read and is never cut short; the processor
spins for the last SPIN_NS before an answer is due. With `--concurrency` each service begins when
the one before it was due, not when its answer got out, so the stub's own lateness (`late_max_s`,
`late_mean_s`) does not add up. The work of a request whose client has gone is done all the same.

A connection's requests, or WebSocket messages, are answered one at a time and in order. `/`,
`/echo`, `/sleep` and each message take a service time, all else none. An n-th is counted over all
requests where nothing else is said; a request suffers one fault at most: drop, stall, status,
wrong body, in this order. At rest: received = answered + dropped + stalled + abandoned (the
client left before its answer was out).
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
import os
import random
import re
import resource
import select
import signal
import socket
import ssl
import struct
import sys
from collections import deque
from collections.abc import Callable, Generator
from http.client import responses
from time import monotonic_ns as now_ns
from typing import Any, NamedTuple

LIMIT_BYTES = 17 * 1024 * 1024  # of one request or frame, its head included
SPIN_NS = 250_000  # by so much a timed wait may end too late
SPLIT_GAP_NS = 100_000  # between two pieces, so that they can be read apart
EPOCH_NS = int(os.environ.get("GATEBENCH_EPOCH_NS", "0"))
PERIOD_NS = int(os.environ.get("GATEBENCH_PERIOD_NS", "500000000"))
HOLD_NS = int(float(os.environ.get("GATEBENCH_HOLD_S", "30")) * 1e9)
TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9
FIELDS = b"Content-Type: %s\r\nContent-Length: %d\r\n"
STREAM = b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
UPGRADE = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
ACCEPT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
REQUEST = re.compile(rb"(\S+) ([^\s?]*)\??(\S*) HTTP/1\.([01])\r\n((?:[^\r\n]+\r\n)*)\r\n")
COUNTERS = (
    "accepted", "open", "max_open", "received", "answered", "dropped", "stalled", "abandoned",
    "closed", "wrong_statuses", "wrong_bodies", "bad_requests", "ws_received", "ws_sent",
    "ws_dropped", "ws_duplicated", "ws_reordered", "ws_closed", "queue_max",
)  # fmt: skip
READ, WRITE = 0, 1
Request = tuple[bytes, bytes, bytes, dict[bytes, bytes], bytes, bool]
Talk = Generator[int, None, None]  # yields what it waits for: READ, WRITE, or a time in ns


class Answer(NamedTuple):
    """What to send when; `then` is how the connection goes on, if not with a next request."""

    due_ns: int
    body: bytes = b""
    media: bytes = b"text/plain"
    status: int = 200
    fields: bytes = b""
    then: Callable[[Connection], Talk] | None = None


class TlsSocket(ssl.SSLSocket):
    """Like a plain socket that never blocks: takes all that came, and shakes hands as it reads."""

    def recv(self, size: int = 1024, flags: int = 0) -> bytes:
        """What has come, of which OpenSSL gives a record at a time."""
        try:
            data = super().recv(size, flags)
            while self.pending():
                data += super().recv(size, flags)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None
        return data

    def send(self, data: Any, flags: int = 0) -> int:
        """How much of it was taken."""
        try:
            return super().send(data, flags)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None


class Connection:
    """A connection's socket, what it has sent, and where its conversation stands."""

    def __init__(self, sock: socket.socket, converse: Callable[[Connection], Talk]) -> None:
        self.sock, self.buffer, self.talk = sock, bytearray(), converse(self)
        self.arrived_ns, self.requests, self.waits_for = 0, 0, READ
        self.open, self.counted, self.websocket = True, True, False
        self.held = b""  # a message that is sent after its next


class Stub:
    """One thread, one epoll set, one heap of what is due, and a generator per connection."""

    def __init__(self, knobs: argparse.Namespace, listeners: list[socket.socket]) -> None:
        self.knobs, self.random, self.tls = knobs, random.Random(knobs.seed), tls_of(knobs)
        self.listeners = {listener.fileno(): listener for listener in listeners}
        self.counts = dict.fromkeys(COUNTERS, 0)
        self.connections: dict[int, Connection] = {}
        self.due: list[tuple[int, int, Connection]] = []
        self.order = itertools.count()
        self.ends: list[int] = []  # a heap of when each place of service is free for good
        self.starts: deque[int] = deque()  # when each service that waits will begin
        self.first_ns = self.waits = self.late_ns = self.late_max_ns = 0
        self.epoll = select.epoll()
        for listener in listeners:
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
                while fd in self.listeners:
                    self.enter(self.listeners[fd].accept()[0])
            return None
        if event & select.EPOLLOUT:
            self.epoll.modify(fd, select.EPOLLIN)
            return it
        try:
            data = it.sock.recv(65536)
        except BlockingIOError:  # half of a handshake, or of a record
            return None
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
        if self.tls is not None:
            sock = self.tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        it = self.connections[sock.fileno()] = Connection(sock, self.converse)
        self.epoll.register(sock, select.EPOLLIN)
        self.counts["accepted"] += 1
        self.counts["open"] += 1
        self.step(it)

    def note_open(self) -> None:
        """Keep the maximum; called before it falls, so that a counters' reader is not in it."""
        self.counts["max_open"] = max(self.counts["max_open"], self.counts["open"])

    # -- conversations: each ends its connection by returning, or by an exception ------------

    def converse(self, it: Connection) -> Talk:
        """Answer request after request. ValueError if one makes no sense."""
        knobs, counts, keep = self.knobs, self.counts, True
        while keep:
            while (request := parse_request(it.buffer)) is None:
                yield READ
            method, path, query, fields, body, keep = request
            if path == b"/__counters__":
                if it.counted and not it.requests:
                    it.counted = False
                    counts["accepted"] -= 1
                    counts["open"] -= 1
                answer = Answer(0, self.report(), b"application/json")
                yield from self.write(it, head_of(answer, keep) + answer.body)
                continue
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
            answer = self.spoil(self.route(it, method + b" " + path, query, fields, body))
            last = answer.then is None and it.requests == knobs.close_after
            head = head_of(answer, keep and not (last and knobs.announce))
            try:
                yield from self.wait(answer.due_ns)
                yield from self.write(it, head, answer.body)
            except OSError:
                counts["abandoned"] += 1
                raise
            counts["answered"] += 1
            if answer.then:
                yield from answer.then(it)
            counts["closed"] += last
            keep = keep and not last
            if not keep and knobs.close_late:
                yield now_ns() + round(knobs.close_late * 1e9)
            it.arrived_ns = now_ns()  # whatever the buffer holds already: its turn begins now

    def route(
        self, it: Connection, what: bytes, query: bytes, fields: dict[bytes, bytes], body: bytes
    ) -> Answer:
        """What the app contract answers, and when."""
        answer = Answer(it.arrived_ns, b"not found\n", status=404)
        if what == b"GET /":
            answer = Answer(self.admit(it), b"Hello, world!")
        elif what == b"POST /echo":
            media = fields.get(b"content-type", b"application/octet-stream")
            answer = Answer(self.admit(it), body, media)
        elif found := re.fullmatch(rb"GET /sleep/(\d{1,12})", what):
            due_ns = self.admit(it, 0 if self.knobs.hurry else int(found[1]) * 1_000_000)
            answer = Answer(due_ns, b"slept %s ms" % found[1])
        elif what == b"GET /poll":
            after = re.search(rb"(?:^|&)after=(\d{1,12})$", query)
            event = int(after[1]) + 1 if after else next_event()
            due_ns, limit_ns = max(event_ns(event), it.arrived_ns), it.arrived_ns + HOLD_NS
            answer = Answer(due_ns, b"%d %d" % (event, event_ns(event)))
            if due_ns > limit_ns:
                answer = Answer(limit_ns, status=204)
        elif what == b"GET /events":
            answer = Answer(it.arrived_ns, fields=STREAM, then=self.push)
        elif what == b"GET /whoami":
            facts = {"pid": os.getpid(), "thread": "MainThread", "server": "stub", "loop": None}
            facts |= {"interface": "stub", "http": "1.1", "python": sys.version.split()[0]}
            answer = Answer(it.arrived_ns, json.dumps(facts).encode(), b"application/json")
        elif what in (b"GET /ws", b"GET /ws/ticks") and b"sec-websocket-key" in fields:
            digest = hashlib.sha1(fields[b"sec-websocket-key"] + ACCEPT).digest()  # noqa: S324  RFC
            then = self.echo if what == b"GET /ws" else self.push
            upgrade = UPGRADE % base64.b64encode(digest)
            it.websocket = True
            answer = Answer(it.arrived_ns, status=101, fields=upgrade, then=then)
        return answer

    def spoil(self, right: Answer) -> Answer:
        """The right answer, or the wrong one whose turn it is."""
        every, status = self.knobs.status_every
        if nth(every, self.counts["received"]):
            self.counts["wrong_statuses"] += 1
            return Answer(right.due_ns, b"as told\n", status=int(status))
        if nth(self.knobs.wrong_body_every, self.counts["received"]) and right.body:
            self.counts["wrong_bodies"] += 1
            return right._replace(body=right.body[:-1] + bytes([right.body[-1] ^ 1]))
        return right

    def admit(self, it: Connection, extra_ns: int = 0) -> int:
        """When the service of what just arrived is over: its own time and `extra_ns`.

        Lindley's recursion gives it at the arrival, so the queue itself is not simulated.
        """
        while self.ends and self.ends[0] <= it.arrived_ns:
            heapq.heappop(self.ends)
        while self.starts and self.starts[0] <= it.arrived_ns:
            self.starts.popleft()
        start = it.arrived_ns
        if 0 < self.knobs.concurrency <= len(self.ends):
            start = heapq.heappop(self.ends)
            self.starts.append(start)
            self.counts["queue_max"] = max(self.counts["queue_max"], len(self.starts))
        service_ns = self.knobs.service(self.random) * self.pace(it.arrived_ns)
        end: int = start + round(service_ns) + extra_ns
        heapq.heappush(self.ends, end)
        return end

    def pace(self, at_ns: int) -> float:
        """How many times as long as it should be a service is that was asked for then."""
        factor, length_s = self.knobs.pace
        since_s = (at_ns - self.first_ns) / 1e9
        left: float = max(0.0, 1 - since_s / length_s) if length_s else 0.0
        return 1.0 + (float(factor) - 1.0) * left

    def wait(self, due_ns: int) -> Talk:
        """Wait until then, or to the end of the freeze that it falls into."""
        begin, length = (round(seconds * 1e9) for seconds in self.knobs.freeze)
        if 0 <= due_ns - self.first_ns - begin < length:
            due_ns = self.first_ns + begin + length
        yield due_ns
        late_ns = now_ns() - due_ns
        self.waits += 1
        self.late_ns += late_ns
        self.late_max_ns = max(self.late_max_ns, late_ns)

    def write(self, it: Connection, head: bytes, body: bytes = b"") -> Talk:
        """Send an answer in the pieces that the knobs ask for, a system call for each."""
        size, pieces = self.knobs.split, [head, body] if self.knobs.nagle else [head + body]
        if size:
            pieces = [(head + body)[at : at + size] for at in range(0, len(head + body), size)]
        for number, piece in enumerate(pieces):
            if number and size:
                yield now_ns() + SPLIT_GAP_NS
            rest = memoryview(piece)
            while rest:
                try:
                    rest = rest[it.sock.send(rest) :]
                except BlockingIOError:
                    yield WRITE

    def report(self) -> bytes:
        """The counters, what is in the station now, and by how much answers were late."""
        self.note_open()
        now = {
            "queued": sum(start > now_ns() for start in self.starts),
            "in_service": sum(end > now_ns() for end in self.ends),
            "late_mean_s": self.late_ns / max(1, self.waits) / 1e9,
            "late_max_s": self.late_max_ns / 1e9,
        }
        return json.dumps(self.counts | now).encode()

    def echo(self, it: Connection) -> Talk:
        """Echo WebSocket messages, but for those whose turn is another."""
        try:
            for number in itertools.count(1):
                while not (message := (yield from self.message(it))):
                    yield READ
                self.counts["ws_received"] += 1
                yield from self.relay(it, number, message, timed=True)
        finally:
            self.counts["ws_dropped"] += bool(it.held)  # its next never came

    def relay(self, it: Connection, number: int, message: bytes, timed: bool) -> Talk:
        """Send a connection's n-th message as the knobs have it; `timed`: after a service time."""
        knobs, counts = self.knobs, self.counts
        if nth(knobs.ws_drop_every, number):
            counts["ws_dropped"] += 1
        elif nth(knobs.ws_reorder_every, number) and not it.held:
            it.held = message
        else:
            copies = 1 + nth(knobs.ws_duplicate_every, number)
            if timed:
                yield from self.wait(self.admit(it))
            yield from self.write(it, message * copies, it.held)
            counts["ws_sent"] += copies + bool(it.held)
            counts["ws_duplicated"] += copies - 1
            counts["ws_reordered"] += bool(it.held)
            it.held = b""
            it.arrived_ns = now_ns()

    def message(self, it: Connection) -> Generator[int, None, bytes]:
        """Answer control frames up to a message; return its echo, nothing if there is none yet."""
        while frame := parse_frame(it.buffer):
            opcode, payload = frame
            if opcode in (TEXT, BINARY):
                return frame_of(opcode, payload)
            self.counts["ws_closed"] += opcode == CLOSE
            if opcode in (PING, CLOSE):
                yield from self.write(it, frame_of(opcode + (opcode == PING), payload))
            if opcode == CLOSE:
                raise ConnectionAbortedError
        return b""

    def push(self, it: Connection) -> Talk:
        """Send every tick, as WebSocket messages (control frames are seen as often) or events."""
        try:
            for number, event in enumerate(itertools.count(next_event()), 1):
                yield from self.wait(event_ns(event))
                text = b"%d %d" % (event, event_ns(event))
                if it.websocket:
                    while (yield from self.message(it)):
                        pass
                    message = frame_of(TEXT, text)
                else:
                    text = b"id: %d\ndata: %s\n\n" % (event, text)
                    message = b"%x\r\n%s\r\n" % (len(text), text)
                yield from self.relay(it, number, message, timed=False)
        finally:
            self.counts["ws_dropped"] += bool(it.held)


def parse_request(buffer: bytearray) -> Request | None:
    """Take (method, path, query, fields, body, keep-alive) off the buffer; None if not whole.

    Field names are in lower case. ValueError if it makes no sense.
    """
    head = REQUEST.match(buffer)
    if head is None:
        if b"\r\n\r\n" in buffer:
            raise ValueError("not a request")
        return None
    pairs = (line.partition(b":") for line in head[5].splitlines())
    fields = {name.lower(): value.strip() for name, _, value in pairs}
    if b"transfer-encoding" in fields:
        raise ValueError("a body needs a Content-Length")
    end = head.end() + int(fields.get(b"content-length", b"0"))
    if len(buffer) < end:
        return None
    keep = head[4] == b"1" and fields.get(b"connection", b"").lower() != b"close"
    request = head[1], head[2], head[3], fields, bytes(buffer[head.end() : end]), keep
    del buffer[:end]
    return request


def head_of(answer: Answer, keep: bool) -> bytes:
    """The head of a response."""
    fields = answer.fields
    if not fields and answer.status != 204:
        fields = FIELDS % (answer.media, len(answer.body))
    line = f"HTTP/1.1 {answer.status} {responses.get(answer.status, 'Unknown')}\r\n".encode()
    return line + fields + (b"\r\n" if keep else b"Connection: close\r\n\r\n")


def parse_frame(buffer: bytearray) -> tuple[int, bytes] | None:
    """Take (opcode, payload) off the buffer; None if not whole, ValueError if in fragments."""
    if len(buffer) < 2:
        return None
    size, at = buffer[1] & 127, 2
    if not buffer[1] & 128 or buffer[0] & 240 != 128:
        raise ValueError("a frame has to be masked and whole")
    if size > 125:
        at = 4 if size == 126 else 10
        size = int.from_bytes(buffer[2:at], "big")
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
    """Read a distribution as a draw of nanoseconds; ValueError if it is none."""
    kind, _, rest = text.partition(":")
    first, *more = map(float, rest.split(","))
    if kind == "fixed" and first >= 0 and not more:
        return lambda _: round(first * 1e9)
    if kind == "exp" and first > 0 and not more:
        return lambda source: round(source.expovariate(first) * 1e9)
    if kind == "lognormal" and first > 0 and len(more) == 1:
        return lambda source: round(source.lognormvariate(0.0, more[0]) * first * 1e9)
    raise ValueError(text)


def pair(text: str) -> tuple[float, float]:
    """Read two numbers with `,` or `:` between; ValueError if it is not that."""
    first, second = map(float, re.split("[,:]", text))
    return first, second


def tls_of(knobs: argparse.Namespace) -> ssl.SSLContext | None:
    """TLS's settings, if it is asked for."""
    if not knobs.tls:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*knobs.tls)
    context.sslsocket_class = TlsSocket
    return context


def listen(address: tuple[str, int] | str, knobs: argparse.Namespace) -> socket.socket:
    """A listener that never blocks; OSError if the address cannot be had."""
    listener = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    if not isinstance(address, str):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # connections inherit it
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, not knobs.nagle)
    listener.bind(address)
    listener.listen(4096)
    listener.setblocking(False)
    return listener


def main(arguments: list[str]) -> str | None:
    """Run the stub; return what to exit with, None if all was well."""
    parser = argparse.ArgumentParser(prog="stub.py")
    parser.add_argument("port", type=int)
    for flag, kind, default, text in KNOBS:
        parser.add_argument(flag, type=kind, default=default, help=text)
    parser.add_argument("--drop-how", choices=("close", "reset"), default="close")
    parser.add_argument("--announce", action="store_true", help="--close-after says so before")
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"), help="speak TLS, on each port")
    parser.add_argument("--unix", metavar="PATH", help="listen on this unix socket, too")
    parser.add_argument("--hurry", action="store_true", help="/sleep does not, but says it did")
    parser.add_argument("--nagle", action="store_true", help="head, then body; no TCP_NODELAY")
    knobs = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        listeners = [listen(("127.0.0.1", knobs.port), knobs)]
        if knobs.unix:
            listeners.append(listen(knobs.unix, knobs))
    except (OSError, OverflowError) as error:
        where = f"127.0.0.1:{knobs.port}" + (f" and {knobs.unix}" if knobs.unix else "")
        return f"stub: cannot listen on {where}: {error}"
    gc.disable()  # a collection would make answers late
    print("ready", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        Stub(knobs, listeners).serve()
    return None


KNOBS: tuple[tuple[str, Callable[[str], Any], str, str], ...] = (
    ("--service", service, "fixed:0", "fixed:S, exp:RATE (per second) or lognormal:MEDIAN_S,SIGMA"),
    ("--seed", int, "1", "of the service times"),
    ("--concurrency", int, "0", "requests in service at once, 0: no limit"),
    ("--pace", pair, "1,0", "FACTOR,FOR_S: services begin FACTOR times as long, and come right"),
    ("--freeze", pair, "0,0", "AT_S,FOR_S after the first request: what is due then waits"),
    ("--drop-every", int, "0", "N: a connection's n-th request ends it, unanswered"),
    ("--close-after", int, "0", "N: close a connection after its n-th answer"),
    ("--close-late", float, "0", "S: close a connection so long after its last answer"),
    ("--status-every", pair, "0:503", "N:STATUS: the n-th request's status"),
    ("--wrong-body-every", int, "0", "N: one byte of the n-th request's answer is wrong"),
    ("--stall-every", int, "0", "N: the n-th request is never answered, and occupies nothing"),
    ("--split", int, "0", "BYTES: answers are written in pieces of that size"),
    ("--ws-drop-every", int, "0", "N: a WebSocket's n-th message, echo or event, is not sent"),
    ("--ws-duplicate-every", int, "0", "N: a WebSocket's n-th message is sent twice"),
    ("--ws-reorder-every", int, "0", "N: a WebSocket's n-th message is sent after its next"),
)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
