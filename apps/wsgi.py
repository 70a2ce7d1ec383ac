"""The raw WSGI app: the whole app contract with the standard library alone.

It runs in the server's environment and imports nothing of gatebench. `asgi.py` beside it
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

import functools
import http.client
import itertools
import json
import math
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from typing import Any
from urllib.parse import parse_qs

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], object]
Answer = Callable[[Environ, StartResponse], Iterable[bytes]]

EPOCH_NS = int(os.environ.get("GATEBENCH_EPOCH_NS", "0"))
PERIOD_NS = int(os.environ.get("GATEBENCH_PERIOD_NS", "500000000"))
HOLD_NS = int(float(os.environ.get("GATEBENCH_HOLD_S", "30")) * 1e9)
UPSTREAM = os.environ.get("GATEBENCH_UPSTREAM", "")
UPSTREAM_GRACE_S = 10.0
BURN: Callable[[], None] | None = None
if "GATEBENCH_BURN" in os.environ:
    from burn import Burner

    BURN = Burner(os.environ["GATEBENCH_BURN"])

PIECE_BYTES = 64 * 1024
PLAIN = "text/plain"
BINARY = "application/octet-stream"
HELLO = b"Hello, world!"
HELLO_HEADERS = [("Content-Type", PLAIN), ("Content-Length", str(len(HELLO)))]

# as modules; one that is loaded in a server's own environment is what serves
SERVERS = (
    "gunicorn", "uvicorn", "hypercorn", "daphne", "granian", "waitress", "uwsgi", "mod_wsgi",
    "werkzeug", "cheroot", "bjoern", "fastwsgi", "fastpysgi", "socketify", "wsgiref.simple_server",
)  # fmt: skip


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer one request by its path, then its method."""
    if BURN is not None:
        BURN()
    path = environ.get("PATH_INFO") or "/"
    route = ROUTES.get(path) or NUMBERED.get(path[: path.rfind("/") + 1])
    if route is None:
        return reply(start_response, "404 Not Found", b"not found\n")
    allowed, answer = route
    method = environ["REQUEST_METHOD"]
    if method == allowed:
        return answer(environ, start_response)
    if method == "HEAD" and allowed == "GET":
        answer(environ, start_response)
        return []  # gunicorn would send a body given here, and break the connection
    return reply(
        start_response, "405 Method Not Allowed", b"method not allowed\n", allow=("Allow", allowed)
    )


def reply(
    start_response: StartResponse,
    status: str,
    body: bytes,
    content_type: str = PLAIN,
    allow: tuple[str, str] | None = None,
) -> list[bytes]:
    headers = [("Content-Type", content_type), ("Content-Length", str(len(body)))]
    if allow is not None:
        headers.append(allow)
    start_response(status, headers)
    return [body]


def bad_number(start_response: StartResponse) -> list[bytes]:
    return reply(start_response, "400 Bad Request", b"bad number\n")


def hello(_environ: Environ, start_response: StartResponse) -> list[bytes]:
    start_response("200 OK", HELLO_HEADERS.copy())  # the list is the server's to change
    return [HELLO]


def body_length(environ: Environ) -> float:
    """The bytes that may be read from wsgi.input; infinite where the server ends the input."""
    declared = environ.get("CONTENT_LENGTH")
    if declared:  # nginx's uwsgi_pass makes it "" where there is none
        return int(declared)
    return math.inf if environ.get("wsgi.input_terminated") else 0


def echo(environ: Environ, start_response: StartResponse) -> list[bytes]:
    source = environ["wsgi.input"]
    length = body_length(environ)
    body = source.read() if length == math.inf else source.read(length)
    return reply(start_response, "200 OK", body, environ.get("CONTENT_TYPE") or BINARY)


