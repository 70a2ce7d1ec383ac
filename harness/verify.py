"""The app contract asked of a live server, answer by answer.

Each check is a short conversation over loopback that raises ContractError, saying what was
expected and what came instead, at the first thing that is not as the contract has it. A check
ends within its time whatever the server does: at the deadline its sockets are cut.

The event checks compare the app's CLOCK_MONOTONIC with ours: same machine only.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType, NoneType
from typing import Any

from harness.conversation import Answer, Client, ContractError, Peer, conversation
from harness.model import ConfigurationError, Interface, MeasurementError, Request

HELLO = b"Hello, world!"
KIB, MIB = 1024, 1024 * 1024
WAIT_MS = 50
WAIT_AT_MOST_S = 5.0
DELAY_AT_MOST_S = 2.0
HELD_AT_LEAST_S = 0.05
# three polls for a past event; were they held, they would take two periods of 0.5 s or more
AT_ONCE_S = 0.4
LONG_PAST = 10
FAR_AHEAD = 10**11
SHORT_CHARS = 60

FACTS: Mapping[str, type | tuple[type, ...]] = MappingProxyType(
    {
        "pid": int,
        "thread": str,
        "server": str,
        "interface": str,
        "http": str,
        "python": str,
        "loop": (str, NoneType),
    }
)


Check = Callable[[Peer], None]

_CHECKS: dict[str, Check] = {}
_ONLY: dict[str, Interface | None] = {}
CHECKS: Mapping[str, Check] = MappingProxyType(_CHECKS)


def check(only: Interface | None = None) -> Callable[[Callable[[Client], None]], Check]:
    """Enter a function `check_NAME` in CHECKS as NAME, for one interface or for both."""

    def enter(function: Callable[[Client], None]) -> Check:
        name = function.__name__.removeprefix("check_")

        @functools.wraps(function)
        def bounded(peer: Peer) -> None:
            with conversation(peer) as client:
                function(client)

        _CHECKS[name] = bounded
        _ONLY[name] = only
        return bounded

    return enter


def checks_for(interface: Interface) -> tuple[str, ...]:
    """The names of the checks that an app of this interface has to pass."""
    return tuple(name for name, only in _ONLY.items() if only in (None, interface))


def verify(host: str, port: int, checks: Iterable[str], *, timeout_s: float = 10.0) -> None:
    """Run the named checks in order, each within `timeout_s` seconds.

    Raises MeasurementError at the first that fails, ConfigurationError for an unknown name.
    """
    peer = Peer(host, port, timeout_s)
    for name in checks:
        if name not in CHECKS:
            raise ConfigurationError(f"no answer check {name!r}; there are {', '.join(CHECKS)}")
        try:
            CHECKS[name](peer)
        except ContractError as error:
            raise MeasurementError(f"answer check {name!r} failed: {error}") from error


def answers_hello(host: str, port: int, timeout_s: float) -> bool:
    """Whether one whole `GET /` on a fresh connection is answered right; never raises for it."""
    try:
        with conversation(Peer(host, port, timeout_s)) as client:
            answer = client.ask("GET", "/")
            return answer.status == 200 and answer.body == HELLO
    except ContractError:
        return False


def answer_to(request: Request, host: str, port: int, timeout_s: float) -> Answer:
    """The whole answer to a user's own request; ContractError if there is none."""
    with conversation(Peer(host, port, timeout_s)) as client:
        media = {"Content-Type": "application/octet-stream"} if request.body is not None else {}
        given = {name.title(): value for name, value in request.headers}
        return client.ask(request.method, request.path, request.body, **(media | given))


def expect_own(request: Request, answer: Answer) -> None:
    """Hold a user's own application to the status, and the body if any, that were asked for."""
    if request.status is not None:
        expect(answer, status=request.status)
    elif not 200 <= answer.status < 400:
        got = f"{answer.status} with body {short(answer.body)}"
        how = f"say --expect-status {answer.status} if that is right"
        raise ContractError(f"expected a status of 2xx or 3xx, got {got}; {how}")
    if request.expect is not None:
        expect_body(request.expect, answer.body)


