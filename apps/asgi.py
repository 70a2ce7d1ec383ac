"""The raw ASGI app: the whole app contract with the standard library alone.

It runs in the server's environment and imports nothing of gatebench. `wsgi.py` beside it
answers byte for byte alike; each file stands alone on purpose, so that one can be copied. The
frameworks' apps import from here what is no framework's work: the clock, the upstream, the facts.

Events need no broker between processes: event k happens at `epoch + k * period` on
CLOCK_MONOTONIC, which all processes of a machine share. Settings, from the environment:

    GATEBENCH_EPOCH_NS   time of event 0 in nanoseconds (default 0)
    GATEBENCH_PERIOD_NS  nanoseconds between events (default 500000000)
    GATEBENCH_HOLD_S     the longest that a poll is held, in seconds (default 30)
    GATEBENCH_UPSTREAM   host:port of the slow upstream (default: none)
    GATEBENCH_BURN       CPU to burn for each request; see burn.py (default: none)
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import os
import platform
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from importlib import metadata
from typing import Any
from urllib.parse import parse_qs

Message = dict[str, Any]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Answer = Callable[[Scope, Receive, Send], Awaitable[None]]

EPOCH_NS = int(os.environ.get("GATEBENCH_EPOCH_NS", "0"))
PERIOD_NS = int(os.environ.get("GATEBENCH_PERIOD_NS", "500000000"))
HOLD_NS = int(float(os.environ.get("GATEBENCH_HOLD_S", "30")) * 1e9)
UPSTREAM = os.environ.get("GATEBENCH_UPSTREAM", "")
UPSTREAM_GRACE_S = 10.0
BURN: Callable[[], None] | None = None
if "GATEBENCH_BURN" in os.environ:
    from burn import Burner

    BURN = Burner(os.environ["GATEBENCH_BURN"])

PLAIN = b"text/plain"
BINARY = b"application/octet-stream"
HELLO = b"Hello, world!"
HELLO_HEADERS = [(b"content-type", PLAIN), (b"content-length", b"%d" % len(HELLO))]

# as modules; one that is loaded in a server's own environment is what serves
SERVERS = (
    "gunicorn", "uvicorn", "hypercorn", "daphne", "granian", "waitress", "uwsgi", "mod_wsgi",
    "werkzeug", "cheroot", "bjoern", "fastwsgi", "fastpysgi", "socketify", "wsgiref.simple_server",
)  # fmt: skip


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request or WebSocket by its path, or go through the server's lifespan."""
    kind = scope["type"]
    if kind == "http":
        await answer_http(scope, receive, send)
    elif kind == "websocket":
        await receive()  # websocket.connect
        await WEBSOCKETS.get(scope["path"], refuse)(scope, receive, send)
    elif kind == "lifespan":
        await lifespan(receive, send)
    else:
        raise ValueError(f"unknown ASGI scope {kind!r}")


async def answer_http(scope: Scope, receive: Receive, send: Send) -> None:
    if BURN is not None:
        BURN()
    path = scope["path"]
    route = ROUTES.get(path) or NUMBERED.get(path[: path.rfind("/") + 1])
    if route is None:
        await reply(send, 404, b"not found\n")
        return
    allowed, answer = route
    method = scope["method"]
    if method == allowed or (method == "HEAD" and allowed == "GET"):
        await answer(scope, receive, send)
    else:
        await reply(send, 405, b"method not allowed\n", allow=(b"allow", allowed.encode()))


async def lifespan(receive: Receive, send: Send) -> None:
    kind = ""
    while kind != "lifespan.shutdown":
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})


async def reply(
    send: Send,
    status: int,
    body: bytes,
    content_type: bytes = PLAIN,
    allow: tuple[bytes, bytes] | None = None,
) -> None:
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    if allow is not None:
        headers.append(allow)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def bad_number(send: Send) -> None:
    await reply(send, 400, b"bad number\n")


