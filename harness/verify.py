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
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType, NoneType
from typing import Any

from harness.conversation import Answer, Client, ContractError, Peer, conversation
from harness.expectation import (
    WAIT_MS,
    NextText,
    Tick,
    expect,
    expect_body,
    expect_consecutive,
    expect_echo,
    expect_fresh,
    expect_messages,
    expect_tick,
    expect_wait,
    payload,
    short,
)
from harness.model import ConfigurationError, Interface, MeasurementError, Request

HELLO = b"Hello, world!"
KIB, MIB = 1024, 1024 * 1024
HELD_AT_LEAST_S = 0.05
# three polls for a past event; were they held, they would take two periods of 0.5 s or more
AT_ONCE_S = 0.4
LONG_PAST = 10
FAR_AHEAD = 10**11

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


# -- the checks --------------------------------------------------------------------------------


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
    expect_consecutive(lambda: _events(client))


@contextlib.contextmanager
def _events(client: Client) -> Iterator[NextText]:
    connection = client.open_http()
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

        yield next_data


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
    expect_consecutive(lambda: _ticks(client))


@contextlib.contextmanager
def _ticks(client: Client) -> Iterator[NextText]:
    with client.open_websocket("/ws/ticks") as websocket:

        def next_text() -> str:
            got = websocket.recv(timeout=client.remaining_s())
            if isinstance(got, bytes):
                raise ContractError(f"expected a text message, got {short(got)}")
            return got

        yield next_text


@check()
def check_whoami(client: Client) -> None:
    """The process says who it is."""
    whoami(client.peer.host, client.peer.port, client.remaining_s())


@check()
def check_not_found(client: Client) -> None:
    """An unknown path is 404."""
    expect(client.ask("GET", "/no-such-path"), status=404)