def whoami(host: str, port: int, timeout_s: float) -> dict[str, Any]:
    """What the process that answers says of itself, as FACTS; ContractError if it does not."""
    with conversation(Peer(host, port, timeout_s)) as client:
        answer = client.ask("GET", "/whoami")
        expect(answer, "application/json")
        try:
            facts = json.loads(answer.body)
        except ValueError:
            facts = None
        if not isinstance(facts, dict):
            raise ContractError(f"expected a JSON object, got {short(answer.body)}")
        for name, kind in FACTS.items():
            if name not in facts or not isinstance(facts[name], kind):
                got = short(facts[name]) if name in facts else "nothing"
                raise ContractError(f"expected a value for {name!r} in /whoami, got {got}")
        return facts


# -- what is expected ------------------------------------------------------------------------


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


def expect_consecutive(next_text: Callable[[], str | bytes], asked_ns: int) -> None:
    """Hold two events in a row, each sent as it happens and not kept for the next."""
    first = expect_tick(next_text())
    expect_fresh(first, asked_ns)
    second = expect_tick(next_text())
    if second.event != first.event + 1:
        raise ContractError(f"expected event {first.event + 1} next, got {second.event}")
    expect_fresh(second, first.due_ns)
    if first.arrived_ns >= second.due_ns:
        late_s = (first.arrived_ns - second.due_ns) / 1e9
        raise ContractError(
            f"expected event {first.event} before the next one happened, got it {late_s:g} s "
            "after: the server or app buffers"
        )


# -- the checks --------------------------------------------------------------------------------


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


@check()
def check_hello(client: Client) -> None:
    """`GET /` is the greeting, with its type and length."""
    answer = client.ask("GET", "/")
    expect(answer, "text/plain")
    expect_body(HELLO, answer.body)


@check()
def check_echo(client: Client) -> None:
    """64 bytes come back."""
    expect_echo(client, payload(64), payload(64))


@check()
def check_echo_empty(client: Client) -> None:
    """An empty body comes back empty, with Content-Length 0."""
    expect_echo(client, b"", b"")


@check()
def check_echo_large(client: Client) -> None:
    """10 MiB come back whole."""
    expect_echo(client, payload(10 * MIB), payload(10 * MIB))


@check()
def check_echo_chunked(client: Client) -> None:
    """200 kB sent as chunks of many sizes come back whole."""
    whole = payload(200_000)
    cuts = [0, 1, 17, 1_000, 9_192, 74_728, 140_264, len(whole)]
    pieces = (whole[a:b] for a, b in itertools.pairwise(cuts))
    expect_echo(client, pieces, whole)


@check()
def check_stream(client: Client) -> None:
    """1 MiB comes back whole to a client that reads while it writes."""
    whole = payload(MIB)
    connection = client.open_http()
    connection.putrequest("POST", "/stream")
    connection.putheader("Content-Length", str(len(whole)))
    connection.putheader("Connection", "close")
    connection.endheaders()

    def write(to: socket.socket) -> None:
        with contextlib.suppress(OSError):  # what came back tells
            to.sendall(whole)

    # the connection forgets its socket once it has read a head, hence the writer's own
    writer = threading.Thread(target=write, args=(connection.sock,), daemon=True)
    begin = time.monotonic()
    writer.start()
    answer = client.read(connection, begin)
    expect(answer)
    expect_body(whole, answer.body)


@check()
def check_sleep(client: Client) -> None:
    """`GET /sleep/50` waits 50 ms and says so."""
    expect_wait(client.ask("GET", f"/sleep/{WAIT_MS}"), b"slept %d ms" % WAIT_MS)


@check(only="asgi")
def check_sleep_block(client: Client) -> None:
    """The same wait inside the event loop; that the app sees the query, a wrong one shows."""
    expect_wait(client.ask("GET", f"/sleep/{WAIT_MS}?how=block"), b"slept %d ms" % WAIT_MS)
    expect(client.ask("GET", f"/sleep/{WAIT_MS}?how=wrong"), status=400)


@check(only="asgi")
def check_sleep_thread(client: Client) -> None:
    """The same wait in a worker thread; that the app sees the query, a wrong one shows."""
    expect_wait(client.ask("GET", f"/sleep/{WAIT_MS}?how=thread"), b"slept %d ms" % WAIT_MS)
    expect(client.ask("GET", f"/sleep/{WAIT_MS}?how=wrong"), status=400)


