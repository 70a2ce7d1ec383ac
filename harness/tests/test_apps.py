"""The raw apps without a server, and the answer checks against servers that are wrong.

A check that cannot fail is worth nothing: every one has at least one wrong server in WRONG.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import io
import json
import os
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from unittest import mock
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from harness import expectation, verify
from harness.conversation import ContractError, Peer
from harness.model import ConfigurationError, MeasurementError
from harness.verify import CHECKS, checks_for

ROOT = Path(__file__).parents[2]
HERE = "127.0.0.1"
PERIOD_NS = 200_000_000
INTERFACES = ("wsgi", "asgi")


class Got(NamedTuple):
    """One answer of an app, the same for both interfaces; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def load(interface: str, **settings: str) -> ModuleType:
    """The raw app's module, imported anew with these GATEBENCH_ settings and no others."""
    spec = importlib.util.spec_from_file_location(
        f"{interface}_app", ROOT / "apps" / f"{interface}.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GATEBENCH_")}
    ours = {f"GATEBENCH_{name}": value for name, value in settings.items()}
    with mock.patch.dict(os.environ, kept | ours, clear=True):
        spec.loader.exec_module(module)
    return module


def environ_of(method: str, target: str, **more: Any) -> dict[str, Any]:
    path, _, query = target.partition("?")
    return {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.input": io.BytesIO(),
        **more,
    }


def call_wsgi(module: ModuleType, environ: dict[str, Any]) -> Got:
    started: list[tuple[str, list[tuple[str, str]]]] = []
    body = module.app(environ, lambda status, headers: started.append((status, headers)))
    [(status, headers)] = started
    assert type(headers) is list
    found = {name.lower(): value for name, value in headers}
    return Got(int(status.partition(" ")[0]), found, b"".join(body))


def scope_of(method: str, target: str, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    path, _, query = target.partition("?")
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": list(headers),
        "http_version": "1.1",
    }


def run_asgi(
    module: ModuleType, scope: dict[str, Any], *messages: dict[str, Any]
) -> list[dict[str, Any]]:
    """What the app sends to one that says `messages`, then nothing; it must end by itself."""
    sent: list[dict[str, Any]] = []
    to_come = list(messages)

    async def receive() -> dict[str, Any]:
        if not to_come:
            await asyncio.Event().wait()
        return to_come.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def main() -> None:
        await asyncio.wait_for(module.app(scope, receive, send), 5)
        assert asyncio.all_tasks() == {asyncio.current_task()}, "a task was left behind"

    asyncio.run(main())
    return sent


def call_asgi(module: ModuleType, scope: dict[str, Any], *bodies: bytes) -> Got:
    messages = [
        {"type": "http.request", "body": body, "more_body": at < len(bodies)}
        for at, body in enumerate(bodies, 1)
    ]
    start, *rest = run_asgi(module, scope, *messages)
    found = {name.decode(): value.decode() for name, value in start["headers"]}
    assert not rest[-1].get("more_body", False)
    return Got(start["status"], found, b"".join(message.get("body", b"") for message in rest))


