"""Users that echo messages over a WebSocket of their own."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from functools import cache
from typing import ClassVar, NamedTuple

from harness.load import frames
from harness.load.connection import Connection
from harness.load.errors import BAD_BODY, EARLY_CLOSE, PROTOCOL, kind_of
from harness.load.order import Order, Place
from harness.load.reactor import Reactor
from harness.load.transport import Target
from harness.load.user import EngineUser

HEAD_LIMIT_BYTES = 65536
DIGITS = 2  # of a message's number
GONE = 1000  # the close code of one who is done
TWICE = "an echo came twice"
LATE = "an echo came after that of a later message"
LOST = "an echo never came, though that of a later message did"


class WebSocketConnection(Connection):
    """Shakes hands, answers control frames, and gives a protocol above it whole messages.

    The handshake is not a request, so it is not counted as one, unless it fails.
    """

    persistent = True

    def __init__(self, reactor: Reactor, target: Target, path: str, pause_s: float = 0.0) -> None:
        super().__init__(reactor, target, "WS", path, pause_s)
        self.path = path
        self._shaken = False

    def message(self, opcode: int, payload: bytes, now: int) -> None:
        """Take in a message (TEXT or BINARY); the protocol's part."""
        raise NotImplementedError

    def opened(self) -> None:
        """Shake hands."""
        self._decoder = frames.Decoder()
        self._head = self._goodbye = b""
        self._shaken = False
        request, self._accept = frames.handshake(self.target.authority, self.path)
        self.tell(request)

    def received(self, data: bytes, now: int) -> None:
        """Everything but the one frame that is hoped for."""
        try:
            if not self._shaken:
                data = self._shake(data)
            messages = self._decoder.feed(data) if data else ()
        except frames.ProtocolError as error:
            self._take(error.messages, now)
            if error.close_code is not None:
                self._goodbye = frames.close_frame(error.close_code)
            if self._socket is not None:
                self.fail(error)
            return
        if not self._decoder.idle:
            self.hoped = None
            self._first_at = self._first_at or now
        self._take(messages, now)

    def _take(self, messages: Sequence[frames.Message], now: int) -> None:
        for opcode, payload in messages:
            if self._socket is None:  # the one before was wrong
                return
            if opcode in (frames.TEXT, frames.BINARY):
                self.message(opcode, payload, now)
            elif opcode == frames.CLOSE:
                self._goodbye = frames.reply(opcode, payload) or b""
                code, reason = frames.close_status(payload)
                self.wrong(EARLY_CLOSE, f"the server closed with {code} {reason}")
            elif (owed := frames.reply(opcode, payload)) is not None:
                self.tell(owed)

    def ended(self, _now: int) -> None:
        """A server may not end a WebSocket that we use."""
        self.wrong(EARLY_CLOSE, "the server ended the connection without a close frame")

    def farewell(self) -> bytes:
        """A close frame; its answer is not waited for."""
        return (self._goodbye or frames.close_frame(GONE)) if self._shaken else b""

    def _shake(self, data: bytes) -> bytes:
        """The server's half of the handshake, then the first message; returns what follows it."""
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end:
            if len(self._head) > HEAD_LIMIT_BYTES:
                raise frames.ProtocolError("an endless answer to the handshake", kind=PROTOCOL)
            return b""
        frames.check_handshake(head, self._accept)
        self._shaken = True
        self.begin()
        return rest


class Ring(NamedTuple):
    """Copies of a message that differ in a number at their end, and the number of each."""

    echoes: tuple[frames.Echo, ...]
    numbers: dict[bytes, int]


@cache
def ring_of(message: bytes) -> Ring:
    """As many as two digits can tell apart, or as fit into a message that is shorter."""
    digits = min(DIGITS, len(message))
    kept = message[: len(message) - digits]
    copies = [kept + (b"%0*d" % (digits, number))[:digits] for number in range(10**digits)]
    echoes = tuple(frames.prepare(frames.BINARY, each) for each in copies)
    return Ring(echoes, {each: number for number, each in enumerate(copies)})