@check()
def check_upstream(client: Client) -> None:
    """The upstream's answer after its wait; the server needs GATEBENCH_UPSTREAM."""
    expect_wait(client.ask("GET", f"/upstream/{WAIT_MS}"), b"waited %d ms" % WAIT_MS)


@check()
def check_poll(client: Client) -> None:
    """The next event once it happens, the one after it, and past events at once."""

    def poll(query: str) -> tuple[Tick, int]:
        while True:  # as a client of long-polling does: no event within the hold, ask again
            asked_ns = time.monotonic_ns()
            answer = client.ask("GET", f"/poll{query}")
            if answer.status != 204:
                expect(answer, "text/plain")
                return expect_tick(answer.body), asked_ns

    tick, asked_ns = poll("")
    expect_fresh(tick, asked_ns)
    begin = time.monotonic()
    after = max(tick.event - LONG_PAST, 0)
    for _ in range(3):
        past, _ = poll(f"?after={after}")
        if past.event != after + 1:
            raise ContractError(f"expected event {after + 1} after {after}, got {past.event}")
    took_s = time.monotonic() - begin
    if took_s >= AT_ONCE_S:
        raise ContractError(f"expected a past event three times at once, got it in {took_s:g} s")
    following, _ = poll(f"?after={tick.event}")
    if following.event != tick.event + 1:
        raise ContractError(f"expected event {tick.event + 1} next, got {following.event}")
    expect_fresh(following, tick.due_ns)


@check()
def check_poll_hold(client: Client) -> None:
    """A poll for a far event is held to the limit, then 204 without a body."""
    answer = client.ask("GET", f"/poll?after={FAR_AHEAD}")
    expect(answer, status=204)
    expect_body(b"", answer.body)
    if answer.took_s < HELD_AT_LEAST_S:
        raise ContractError(f"expected a poll held to its limit, got 204 in {answer.took_s:g} s")


@check()
def check_events(client: Client) -> None:
    """Server-sent events, two in a row, each sent as it happens."""
    connection = client.open_http()
    asked_ns = time.monotonic_ns()
    connection.request("GET", "/events")
    with connection.getresponse() as response:
        media = response.headers.get_content_type()
        if response.status != 200 or media != "text/event-stream":
            got = f"{response.status} {media}"
            raise ContractError(f"expected status 200 and text/event-stream, got {got}")
        if "Content-Length" in response.headers:
            length = response.headers["Content-Length"]
            raise ContractError(f"expected a stream without end, got Content-Length {length}")

        def next_data() -> bytes:
            lines = [response.readline(KIB).rstrip(b"\n") for _ in range(3)]
            number = lines[1].removeprefix(b"data: ").partition(b" ")[0]
            if lines != [b"id: " + number, lines[1], b""] or not lines[1].startswith(b"data: "):
                raise ContractError(f"expected 'id: k', 'data: k <ns>' and '', got {short(lines)}")
            return lines[1].removeprefix(b"data: ")

        expect_consecutive(next_data, asked_ns)


@check(only="asgi")
def check_websocket_echo(client: Client) -> None:
    """Text comes back as text and bytes as bytes, 64 KiB too."""
    expect_messages(client, "hello, wörld", b"\x00\xff", payload(64 * KIB))


@check(only="asgi")
def check_websocket_echo_empty(client: Client) -> None:
    """Messages of no length come back too."""
    expect_messages(client, "", b"")


@check(only="asgi")
def check_websocket_ticks(client: Client) -> None:
    """Events pushed as text, two in a row, each sent as it happens."""
    asked_ns = time.monotonic_ns()
    with client.open_websocket("/ws/ticks") as websocket:

        def next_text() -> str:
            got = websocket.recv(timeout=client.remaining_s())
            if isinstance(got, bytes):
                raise ContractError(f"expected a text message, got {short(got)}")
            return got

        expect_consecutive(next_text, asked_ns)


@check()
def check_whoami(client: Client) -> None:
    """The process says who it is."""
    whoami(client.peer.host, client.peer.port, client.remaining_s())


@check()
def check_not_found(client: Client) -> None:
    """An unknown path is 404."""
    expect(client.ask("GET", "/no-such-path"), status=404)