async def hello(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": HELLO_HEADERS})
    await send({"type": "http.response.body", "body": HELLO})


def content_type_of(scope: Scope) -> bytes:
    """The request's own content type, or the one of bytes that say nothing of themselves."""
    return next((value for name, value in scope["headers"] if name == b"content-type"), BINARY)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    pieces = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        pieces.append(message.get("body", b""))
        more = message.get("more_body", False)
    await reply(send, 200, b"".join(pieces), content_type_of(scope))


async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [(b"content-type", content_type_of(scope))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message.get("more_body", False)
        if piece := message.get("body"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def sleep(scope: Scope, _receive: Receive, send: Send) -> None:
    text = scope["path"].rpartition("/")[2]
    ms = whole_number(text)
    query = scope["query_string"]
    how = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("how") if query else None
    if ms is None:
        await bad_number(send)
        return
    if how is None:
        await sleep_until(time.monotonic_ns() + ms * 1_000_000)
    elif how[-1] == "block":
        time.sleep(ms / 1000)  # the classic mistake, to be measured
    elif how[-1] == "thread":
        await asyncio.to_thread(time.sleep, ms / 1000)
    else:
        await reply(send, 400, b"bad how: block or thread\n")
        return
    await reply(send, 200, b"slept %s ms" % text.encode())


async def upstream(scope: Scope, _receive: Receive, send: Send) -> None:
    ms = whole_number(scope["path"].rpartition("/")[2])
    if ms is None:
        await bad_number(send)
        return
    await reply(send, *await ask_upstream(ms))


async def ask_upstream(ms: int) -> tuple[int, bytes]:
    """What to tell the client, status and body: the upstream's answer, or why there is none."""
    host, _, port = UPSTREAM.rpartition(":")
    if not host or not port.isdigit():
        return 503, b"no upstream: set GATEBENCH_UPSTREAM to host:port\n"
    try:
        async with asyncio.timeout(ms / 1000 + UPSTREAM_GRACE_S):
            return 200, await fetch(host, int(port), ms)
    except TimeoutError:
        return 502, b"upstream failed: timed out\n"
    except (OSError, ValueError) as error:
        # asyncio words the same refusal differently; the system's own words are alike
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number else str(error) or type(error).__name__
        return 502, f"upstream failed: {reason}\n".encode()


async def fetch(host: str, port: int, ms: int) -> bytes:
    """The body of the upstream's answer, on a connection of its own.

    Raises OSError if the upstream cannot be reached, ValueError if its answer is wrong.
    """
    reader, writer = await asyncio.open_connection(host, port)
    try:
        head = f"GET /{ms} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode())
        status, *fields = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        if status.split()[1:2] != [b"200"]:
            raise ValueError("status " + b" ".join(status.split()[1:2]).decode("latin-1"))
        for field in fields:
            name, _, value = field.partition(b":")
            if name.lower() == b"content-length":
                return await reader.readexactly(int(value))
        return await reader.read()
    except (EOFError, asyncio.LimitOverrunError) as error:
        raise ValueError(str(error)) from error
    finally:
        writer.close()


async def poll(scope: Scope, _receive: Receive, send: Send) -> None:
    event = wanted_event(scope["query_string"].decode("latin-1"))
    if event is None:
        await bad_number(send)
        return
    text = await held(event)
    if text is None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})
    else:
        await reply(send, 200, text)


async def held(event: int) -> bytes | None:
    """The event and its time, once it happened; None if it does not within the hold."""
    due_ns = event_time_ns(event)
    now_ns = time.monotonic_ns()
    if due_ns - now_ns > HOLD_NS:
        await sleep_until(now_ns + HOLD_NS)
        return None
    await sleep_until(due_ns)
    return b"%d %d" % (event, due_ns)


async def events(_scope: Scope, receive: Receive, send: Send) -> None:
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})

    async def push() -> None:
        async for body in server_sent_ticks():
            await send({"type": "http.response.body", "body": body, "more_body": True})

    await until_gone(push(), receive, "http.disconnect")


async def server_sent_ticks() -> AsyncIterator[bytes]:
    async for event, due_ns in ticks():
        yield b"id: %d\ndata: %d %d\n\n" % (event, event, due_ns)


