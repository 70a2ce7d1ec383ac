"""Users that send one HTTP request again and again, each when the last was answered."""

from __future__ import annotations

from typing import Any, ClassVar

import httptools

from harness.load.connection import Connection
from harness.load.errors import EARLY_CLOSE, PROTOCOL, WrongAnswerError
from harness.load.exchange import Exchange
from harness.load.reactor import Reactor
from harness.load.transport import Target
from harness.load.user import EngineUser


class Known:
    """The bytes of the last whole answer that was parsed and found right.

    An answer that equals it byte for byte needs no second parse: same bytes, same result. A
    server's answers differ once a second, by their Date. Shared by a scenario's users.
    """

    def __init__(self) -> None:
        self.answer: bytes | None = None


class HttpConnection(Connection):
    """Repeats an exchange over HTTP/1.1, reading each answer with a C parser.

    With `per_connection` the n-th request of each connection announces that it is the last.
    """

    def __init__(
        self,
        reactor: Reactor,
        target: Target,
        exchange: Exchange,
        known: Known,
        pause_s: float = 0.0,
        per_connection: int | None = None,
    ) -> None:
        super().__init__(reactor, target, exchange.method, exchange.label, pause_s)
        self.known = known
        self._per_connection = per_connection
        self._left: int | None = None  # requests until the connection is opened anew
        if per_connection is not None:
            self.at_once = False
        self._begin(exchange)
        self._fresh_parser()

    def _begin(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self._requests = [exchange.encode(self.target.authority, last) for last in (False, True)]
        self.request = self._requests[False]

    def _fresh_parser(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self._fresh_answer()

    def _fresh_answer(self) -> None:
        self._like = b""  # the known answer that this one equals so far,
        self._alike = 0  # up to here
        self._parsed = False
        self._pieces: list[bytes] = []
        self._body: list[bytes] = []
        self._headed = self._framed = self._keep = False
        self._complete = 0

    def opened(self) -> None:
        """The first request of a new connection."""
        self._fresh_parser()
        self._left = self._per_connection
        self.begin()

    def ask(self) -> None:
        """Send the request."""
        self.hoped = self.known.answer
        if self._left is not None:
            self._left -= 1
            self.request = self._requests[self._left == 0]
        self.send()

    def rest(self) -> None:
        """After the last request of a connection, without it."""
        if self._left == 0:
            self._left = None
            self.close()
        super().rest()

    def received(self, data: bytes, now: int) -> None:
        """A piece of an answer, or a whole one that is not like the one before."""
        if not self.waiting:
            self.wrong(PROTOCOL, f"an answer that nobody asked for: {data[:80]!r}")
            return
        self.hoped = None
        self._first_at = self._first_at or now
        if self._parsed or not self._resembles(data, now):
            self._parse(data, now)

    def _resembles(self, data: bytes, now: int) -> bool:
        """Whether the answer still equals the known one; a server may send it in pieces."""
        like = self._like or self.known.answer or b""
        end = self._alike + len(data)
        if like[self._alike : end] != data:
            return False
        if end < len(like):
            self._like, self._alike = like, end
        else:
            self._like, self._alike = b"", 0
            self.settle(now)
        return True

    def _parse(self, data: bytes, now: int) -> None:
        if not self._parsed:  # from its beginning
            self._parsed = True
            data = self._like[: self._alike] + data
        self._pieces.append(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.wrong(PROTOCOL, f"{error}: {data[:80]!r}")
            return
        if self._complete > 1:
            self.wrong(PROTOCOL, f"more than one answer to a request: {data[-80:]!r}")
        elif self._complete:
            self._answered(now)

    def ended(self, now: int) -> None:
        """An end is how an answer of unannounced length is complete; otherwise it is an error."""
        if self._headed and not self._framed:
            self._answered(now)
        else:
            begun = self._parsed or self._alike
            part = "within an answer" if begun else "without an answer"
            self.wrong(EARLY_CLOSE, f"the server closed the connection {part}")

    def _answered(self, now: int) -> None:
        body = b"".join(self._body)
        try:
            self.exchange.check(self.parser.get_status_code(), body)
        except WrongAnswerError as error:
            self.refuse(error)
        else:
            self.track.answer_bytes = len(body)
            self.right(body, now)
            self.record(now)
            if self._keep and isinstance(self.exchange.expect, bytes):
                self.known.answer = b"".join(self._pieces)
        if not self._keep:
            # at once, as everybody does: there are servers that wait for it
            self._left = None
            self.close()
        self._fresh_answer()
        self.rest()

    def right(self, body: bytes, now: int) -> None:
        """What else to do with a right answer before the next request."""

    # httptools calls these

    def on_header(self, name: bytes, _value: bytes) -> None:
        """Whether the answer says how long it is."""
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self._framed = True

    def on_headers_complete(self) -> None:
        """The answer's head is whole."""
        self._headed = True
        if self.parser.get_status_code() in (204, 304):
            self._framed = True

    def on_body(self, body: bytes) -> None:
        """A piece of its body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """The answer is whole; an interim answer (1xx) is not the one we wait for."""
        if self.parser.get_status_code() < 200:
            self._headed = self._framed = False
        else:
            # only here does the parser still know; what comes behind the answer is not of it
            self._keep = self._framed and self.parser.should_keep_alive()
            self._complete += 1


class HttpUser(EngineUser):
    """A Locust user on a connection of its own that repeats `exchange`.

    `requests_per_connection` is how many before the connection is opened anew: None keeps it
    for as long as the server does, 1 is a connection for each request.
    """

    abstract = True
    exchange: ClassVar[Exchange]
    requests_per_connection: ClassVar[int | None] = None
    known: ClassVar[Known]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.known = Known()

    def connection(self) -> Connection:
        """This user's connection to the host under test."""
        return HttpConnection(
            self.reactor,
            self.target,
            self.exchange,
            self.known,
            self.pause_s,
            self.requests_per_connection,
        )
