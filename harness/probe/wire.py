"""One raw connection, with every wait bounded by the probe's deadline."""

from __future__ import annotations

import contextlib
import select
import selectors
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import httptools

READ_BYTES = 256 * 1024
HELLO = b"Hello, world!"


class WireError(Exception):
    """What came is not what was asked for; the message is the evidence."""


class ClosedError(WireError):
    """The server closed the connection where more had to come."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens: host and port, or a unix socket; with TLS if `tls` says how."""

    host: str
    port: int
    unix: str = ""
    tls: ssl.SSLContext | None = None

    def connect(self, deadline: float) -> Wire:
        """A new connection; OSError or TimeoutError if there is none before `deadline`."""
        if self.unix:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.settimeout(left(deadline))
                connection.connect(self.unix)
            except OSError:
                connection.close()
                raise
        else:
            connection = socket.create_connection((self.host, self.port), timeout=left(deadline))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls:
            try:
                connection = self.tls.wrap_socket(connection, server_hostname="localhost")
            except OSError:
                connection.close()
                raise
        return Wire(connection, deadline)


def left(deadline: float) -> float:
    """Seconds until `deadline`; TimeoutError if it has passed."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


@dataclass
class Reply:
    """One HTTP answer, as far as it has come; header names are lower case.

    `pieces` are the body's parts and when each arrived, on the monotonic clock.
    """

    status: int = 0
    version: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    whole: bool = False

    @property
    def body(self) -> bytes:
        """What has come of the body."""
        return b"".join(piece for _, piece in self.pieces)

    @property
    def closes(self) -> bool:
        """Whether its head announces that the connection ends with it."""
        said = self.headers.get("connection", "").lower()
        return "close" in said or (self.version == "1.0" and "keep-alive" not in said)

    @property
    def framing(self) -> str:
        """How its end is told: `chunked`, `Content-Length`, or `until close`."""
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            return "chunked"
        return "Content-Length" if "content-length" in self.headers else "until close"

    def hold_hello(self) -> None:
        """Raise WireError unless this is the app's greeting."""
        if self.status != 200 or self.body != HELLO:
            raise WireError(f"answered {self.status} with {len(self.body)} bytes, not the greeting")


