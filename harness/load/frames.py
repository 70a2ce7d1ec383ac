"""RFC 6455, the client's side, without I/O: bytes in, messages out.

The cost of a message is what counts here. A small frame that arrives whole in one read is
recognised by its second byte, and an echo is compared with the one frame that is right:

    echo = prepare(BINARY, b"...")      # once
    send(echo.request)                  # per message
    data = receive()
    if decoder.idle and data == echo.answer:
        ...                             # right: opcode, FIN, length and payload at once
    else:
        messages = decoder.feed(data)   # split, joined, fragmented, a ping, or wrong

The comparison only ever says yes to what the decoder would accept; everything else goes the
long way, so that a server which fragments its answers is slower to check but not in error.
"""

from __future__ import annotations

import base64
import hashlib
import os
import random
from collections.abc import Sequence
from functools import cache
from struct import Struct
from typing import Final, NamedTuple, TypeAlias

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

PROTOCOL_ERROR: Final = 1002
NO_STATUS: Final = 1005  # never on the wire: a close frame without a code
INVALID_DATA: Final = 1007
TOO_BIG: Final = 1009

# the kinds of error, named as everywhere in this package
BAD_STATUS: Final = "bad-status"
PROTOCOL: Final = "protocol"

MAX_SIZE: Final = 16 * 2**20

Message: TypeAlias = tuple[int, bytes]
"""Opcode (TEXT, BINARY, CLOSE, PING or PONG) and payload. A plain tuple: naming its two fields
would cost more than finding them."""

_MESSAGE_OPCODES = frozenset({TEXT, BINARY, CLOSE, PING, PONG})
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_WHITESPACE = b" \t"
_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")  # lower case
_SHORT = Struct("!BB")
_MIDDLE = Struct("!BBH")
_LONG = Struct("!BBQ")
_LANES_FROM = 1024  # bytes; measured: below it one big integer is the faster way to mask
_EVERY_BYTE = bytes(range(256))


class ProtocolError(Exception):
    """The server broke the protocol, or refused to speak it.

    `kind` is "protocol" or "bad-status" (an HTTP answer other than 101). `close_code` is the
    status to send in a close frame, None in the opening handshake. `messages` are those that
    came whole before the fault in the same read: they were received and are to be counted.
    """

    def __init__(self, reason: str, close_code: int | None = None, kind: str = PROTOCOL) -> None:
        super().__init__(reason)
        self.reason = reason
        self.close_code = close_code
        self.kind = kind
        self.messages: Sequence[Message] = ()


def handshake(host: str, path: str, key: bytes | None = None) -> tuple[bytes, bytes]:
    """The upgrade request, and the Sec-WebSocket-Accept that its answer must carry.

    `host` is the Host header's value (with a port unless it is 80), `path` the request target
    with its query, `key` the 16 bytes of the nonce, random by default. Neither extensions nor
    subprotocols are offered. ValueError for what cannot stand in a request.
    """
    if not host or not _is_visible(host):
        raise ValueError(f"not a Host header's value: {host!r}")
    if not path.startswith("/") or not _is_visible(path) or "#" in path:
        raise ValueError(f"not a request target: {path!r}")
    nonce = os.urandom(16) if key is None else key
    if len(nonce) != 16:
        raise ValueError(f"the key has {len(nonce)} bytes instead of 16")
    name = base64.b64encode(nonce)
    request = (
        f"GET {path} HTTP/1.1\r\n"
        f"Host: {host}\r\n"
        "Upgrade: websocket\r\n"
        "Connection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {name.decode()}\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n"
    )
    # SHA-1 is the protocol's; it proves that the answer is to this request, and hides nothing
    digest = hashlib.sha1(name + _GUID, usedforsecurity=False).digest()
    return request.encode("ascii"), base64.b64encode(digest)