def ask(interface: str, module: ModuleType, method: str, target: str, body: bytes = b"") -> Got:
    """The same question to either app."""
    if interface == "asgi":
        return call_asgi(module, scope_of(method, target), body)
    length = {"CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}
    return call_wsgi(module, environ_of(method, target, **length))


# -- both apps ---------------------------------------------------------------------------------

NO_UPSTREAM = b"no upstream: set GATEBENCH_UPSTREAM to host:port\n"
ALIKE: list[tuple[str, str, bytes, int, bytes]] = [
    ("GET", "/", b"", 200, b"Hello, world!"),
    ("POST", "/echo", b"", 200, b""),
    ("POST", "/echo", b"\x00\xff" * 5000, 200, b"\x00\xff" * 5000),
    ("POST", "/stream", b"abc" * 50_000, 200, b"abc" * 50_000),
    ("GET", "/sleep/0", b"", 200, b"slept 0 ms"),
    ("GET", "/sleep/007", b"", 200, b"slept 007 ms"),
    ("GET", "/sleep/x", b"", 400, b"bad number\n"),
    ("GET", "/sleep/-1", b"", 400, b"bad number\n"),
    ("GET", "/sleep/1.5", b"", 400, b"bad number\n"),
    ("GET", "/sleep/\u00b2", b"", 400, b"bad number\n"),
    ("GET", "/sleep/1234567890123", b"", 400, b"bad number\n"),
    ("GET", "/sleep/", b"", 400, b"bad number\n"),
    ("GET", "/upstream/x", b"", 400, b"bad number\n"),
    ("GET", "/upstream/5", b"", 503, NO_UPSTREAM),
    ("GET", "/poll?after=", b"", 400, b"bad number\n"),
    ("GET", "/poll?after=-1", b"", 400, b"bad number\n"),
    ("GET", "/poll?after=4&after=x", b"", 400, b"bad number\n"),
    ("GET", "/poll?after=4", b"", 200, b"5 1000000000"),
    ("GET", "/poll?after=99999999999", b"", 204, b""),
    ("GET", "/sleep", b"", 404, b"not found\n"),
    ("GET", "/sleep/1/2", b"", 404, b"not found\n"),
    ("GET", "/echo/", b"", 404, b"not found\n"),
    ("GET", "/nothing", b"", 404, b"not found\n"),
    ("GET", "/ws", b"", 404, b"not found\n"),
    ("POST", "/", b"x", 405, b"method not allowed\n"),
    ("GET", "/echo", b"", 405, b"method not allowed\n"),
    ("HEAD", "/echo", b"", 405, b"method not allowed\n"),
    ("DELETE", "/sleep/1", b"", 405, b"method not allowed\n"),
]


@pytest.mark.parametrize(("method", "target", "body", "status", "answer"), ALIKE)
def test_both_apps_answer_alike(
    method: str, target: str, body: bytes, status: int, answer: bytes
) -> None:
    settings = {"PERIOD_NS": str(PERIOD_NS), "HOLD_S": "0.01"}
    wsgi, asgi = (
        ask(interface, load(interface, **settings), method, target, body)
        for interface in INTERFACES
    )
    assert wsgi == asgi
    assert (wsgi.status, wsgi.body) == (status, answer)
    if status == 204:
        assert wsgi.headers == {}
    elif target != "/stream":
        assert wsgi.headers["content-length"] == str(len(answer))
        assert wsgi.headers["content-type"] in ("text/plain", "application/octet-stream")
    assert ("allow" in wsgi.headers) == (status == 405)


def test_both_apps_have_the_same_routes() -> None:
    wsgi, asgi = load("wsgi"), load("asgi")
    for table in ("ROUTES", "NUMBERED"):
        methods = [
            {path: (method, answer.__name__) for path, (method, answer) in vars(app)[table].items()}
            for app in (wsgi, asgi)
        ]
        assert methods[0] == methods[1]


@pytest.mark.parametrize("interface", INTERFACES)
def test_an_app_needs_only_its_folder_and_the_standard_library(interface: str) -> None:
    code = f"import sys; sys.path.append({str(ROOT / 'apps')!r}); import {interface} as m; m.app"
    subprocess.run([sys.executable, "-B", "-I", "-S", "-c", code], check=True, timeout=30)


@pytest.mark.parametrize("interface", INTERFACES)
def test_a_poll_waits_for_the_next_event_and_never_answers_early(interface: str) -> None:
    module = load(interface, PERIOD_NS=str(PERIOD_NS))
    asked_ns = time.monotonic_ns()
    event, due_ns = map(int, ask(interface, module, "GET", "/poll").body.split())
    assert asked_ns < due_ns <= time.monotonic_ns()
    assert due_ns == event * PERIOD_NS
    following = int(ask(interface, module, "GET", f"/poll?after={event}").body.split()[0])
    assert following == event + 1


@pytest.mark.parametrize("interface", INTERFACES)
def test_events_start_with_event_0_at_the_epoch(interface: str) -> None:
    epoch_ns = time.monotonic_ns() + 50_000_000
    module = load(interface, PERIOD_NS=str(PERIOD_NS), EPOCH_NS=str(epoch_ns))
    assert ask(interface, module, "GET", "/poll").body == b"0 %d" % epoch_ns
    assert time.monotonic_ns() >= epoch_ns


@pytest.mark.parametrize("interface", INTERFACES)
def test_whoami_says_all_the_facts(interface: str) -> None:
    got = ask(interface, load(interface), "GET", "/whoami")
    facts = json.loads(got.body)
    assert facts.keys() == verify.FACTS.keys()
    assert facts["pid"] == os.getpid()
    assert facts["interface"] == interface
    assert facts["http"] == "1.1"
    assert facts["loop"] == (None if interface == "wsgi" else "asyncio._UnixSelectorEventLoop")
    assert got.headers["content-type"] == "application/json"


# -- WSGI --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loaded", "serves"), [(["werkzeug"], "werkzeug"), (["werkzeug", "waitress"], "waitress")]
)
def test_werkzeug_serves_only_where_no_other_server_does(loaded: list[str], serves: str) -> None:
    app = load("wsgi")
    others = {name: module for name, module in sys.modules.items() if name not in app.SERVERS}
    with mock.patch.dict(sys.modules, others | dict.fromkeys(loaded, app), clear=True):
        assert app.server_software().partition("/")[0] == serves


@pytest.mark.parametrize("path", ["/echo", "/stream"])
@pytest.mark.parametrize(
    ("declared", "terminated", "answer"),
    [
        ({}, {}, b""),
        ({"CONTENT_LENGTH": ""}, {}, b""),
        ({}, {"wsgi.input_terminated": True}, b"0123456789"),
        ({"CONTENT_LENGTH": ""}, {"wsgi.input_terminated": True}, b"0123456789"),
        ({}, {"wsgi.input_terminated": False}, b""),
        ({"CONTENT_LENGTH": "0"}, {"wsgi.input_terminated": True}, b""),
        ({"CONTENT_LENGTH": "4"}, {}, b"0123"),
        ({"CONTENT_LENGTH": "4"}, {"wsgi.input_terminated": True}, b"0123"),
    ],
)
def test_wsgi_reads_as_much_as_it_may(
    path: str, declared: dict[str, str], terminated: dict[str, bool], answer: bytes
) -> None:
    source = io.BytesIO(b"0123456789")
    environ = environ_of("POST", path, **declared, **terminated) | {"wsgi.input": source}
    assert call_wsgi(load("wsgi"), environ).body == answer
    assert source.tell() == len(answer)  # the next request may lie behind


