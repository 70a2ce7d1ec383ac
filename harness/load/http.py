"""Users that send one HTTP request again and again, each when the last was answered."""

from __future__ import annotations

import socket
from typing import Any, ClassVar
from urllib.parse import urlsplit

import httptools
from locust import User, task
from locust.exception import StopTest

from harness.load.errors import EARLY_CLOSE, PROTOCOL, WrongAnswerError
from harness.load.exchange import Exchange
from harness.load.reactor import Connection, Reactor, until_killed


class Known:
    """The bytes of the last whole answer that was parsed and found right.

    An answer that equals it byte for byte needs no second parse: same bytes, same result. A
    server's answers differ once a second, by their Date. Shared by a scenario's users.
    """

    def __init__(self) -> None:
        self.answer = b""


class HttpConnection(Connection):
    """Repeats an exchange over HTTP/1.1, reading each answer with a C parser."""

    def __init__(
        self,
        reactor: Reactor,
        address: tuple[str, int],
        host: str,
        exchange: Exchange,
        known: Known,
    ) -> None:
        super().__init__(reactor, address, exchange.method, exchange.label)
        self.host = host
        self.known = known
        self._begin(exchange)
        self._fresh_parser()

    def _begin(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.request = exchange.encode(self.host)

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
        self.begin()

    def ask(self) -> None:
        """Send the request."""
        self.send(self.request)

    def received(self, data: bytes, now: int) -> None:
        """One more piece of the answer; mostly the whole of it, and like the one before."""
        if not self.waiting:
            self.wrong(PROTOCOL, f"an answer that nobody asked for: {data[:80]!r}")
            return
        if data == self.known.answer and not (self._alike or self._parsed):
            self.settle(now)
        elif self._parsed or not self._resembles(data, now):
            self._parse(data, now)

    def _resembles(self, data: bytes, now: int) -> bool:
        """Whether the answer still equals the known one; a server may send it in pieces."""
        like = self._like or self.known.answer
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
            self.fail(error)
            return
        self.track.answer_bytes = len(body)
        self.right(body, now)
        if not self._keep:
            self.record(now)
            self.reopen()
            return
        if isinstance(self.exchange.expect, bytes):
            self.known.answer = b"".join(self._pieces)
        self._fresh_answer()
        self.settle(now)

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


class HttpUser(User):  # type: ignore[misc]
    """A Locust user on a connection of its own that repeats `exchange`. No think time."""

    abstract = True
    exchange: ClassVar[Exchange]
    known: ClassVar[Known]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.known = Known()

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.address, self.authority = target(self.host)

    @task
    def work(self) -> None:
        """Locust's task, which lasts until Locust ends the user."""
        until_killed(self.connection())

    def connection(self) -> Connection:
        """This user's connection to the host under test."""
        reactor = Reactor.of(self.environment)
        return HttpConnection(reactor, self.address, self.authority, self.exchange, self.known)


def target(url: str | None) -> tuple[tuple[str, int], str]:
    """((address, port), Host header) of Locust's --host, its name looked up once.

    StopTest, Locust's own way to say so, for what cannot be driven.
    """
    parts = urlsplit(url or "")
    if parts.scheme != "http" or not parts.hostname:
        raise StopTest(f"--host must be like http://127.0.0.1:8000, and is {url!r}")
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 80, socket.AF_INET)
    except (OSError, ValueError) as error:
        raise StopTest(f"--host {url!r} cannot be looked up: {error}") from None
    address, port = found[0][4][:2]
    return (str(address), int(port)), parts.netloc