def check_handshake(head: bytes, accept: bytes) -> None:
    """Raise ProtocolError unless `head` agrees to the handshake whose accept value is `accept`.

    `head` is the answer up to its blank line, with or without that line but with nothing after
    it: what follows are frames, for the decoder.
    """
    status_line, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    version, _, status = status_line.partition(b" ")
    code, _, _ = status.partition(b" ")
    if not version.startswith(b"HTTP/") or not (len(code) == 3 and code.isdigit()):
        raise ProtocolError(f"no HTTP answer: {status_line[:80]!r}")
    if code != b"101":
        raise ProtocolError(f"{code.decode()} instead of 101", kind=BAD_STATUS)
    if version != b"HTTP/1.1":
        raise ProtocolError(f"upgraded in {version[:20]!r}, which cannot be")
    fields = _fields(lines)
    if [value.lower() for value in fields.get(b"upgrade", [])] != [b"websocket"]:
        raise ProtocolError(f"Upgrade is {fields.get(b'upgrade')}")
    options = b",".join(fields.get(b"connection", [])).lower().split(b",")
    if b"upgrade" not in [option.strip(_WHITESPACE) for option in options]:
        raise ProtocolError(f"Connection is {fields.get(b'connection')}")
    if fields.get(b"sec-websocket-accept") != [accept]:
        raise ProtocolError(
            f"Sec-WebSocket-Accept is {fields.get(b'sec-websocket-accept')} instead of {accept!r}"
        )
    # nothing was offered, so nothing may be agreed on
    for name in (b"sec-websocket-extensions", b"sec-websocket-protocol"):
        if any(fields.get(name, [])):
            raise ProtocolError(f"{name.decode()} was not asked for: {fields[name]}")