def test_wsgi_streams_what_is_there_where_the_input_can_tell() -> None:
    class Source(io.BytesIO):
        def read1(self, size: int | None = -1) -> bytes:
            return self.read(min(size or 0, 3))

    environ = environ_of("POST", "/stream", CONTENT_LENGTH="8")
    environ["wsgi.input"] = Source(b"0123456789")
    pieces = load("wsgi").app(environ, lambda *_: None)
    assert list(pieces) == [b"012", b"345", b"67"]


def test_wsgi_keeps_the_content_type_or_says_octets() -> None:
    app = load("wsgi")
    for given, answer in [("a/b; c=d", "a/b; c=d"), ("", "application/octet-stream")]:
        for path in ("/echo", "/stream"):
            got = call_wsgi(app, environ_of("POST", path, CONTENT_TYPE=given))
            assert got.headers["content-type"] == answer


def test_wsgi_gives_away_a_list_of_headers_each_time() -> None:
    app = load("wsgi")
    app.app(environ_of("GET", "/"), lambda _, headers: headers.clear())
    assert call_wsgi(app, environ_of("GET", "/")).headers["content-length"] == "13"


@pytest.mark.parametrize("path", ["/", "/events", "/sleep/0"])
def test_wsgi_sends_no_body_for_head(path: str) -> None:
    got = call_wsgi(load("wsgi"), environ_of("HEAD", path))
    assert (got.status, got.body) == (200, b"")


def test_wsgi_events_are_ticks_in_a_row() -> None:
    app = load("wsgi", PERIOD_NS="10000000")
    events = app.app(environ_of("GET", "/events"), lambda *_: None)
    first, second = next(events), next(events)
    events.close()
    k = int(first.split()[1])
    assert first == b"id: %d\ndata: %d %d\n\n" % (k, k, k * 10_000_000)
    assert second.startswith(b"id: %d\n" % (k + 1))


# -- ASGI --------------------------------------------------------------------------------------


def test_asgi_echo_joins_the_messages_and_keeps_the_type() -> None:
    scope = scope_of("POST", "/echo", (b"content-type", b"a/b"))
    got = call_asgi(load("asgi"), scope, b"one", b"", b"two")
    assert (got.body, got.headers["content-type"]) == (b"onetwo", "a/b")


def test_asgi_echo_says_nothing_to_a_client_that_left() -> None:
    part = {"type": "http.request", "body": b"half", "more_body": True}
    assert not run_asgi(load("asgi"), scope_of("POST", "/echo"), part, {"type": "http.disconnect"})


def test_asgi_stream_sends_each_piece_on() -> None:
    pieces = [b"a", b"", b"b"]
    messages = [{"type": "http.request", "body": p, "more_body": True} for p in pieces]
    last = {"type": "http.request", "body": b"c", "more_body": False}
    sent = run_asgi(load("asgi"), scope_of("POST", "/stream"), *messages, last)
    bodies = [(m["body"], m.get("more_body", False)) for m in sent[1:]]
    assert bodies == [(b"a", True), (b"b", True), (b"c", True), (b"", False)]
    assert b"content-length" not in dict(sent[0]["headers"])


@pytest.mark.parametrize(
    ("how", "status", "others"),
    [
        ("", 200, True),
        ("?how=thread", 200, True),
        ("?how=block", 200, False),
        ("?how=x", 400, True),
    ],
)
def test_asgi_sleeps_as_it_is_told(how: str, status: int, others: bool) -> None:
    """`others`: whether the loop served anything else during the sleep."""
    module = load("asgi")
    sent: list[dict[str, Any]] = []
    beats = 0

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def main() -> None:
        async def beat() -> None:
            nonlocal beats
            while True:
                await asyncio.sleep(0.001)
                beats += 1

        beating = asyncio.create_task(beat())
        await asyncio.sleep(0.005)
        before = beats
        await module.app(scope_of("GET", f"/sleep/40{how}"), None, send)
        during = beats - before
        beating.cancel()
        assert status == 400 or (during > 1) == others

    asyncio.run(main())
    assert sent[0]["status"] == status