def stream(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", environ.get("CONTENT_TYPE") or BINARY)])
    return pieces(environ)


def pieces(environ: Environ) -> Iterator[bytes]:
    """The request body as it arrives; `read` waits for a full piece, `read1` does not."""
    source = environ["wsgi.input"]
    read = getattr(source, "read1", source.read)
    left = body_length(environ)
    while left > 0:
        piece = read(min(PIECE_BYTES, left))
        if not piece:
            return
        left -= len(piece)
        yield piece


def sleep(environ: Environ, start_response: StartResponse) -> list[bytes]:
    text = environ["PATH_INFO"].rpartition("/")[2]
    ms = whole_number(text)
    if ms is None:
        return bad_number(start_response)
    sleep_until(time.monotonic_ns() + ms * 1_000_000)
    return reply(start_response, "200 OK", b"slept %s ms" % text.encode())


def upstream(environ: Environ, start_response: StartResponse) -> list[bytes]:
    ms = whole_number(environ["PATH_INFO"].rpartition("/")[2])
    if ms is None:
        return bad_number(start_response)
    status, body = ask_upstream(ms)
    return reply(start_response, f"{status} {http.client.responses[status]}", body)


def ask_upstream(ms: int) -> tuple[int, bytes]:
    """What to tell the client, status and body: the upstream's answer, or why there is none."""
    host, _, port = UPSTREAM.rpartition(":")
    if not host or not port.isdigit():
        return 503, b"no upstream: set GATEBENCH_UPSTREAM to host:port\n"
    connection = http.client.HTTPConnection(host, int(port), timeout=ms / 1000 + UPSTREAM_GRACE_S)
    try:
        connection.request("GET", f"/{ms}", headers={"Connection": "close"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise http.client.HTTPException(f"status {answer.status}")
        return 200, answer.read()
    except (OSError, http.client.HTTPException) as error:
        # asyncio words the same refusal differently; the system's own words are alike
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number else str(error) or type(error).__name__
        return 502, f"upstream failed: {reason}\n".encode()
    finally:
        connection.close()


def poll(environ: Environ, start_response: StartResponse) -> list[bytes]:
    event = wanted_event(environ.get("QUERY_STRING", ""))
    if event is None:
        return bad_number(start_response)
    text = held(event)
    if text is None:
        start_response("204 No Content", [])
        return []
    return reply(start_response, "200 OK", text)


def held(event: int) -> bytes | None:
    """The event and its time, once it happened; None if it does not within the hold."""
    due_ns = event_time_ns(event)
    now_ns = time.monotonic_ns()
    if due_ns - now_ns > HOLD_NS:
        sleep_until(now_ns + HOLD_NS)
        return None
    sleep_until(due_ns)
    return b"%d %d" % (event, due_ns)


def events(_environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache")])
    return server_sent_ticks()


def server_sent_ticks() -> Iterator[bytes]:
    """Each event from the next one on; the server closes the generator when the client goes."""
    for event in itertools.count(next_event()):
        due_ns = event_time_ns(event)
        sleep_until(due_ns)
        yield b"id: %d\ndata: %d %d\n\n" % (event, event, due_ns)


def whoami(environ: Environ, start_response: StartResponse) -> list[bytes]:
    body = json.dumps(facts(environ)).encode()
    return reply(start_response, "200 OK", body, "application/json")


def facts(environ: Environ) -> dict[str, Any]:
    """Who answers."""
    monkey = sys.modules.get("gevent.monkey")
    return {
        "pid": os.getpid(),
        "thread": threading.current_thread().name,
        "server": server_software(),
        "interface": "wsgi",
        "http": environ.get("SERVER_PROTOCOL", "").removeprefix("HTTP/"),
        "python": platform.python_version(),
        "loop": "gevent" if monkey is not None and monkey.is_module_patched("socket") else None,
    }


@functools.cache
def server_software() -> str:
    """The server distributions loaded in this process, such as `gunicorn/27.0.1`."""
    loaded = [module for module in SERVERS if module in sys.modules]
    if len(loaded) > 1 and "werkzeug" in loaded:
        loaded.remove("werkzeug")  # Flask loads it whoever serves
    found = []
    for module in loaded:
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


def sleep_until(due_ns: int) -> None:
    """Sleep until then and never less: gevent's timers may fire a little early."""
    while (left_ns := due_ns - time.monotonic_ns()) > 0:
        time.sleep(left_ns / 1e9)


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
