"""What it does with WebSockets, spoken frame by frame."""

from __future__ import annotations

import time
from collections.abc import Callable

from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.uri import parse_uri

from harness.expectation import payload
from harness.probe.answer import Answer, graded, milliseconds, no, partial, yes
from harness.probe.subject import Subject
from harness.probe.wire import ClosedError, Wire, WireError
from harness.verify import MIB

EACH_WITHIN_S = 2.0
TEXT = "hello, wörld"
INVALID_DATA = 1007


class Conversation:
    """One WebSocket to the echo; the protocol's rules are the library's, the wire is ours."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.protocol = ClientProtocol(parse_uri("ws://localhost/ws"), max_size=4 * MIB)
        self._frames: list[Frame] = []
        self.protocol.send_request(self.protocol.connect())
        self._flush()
        while not self.protocol.handshake_exc and self.protocol.state.name == "CONNECTING":
            self._receive()
        if error := self.protocol.handshake_exc:
            raise WireError(f"handshake refused: {error}")

    def send(self, act: Callable[[ClientProtocol], None]) -> None:
        """Have the protocol say something, and send it."""
        act(self.protocol)
        self._flush()

    def frame(self) -> Frame:
        """The next frame; ClosedError if the connection ends before."""
        while not self._frames:
            self._receive()
        return self._frames.pop(0)

    def message(self) -> str | bytes:
        """The next whole message, however many frames it has."""
        first = self.frame()
        if first.opcode is Opcode.CLOSE:
            raise ClosedError(f"closed with {_code(Close.parse(bytes(first.data)))}")
        data, last = bytes(first.data), first
        while not last.fin:
            last = self.frame()
            data += bytes(last.data)
        if first.opcode is Opcode.TEXT:
            return data.decode()
        if first.opcode is Opcode.BINARY:
            return data
        raise WireError(f"sent {first.opcode.name} instead of a message")

    def closing(self) -> str:
        """The server's close code, and whether it ended the connection after that."""
        try:
            while self.protocol.close_rcvd is None:
                self._receive()
            code = _code(self.protocol.close_rcvd)
        except ClosedError:
            return "no close frame"
        try:
            while not self.wire.ended:
                self.wire.take()
        except TimeoutError:
            return f"{code} (connection left open)"
        return code

    def _receive(self) -> None:
        data = self.wire.take()
        if not data:
            raise ClosedError("closed the connection")
        self.protocol.receive_data(data)
        if self.protocol.parser_exc:
            raise WireError(f"broke the protocol: {self.protocol.parser_exc}")
        self._frames += [it for it in self.protocol.events_received() if isinstance(it, Frame)]
        self._flush()

    def _flush(self) -> None:
        self.wire.send(b"".join(self.protocol.data_to_send()))


def _code(close: Close) -> str:
    return "no code" if close.code == 1005 else str(int(close.code))


def _echo(conversation: Conversation, sent: str | bytes) -> str:
    """What went wrong with one message; nothing if it came back as it is, and of its kind."""
    text = isinstance(sent, str)
    data = sent.encode() if isinstance(sent, str) else sent
    conversation.send(lambda it: it.send_text(data) if text else it.send_binary(data))
    conversation.wire.deadline = min(conversation.wire.deadline, time.monotonic() + EACH_WITHIN_S)
    try:
        got = conversation.message()
    except TimeoutError:
        return f"nothing within {EACH_WITHIN_S:g} s"
    except WireError as error:
        return str(error)
    if type(got) is not type(sent):
        return f"came back as {'text' if isinstance(got, str) else 'binary'}"
    return "" if got == sent else f"{len(got)} of {len(sent)} came back, or wrong ones"


def _echoes(subject: Subject, messages: dict[str, str | bytes]) -> Answer:
    """Each on a WebSocket of its own, so that one loss does not hide the next."""
    wrong = {}
    for name, message in messages.items():
        wrong[name] = _echo(Conversation(subject.connect()), message)
    evidence = "; ".join(f"{name}: {what or 'came back'}" for name, what in wrong.items())
    return graded(not any(wrong.values()), not all(wrong.values()), evidence)


def echo(subject: Subject) -> Answer:
    """Text comes back as text, bytes as bytes."""
    return _echoes(subject, {"text": TEXT, "binary": b"\x00\xff\x80"})


def empty(subject: Subject) -> Answer:
    """Messages of no length come back too."""
    return _echoes(subject, {"empty text": "", "empty binary": b""})


def large(subject: Subject) -> Answer:
    """A message of 1 MiB, in one frame."""
    conversation = Conversation(subject.connect())
    sent = payload(MIB)
    begin = time.monotonic()
    conversation.send(lambda it: it.send_binary(sent))
    got = conversation.message()
    took = milliseconds(time.monotonic() - begin)
    if got == sent:
        return yes(f"{len(sent):,} bytes came back right in {took}")
    return no(f"{len(got):,} of {len(sent):,} came back, or wrong ones")


def fragments(subject: Subject) -> Answer:
    """One text in three frames, cut within a character, with a ping in between."""
    conversation = Conversation(subject.connect())
    data = TEXT.encode()  # byte 8 is the first of ö's two
    conversation.send(lambda it: it.send_text(data[:9], fin=False))
    conversation.send(lambda it: it.send_ping(b"between"))
    conversation.send(lambda it: it.send_continuation(data[9:11], fin=False))
    conversation.send(lambda it: it.send_continuation(data[11:], fin=True))
    frames: list[Frame] = []
    while not (frames and frames[-1].fin):
        frame = conversation.frame()
        if frame.opcode is Opcode.CLOSE:
            return no(f"closed with {_code(Close.parse(bytes(frame.data)))}")
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            frames.append(frame)
    got = b"".join(bytes(frame.data) for frame in frames)
    if got == data and frames[0].opcode is Opcode.TEXT:
        return yes(f"three frames came back as {len(frames)}, whole")
    return no(f"came back as {got[:40]!r}")


def ping(subject: Subject) -> Answer:
    """A ping's payload comes back in the pong."""
    conversation = Conversation(subject.connect())
    begin = time.monotonic()
    conversation.send(lambda it: it.send_ping(b"payload"))
    frame = conversation.frame()
    took = milliseconds(time.monotonic() - begin)
    if frame.opcode is Opcode.PONG and bytes(frame.data) == b"payload":
        return yes(f"pong with its payload after {took}")
    return no(f"answered {frame.opcode.name} {bytes(frame.data)[:20]!r}")


def close(subject: Subject) -> Answer:
    """A close is answered with its code, and the connection ended; bad UTF-8 is refused."""
    codes = {}
    for code in (1000, 4001):
        conversation = Conversation(subject.connect())
        conversation.wire.deadline = min(
            conversation.wire.deadline, time.monotonic() + EACH_WITHIN_S
        )
        conversation.send(lambda it, code=code: it.send_close(code, "bye"))  # type: ignore[misc]
        codes[str(code)] = _closing(conversation)
    conversation = Conversation(subject.connect())
    conversation.send(lambda it: it.send_text(b"\xff\xfe"))
    codes["bad UTF-8"] = _closing(conversation)
    evidence = ", ".join(f"{sent} → {got}" for sent, got in codes.items())
    echoed = codes["1000"] == "1000" and codes["4001"] == "4001"
    if echoed and codes["bad UTF-8"] == str(INVALID_DATA):
        return yes(evidence)
    return partial(evidence) if echoed or codes["1000"].startswith("1000") else no(evidence)


def _closing(conversation: Conversation) -> str:
    try:
        return conversation.closing()
    except TimeoutError:
        return "nothing"
    except WireError as error:
        return str(error)