def test_asgi_goes_through_the_lifespan() -> None:
    sent = run_asgi(
        load("asgi"),
        {"type": "lifespan"},
        {"type": "lifespan.startup"},
        {"type": "lifespan.shutdown"},
    )
    assert [m["type"] for m in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def _say(sent: list[dict[str, Any]], message: dict[str, Any], full: asyncio.Event) -> None:
    sent.append(message)
    if len(sent) == 4:
        full.set()


@pytest.mark.parametrize(
    ("scope", "hello", "gone"),
    [
        (scope_of("GET", "/events"), "http.request", "http.disconnect"),
        ({"type": "websocket", "path": "/ws/ticks"}, "websocket.connect", "websocket.disconnect"),
    ],
)
@pytest.mark.parametrize("error", [None, OSError("gone"), RuntimeError("a fault")])
def test_asgi_stops_to_push_when_the_client_goes(
    scope: dict[str, Any], hello: str, gone: str, error: Exception | None
) -> None:
    module = load("asgi", PERIOD_NS="10000000")
    sent: list[dict[str, Any]] = []

    async def main() -> None:
        full = asyncio.Event()
        messages = iter([{"type": hello}])

        async def receive() -> dict[str, Any]:
            for message in messages:
                return message
            await full.wait()
            if error is not None:
                await asyncio.Event().wait()  # the server tells by its send alone
            return {"type": gone}

        async def send(message: dict[str, Any]) -> None:
            if error is not None and full.is_set():
                raise error
            await _say(sent, message, full)

        await asyncio.wait_for(module.app(scope, receive, send), 5)
        assert asyncio.all_tasks() == {asyncio.current_task()}, "a task was left behind"

    if isinstance(error, RuntimeError):
        with pytest.raises(RuntimeError, match="a fault"):
            asyncio.run(main())
    else:
        asyncio.run(main())
    numbers = [int((m.get("text") or m["body"].decode()).split()[-2]) for m in sent[1:4]]
    assert numbers == list(range(numbers[0], numbers[0] + 3))


def test_asgi_websocket_echoes_each_kind() -> None:
    said: list[dict[str, Any]] = [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "text": "a"},
        {"type": "websocket.receive", "text": "", "bytes": None},
        {"type": "websocket.receive", "text": None, "bytes": b""},
        {"type": "websocket.receive", "bytes": b"b"},
        {"type": "websocket.disconnect", "code": 1000},
    ]
    sent = run_asgi(load("asgi"), {"type": "websocket", "path": "/ws"}, *said)
    assert sent == [
        {"type": "websocket.accept"},
        {"type": "websocket.send", "text": "a"},
        {"type": "websocket.send", "text": ""},
        {"type": "websocket.send", "bytes": b""},
        {"type": "websocket.send", "bytes": b"b"},
    ]


def test_asgi_refuses_other_websockets() -> None:
    scope = {"type": "websocket", "path": "/"}
    assert run_asgi(load("asgi"), scope, {"type": "websocket.connect"}) == [
        {"type": "websocket.close"}
    ]


# -- the upstream --------------------------------------------------------------------------------


def free_port() -> int:
    with socket.create_server((HERE, 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def upstream_port() -> Iterator[int]:
    port = free_port()
    script = str(ROOT / "harness" / "upstream.py")
    with subprocess.Popen(
        [sys.executable, "-I", "-S", script, str(port)], stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield port
        finally:
            process.kill()


def raw(port: int, data: bytes) -> bytes:
    """All that a server says until it closes."""
    with socket.create_connection((HERE, port), timeout=5) as connection:
        connection.sendall(data)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_the_upstream_keeps_connections_and_the_order(upstream_port: int) -> None:
    got = raw(
        upstream_port,
        b"GET /30 HTTP/1.1\r\n\r\n"
        b"GET /0 HTTP/1.1\r\nconnection:  CLOSE \r\n\r\n"
        b"GET /1 HTTP/1.1\r\n\r\n",
    )
    assert [part for part in got.split(b"\r\n") if b"waited" in part] == [
        b"waited 30 msHTTP/1.1 200 OK",
        b"waited 0 ms",
    ]


@pytest.mark.parametrize(
    "junk",
    [
        b"\x16\x03\x01\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /-5 HTTP/1.1\r\n\r\n",
        b"POST /5 HTTP/1.1\r\n\r\n",
        b"GET /1234567890 HTTP/1.1\r\n\r\n",
        b"x" * 20_000,
    ],
)
def test_the_upstream_refuses_junk(upstream_port: int, junk: bytes) -> None:
    with contextlib.suppress(ConnectionResetError):  # it closes with junk unread
        assert raw(upstream_port, junk).startswith(b"HTTP/1.1 400 ")
    assert raw(upstream_port, b"GET /0 HTTP/1.0\r\n\r\n").endswith(b"waited 0 ms")


@pytest.mark.parametrize("interface", INTERFACES)
def test_an_app_passes_on_what_the_upstream_says(interface: str, upstream_port: int) -> None:
    module = load(interface, UPSTREAM=f"{HERE}:{upstream_port}")
    begin = time.monotonic()
    got = ask(interface, module, "GET", "/upstream/20")
    assert time.monotonic() - begin >= 0.02
    assert (got.status, got.body) == (200, b"waited 20 ms")
    assert got.headers == {"content-type": "text/plain", "content-length": "12"}


@pytest.mark.parametrize("interface", INTERFACES)
def test_an_upstream_that_refuses_is_a_502(interface: str) -> None:
    module = load(interface, UPSTREAM=f"{HERE}:{free_port()}")
    got = ask(interface, module, "GET", "/upstream/1")
    assert (got.status, got.body) == (502, b"upstream failed: Connection refused\n")


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno",
        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nshort",
        b"junk\r\n\r\n",
        b"",
    ],
)
@pytest.mark.parametrize("interface", INTERFACES)
def test_an_upstream_that_is_wrong_is_a_502(interface: str, said: bytes) -> None:
    with listener(said) as port:
        got = ask(interface, load(interface, UPSTREAM=f"{HERE}:{port}"), "GET", "/upstream/1")
    assert got.status == 502
    assert got.body.startswith(b"upstream failed: ")
    assert got.body.endswith(b"\n")


# -- servers for the checks ----------------------------------------------------------------------

StartResponse = Callable[[str, list[tuple[str, str]]], object]
Wsgi = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]
TEXT = ("Content-Type", "text/plain")


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: object) -> None:
        """A client that leaves is no news here."""


