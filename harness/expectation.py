"""What an answer of the app contract is held to: each raises ContractError at what is not so.

Events are held to CLOCK_MONOTONIC, the app's to ours: same machine only.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from harness.conversation import Answer, Client, ContractError

WAIT_MS = 50
WAIT_AT_MOST_S = 5.0
DELAY_AT_MOST_S = 2.0
SHORT_CHARS = 60

NextText = Callable[[], str | bytes]


def short(value: object) -> str:
    """The value's repr, cut to what fits in a message."""
    if isinstance(value, bytes) and len(value) > SHORT_CHARS // 2:
        return f"{value[: SHORT_CHARS // 3]!r}... ({len(value)} bytes)"
    text = repr(value)
    return text if len(text) <= SHORT_CHARS else f"{text[:SHORT_CHARS]}..."


def expect(answer: Answer, media: str | None = None, *, status: int = 200) -> None:
    """Hold status and head of a finite answer; `media` is a content type without parameters."""
    if answer.status != status:
        got = f"{answer.status} with body {short(answer.body)}"
        raise ContractError(f"expected status {status}, got {got}")
    if media is None:
        return
    got = answer.headers.get("Content-Type", "")
    if got.partition(";")[0].strip().lower() != media:
        raise ContractError(f"expected Content-Type {media}, got {short(got)}")
    length = answer.headers.get("Content-Length")
    if length != str(len(answer.body)):
        raise ContractError(f"expected Content-Length {len(answer.body)}, got {length}")


def expect_body(expected: bytes, got: bytes) -> None:
    """Hold a body byte for byte."""
    if got == expected:
        return
    if len(got) != len(expected) or len(got) <= SHORT_CHARS // 2:
        raise ContractError(f"expected body {short(expected)}, got {short(got)}")
    at = next(i for i, (a, b) in enumerate(zip(expected, got, strict=True)) if a != b)
    raise ContractError(
        f"expected {short(expected[at : at + 8])} at byte {at} of {len(got)}, "
        f"got {short(got[at : at + 8])}"
    )


def expect_wait(answer: Answer, body: bytes) -> None:
    """Hold an answer that had to take WAIT_MS milliseconds, and not for ever."""
    expect(answer, "text/plain")
    expect_body(body, answer.body)
    if not WAIT_MS / 1000 <= answer.took_s < WAIT_AT_MOST_S:
        raise ContractError(
            f"expected a wait of {WAIT_MS} ms (at most {WAIT_AT_MOST_S:g} s), "
            f"got {answer.took_s * 1000:.3f} ms"
        )


@dataclass(frozen=True, slots=True)
class Tick:
    """An event, its own time and its arrival here, in nanoseconds on CLOCK_MONOTONIC."""

    event: int
    due_ns: int
    arrived_ns: int


def expect_tick(text: str | bytes) -> Tick:
    """Read `<event> <time in ns>`, just arrived; it happened, and not long ago."""
    arrived_ns = time.monotonic_ns()
    words = (text if isinstance(text, bytes) else text.encode()).split(b" ")
    if len(words) != 2 or not all(word.isdigit() for word in words):
        raise ContractError(f"expected '<event> <time in ns>', got {short(text)}")
    tick = Tick(int(words[0]), int(words[1]), arrived_ns)
    delay_s = (arrived_ns - tick.due_ns) / 1e9
    if delay_s < 0:
        raise ContractError(f"expected an event that has happened, got one {-delay_s:g} s early")
    return tick


def expect_fresh(tick: Tick, asked_ns: int) -> None:
    """Hold that the event happened after it was asked for, and came soon."""
    before_s = (asked_ns - tick.due_ns) / 1e9
    if before_s >= 0:
        raise ContractError(f"expected an event to come, got one from {before_s:g} s before")
    delay_s = (tick.arrived_ns - tick.due_ns) / 1e9
    if delay_s >= DELAY_AT_MOST_S:
        raise ContractError(f"expected a delay under {DELAY_AT_MOST_S:g} s, got {delay_s:g} s")


def expect_consecutive(opened: Callable[[], AbstractContextManager[NextText]]) -> None:
    """Hold the first two events of a stream, each sent as it happens and not kept for the next.

    `opened` asks for a stream and gives what reads its next text. A machine that is held up may
    delay an event past the next one: then more is asked of a fresh stream, that each of its first
    two comes before the next. Who keeps the first, or some until they are together, never does.
    """
    for wanted in (1, 2, 2):
        asked_ns = time.monotonic_ns()
        with opened() as next_text:
            late = _late(next_text, asked_ns, wanted)
        if late is None:
            return
    raise ContractError(f"{late}, and so on two streams more: the server or app buffers")


def _late(next_text: NextText, asked_ns: int, wanted: int) -> str | None:
    """Which of the first `wanted` events came after the next one happened; None if none did."""
    first = expect_tick(next_text())
    expect_fresh(first, asked_ns)
    for _ in range(wanted):
        second = expect_tick(next_text())
        if second.event != first.event + 1:
            raise ContractError(f"expected event {first.event + 1} next, got {second.event}")
        expect_fresh(second, first.due_ns)
        if first.arrived_ns >= second.due_ns:
            late_s = (first.arrived_ns - second.due_ns) / 1e9
            number = first.event
            return (
                f"expected event {number} before the next one happened, got it {late_s:g} s after"
            )
        first = second
    return None


def payload(size: int) -> bytes:
    """Bytes that do not repeat, the same every time, so that shifts and gaps show."""
    return random.Random(size).randbytes(size)


def expect_echo(client: Client, body: bytes | Iterable[bytes], whole: bytes) -> None:
    """Post the body and hold that it comes back with its content type."""
    media = "application/x-gatebench"
    answer = client.ask("POST", "/echo", body, Content_Type=media)
    expect(answer)
    expect_body(whole, answer.body)
    expect(answer, media)


def expect_messages(client: Client, *messages: str | bytes) -> None:
    """Send each on one WebSocket and hold that it comes back as it is and of its kind."""
    with client.open_websocket("/ws") as websocket:
        for sent in messages:
            websocket.send(sent)
            try:  # sooner than the cut, which would hide what is missing
                got = websocket.recv(timeout=client.remaining_s() / 2)
            except TimeoutError:
                raise ContractError(f"expected message {short(sent)}, got none") from None
            if type(got) is not type(sent) or got != sent:
                raise ContractError(f"expected message {short(sent)}, got {short(got)}")
