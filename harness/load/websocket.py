"""Users that echo one message at a time over a WebSocket of their own."""

from __future__ import annotations

from typing import Any, ClassVar

from locust import User, task

from harness.load import frames
from harness.load.errors import BAD_BODY, EARLY_CLOSE, PROTOCOL
from harness.load.http import target
from harness.load.reactor import Connection, Reactor, until_killed

HEAD_LIMIT_BYTES = 65536


class WebSocketConnection(Connection):
    """Sends `message` (binary) and waits for its echo, again and again."""

    def __init__(
        self, reactor: Reactor, address: tuple[str, int], host: str, path: str, message: bytes
    ) -> None:
        super().__init__(reactor, address, "WS", path)
        self.host = host
        self.path = path
        self.message = message
        self.echo = frames.prepare(frames.BINARY, message)
        self.track.answer_bytes = len(message)

    def opened(self) -> None:
        """Shake hands; that is not a request, so it is not counted as one."""
        self._decoder = frames.Decoder()
        self._head = b""
        self._open = False
        request, self._accept = frames.handshake(self.host, self.path)
        self.send(request, counted=False)

    def ask(self) -> None:
        """Send the message."""
        self.send(self.echo.request)

    def received(self, data: bytes, now: int) -> None:
        """Mostly one whole frame, which is the expected one to the byte."""
        if data == self.echo.answer and self._decoder.idle and self._open:
            self.settle(now)
            return
        try:
            if not self._open:
                data = self._shake(data)
            messages = self._decoder.feed(data) if data else ()
        except frames.ProtocolError as error:
            self.fail(error)
            return
        for opcode, payload in messages:
            if opcode in (frames.TEXT, frames.BINARY):
                if (opcode, payload) != (frames.BINARY, self.message):
                    shown = f"{len(payload)} bytes: {payload[:80]!r}"
                    self.wrong(BAD_BODY, f"opcode {opcode}, {shown}")
                    return
                if not self.waiting:
                    self.wrong(BAD_BODY, "a message that nobody asked for")
                    return
                self.settle(now)
            elif opcode == frames.CLOSE:
                code, reason = frames.close_status(payload)
                self.wrong(EARLY_CLOSE, f"the server closed with {code} {reason}")
                return
            elif (owed := frames.reply(opcode, payload)) is not None:
                self.send(owed, counted=False)

    def ended(self, _now: int) -> None:
        """A server may not end a WebSocket that we use."""
        self.wrong(EARLY_CLOSE, "the server ended the connection without a close frame")

    def _shake(self, data: bytes) -> bytes:
        """The server's half of the handshake, then the first message; returns what follows it."""
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end:
            if len(self._head) > HEAD_LIMIT_BYTES:
                raise frames.ProtocolError("an endless answer to the handshake", kind=PROTOCOL)
            return b""
        frames.check_handshake(head, self._accept)
        self._open = True
        self.begin()
        return rest


class WebSocketUser(User):  # type: ignore[misc]
    """A Locust user on a WebSocket of its own. A broken one is counted, and opened anew."""

    abstract = True
    path: ClassVar[str] = "/ws"
    message: ClassVar[bytes]

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.address, self.authority = target(self.host)

    @task
    def work(self) -> None:
        """Locust's task, which lasts until Locust ends the user."""
        reactor = Reactor.of(self.environment)
        until_killed(
            WebSocketConnection(reactor, self.address, self.authority, self.path, self.message)
        )