class _Handler(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextlib.contextmanager
def serving(app: Wsgi) -> Iterator[int]:
    """The WSGI app on Python's own threaded server; yields the port."""
    with _Server((HERE, 0), _Handler) as server:
        server.set_app(app)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def listener(said: bytes, then: Callable[[socket.socket], None] | None = None) -> Iterator[int]:
    """A server that reads once, says the bytes, does `then`, and closes; yields the port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                self.request.recv(65536)
                self.request.sendall(said)
                if then is not None:
                    then(self.request)

    class Listener(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Listener((HERE, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def websockets(handler: Callable[[ServerConnection], None]) -> Iterator[int]:
    """A WebSocket server whose connections all go to `handler`; yields the port."""

    def quiet(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            handler(connection)

    server: Server
    with serve(quiet, HERE, 0, compression=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.socket.getsockname()[1]
        finally:
            server.shutdown()
            thread.join()


SETTINGS = {"PERIOD_NS": str(PERIOD_NS), "HOLD_S": "0.1"}
RIGHT: Wsgi = load("wsgi", **SETTINGS).app


def says(
    body: bytes, media: str = "text/plain", status: str = "200 OK", after_s: float = 0
) -> Wsgi:
    """The same finite answer to everything."""

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        time.sleep(after_s)
        start_response(status, [("Content-Type", media)])
        return [body]

    return app


def declares(length: int | None, body: bytes) -> Wsgi:
    """A greeting with that Content-Length, or none; two pieces, so that wsgiref adds none."""

    def app(_: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [TEXT] + ([("Content-Length", str(length))] if length else []))
        return [body[:1], body[1:]]

    return app


def changed(change: Callable[[bytes], bytes], app: Wsgi = RIGHT) -> Wsgi:
    """The right app, but for each body that it sends."""

    def wrong(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        started: list[tuple[str, list[tuple[str, str]]]] = []
        parts = app(environ, lambda status, headers: started.append((status, headers)))
        body = change(b"".join(parts))
        status, headers = started[0]
        kept = [(name, value) for name, value in headers if name != "Content-Length"]
        start_response(status, [*kept, ("Content-Length", str(len(body)))])
        return [body]

    return wrong


def redirected(target: str) -> Wsgi:
    """The right answer, to another question."""

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        path, _, query = target.partition("?")
        return RIGHT(environ | {"PATH_INFO": path, "QUERY_STRING": query}, start_response)

    return app


def held(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Right, but a poll for a past event is held as well."""
    if environ["QUERY_STRING"]:
        time.sleep(0.2)
    return RIGHT(environ, start_response)


def future(_: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """An event that has not happened."""
    event = time.monotonic_ns() // PERIOD_NS + 5
    return says(b"%d %d" % (event, event * PERIOD_NS))({"wsgi.input": io.BytesIO()}, start_response)


def stream_of(*events: bytes, media: str = "text/event-stream", length: int | None = None) -> Wsgi:
    """Server-sent events that come all at once."""

    def app(_: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        headers = [("Content-Type", media)]
        start_response("200 OK", headers + ([("Content-Length", str(length))] if length else []))
        return [*events, b"", b""]  # one piece alone would get a Content-Length

    return app


def delayed(kept: int, step: int = 1, early_ns: int = 0) -> Callable[[], Iterator[tuple[int, int]]]:
    """Ticks that are kept until `kept` are together, numbered in `step`s, or sent early."""

    def ticks() -> Iterator[tuple[int, int]]:
        event = time.monotonic_ns() // PERIOD_NS + 1
        while True:
            group = [event + at * step for at in range(kept)]
            event = group[-1] + step
            until_ns = group[-1] * PERIOD_NS - early_ns
            time.sleep(max(0.0, (until_ns - time.monotonic_ns()) / 1e9))
            yield from ((each, each * PERIOD_NS) for each in group)

    return ticks


def first_kept() -> Iterator[tuple[int, int]]:
    """Ticks of which the first alone is kept until the second, as a head without a flush is."""
    late = delayed(2)()
    yield next(late)
    event, due = next(late)
    yield event, due
    yield from (it for it in delayed(1)() if it[0] > event)


def once(first: Callable[[], Iterator[tuple[int, int]]]) -> Callable[[], Iterator[tuple[int, int]]]:
    """Such ticks for the first who asks, and right ones for all others: a machine held up once."""
    kinds = iter((first,))

    def ticks() -> Iterator[tuple[int, int]]:
        return next(kinds, delayed(1))()

    return ticks


def events_of(ticks: Callable[[], Iterator[tuple[int, int]]]) -> Wsgi:
    """Those ticks as server-sent events."""

    def app(_: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return (b"id: %d\ndata: %d %d\n\n" % (event, event, due) for event, due in ticks())

    return app


def pushed(
    ticks: Callable[[], Iterator[tuple[int, int]]], kind: type = str
) -> Callable[[ServerConnection], None]:
    """Those ticks as WebSocket messages."""

    def handler(connection: ServerConnection) -> None:
        for event, due in ticks():
            text = f"{event} {due}"
            connection.send(text if kind is str else text.encode())

    return handler


def answering(change: Callable[[Any], Any]) -> Callable[[ServerConnection], None]:
    """An echo of `change(message)`; no answer where that is None."""

    def handler(connection: ServerConnection) -> None:
        for message in connection:
            answer = change(message)
            if answer is not None:
                connection.send(answer)

    return handler


def at_once(connection: ServerConnection) -> None:
    connection.close()


def flip(body: bytes) -> bytes:
    """The body with its middle bit wrong."""
    return body[: len(body) // 2] + bytes([body[len(body) // 2] ^ 1]) + body[len(body) // 2 + 1 :]


def whoami_but(**changes: object) -> Wsgi:
    """The facts, changed; a change of None takes the fact away."""

    def change(body: bytes) -> bytes:
        facts = json.loads(body) | changes
        return json.dumps({name: v for name, v in facts.items() if v is not None}).encode()

    return changed(change)


SLEPT, WAITED = b"slept 50 ms", b"waited 50 ms"
MEDIA = "application/x-gatebench"
WRONG_HTTP: list[tuple[str, Wsgi, str]] = [
    ("hello", says(b"Hello, World!"), r"expected body b'Hello, world!', got b'Hello, World!'"),
    (
        "hello",
        says(b"Hello, world!", media="text/html"),
        r"Content-Type text/plain, got 'text/html",
    ),
    ("hello", says(b"oh", status="500 Oh"), r"expected status 200, got 500 with body b'oh'"),
    ("hello", declares(None, verify.HELLO), r"expected Content-Length 13, got None"),
    ("hello", declares(20, verify.HELLO), r"IncompleteRead\(13 bytes read, 7 more expected\)"),
    ("hello", declares(12, verify.HELLO), r"got b'Hello, world'"),
    ("echo", changed(bytes.upper), r"expected b.* at byte \d+ of 64"),
    ("echo", changed(lambda body: body[:-1]), r"\(64 bytes\), got .*\(63 bytes\)"),
    ("echo", redirected("/"), r"expected status 200, got 405"),
    ("echo", says(verify.payload(64)), r"expected Content-Type application/x-gatebench"),
    ("echo_empty", says(b"x", media=MEDIA), r"expected body b'', got b'x'"),
    ("echo_empty", says(b"", status="411 No"), r"expected status 200, got 411"),
    ("echo_large", changed(lambda body: body[: verify.MIB]), r"\(1048576 bytes\)"),
    ("echo_large", changed(flip), r"at byte 5242880 of 10485760"),
    ("echo_large", says(b"too big", status="413 No"), r"expected status 200, got 413"),
    ("echo_chunked", RIGHT, r"\(200000 bytes\), got b''"),  # wsgiref reads no chunks
    ("stream", changed(lambda body: body[: verify.KIB]), r"\(1024 bytes\)"),
    ("stream", changed(flip), r"at byte 524288 of 1048576"),
    ("stream", says(b"", status="500 Oh"), r"expected status 200, got 500"),
    ("sleep", redirected("/sleep/10"), r"b'slept 10 ms'"),
    ("sleep", says(SLEPT, after_s=0.01), r"expected a wait of 50 ms .*, got \d+\.\d+ ms"),
    ("sleep_block", says(SLEPT), r"expected a wait of 50 ms"),
    ("sleep_block", says(b"bad how", status="400 No"), r"expected status 200, got 400"),
    ("sleep_block", says(SLEPT, after_s=0.06), r"expected status 400, got 200"),  # loses the query
    ("sleep_thread", says(SLEPT, after_s=0.06), r"expected status 400, got 200"),
    ("sleep_thread", says(SLEPT), r"expected a wait of 50 ms"),
    ("upstream", RIGHT, r"got 503 with body b'no upstream"),
    ("upstream", says(WAITED), r"expected a wait of 50 ms"),
    ("poll", says(b"soon"), r"expected '<event> <time in ns>', got b'soon'"),
    ("poll", redirected("/poll?after=1"), r"expected an event to come, got one from .* s before"),
    ("poll", redirected("/poll"), r"expected event \d+ after \d+, got \d+"),
    ("poll", future, r"expected an event that has happened, got one .* s early"),
    ("poll", held, r"expected a past event three times at once, got it in "),
    ("poll", says(b"", status="404 No"), r"expected status 200, got 404"),
    ("poll_hold", says(b"", status="204 Nothing"), r"expected a poll held to its limit"),
    ("poll_hold", redirected("/poll?after=1"), r"expected status 204, got 200"),
    ("events", events_of(delayed(2)), r"before the next one happened, .* buffers"),
    ("events", events_of(delayed(3)), r"before the next one happened, .* buffers"),
    ("events", events_of(first_kept), r"before the next one happened, .* buffers"),
    ("events", events_of(delayed(1, step=2)), r"expected event \d+ next, got"),
    ("events", events_of(delayed(1, early_ns=400_000_000)), r"s early"),
    ("events", stream_of(b"id: 1\ndata: 1 1\n\n"), r"expected an event to come"),
    ("events", stream_of(b"data: 1 1\n\n"), r"expected 'id: k', 'data: k <ns>' and ''"),
    ("events", stream_of(b"id: 2\ndata: 1 1\n\n"), r"expected 'id: k', 'data: k <ns>' and ''"),
    ("events", stream_of(), r"expected 'id: k', 'data: k <ns>' and '', got"),
    ("events", stream_of(media="text/plain"), r"text/event-stream, got 200 text/plain"),
    ("events", stream_of(length=5), r"expected a stream without end, got Content-Length 5"),
    ("websocket_echo", RIGHT, r"InvalidStatus: .*HTTP 404|InvalidMessage"),
    ("whoami", says(b"[]", media="application/json"), r"expected a JSON object, got b'\[\]'"),
    ("whoami", says(b"{", media="application/json"), r"expected a JSON object, got b'\{'"),
    ("whoami", whoami_but(pid=None), r"expected a value for 'pid' in /whoami, got nothing"),
    ("whoami", whoami_but(pid="7"), r"expected a value for 'pid' in /whoami, got '7'"),
    ("whoami", whoami_but(loop=3), r"expected a value for 'loop' in /whoami, got 3"),
    ("not_found", redirected("/"), r"expected status 404, got 200"),
]

WRONG_WEBSOCKET: list[tuple[str, Callable[[ServerConnection], None], str]] = [
    ("websocket_echo", answering(lambda m: m if isinstance(m, bytes) else m.encode()), r"got b'h"),
    ("websocket_echo", answering(lambda m: m if isinstance(m, str) else flip(m)), r"expected mess"),
    ("websocket_echo", answering(lambda m: m[:125]), r"\(65536 bytes\), got .*\(125 bytes\)"),
    ("websocket_echo", at_once, r"ConnectionClosed"),
    ("websocket_echo_empty", answering(lambda m: m or None), r"expected message '', got none"),
    ("websocket_echo_empty", answering(lambda m: m or ""), r"expected message b'', got ''"),
    ("websocket_ticks", pushed(delayed(2)), r"before the next one happened, .* buffers"),
    ("websocket_ticks", pushed(first_kept), r"before the next one happened, .* buffers"),
    ("websocket_ticks", pushed(delayed(1, step=2)), r"expected event \d+ next, got"),
    ("websocket_ticks", pushed(delayed(1, early_ns=400_000_000)), r"s early"),
    ("websocket_ticks", pushed(delayed(1), bytes), r"expected a text message, got b'"),
    ("websocket_ticks", answering(lambda m: m), r"got none within 2 s"),
]


# -- the checks ------------------------------------------------------------------------------------

# some of these wait in vain; that events are kept shows on several streams
PATIENCE_S = {False: 2.0, True: 10.0}


def test_an_event_may_be_told_when_it_happens_and_not_a_nanosecond_before(monkeypatch) -> None:
    now_ns = 7_000_000_000
    monkeypatch.setattr(expectation.time, "monotonic_ns", lambda: now_ns)
    assert expectation.expect_tick(f"5 {now_ns}").event == 5
    with pytest.raises(ContractError, match="early"):
        expectation.expect_tick(f"5 {now_ns + 1}")


@pytest.mark.parametrize(("name", "app", "message"), WRONG_HTTP)
def test_a_check_catches_a_wrong_server(name: str, app: Wsgi, message: str) -> None:
    with serving(app) as port, pytest.raises(ContractError, match=message) as caught:
        CHECKS[name](Peer(HERE, port, PATIENCE_S["buffers" in message]))
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(("name", "handler", "message"), WRONG_WEBSOCKET)
def test_a_check_catches_a_wrong_websocket(
    name: str, handler: Callable[[ServerConnection], None], message: str
) -> None:
    with websockets(handler) as port, pytest.raises(ContractError, match=message):
        CHECKS[name](Peer(HERE, port, PATIENCE_S["buffers" in message]))


def test_every_check_has_a_wrong_server() -> None:
    assert {name for name, *_ in [*WRONG_HTTP, *WRONG_WEBSOCKET]} == set(CHECKS)


def test_the_right_app_passes(upstream_port: int) -> None:
    app = load("wsgi", UPSTREAM=f"{HERE}:{upstream_port}", **SETTINGS).app
    with serving(app) as port:
        for name in checks_for("wsgi"):
            if name != "echo_chunked":  # wsgiref reads no chunks
                CHECKS[name](Peer(HERE, port))
        assert verify.whoami(HERE, port, 5.0)["pid"] == os.getpid()
        assert verify.answers_hello(HERE, port, 5.0)


@pytest.mark.parametrize("late", [delayed(2), first_kept])
def test_one_event_that_a_busy_machine_delays_is_no_buffering(late) -> None:
    with serving(events_of(once(late))) as port:
        CHECKS["events"](Peer(HERE, port))
    with websockets(pushed(once(late))) as port:
        CHECKS["websocket_ticks"](Peer(HERE, port))


def test_the_right_websockets_pass() -> None:
    with websockets(answering(lambda message: message)) as port:
        CHECKS["websocket_echo"](Peer(HERE, port))
        CHECKS["websocket_echo_empty"](Peer(HERE, port))
    with websockets(pushed(delayed(1))) as port:
        CHECKS["websocket_ticks"](Peer(HERE, port))


def chunked_answer(body: bytes, media: str) -> Callable[[socket.socket], None]:
    """Wait for the last chunk, then answer with the body."""

    def then(connection: socket.socket) -> None:
        while not connection.recv(65536).endswith(b"0\r\n\r\n"):
            pass
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {media}\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)

    return then


def test_a_server_that_reads_chunks_passes() -> None:
    with listener(b"", chunked_answer(verify.payload(200_000), MEDIA)) as port:
        CHECKS["echo_chunked"](Peer(HERE, port, 5.0))


def test_a_refused_body_is_explained_by_its_answer() -> None:
    with (
        listener(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") as port,
        pytest.raises(ContractError, match=r"413|reset|Reset|Broken"),
    ):
        CHECKS["echo_large"](Peer(HERE, port, 5.0))


def trickle(connection: socket.socket) -> None:
    while True:
        connection.sendall(b" ")
        time.sleep(0.02)


def hold(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


@pytest.mark.parametrize(
    ("said", "then"),
    [
        (b"", hold),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 99999999\r\n\r\n",
            trickle,
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", trickle),
        (b"HTTP/1.1 200 OK\r\nX: ", trickle),
    ],
)
@pytest.mark.parametrize("name", CHECKS)
def test_no_check_hangs(name: str, said: bytes, then: Callable[[socket.socket], None]) -> None:
    begin = time.monotonic()
    with listener(said, then) as port, pytest.raises(ContractError, match=r"expected .*, got "):
        CHECKS[name](Peer(HERE, port, 0.1))
    assert time.monotonic() - begin < 2.0


@pytest.mark.parametrize("said", [b"", b"\xff\xfejunk\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n"])
@pytest.mark.parametrize("name", CHECKS)
def test_junk_is_a_contract_error(name: str, said: bytes) -> None:
    with listener(said) as port, pytest.raises(ContractError, match=r"expected a whole answer"):
        CHECKS[name](Peer(HERE, port, 2.0))


def test_nobody_there_is_a_contract_error() -> None:
    with pytest.raises(ContractError, match=r"ConnectionRefusedError"):
        CHECKS["hello"](Peer(HERE, free_port(), 2.0))


def test_the_websocket_checks_are_for_asgi_alone() -> None:
    only = set(checks_for("asgi")) - set(checks_for("wsgi"))
    assert only == {name for name in CHECKS if name.startswith(("websocket_", "sleep_"))}
    assert set(checks_for("asgi")) == set(CHECKS)


def test_verify_names_the_check_that_failed() -> None:
    with serving(says(b"Hello, world!")) as port:
        verify.verify(HERE, port, ["hello"])
        with pytest.raises(MeasurementError, match=r"^answer check 'not_found' failed: expected "):
            verify.verify(HERE, port, ["hello", "not_found", "echo"])
        with pytest.raises(ConfigurationError, match=r"no answer check 'helo'; there are hello, "):
            verify.verify(HERE, port, ["helo"])


@pytest.mark.parametrize("app", [says(b"Hello"), says(b"Hello, world!", status="500 Oh")])
def test_a_wrong_greeting_is_not_ready(app: Wsgi) -> None:
    with serving(app) as port:
        assert not verify.answers_hello(HERE, port, 2.0)


def test_silence_is_not_ready() -> None:
    assert not verify.answers_hello(HERE, free_port(), 1.0)
    with listener(b"", hold) as port:
        assert not verify.answers_hello(HERE, port, 0.2)
    with listener(b"junk") as port:
        assert not verify.answers_hello(HERE, port, 1.0)


def test_whoami_says_why_it_cannot() -> None:
    with (
        serving(says(b"no", status="404 No")) as port,
        pytest.raises(ContractError, match=r"expected status 200, got 404 with body b'no'"),
    ):
        verify.whoami(HERE, port, 1.0)