class Wire:
    """A connection, and the HTTP answers that come over it, in order."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self.socket = connection
        self.deadline = deadline
        self.ended = False
        self._inbox = bytearray()
        self._replies: list[Reply] = []
        self._parser = httptools.HttpResponseParser(self)

    def send(self, data: bytes) -> None:
        """Send all of it, reading meanwhile so that neither side waits for the other.

        A server that closes meanwhile is no error: what it said before is there to be read.
        """
        if isinstance(self.socket, ssl.SSLSocket):  # a TLS socket cannot be waited for like this
            self.socket.settimeout(left(self.deadline))
            self.socket.sendall(data)
            return
        rest = memoryview(data)
        self.socket.setblocking(False)
        while rest and not self.ended:
            reads, writes, _ = select.select([self.socket], [self.socket], [], left(self.deadline))
            if reads:
                self._take()
            elif writes:
                with contextlib.suppress(BlockingIOError):
                    try:
                        rest = rest[self.socket.send(rest) :]
                    except (BrokenPipeError, ConnectionResetError):
                        return

    def take(self) -> bytes:
        """All bytes that have come and were not read yet, waiting for some; b"" at the end."""
        if not self._inbox and not self.ended:
            self._take()
        data = bytes(self._inbox)
        self._inbox.clear()
        return data

    def waits(self, seconds: float) -> bool:
        """Whether nothing comes for so long; the end of the connection is something."""
        if self._inbox or self.ended:
            return False
        seconds = min(seconds, left(self.deadline))
        return not select.select([self.socket], [], [], seconds)[0]

    def more(self) -> bool:
        """Read once and parse what came; False at the end of the connection."""
        data = self.take()
        if not data:
            self._end()
            return False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise WireError("switched protocols unasked") from None
        except httptools.HttpParserError as error:
            raise WireError(f"sent what is no HTTP answer ({error}): {data[:40]!r}") from None
        return True

    def reply(self) -> Reply:
        """The next whole answer; ClosedError if the connection ends before."""
        while not (self._replies and self._replies[0].whole):
            if not self.more() and not (self._replies and self._replies[0].whole):
                some = f"within an answer {self._replies[0].status}" if self._replies else "instead"
                raise ClosedError(f"closed the connection {some}")
        first = self._replies.pop(0)
        if not self._replies:  # by its own head this one may have been the connection's last
            self._parser = httptools.HttpResponseParser(self)
        return first

    def begun(self) -> Reply:
        """The next answer once its head is there; it grows with each `more`."""
        while not (self._replies and self._replies[0].status):
            if not self.more():
                raise ClosedError("closed the connection instead of answering")
        return self._replies[0]

    def head(self) -> Reply:
        """The next answer's head alone, as after HEAD: the parser would wait for a body."""
        while b"\r\n\r\n" not in self._inbox:
            if self.ended:
                raise ClosedError("closed the connection instead of answering")
            self._take()
        text, _, rest = bytes(self._inbox).partition(b"\r\n\r\n")
        self._inbox = bytearray(rest)
        first, *lines = text.decode("latin-1").split("\r\n")
        version, _, after = first.partition(" ")
        if not version.startswith("HTTP/") or not after[:3].isdigit():
            raise WireError(f"sent what is no HTTP answer: {text[:40]!r}")
        fields = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in fields}
        return Reply(int(after[:3]), version.removeprefix("HTTP/"), headers, whole=True)

    def get(self, path: str = "/", version: str = "1.1", **headers: str) -> Reply:
        """One GET and its whole answer."""
        self.send(request("GET", path, headers=headers, version=version))
        return self.reply()

    def close(self) -> None:
        """End the connection."""
        self.socket.close()

    def _take(self) -> None:
        """One read; TimeoutError at the deadline. A reset is an end like any other."""
        self.socket.settimeout(left(self.deadline))
        try:
            data = self.socket.recv(READ_BYTES)
        except ConnectionError:
            data = b""
        self.ended = not data
        self._inbox += data

    def _end(self) -> None:
        """An answer without a length is whole when the connection ends."""
        if self._replies and not self._replies[-1].whole:
            last = self._replies[-1]
            last.whole = bool(last.status) and last.framing == "until close"

    # what the parser calls
    def on_message_begin(self) -> None:
        """An answer begins."""
        self._replies.append(Reply())

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header line."""
        self._replies[-1].headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The head is there."""
        last = self._replies[-1]
        last.status = self._parser.get_status_code()
        last.version = self._parser.get_http_version()

    def on_body(self, piece: bytes) -> None:
        """A piece of the body."""
        self._replies[-1].pieces.append((time.monotonic(), piece))

    def on_message_complete(self) -> None:
        """The answer is whole."""
        self._replies[-1].whole = True


def gather(wires: Sequence[Wire]) -> Iterator[tuple[float, Reply | WireError]]:
    """The answer on each connection, as it comes and when; each is closed at once after it.

    At once, because some servers keep a worker busy until the client has closed. What has not
    come by the deadline is not among them.
    """
    with selectors.DefaultSelector() as selector:
        for wire in wires:
            selector.register(wire.socket, selectors.EVENT_READ, wire)
        while selector.get_map():
            with contextlib.suppress(TimeoutError):
                for key, _ in selector.select(left(wires[0].deadline)):
                    found = _gathered(key.data)
                    if found:
                        selector.unregister(key.fileobj)
                        key.data.close()
                        yield time.monotonic(), found
                continue
            return


def _gathered(wire: Wire) -> Reply | WireError | None:
    """The whole answer, or what is wrong with it; None while there is more to come."""
    try:
        done = not wire.more()
        reply = wire.begun()
        return wire.reply() if done or reply.whole else None
    except WireError as error:
        return error


def request(
    method: str,
    path: str,
    body: bytes | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    version: str = "1.1",
) -> bytes:
    """A request as bytes; underscores in header names stand for hyphens."""
    lines = [f"{method} {path} HTTP/{version}", "Host: localhost"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in (headers or {}).items()]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b"")


def chunk(piece: bytes) -> bytes:
    """A piece in chunked coding; the empty one is the last."""
    return b"%x\r\n%s\r\n" % (len(piece), piece)