async def ticks() -> AsyncIterator[tuple[int, int]]:
    """Each event and its time as it happens, from the next one on."""
    for event in itertools.count(next_event()):
        due_ns = event_time_ns(event)
        await sleep_until(due_ns)
        yield event, due_ns


async def until_gone(pushing: Coroutine[Any, Any, None], receive: Receive, gone: str) -> None:
    """Run `pushing` until the client goes away, and leave no task behind."""

    async def leave() -> None:
        while (await receive())["type"] != gone:
            pass

    tasks = [asyncio.ensure_future(pushing), asyncio.ensure_future(leave())]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        error = task.exception()
        if error is not None and not isinstance(error, OSError):  # OSError: sent to one gone
            raise error


async def refuse(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "websocket.close"})  # before accept: the server answers 403


async def websocket_echo(_scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        text = message.get("text")
        if text is None:
            await send({"type": "websocket.send", "bytes": message["bytes"]})
        else:
            await send({"type": "websocket.send", "text": text})


async def websocket_ticks(_scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.accept"})

    async def push() -> None:
        async for event, due_ns in ticks():
            await send({"type": "websocket.send", "text": f"{event} {due_ns}"})

    await until_gone(push(), receive, "websocket.disconnect")


async def whoami(scope: Scope, _receive: Receive, send: Send) -> None:
    await reply(send, 200, json.dumps(facts(scope)).encode(), b"application/json")


def facts(scope: Scope) -> dict[str, Any]:
    """Who answers; asked within the event loop."""
    try:
        kind = type(asyncio.get_running_loop())
        loop = f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"
    except RuntimeError:
        loop = "trio"  # the one other that a server may run us on
    return {
        "pid": os.getpid(),
        "thread": threading.current_thread().name,
        "server": server_software(),
        "interface": "asgi",
        "http": scope["http_version"],
        "python": platform.python_version(),
        "loop": loop,
    }


@functools.cache
def server_software() -> str:
    """The server distributions loaded in this process, such as `gunicorn/27.0.1`."""
    found = []
    for module in SERVERS:
        if module in sys.modules:
            name = module.partition(".")[0]
            try:
                found.append(f"{name}/{metadata.version(name)}")
            except metadata.PackageNotFoundError:  # part of Python, or of the system
                found.append(name)
    return " ".join(found)


def whole_number(text: str) -> int | None:
    """A number of 1 to 12 digits (more would overflow a sleep), or None."""
    return int(text) if len(text) <= 12 and text.isascii() and text.isdigit() else None


def wanted_event(query: str) -> int | None:
    """The event that a poll asks for: after + 1, or the next one; None if it is not a number."""
    after = parse_qs(query, keep_blank_values=True).get("after") if query else None
    if after is None:
        return next_event()
    number = whole_number(after[-1])
    return None if number is None else number + 1


def next_event() -> int:
    """The first event that has not happened yet."""
    return max(0, (time.monotonic_ns() - EPOCH_NS) // PERIOD_NS + 1)


def event_time_ns(event: int) -> int:
    """When the event happens, in nanoseconds on CLOCK_MONOTONIC."""
    return EPOCH_NS + event * PERIOD_NS


async def sleep_until(due_ns: int) -> None:
    """Sleep until then and never less.

    uvloop counts in whole milliseconds: on a busy loop a third of all sleeps of 50 ms end up
    to 1 ms early. The rest is slept as one more millisecond; less would spin there.
    """
    while (left_ns := due_ns - time.monotonic_ns()) > 0:
        await asyncio.sleep(max(left_ns / 1e9, 0.001))


ROUTES: dict[str, tuple[str, Answer]] = {
    "/": ("GET", hello),
    "/echo": ("POST", echo),
    "/stream": ("POST", stream),
    "/poll": ("GET", poll),
    "/events": ("GET", events),
    "/whoami": ("GET", whoami),
}
# by all of the path but its last segment, the milliseconds
NUMBERED: dict[str, tuple[str, Answer]] = {
    "/sleep/": ("GET", sleep),
    "/upstream/": ("GET", upstream),
}
WEBSOCKETS: dict[str, Answer] = {"/ws": websocket_echo, "/ws/ticks": websocket_ticks}
