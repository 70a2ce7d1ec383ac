"""The WebSocket codec against the `websockets` package, which was written by others.

VIOLATIONS has a stream of bytes for every rule that a server can break.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import SERVER, Protocol, State
from websockets.server import ServerProtocol


def load(name: str) -> ModuleType:
    """A module of harness/load without its package: that imports Locust, which patches sockets
    and threads in the whole test process.
    """
    alias = f"gatebench_alone_{name}"  # not its own name, which stays free for the package's
    if alias not in sys.modules:
        path = Path(__file__).parents[1] / "load" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(alias, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[alias] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[alias])
    return sys.modules[alias]


if TYPE_CHECKING:
    from harness.load import frames
else:
    frames = load("frames")

TEXT, BINARY, CLOSE, PING, PONG = (
    frames.TEXT, frames.BINARY, frames.CLOSE, frames.PING, frames.PONG,
)  # fmt: skip
MASK = b"\x01\x80\xff\x37"
EDGES = (0, 1, 124, 125, 126, 127, 1023, 1024, 65535, 65536, 65537)


def pieces(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """`data` cut at these places, some of which may be the same or beyond its end."""
    places = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(places)]


def feed(chunks: Sequence[bytes], decoder: frames.Decoder | None = None) -> list[frames.Message]:
    decoder = decoder or frames.Decoder()
    return [message for chunk in chunks for message in decoder.feed(chunk)]


def every_byte(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


# the opening handshake


def test_accept_value_is_the_example_of_the_rfc():
    request, accept = frames.handshake("server.example.com", "/chat", b"the sample nonce")
    assert accept == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert b"\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" in request


def test_handshake_with_another_implementation():
    request, accept = frames.handshake("127.0.0.1:8000", "/ws?room=1")
    server = ServerProtocol()
    server.receive_data(request)
    [asked] = server.events_received()
    server.send_response(server.accept(asked))
    assert (server.state, asked.path) == (State.OPEN, "/ws?room=1")
    frames.check_handshake(b"".join(server.data_to_send()), accept)


def test_keys_differ():
    assert len({frames.handshake("h", "/")[1] for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("host", "path", "key"),
    [
        ("", "/", None),
        ("a\r\nb: c", "/", None),
        ("a b", "/", None),
        ("hôte", "/", None),
        ("a", "", None),
        ("a", "ws", None),
        ("a", "/a b", None),
        ("a", "/\n", None),
        ("a", "/#part", None),
        ("a", "/", b"short"),
    ],
)
def test_what_cannot_stand_in_a_request(host, path, key):
    with pytest.raises(ValueError, match=r"not a |the key has"):
        frames.handshake(host, path, key)


ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nServer: x\r\nUpgrade: WebSocket\r\n"
    b"Connection: keep-alive, upgrade\r\nSec-WebSocket-Accept: \taccepted \r\n\r\n"
)


@pytest.mark.parametrize(
    "head",
    [
        ANSWER,
        ANSWER[:-4],
        ANSWER.replace(b" Switching Protocols", b""),
        ANSWER.replace(b"keep-alive, upgrade", b"keep-alive\r\nconnection:Upgrade"),
        ANSWER.replace(b"Server: x", b"Sec-WebSocket-Extensions:"),
    ],
)
def test_good_answers(head):
    frames.check_handshake(head, b"accepted")


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        (b"101", b"200", "bad-status"),
        (b"101 Switching Protocols", b"426", "bad-status"),
        (b"101", b"1010", "protocol"),
        (b"101", b"\xb9\xb2\xb3", "protocol"),
        (b"HTTP/1.1 ", b"", "protocol"),
        (b"HTTP/1.1", b"HTTP/1.0", "protocol"),
        (b"HTTP/1.1", b"SSH-2.0", "protocol"),
        (b"Upgrade: WebSocket\r\n", b"", "protocol"),
        (b"WebSocket", b"h2c", "protocol"),
        (b"WebSocket", b"websocket, h2c", "protocol"),
        (b"keep-alive, upgrade", b"keep-alive", "protocol"),
        (b"keep-alive, upgrade", b"not-upgrade", "protocol"),
        (b"accepted", b"Accepted", "protocol"),
        (b"accepted", b"", "protocol"),
        (b"Server: x", b"Sec-WebSocket-Accept: accepted", "protocol"),
        (b"Server: x", b"Sec-WebSocket-Extensions: permessage-deflate", "protocol"),
        (b"Server: x", b"Sec-WebSocket-Protocol: chat", "protocol"),
        (b"Server: x", b"Server", "protocol"),
        (b"Server: x", b"Server : x", "protocol"),
        (b"Server: x", b": x", "protocol"),
        (b"Server: x", b"Server: x\r\n folded: y", "protocol"),
        (b"\r\n\r\n", b"\r\n\r\n\x81\x00", "protocol"),
    ],
)
def test_wrong_answers(old, new, kind):
    assert old in ANSWER
    with pytest.raises(frames.ProtocolError) as caught:
        frames.check_handshake(ANSWER.replace(old, new), b"accepted")
    assert (caught.value.kind, caught.value.close_code) == (kind, None)


# what is sent


def naive_mask(payload: bytes, mask: bytes) -> bytes:
    return bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


@given(st.binary(max_size=64), st.binary(min_size=4, max_size=4))
@settings(deadline=None)
def test_mask_of_small_payloads(payload, mask):
    assert frames.apply_mask(payload, mask) == naive_mask(payload, mask)


@pytest.mark.parametrize("size", [*range(1020, 1032), 4099, 65536])
def test_mask_of_large_payloads(size):
    payload = bytes(at * 7 & 255 for at in range(size))
    assert frames.apply_mask(payload, MASK) == naive_mask(payload, MASK)


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, "82 80"),
        (125, "82 fd"),
        (126, "82 fe 007e"),
        (65535, "82 fe ffff"),
        (65536, "82 ff 0000000000010000"),
    ],
)
def test_lengths_are_written_in_their_shortest_form(size, head):
    start = bytes.fromhex(head) + MASK
    frame = frames.encode(BINARY, bytes(size), MASK)
    assert (frame[: len(start)], len(frame)) == (start, len(start) + size)


def test_masked_frame_is_the_example_of_the_rfc():
    frame = frames.encode(TEXT, b"Hello", bytes.fromhex("37fa213d"))
    assert frame == bytes.fromhex("818537fa213d7f9f4d5158")


def test_masks_differ_unless_the_frame_is_prepared():
    assert len({frames.encode(BINARY, b"same") for _ in range(100)}) > 90
    assert len({frames.prepare(BINARY, b"same").request for _ in range(100)}) > 90
    assert frames.prepare(BINARY, b"same").request[2:6] != bytes(4)


@pytest.mark.parametrize(
    ("opcode", "payload", "mask"),
    [
        (0, b"", MASK),
        (3, b"", MASK),
        (11, b"", MASK),
        (PING, bytes(126), MASK),
        (CLOSE, bytes(126), MASK),
        (TEXT, b"", b""),
        (TEXT, b"", b"12345"),
    ],
)
def test_what_is_no_frame_is_not_made(opcode, payload, mask):
    with pytest.raises(ValueError, match=r"opcode|in a control frame|a mask of"):
        frames.encode(opcode, payload, mask)


def texts(size: int) -> st.SearchStrategy[bytes]:
    """UTF-8 of this size; characters of every length, filled up with ASCII."""
    parts = st.lists(st.sampled_from(["é", "€", "😀", "a"]), max_size=20).map("".join)
    return parts.map(lambda text: text.encode()[:size].decode(errors="ignore").encode()).map(
        lambda text: text.ljust(size, b".")
    )


def binaries(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=1, max_size=30).map(
        lambda seed: (seed * (size // len(seed) + 1))[:size]
    )


SIZES = st.one_of(st.integers(0, 300), st.sampled_from(EDGES))
DATA = st.one_of(
    SIZES.flatmap(lambda size: st.tuples(st.just(TEXT), texts(size))),
    SIZES.flatmap(lambda size: st.tuples(st.just(BINARY), binaries(size))),
)
CONTROLS = st.tuples(
    st.sampled_from([PING, PONG]), st.sampled_from([0, 1, 124, 125]).flatmap(binaries)
)
CLOSES = st.one_of(
    st.just((CLOSE, b"")),
    st.tuples(
        st.just(CLOSE),
        st.tuples(
            st.sampled_from([1000, 1001, 1003, 1007, 1011, 1012, 1014, 3000, 4999]),
            st.integers(0, 123).flatmap(texts),
        ).map(lambda close: close[0].to_bytes(2, "big") + close[1]),
    ),
)
CUTS = st.lists(st.integers(0, 140_000), max_size=6)
NEAR = st.lists(st.integers(0, 400), max_size=20)  # where the short frames and the heads are


@given(st.lists(st.one_of(DATA, CONTROLS), max_size=5), st.none() | CLOSES, CUTS | NEAR)
@settings(deadline=None)
def test_another_implementation_reads_what_we_send(messages, close, cuts):
    sent = [*messages, *([close] if close else [])]
    server = Protocol(SERVER)
    for piece in pieces(b"".join(frames.encode(*each) for each in sent), cuts):
        server.receive_data(piece)
    received = server.events_received()
    assert server.parser_exc is None
    assert [
        (int(each.opcode), bytes(each.data)) for each in received if isinstance(each, Frame)
    ] == sent


# what is received


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[frames.Message], bytes]:
    """What a server of the other implementation sends: messages in order of completion, bytes."""
    server = Protocol(SERVER)
    messages: list[frames.Message] = []

    def control() -> None:
        for opcode, payload in draw(st.lists(CONTROLS, max_size=2)):
            (server.send_ping if opcode == PING else server.send_pong)(payload)
            messages.append((opcode, payload))

    for opcode, payload in draw(st.lists(DATA, max_size=4)):
        control()
        # a cut twice is an empty fragment
        cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=4)))
        parts = [payload[start:end] for start, end in pairwise([0, *cuts, len(payload)])]
        begin = server.send_text if opcode == TEXT else server.send_binary
        begin(parts[0], fin=len(parts) == 1)
        for left, part in zip(range(len(parts) - 2, -1, -1), parts[1:], strict=True):
            control()
            server.send_continuation(part, fin=left == 0)
        messages.append((opcode, payload))
    control()
    if close := draw(st.none() | CLOSES):
        code, reason = frames.close_status(close[1])
        server.send_close(None if code == frames.NO_STATUS else code, reason)
        messages.append(close)
    return messages, b"".join(server.data_to_send())


@given(conversations(), CUTS | NEAR)
@settings(deadline=None)
def test_messages_of_another_implementation(conversation, cuts):
    messages, data = conversation
    decoder = frames.Decoder()
    assert feed(pieces(data, cuts), decoder) == messages
    closed = bool(messages) and messages[-1][0] == CLOSE
    assert (decoder.closed, decoder.idle) == (closed, not closed)


@given(conversations().filter(lambda conversation: len(conversation[1]) < 3000))
@settings(deadline=None)
def test_messages_split_at_every_byte(conversation):
    messages, data = conversation
    assert feed(every_byte(data)) == messages


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", EDGES)
def test_every_length_in_two_reads_split_around_its_head(opcode, size):
    payload = b"x" * size
    data = Frame(Opcode(opcode), payload).serialize(mask=False)
    assert frames.server_frame(opcode, payload) == data
    for cut in {*range(12), *range(125, 132), len(data) - 1, len(data)}:
        assert feed([data[:cut], data[cut:]]) == [(opcode, payload)]


def test_long_payload_in_many_reads():
    payload = bytes(at * 7 & 255 for at in range(300_000))
    data = frames.server_frame(BINARY, payload)
    assert feed(pieces(data, range(0, len(data), 1000))) == [(BINARY, payload)]


def test_idle_is_only_between_messages():
    decoder = frames.Decoder()
    states = [decoder.idle]
    for byte in every_byte(bytes.fromhex("01 01 41 89 00 80 01 42") + b"\x82\x00"):
        decoder.feed(byte)
        states.append(decoder.idle)
    assert [at for at, idle in enumerate(states) if idle] == [0, 8, 10]


def test_a_right_frame_within_a_fragmented_message_is_refused_though_it_is_whole():
    decoder = frames.Decoder()
    decoder.feed(bytes.fromhex("01 01 41"))
    with pytest.raises(frames.ProtocolError, match="within a fragmented"):
        decoder.feed(frames.server_frame(BINARY, b"echo"))


def test_what_follows_a_close_frame_is_discarded():
    decoder = frames.Decoder()
    close = frames.server_frame(CLOSE, b"\x03\xe8bye")
    assert decoder.feed(close + b"\x82\x01x" + b"\xff\xff") == [(CLOSE, b"\x03\xe8bye")]
    assert decoder.closed
    assert not decoder.feed(b"\x82\x01x")
    assert not decoder.feed(b"\xff\xff")


# each with the status that the connection is closed with; None where the bytes are right,
# so that the line between right and wrong is in the table too
VIOLATIONS = [
    ("masked", "82 81 01020304 40", 1002),
    ("masked and empty", "81 80 01020304", 1002),
    ("masked, only its head", "82 81 01", 1002),
    ("masked, and as much after it as its second byte says", "82 80" + "00" * 128, 1002),
    ("masked, 16 bits", "82 fe 0080", 1002),
    ("masked, 64 bits", "82 ff 0000000000010000", 1002),
    ("masked control frame", "89 80 01020304", 1002),
    ("reserved bit 1", "c2 00", 1002),
    ("reserved bit 2", "a2 00", 1002),
    ("reserved bit 3", "92 00", 1002),
    ("reserved bit on a control frame", "c9 00", 1002),
    ("reserved bit on a continuation", "01 01 41 c0 01 41", 1002),
    *[(f"reserved opcode {each:x}", f"8{each:x} 00", 1002) for each in (3, 4, 5, 6, 7)],
    *[(f"reserved opcode {each:x}", f"8{each:x} 00", 1002) for each in (11, 12, 13, 14, 15)],
    ("reserved opcode, fragment", "03 00", 1002),
    ("fragmented ping", "09 00", 1002),
    ("fragmented pong", "0a 01 41", 1002),
    ("fragmented close", "08 00", 1002),
    ("ping of 125", "89 7d" + "00" * 125, None),
    ("ping of 126", "89 7e 007e" + "00" * 126, 1002),
    ("pong, 64 bits", "8a 7f 0000000000010000", 1002),
    ("close of 126", "88 7e 007e 03e8" + "41" * 124, 1002),
    ("continuation of nothing", "80 00", 1002),
    ("unfinished continuation of nothing", "00 01 41", 1002),
    ("continuation after the end", "01 01 41 80 01 41 80 01 41", 1002),
    ("text within text", "01 01 41 81 01 41", 1002),
    ("binary within text", "01 01 41 82 00", 1002),
    ("fragment within an empty fragment", "02 00 02 00", 1002),
    ("126 in 16 bits", "82 7e 007e" + "00" * 126, None),
    ("125 in 16 bits", "82 7e 007d" + "00" * 125, 1002),
    ("0 in 16 bits", "82 7e 0000", 1002),
    ("65536 in 64 bits", "82 7f 0000000000010000" + "00" * 65536, None),
    ("65535 in 64 bits", "82 7f 000000000000ffff", 1002),
    ("5 in 64 bits", "81 7f 0000000000000005 4141414141", 1002),
    ("highest bit of 64", "82 7f 8000000000000000", 1002),
    ("highest bit of 64 and others", "82 7f ffffffffffffffff", 1002),
    ("message as long as lengths go", "82 7f 7fffffffffffffff", 1009),
    ("text not UTF-8", "81 02 c328", 1007),
    ("overlong text", "81 02 c0af", 1007),
    ("surrogate", "81 03 eda080", 1007),
    ("above the last character", "81 04 f4908080", 1007),
    ("text ends within a character", "81 02 e282", 1007),
    ("the same as binary", "82 02 e282", None),
    ("character over two fragments", "01 02 e282 80 01 ac", None),
    ("fragments end within a character", "01 02 e282 80 00", 1007),
    ("long text not UTF-8", "81 7e 0080" + "41" * 127 + "ff", 1007),
    ("close", "88 00", None),
    ("close with half a code", "88 01 03", 1002),
    *[(f"close {each}", f"88 02 {each:04x}", None) for each in (1000, 1003, 1007, 1014)],
    *[(f"close {each}", f"88 02 {each:04x}", None) for each in (3000, 3999, 4000, 4999)],
    *[(f"close {each}", f"88 02 {each:04x}", 1002) for each in (0, 999, 1004, 1005, 1006)],
    *[(f"close {each}", f"88 02 {each:04x}", 1002) for each in (1015, 2000, 2999, 5000, 65535)],
    ("close reason", "88 05 03e8 e282ac", None),
    ("close reason not UTF-8", "88 04 03e8 e282", 1007),
    ("close within a fragmented message", "01 01 41 88 00", None),
]


@pytest.mark.parametrize(
    ("wire", "code"), [each[1:] for each in VIOLATIONS], ids=[each[0] for each in VIOLATIONS]
)
@pytest.mark.parametrize("split", [False, True], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("before", [b"", b"\x82\x02ok"], ids=["first", "second"])
def test_violations(before, split, wire, code):
    data = before + bytes.fromhex(wire)
    decoder = frames.Decoder()
    received: list[frames.Message] = []
    found = None
    try:
        for chunk in every_byte(data) if split else [data]:
            received += decoder.feed(chunk)
    except frames.ProtocolError as error:
        found = (error.kind, error.close_code)
        received += error.messages
    assert found == (("protocol", code) if code else None)
    if before:
        assert received.pop(0) == (BINARY, b"ok")
    if code is not None:
        fragment = bytes.fromhex("01 01 41 80 01 41")
        assert received == ([(TEXT, b"AA")] if data.startswith(before + fragment) else [])
        with pytest.raises(frames.ProtocolError) as again:
            decoder.feed(frames.server_frame(BINARY, b"as if nothing had been"))
        assert (again.value.close_code, again.value.messages) == (code, ())


@given(st.binary(max_size=40))
@example(b"\x82")
@settings(deadline=None)
def test_a_split_never_changes_what_is_found(data):
    """Any bytes: whole or one by one, the same messages and the same refusal."""
    outcomes = []
    for chunks in ([data], every_byte(data)):
        decoder = frames.Decoder()
        received: list[frames.Message] = []
        refused = None
        try:
            for chunk in chunks:
                received += decoder.feed(chunk)
        except frames.ProtocolError as error:
            received += error.messages
            refused = (error.reason, error.close_code)
        outcomes.append((received, refused, decoder.closed))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    ("wire", "fits"),
    [
        (frames.server_frame(BINARY, bytes(1000)), True),
        (frames.server_frame(BINARY, bytes(1001))[:4], False),  # its head is enough
        (b"\x02\x01A" + b"\x80\x7e\x03\xe7" + bytes(999), True),
        (b"\x02\x01A" + b"\x80\x7e\x03\xe8", False),
        # a control frame is no part of the message
        (b"\x02\x7e\x03\xe7" + bytes(999) + b"\x89\x7d" + bytes(125) + b"\x80\x01A", True),
    ],
)
def test_largest_message(wire, fits):
    decoder = frames.Decoder(max_size=1000)
    if fits:
        for _ in range(3):  # what was held is forgotten
            assert len(decoder.feed(wire)[-1][1]) == 1000
    else:
        with pytest.raises(frames.ProtocolError, match="1000 at most") as caught:
            decoder.feed(wire)
        assert caught.value.close_code == 1009


def test_limit_below_a_control_frame():
    with pytest.raises(ValueError, match="125"):
        frames.Decoder(max_size=124)


# echoes


@given(DATA)
@settings(deadline=None)
def test_prepared_echo(message):
    echo = frames.prepare(*message)
    server = Protocol(SERVER)
    server.receive_data(echo.request)
    [frame] = server.events_received()
    assert isinstance(frame, Frame)
    (server.send_text if message[0] == TEXT else server.send_binary)(bytes(frame.data))
    assert b"".join(server.data_to_send()) == echo.answer
    assert feed([echo.answer]) == [message]


@given(st.integers(0, 5), st.binary(max_size=8), st.binary(max_size=3))
@settings(deadline=None)
def test_echoes_are_counted_and_the_rest_is_left(times, rest, payload):
    answer = frames.server_frame(BINARY, payload)
    data = answer * times + rest
    count = frames.count_echoes(data, answer)
    left = data[count * len(answer) :]
    assert data == answer * count + left
    assert count >= times
    assert not left.startswith(answer)


def test_empty_frame_is_not_counted():
    with pytest.raises(ValueError, match="empty"):
        frames.count_echoes(b"", b"")


# what is owed


def unmasked(frame: bytes | None) -> frames.Message:
    server = Protocol(SERVER)
    assert frame is not None
    server.receive_data(frame)
    [event] = server.events_received()
    assert isinstance(event, Frame)
    return int(event.opcode), bytes(event.data)


def test_replies():
    assert unmasked(frames.reply(PING, b"12")) == (PONG, b"12")
    assert unmasked(frames.reply(CLOSE, b"\x03\xe8bye")) == (CLOSE, b"\x03\xe8")
    assert unmasked(frames.reply(CLOSE, b"")) == (CLOSE, b"")
    assert [frames.reply(opcode, b"") for opcode in (TEXT, BINARY, PONG)] == [None] * 3


def test_close_frames():
    assert unmasked(frames.close_frame(1000)) == (CLOSE, b"\x03\xe8")
    assert unmasked(frames.close_frame(1002, "no €")) == (CLOSE, b"\x03\xea" + "no €".encode())
    opcode, payload = unmasked(frames.close_frame(1002, "€" * 42))
    assert (opcode, payload[2:].decode()) == (CLOSE, "€" * 41)
    for code in (0, 1005, 1006, 1015, 2999, 5000):
        with pytest.raises(ValueError, match=str(code)):
            frames.close_frame(code)


def test_close_status():
    assert frames.close_status(b"") == (1005, "")
    assert frames.close_status(b"\x03\xe8") == (1000, "")
    assert frames.close_status(b"\x0f\xa0\xe2\x82\xac") == (4000, "€")