class EchoConnection(WebSocketConnection):
    """Sends a message and waits for its echo, again and again.

    Messages are numbered, so a second echo of one is not mistaken for that of the next. One
    that never comes is a timeout here, where nothing is sent before it came.
    """

    def __init__(
        self, reactor: Reactor, target: Target, path: str, message: bytes, pause_s: float = 0.0
    ) -> None:
        super().__init__(reactor, target, path, pause_s)
        self._ring = ring_of(message)
        self._next: Iterator[frames.Echo] = itertools.cycle(self._ring.echoes)
        self.track.answer_bytes = len(message)

    def ask(self) -> None:
        """Send the next message."""
        self.send()

    def again(self) -> None:
        """The next message, with its own echo to be hoped for."""
        self._echo = self.request, self.hoped = next(self._next)
        Connection.again(self)  # super() would be felt here

    def message(self, opcode: int, payload: bytes, now: int) -> None:
        """An echo that did not come as one whole frame in one read, or is not the right one."""
        if opcode != frames.BINARY or payload not in self._ring.numbers:
            shown = f"{len(payload)} bytes: {payload[:80]!r}"
            self.wrong(BAD_BODY, f"opcode {opcode}, {shown}")
        elif self.waiting and self._echo[1].endswith(payload):
            self.settle(now)
        else:
            self.track.sent += 1  # nobody asked for it, and the request that is out still is
            self.track.error(now, 0, BAD_BODY, TWICE)


class WindowConnection(EchoConnection):
    """Keeps several messages in flight, so that a gap among their echoes shows at once.

    `waiting` counts them. One that was overtaken no longer takes a place in the window.
    """

    def __init__(
        self, reactor: Reactor, target: Target, path: str, message: bytes, window: int
    ) -> None:
        super().__init__(reactor, target, path, message)
        self._window = window
        self.at_once = False

    def begin(self) -> None:
        """Fill the window."""
        self.opening = self.called = False
        self._order = Order(0, len(self._ring.echoes) // 4)
        self._out: dict[int, int] = {}  # when each message that is out was sent, by its number
        self._count = itertools.count()
        self._fill()

    def _fill(self) -> None:
        while self._socket is not None and len(self._out) - len(self._order.missing) < self._window:
            number = next(self._count)
            self._out[number] = time.monotonic_ns()
            self.request = self._ring.echoes[number % len(self._ring.echoes)].request
            self.waiting = 1
            Connection.again(self)
            self._note_oldest()

    def _note_oldest(self) -> None:
        if self._socket is None:
            return
        self.waiting = len(self._out)

    def message(self, opcode: int, payload: bytes, now: int) -> None:
        """An echo: right, late, or one too many; others may be given up with it."""
        size = len(self._ring.numbers)
        number = self._ring.numbers.get(payload) if opcode == frames.BINARY else None
        expected = self._order.expected
        if number is not None:  # the one like it that is nearest to what should come
            number = expected + (number - expected + size // 2) % size - size // 2
        if number is None or number >= expected + size // 2 or number > max(self._out, default=-1):
            self.wrong(BAD_BODY, f"opcode {opcode}, {len(payload)} bytes: {payload[:80]!r}")
            return
        place, lost = self._order.take(number)
        if place is Place.TWICE:
            self.track.sent += 1
            self.track.error(now, 0, BAD_BODY, TWICE)
            return
        took = now - self._out.pop(number)
        if place is Place.RIGHT:
            self.track.answer(now, took)
        else:
            self.track.error(now, took, BAD_BODY, LATE)
        for each in lost:
            self.track.error(now, now - self._out.pop(each), BAD_BODY, LOST)
        self._note_oldest()
        self._fill()

    @property
    def since(self) -> int:
        """When the oldest that is out was sent."""
        return next(iter(self._out.values()), self.sent_at) if self.waiting else self.sent_at

    def fail(self, error: Exception) -> None:
        """What else was in flight has failed as well."""
        if self.waiting:
            now, kind = time.monotonic_ns(), kind_of(error)
            for sent_at in itertools.islice(self._out.values(), 1, None):
                self.track.error(now, now - sent_at, kind, str(error))
            self._out.clear()
        super().fail(error)


class WebSocketUser(EngineUser):
    """A Locust user on a WebSocket of its own. A broken one is counted, and opened anew.

    `message` is sent as binary, its last two bytes replaced by a number. With `in_flight`
    above 1 so many are sent before the first echo has to come (in a closed load).
    """

    abstract = True
    path: ClassVar[str] = "/ws"
    message: ClassVar[bytes]
    in_flight: ClassVar[int] = 1

    def connection(self) -> Connection:
        """This user's connection to the host under test."""
        if self.in_flight > 1 and self.reactor.arrivals is None:
            return WindowConnection(
                self.reactor, self.target, self.path, self.message, self.in_flight
            )
        return EchoConnection(self.reactor, self.target, self.path, self.message, self.pause_s)
