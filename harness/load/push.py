"""Users that ask once and are then told of every event, over a WebSocket or as a stream.

A message that came is counted as a request that was sent and answered at that moment, and one
that should have come and did not as one that failed. So sent = ok + errors, and nothing is ever
in flight. What counts is the delay of each, from when its event happened. Its response time is
how long it was waited for since the one before, as with a long-poll: so N = X * R holds here too.
"""

from __future__ import annotations

import time
from typing import ClassVar

import httptools

from harness.load import sse
from harness.load.connection import Connection
from harness.load.errors import BAD_BODY, BAD_STATUS, EARLY_CLOSE, PROTOCOL
from harness.load.order import Order, Place
from harness.load.reactor import Reactor
from harness.load.recorder import Track
from harness.load.transport import Target
from harness.load.user import EngineUser
from harness.load.websocket import WebSocketConnection

WHAT = {
    Place.LATE: "an event came after a later one",
    Place.TWICE: "an event came twice",
}
LOST = "an event never came, though a later one did"


class Events:
    """The events of one connection, each of which should come once, in order, and after it
    happened. Every one that does not is counted as an error.
    """

    def __init__(self, track: Track) -> None:
        self._track = track
        self._order: Order | None = None

    def take(self, text: bytes, now: int, since: int) -> str | None:
        """Count `<number> <time in ns>` that came at `now`, after a wait since `since`.

        Returns what is wrong if it is not that.
        """
        first, _, second = text.partition(b" ")
        if not (first.isdigit() and second.isdigit() and len(text) < 60):
            return f"not an event: {text[:80]!r}"
        number, delay = int(first), now - int(second)
        if delay < 0:
            return f"event {number} came {-delay} ns before it happened"
        if self._order is None:
            self._order = Order(number)
        try:
            place, lost = self._order.take(number)
        except ValueError as error:
            return f"event {error}"
        track = self._track
        track.sent += 1
        if place is Place.RIGHT:
            track.delay(now, delay)
            track.answer(now, now - since)
            track.answer_bytes = len(text)
        else:
            track.error(now, now - since, BAD_BODY, WHAT[place])
        self._give_up(lost, now)
        return None

    def end(self) -> None:
        """No more will come."""
        if self._order is not None:
            self._give_up(self._order.end(), time.monotonic_ns())
            self._order = None

    def _give_up(self, lost: list[int], now: int) -> None:
        for _ in lost:
            self._track.sent += 1
            self._track.error(now, 0, BAD_BODY, LOST)


class TickConnection(WebSocketConnection):
    """Listens to the events that `path` pushes."""

    def __init__(self, reactor: Reactor, target: Target, path: str) -> None:
        super().__init__(reactor, target, path)
        self._events = Events(self.track)

    @property
    def pending(self) -> bool:
        """There is always a next event."""
        return True

    def begin(self) -> None:
        """Listen."""
        self.opening = False
        self.sent_at = time.monotonic_ns()

    def message(self, _opcode: int, payload: bytes, now: int) -> None:
        """An event."""
        fault = self._events.take(payload, now, self.sent_at)
        self.sent_at = now
        if fault:
            self.wrong(BAD_BODY, fault)

    def close(self) -> None:
        """What is missing now never came."""
        self._events.end()
        super().close()


class EventConnection(Connection):
    """Listens to the server-sent events of `path`."""

    persistent = True

    def __init__(self, reactor: Reactor, target: Target, path: str) -> None:
        super().__init__(reactor, target, "GET", path)
        self._events = Events(self.track)
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: {target.authority}\r\nAccept: text/event-stream\r\n\r\n"
        ).encode("latin-1")

    @property
    def pending(self) -> bool:
        """There is always a next event."""
        return True

    def opened(self) -> None:
        """Ask for the stream."""
        self._http = httptools.HttpResponseParser(self)
        self._stream = sse.Parser()
        self._bodies: list[bytes] = []
        self._media = b""
        self._headed = self._over = False
        self.tell(self._request)

    def begin(self) -> None:
        """Listen."""
        self.opening = False
        self.sent_at = time.monotonic_ns()

    def received(self, data: bytes, now: int) -> None:
        """Some of the stream."""
        try:
            self._http.feed_data(data)
            events = [event for body in self._bodies for event in self._stream.feed(body)]
        except httptools.HttpParserError as error:
            self.wrong(PROTOCOL, f"{error}: {data[:80]!r}")
            return
        except sse.StreamError as error:
            self.fail(error)
            return
        self._bodies.clear()
        if self._headed and self.opening:
            status = self._http.get_status_code()
            if status != 200:
                self.wrong(BAD_STATUS, f"{status} instead of 200")
                return
            if self._media.partition(b";")[0].strip().lower() != b"text/event-stream":
                self.wrong(PROTOCOL, f"the stream's type is {self._media[:80]!r}")
                return
            self.begin()
        for event in events:
            text = event.data.encode()
            fault = self._events.take(text, now, self.sent_at)
            self.sent_at = now
            if fault is None and event.id and event.id.encode() != text.partition(b" ")[0]:
                fault = f"event {text[:40]!r} has the id {event.id[:40]!r}"
            if fault:
                self.wrong(BAD_BODY, fault)
                return
        if self._over:
            self.ended(now)

    def ended(self, _now: int) -> None:
        """The stream has no end."""
        self.wrong(EARLY_CLOSE, "the server ended the stream")

    def close(self) -> None:
        """What is missing now never came."""
        self._events.end()
        super().close()

    # httptools calls these

    def on_header(self, name: bytes, value: bytes) -> None:
        """What kind of stream it is."""
        if name.lower() == b"content-type":
            self._media = value

    def on_headers_complete(self) -> None:
        """The answer's head is whole."""
        self._headed = True

    def on_body(self, body: bytes) -> None:
        """A piece of the stream."""
        self._bodies.append(body)

    def on_message_complete(self) -> None:
        """It has ended."""
        self._over = True


class TickUser(EngineUser):
    """A Locust user that hears every event over a WebSocket of its own."""

    abstract = True
    paced_by_events = True
    path: ClassVar[str] = "/ws/ticks"

    def connection(self) -> Connection:
        """This user's connection to the host under test."""
        return TickConnection(self.reactor, self.target, self.path)


class EventUser(EngineUser):
    """A Locust user that hears every event as a server-sent one, on a connection of its own."""

    abstract = True
    paced_by_events = True
    path: ClassVar[str] = "/events"

    def connection(self) -> Connection:
        """This user's connection to the host under test."""
        return EventConnection(self.reactor, self.target, self.path)