def _is_visible(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def _fields(lines: list[bytes]) -> dict[bytes, list[bytes]]:
    fields: dict[bytes, list[bytes]] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        name = name.lower()
        if not colon or not name or not _TOKEN.issuperset(name):
            raise ProtocolError(f"malformed header line: {line[:80]!r}")
        fields.setdefault(name, []).append(value.strip(_WHITESPACE))
    return fields


def encode(opcode: int, payload: bytes, mask: bytes | None = None) -> bytes:
    """One whole client frame (FIN set), masked with the 4 bytes of `mask`, random by default.

    ValueError for an opcode that begins no message, a control frame's payload above 125 bytes
    and a mask of another length. That text is UTF-8 is for the caller to know.
    """
    if mask is None:
        # The RFC wants masks that nobody can predict, lest a hostile page write what it likes
        # onto the wire through a browser. This program chooses all of its payloads itself, and
        # the kernel's random bytes cost four times as much.
        mask = random.getrandbits(32).to_bytes(4, "little")
    elif len(mask) != 4:
        raise ValueError(f"a mask of {len(mask)} bytes")
    return _head(opcode, len(payload), 0x80) + mask + apply_mask(payload, mask)


def server_frame(opcode: int, payload: bytes) -> bytes:
    """The one frame in which a server sends this message: whole, unmasked, in minimal form.

    A server may also fragment it, which is then for the decoder. ValueError as `encode`.
    """
    return _head(opcode, len(payload), 0) + payload


class Echo(NamedTuple):
    """A message prepared for sending many times: the client's frame and the server's."""

    request: bytes
    answer: bytes


def prepare(opcode: int, payload: bytes, mask: bytes | None = None) -> Echo:
    """A message's two frames, made once for any number of echoes. ValueError as `encode`.

    All sendings of `request` then share one mask, though the RFC wants a new one for each
    frame. The reason it gives is to protect intermediaries from payloads that an attacker
    chose; here there is no attacker, and the server unmasks a known key as dearly as a new one.
    The key is drawn at random and not zero, which some servers might be quicker with.
    """
    if mask is None:
        mask = random.randint(1, 0xFFFFFFFF).to_bytes(4, "little")
    return Echo(encode(opcode, payload, mask), server_frame(opcode, payload))


def count_echoes(data: bytes, answer: bytes) -> int:
    """How many whole copies of the frame `answer` follow each other at the start of `data`.

    For several messages in flight on one connection, whose answers arrive in one read:
    `data[count * len(answer):]`, if anything, is for the decoder. As with a single comparison
    this holds only while the decoder is `idle`. ValueError for an empty `answer`.
    """
    size = len(answer)
    if not size:
        raise ValueError("an empty frame is contained in everything")
    at = 0
    while data.startswith(answer, at):
        at += size
    return at // size


def reply(opcode: int, payload: bytes) -> bytes | None:
    """The frame that the protocol owes for a message received: a ping's pong, a close's echo.

    None where it owes nothing. A close frame is answered once, and not when it is itself the
    answer to ours; that is for the caller to know.
    """
    if opcode == PING:
        return encode(PONG, payload)
    if opcode == CLOSE:
        return encode(CLOSE, payload[:2])  # the code; a reason would be the server's own words
    return None


def close_frame(code: int, reason: str = "") -> bytes:
    """A close frame of our own, for instance with a ProtocolError's `close_code`.

    A reason is cut to the 123 bytes that fit, between characters. ValueError for a code that
    must not be sent.
    """
    if not _may_close_with(code):
        raise ValueError(f"{code} must not be sent")
    text = reason.encode()[:123].decode(errors="ignore")
    return encode(CLOSE, code.to_bytes(2, "big") + text.encode())


def close_status(payload: bytes) -> tuple[int, str]:
    """Code and reason of a close message that the decoder gave out; 1005 when it had no code."""
    if not payload:
        return NO_STATUS, ""
    return int.from_bytes(payload[:2], "big"), str(payload[2:], "utf-8")


def apply_mask(payload: bytes, mask: bytes) -> bytes:
    """`payload` with the 4 bytes of `mask` laid over it again and again (its own inverse)."""
    size = len(payload)
    if size < _LANES_FROM:
        laid = mask * (size >> 2) + mask[: size & 3]
        return (int.from_bytes(payload, "little") ^ int.from_bytes(laid, "little")).to_bytes(
            size, "little"
        )
    # every fourth byte meets the same byte of the mask: four translations in C, 2.5 times as
    # fast as the integers
    masked = bytearray(size)
    for lane in range(4):
        masked[lane::4] = payload[lane::4].translate(_xor_table(mask[lane]))
    return bytes(masked)


@cache
def _xor_table(byte: int) -> bytes:
    return bytes([each ^ byte for each in _EVERY_BYTE])


def _head(opcode: int, size: int, masked: int) -> bytes:
    if opcode not in _MESSAGE_OPCODES:
        raise ValueError(f"opcode {opcode:#x} begins no message")
    if size < 126:
        return _SHORT.pack(0x80 | opcode, masked | size)
    if opcode >= CLOSE:
        raise ValueError(f"{size} bytes in a control frame")
    if size < 0x10000:
        return _MIDDLE.pack(0x80 | opcode, masked | 126, size)
    return _LONG.pack(0x80 | opcode, masked | 127, size)


def _refusal(first: int) -> str | None:
    """Why no frame may begin with this byte; None if one may."""
    opcode = first & 0x0F
    if first & 0x70:
        return f"reserved bits {first >> 4 & 7:03b}, no extension was agreed on"
    if opcode not in _MESSAGE_OPCODES and opcode != CONTINUATION:
        return f"reserved opcode {opcode:#x}"
    if opcode >= CLOSE and first < 0x80:
        return "fragmented control frame"
    return None


_REFUSED = tuple(_refusal(first) for first in range(256))


class Decoder:
    """The server's bytes as messages, of at most `max_size` bytes each.

    `idle` (to be read only) says that the next byte begins a new message: no part of a frame
    is held and no fragmented message is open. `closed` says that the server's close frame has
    come; what follows it is discarded, as the RFC has it.

    Text is checked to be UTF-8 when its message is complete, not fragment by fragment.
    """

    __slots__ = (
        "_broken",
        "_first",
        "_fragments",
        "_head",
        "_held",
        "_max_size",
        "_missing",
        "_opcode",
        "_parts",
        "closed",
        "idle",
    )

    def __init__(self, max_size: int = MAX_SIZE) -> None:
        if max_size < 125:  # so that the shortest way needs no comparison
            raise ValueError(f"max_size is {max_size}, but a control frame may have 125 bytes")
        self.idle = True
        self.closed = False
        self._max_size = max_size
        self._head = b""  # of a frame, too short to tell its length
        self._first = 0  # of a frame whose payload is incomplete: its first byte,
        self._missing = 0  # the bytes still to come
        self._parts: list[bytes] = []  # and those that came
        self._opcode = 0  # of the fragmented message that is open; 0: none is
        self._fragments: list[bytes] = []
        self._held = 0  # bytes in them
        self._broken: ProtocolError | None = None

    def feed(self, data: bytes) -> Sequence[Message]:
        """The messages that `data` completes, in order; control frames come as they arrive.

        ProtocolError on a violation of RFC 6455, and again on every call after it.
        """
        if self.idle:
            size = len(data)
            # A masked frame's second byte is at least 128, a longer one's 126 or 127: neither
            # equals this, so that one comparison says "short, unmasked, alone and whole".
            if 1 < size < 128 and data[1] == size - 2:
                first = data[0]
                if first == 0x82:
                    return ((BINARY, data[2:]),)
                if first == 0x81:
                    payload = data[2:]
                    if payload.isascii():
                        return ((TEXT, payload),)
        return self._feed(data)

    def _feed(self, data: bytes) -> Sequence[Message]:
        if self.closed:
            return ()
        if self._broken:
            raise ProtocolError(self._broken.reason, self._broken.close_code)
        messages: list[Message] = []
        try:
            self._read(data, messages)
        except ProtocolError as error:
            error.messages = messages
            self._broken = error
            self.idle = False
            raise
        self.idle = not (self._missing or self._head or self._opcode or self.closed)
        return messages

    def _read(self, data: bytes, messages: list[Message]) -> None:
        at = 0
        if self._missing:
            size = len(data)
            if size < self._missing:
                # kept in pieces: joining at each read would make a long payload's cost quadratic
                self._parts.append(data)
                self._missing -= size
                return
            at = self._missing
            self._parts.append(data[:at])
            payload = b"".join(self._parts)
            self._parts.clear()
            self._missing = 0
            self._take(self._first, payload, messages)
        elif self._head:
            data = self._head + data
            self._head = b""
        size = len(data)
        while at < size and not self.closed:
            start, length = self._open(data, at)
            end = start + length
            if not start:
                self._head = data[at:]
                return
            if end > size:
                self._first = data[at]
                self._parts.append(data[start:])
                self._missing = end - size
                return
            self._take(data[at], data[start:end], messages)
            at = end

    def _open(self, data: bytes, at: int) -> tuple[int, int]:
        """Where the payload of the frame at `at` starts, and its length; 0, 0: not known yet."""
        first = data[at]
        if reason := _REFUSED[first]:
            raise ProtocolError(reason, PROTOCOL_ERROR)
        if first & 0x0F == CONTINUATION:
            if not self._opcode:
                raise ProtocolError("continuation of no message", PROTOCOL_ERROR)
        elif first & 0x08 == 0 and self._opcode:
            raise ProtocolError("new message within a fragmented one", PROTOCOL_ERROR)
        start = at + 2
        if start > len(data):
            return 0, 0
        length = data[at + 1]
        if length >= 126:
            if length >= 128:
                raise ProtocolError("masked frame", PROTOCOL_ERROR)
            if first & 0x08:
                raise ProtocolError("control frame above 125 bytes", PROTOCOL_ERROR)
            start += 2 if length == 126 else 8
            if start > len(data):
                return 0, 0
            length = _extended(data[at + 2 : start])
        if first & 0x08 == 0 and self._held + length > self._max_size:
            raise ProtocolError(
                f"message of {self._held + length} bytes or more, {self._max_size} at most",
                TOO_BIG,
            )
        return start, length

    def _take(self, first: int, payload: bytes, messages: list[Message]) -> None:
        opcode = first & 0x0F
        if opcode & 0x08:
            if opcode == CLOSE:
                _check_close(payload)
                self.closed = True
        elif first < 0x80 or not opcode:  # a fragment
            self._opcode = opcode or self._opcode
            if payload:
                self._fragments.append(payload)
                self._held += len(payload)
            if first < 0x80:
                return
            opcode = self._opcode
            payload = b"".join(self._fragments)
            self._fragments.clear()
            self._opcode = self._held = 0
        if opcode == TEXT and not payload.isascii():
            _check_utf8(payload, "text")
        messages.append((opcode, payload))


def _extended(field: bytes) -> int:
    length = int.from_bytes(field, "big")
    if length >> 63:
        raise ProtocolError("length with its highest bit set", PROTOCOL_ERROR)
    if length < (126 if len(field) == 2 else 0x10000):
        raise ProtocolError(f"length {length} in {len(field)} bytes", PROTOCOL_ERROR)
    return length


def _check_close(payload: bytes) -> None:
    if not payload:
        return
    if len(payload) == 1:
        raise ProtocolError("close frame with half a code", PROTOCOL_ERROR)
    code = int.from_bytes(payload[:2], "big")
    if not _may_close_with(code):
        raise ProtocolError(f"close code {code}", PROTOCOL_ERROR)
    _check_utf8(payload[2:], "close reason")


def _may_close_with(code: int) -> bool:
    """Whether a close frame may carry the code: the RFC's, IANA's three later ones, private."""
    return (1000 <= code <= 1014 and code not in (1004, 1005, 1006)) or 3000 <= code <= 4999


def _check_utf8(payload: bytes, what: str) -> None:
    try:
        str(payload, "utf-8")
    except UnicodeDecodeError as error:
        raise ProtocolError(
            f"{what} is not UTF-8: {error.reason} at byte {error.start}", INVALID_DATA
        ) from None
