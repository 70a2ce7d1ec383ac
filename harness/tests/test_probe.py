"""Each probe says yes and no: against small servers of known behaviour, on real sockets."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from websockets.sync.server import serve

from harness import debian
from harness.model import (
    App,
    Cell,
    ConfigurationError,
    Environment,
    Load,
    MeasurementError,
    Scenario,
    Server,
)
from harness.probe import PROBES, Findings, document, lifecycle, select, survey
from harness.probe.answer import Answer, no
from harness.probe.concurrency import overlapping
from harness.probe.conductor import attempt, starter
from harness.probe.subject import Subject
from harness.probe.wire import Address
from harness.registry import load_registry
from harness.report.matrix import matrix_markdown, print_matrix
from harness.tests.commands import gatebench, started

pytestmark = pytest.mark.servers

SCENARIO = Scenario("hello", Path("none"), "nothing", (), "here")
HELLO = b"Hello, world!"
Handler = Callable[[socket.socket], None]


def cell(command: str = "none {app} {port}", speaks: str = "wsgi", **row: object) -> Cell:
    server = Server("fake", speaks, ("fake",), command, "thread", "here", **row)
    app = App("raw", speaks, Path(__file__).parent, "none:app", "here")
    return Cell(server, app, SCENARIO, Load(1), workers=2, threads=2)


@contextlib.contextmanager
def fake(handler: Handler) -> Iterator[Address]:
    """A server whose every connection is handled by `handler`, in a thread of its own."""
    with socket.create_server(("127.0.0.1", 0), backlog=7) as listening:
        opened: list[socket.socket] = []

        def handle(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError, ValueError, IndexError):
                handler(connection)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    opened.append(connection)
                    threading.Thread(target=handle, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield Address("127.0.0.1", listening.getsockname()[1])
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            for connection in opened:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def ask(name: str, address: Address, *, within_s: float = 3.0, speaks: str = "wsgi") -> Answer:
    def start(*_: object) -> None:
        raise AssertionError("this probe starts no copy")

    subject = Subject(cell(speaks=speaks), address, start, Path("nowhere"))
    return attempt(replace(PROBES[name], within_s=within_s), subject)


# -- what the fakes are made of ----------------------------------------------------------------


def head_of(connection: socket.socket) -> bytes:
    """A request's head, and nothing of what comes after it; ValueError at the end."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        there = connection.recv(65536, socket.MSG_PEEK)
        if not there:
            raise ValueError("no request")
        end = (head[-3:] + there).find(b"\r\n\r\n")
        head += connection.recv(len(there) if end < 0 else end + 4 - len(head[-3:]))
    return head


def body_of(connection: socket.socket, head: bytes) -> bytes:
    fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
    body = b""
    if b"Transfer-Encoding" in fields:
        while not body.endswith(b"0\r\n\r\n"):
            body += connection.recv(65536)
        pieces = []
        while (size := int((line := body.partition(b"\r\n"))[0], 16)) > 0:
            pieces.append(line[2][:size])
            body = line[2][size + 2 :]
        return b"".join(pieces)
    size = int(fields.get(b"Content-Length", 0))
    while len(body) < size and (data := connection.recv(size - len(body))):
        body += data
    return body


def answer(
    connection: socket.socket, body: bytes = HELLO, status: str = "200 OK", more: str = ""
) -> None:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    connection.sendall(head.encode() + body)


def path_of(head: bytes) -> bytes:
    return head.split(b" ")[1]


def content(head: bytes, body: bytes) -> bytes:
    """What the app contract has for a path."""
    path = path_of(head)
    if path == b"/whoami":
        return b'{"pid": 1}'
    if path.startswith(b"/sleep/"):
        return b"slept %s ms" % path[7:]
    if path == b"/none":
        return b"not found"
    return body if path == b"/echo" else HELLO


def good(connection: socket.socket) -> None:
    """All that HTTP/1 asks for."""
    while True:
        head = head_of(connection)
        if b"Expect: 100-continue" in head:
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = content(head, body_of(connection, head))
        if head.startswith(b"HEAD"):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n")
        else:
            answer(connection, body, more="Connection: keep-alive\r\n")


def closes(connection: socket.socket) -> None:
    head = head_of(connection)
    answer(connection, content(head, body_of(connection, head)), more="Connection: close\r\n")


def closes_unannounced(connection: socket.socket) -> None:
    head = head_of(connection)
    answer(connection, content(head, body_of(connection, head)))


def hangs(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def garbage(connection: socket.socket) -> None:
    head_of(connection)
    connection.sendall(b"I am no web server\r\n\r\n")


def no_keep_alive_header(connection: socket.socket) -> None:
    while True:
        head_of(connection)
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 13\r\n\r\n" + HELLO)


def swaps_order(connection: socket.socket) -> None:
    heads = [head_of(connection), head_of(connection)]
    for head in reversed(heads):
        answer(connection, content(head, b"swapped"))


def one_at_a_time(connection: socket.socket) -> None:
    """Reads a head, and throws away what came behind it."""
    while True:
        head = head_of(connection)
        connection.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            time.sleep(0.05)
            connection.recv(65536)
        connection.setblocking(True)
        answer(connection, content(head, b""))


def ignores_chunked(connection: socket.socket) -> None:
    head_of(connection)
    answer(connection, b"")


def refuses_large(connection: socket.socket) -> None:
    head_of(connection)
    answer(connection, b"", "413 Payload Too Large", "Connection: close\r\n")


def wrong_echo(connection: socket.socket) -> None:
    head = head_of(connection)
    body = body_of(connection, head)
    answer(connection, body[:-1] + bytes([body[-1] ^ 1]))


def never_continues(connection: socket.socket) -> None:
    head = head_of(connection)
    answer(connection, body_of(connection, head))


def fails_expectation(connection: socket.socket) -> None:
    head_of(connection)
    answer(connection, b"", "417 Expectation Failed", "Connection: close\r\n")


def head_with_body(connection: socket.socket) -> None:
    while True:
        head_of(connection)
        answer(connection)


def head_of_nothing(connection: socket.socket) -> None:
    while True:
        head_of(connection)
        answer(connection, b"")


def takes_up_to(kib: int) -> Handler:
    def handler(connection: socket.socket) -> None:
        if len(head_of(connection)) > (kib + 1) * 1024:
            answer(connection, b"", "431 Request Header Fields Too Large", "Connection: close\r\n")
        else:
            answer(connection, more="Connection: close\r\n")

    return handler


def events(every_s: float, at_once: int) -> Handler:
    """Server-sent events, so many sent together."""

    def handler(connection: socket.socket) -> None:
        head_of(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        held = b""
        for number in range(1, 1000):
            time.sleep(every_s)
            held += b"id: %d\ndata: %d %d\n\n" % (number, number, time.monotonic_ns())
            if number % at_once == 0:
                connection.sendall(held)
                held = b""

    return handler


def echoes_pieces(connection: socket.socket) -> None:
    coded = b"chunked" in head_of(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    source = connection.makefile("rb")
    while size := int(source.readline(), 16) if coded else 65536:
        data = source.read(size)
        connection.sendall(b"%x\r\n%s\r\n" % (len(data), data))
        if coded:
            source.readline()


def buffers_echo(connection: socket.socket) -> None:
    head = head_of(connection)
    answer(connection, body_of(connection, head))


HTTP = [
    ("keep-alive", good, "yes", "two answers"),
    ("keep-alive", closes, "no", "as announced"),
    ("keep-alive", closes_unannounced, "no", "without announcing"),
    ("keep-alive", hangs, "no", "no answer within 1 s"),
    ("keep-alive", garbage, "no", "no HTTP answer"),
    ("keep-alive-1.0", good, "yes", "two answers"),
    ("keep-alive-1.0", no_keep_alive_header, "partial", "without the header"),
    ("keep-alive-1.0", closes, "no", "closed after"),
    ("pipelining", good, "yes", "GET: in order; POST: in order; after a wait: in order"),
    ("pipelining", swaps_order, "no", "answer 1 was"),
    ("pipelining", one_at_a_time, "no", "1 of 3, then silence"),
    ("pipelining", closes, "no", "1 of 3"),
    ("chunked", good, "yes", "200,000 bytes"),
    ("chunked", ignores_chunked, "no", "0 bytes came back, of 200,000"),
    ("chunked", hangs, "no", "no answer"),
    ("large-body", good, "yes", "10,485,760 bytes"),
    ("large-body", refuses_large, "no", "413"),
    ("large-body", wrong_echo, "no", "wrong ones"),
    ("expect-100", good, "yes", "100 after"),
    ("expect-100", never_continues, "no", "sent unasked, was answered 200 and right"),
    ("expect-100", fails_expectation, "no", "417 instead of 100"),
    ("head", good, "yes", "no body"),
    ("head", head_of_nothing, "partial", "Content-Length 0"),
    ("head", head_with_body, "no", "a body after it"),
    ("head", hangs, "no", "no answer"),
    ("headers", takes_up_to(1000), "yes", "256 KiB taken"),
    ("headers", takes_up_to(32), "yes", "32 KiB taken, 64 KiB: 431"),
    ("headers", takes_up_to(8), "partial", "8 KiB taken, 16 KiB: 431"),
    ("headers", takes_up_to(4), "no", "4 KiB taken, 7 KiB: 431"),
    ("headers", hangs, "no", "none taken, 2 KiB: no answer"),
    ("long-url", takes_up_to(1000), "yes", "64 KiB taken"),
    ("long-url", takes_up_to(4), "partial", "4 KiB taken, 8 KiB: 431"),
    ("long-url", takes_up_to(0), "no", "1 KiB taken"),
    ("streaming", events(0.05, 1), "yes", "first piece after"),
    ("streaming", hangs, "no", "no answer"),
    ("sse", events(0.25, 1), "yes", "4 of 4"),
    ("sse", events(0.1, 4), "partial", "of 4 came before"),
    ("sse", events(0.1, 1000), "no", "no answer within 1 s"),
    ("sse", closes, "no", "closed after 0 events"),
    ("streaming-echo", echoes_pieces, "yes", "first piece back"),
    ("streaming-echo", buffers_echo, "no", "buffered: 131,072 bytes"),
    ("http2", good, "no", ""),
    ("http2", hangs, "no", "no answer"),
    ("backlog", good, "partial", "a listen queue of 7"),
]


@pytest.mark.parametrize(
    ("name", "handler", "word", "evidence"),
    HTTP,
    ids=[f"{name}-{getattr(it, '__qualname__', it)}" for name, it, _, _ in HTTP],
)
def test_probe_says_what_the_fake_does(name, handler, word, evidence):
    if name == "http2":
        pytest.importorskip("h2")
    with fake(handler) as address:
        found = ask(name, address, within_s=1.0 if "no answer" in evidence else 10.0)
    assert (found.word, evidence in found.evidence) == (word, True), found


@pytest.mark.parametrize(
    "name", [it.name for it in PROBES.values() if not it.alone and not it.only]
)
def test_a_server_that_says_nothing_is_an_answer_within_the_time(name):
    if name == "http2":
        pytest.importorskip("h2")
    begin = time.monotonic()
    with fake(hangs) as address:
        found = ask(name, address, within_s=0.5)
    assert found.word != "yes" or name == "backlog"
    assert time.monotonic() - begin < 8


def test_nobody_there_is_an_answer():
    with fake(good) as address:
        pass
    assert ask("keep-alive", address) == no("Connection refused")


# -- WebSocket ---------------------------------------------------------------------------------


@contextlib.contextmanager
def websockets(handler: Callable[..., None], **options: object) -> Iterator[Address]:
    with serve(handler, "127.0.0.1", 0, **options) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Address("127.0.0.1", server.socket.getsockname()[1])
        finally:
            server.shutdown()
            thread.join(5)


def echoes(connection):
    for message in connection:
        connection.send(message)


def all_binary(connection):
    for message in connection:
        connection.send(message.encode() if isinstance(message, str) else message)


def drops_empty(connection):
    for message in connection:
        if message:
            connection.send(message)


def closes_oddly(connection):
    connection.recv()
    connection.close(1011)


def half_open(connection: socket.socket) -> None:
    """Agrees to a WebSocket, and then never says a word."""
    head = head_of(connection)
    key = next(it for it in head.split(b"\r\n") if it.startswith(b"Sec-WebSocket-Key"))[19:]
    from websockets.utils import accept_key

    accepted = accept_key(key.decode())
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accepted.encode() + b"\r\n\r\n"
    )
    hangs(connection)


WEBSOCKET = ("websocket", "ws-empty", "ws-large", "ws-fragments", "ws-ping", "ws-close")


@pytest.mark.parametrize("name", WEBSOCKET)
def test_websocket_probe_says_yes_to_a_good_one(name):
    with websockets(echoes, max_size=2 * 1024 * 1024) as address:
        found = ask(name, address, speaks="asgi")
    assert found.word == "yes", found


@pytest.mark.parametrize(
    ("name", "handler", "options", "word", "evidence"),
    [
        ("websocket", all_binary, {}, "partial", "text: came back as binary; binary: came back"),
        ("ws-empty", drops_empty, {}, "no", "empty text: nothing"),
        ("ws-large", echoes, {"max_size": 1000}, "no", "closed with 1009"),
        ("ws-fragments", closes_oddly, {}, "no", "closed with 1011"),
    ],
)
def test_websocket_probe_says_what_is_wrong(name, handler, options, word, evidence):
    with websockets(handler, **options) as address:
        found = ask(name, address, within_s=6, speaks="asgi")
    assert (found.word, evidence in found.evidence) == (word, True), found


@pytest.mark.parametrize("handler", [half_open, good])
@pytest.mark.parametrize("name", WEBSOCKET)
def test_websocket_probe_says_no_to_what_is_none(name, handler):
    with fake(handler) as address:
        found = ask(name, address, within_s=0.3, speaks="asgi")
    assert found.word == "no", found


def test_waits_are_not_asked_of_an_app_that_cannot_wait():
    def start(*_: object) -> None:
        raise AssertionError("not even a copy is started")

    subject = Subject(cell(cannot={"sleep": "Trio"}), Address("", 0), start, Path("nowhere"))
    for name in ("sse", "stop", "concurrency"):
        assert attempt(PROBES[name], subject).evidence == "the app cannot wait here: Trio"


@pytest.mark.parametrize(
    ("ends", "overlapped"),
    [
        ((0.301, 0.302, 0.601), 2),
        ((0.61, 0.9), 1),  # one after the other, and sent together
        ((), 0),
    ],
)
def test_only_what_ended_before_two_waits_in_a_row_overlapped(ends, overlapped):
    assert overlapping([5 + end for end in ends], 5.0) == overlapped


def test_websocket_is_not_tried_on_wsgi():
    with fake(hangs) as address:
        assert ask("websocket", address) == Answer("not tried", "not for WSGI")


# -- what starts copies ------------------------------------------------------------------------

PREFORK = Path(__file__).with_name("prefork.py")
PYTHON = Environment(Path(sys.prefix), "3", {"fake": "1.0"})


def ask_copies(name: str, tmp_path: Path, faults: str = "none", **row: object) -> Answer:
    """A probe's answer from prefork.py with these faults."""
    command = f"python {PREFORK} {faults} {{app}} {{host}} {{port}}"
    fitted = replace(cell(command + " ", **row), threads=None)
    fitted = replace(fitted, workers=1 if "alone" in faults else 2)
    fitted = replace(fitted, server=replace(fitted.server, concurrency="process"))
    subject = Subject(fitted, Address("127.0.0.1", 0), starter(PYTHON, tmp_path, ()), tmp_path)
    return attempt(PROBES[name], subject)


@pytest.mark.parametrize(
    ("name", "faults", "word", "evidence"),
    [
        ("restart", "none", "yes", "a new worker answered"),
        ("restart", "dies", "no", "the whole server ended with exit code 7"),
        ("restart", "alone", "not tried", "one process"),
        ("reload", "none", "yes", "0 of"),
        ("reload", "drops", "partial", "dropped"),
        ("reload", "reload", "no", "exit code -1"),
        ("scaling", "none", "yes", "processes 3, 4 after TTIN, 3 after TTOU"),
        ("scaling", "scaling", "no", "processes 3, 3 after TTIN, 3 after TTOU"),
        ("stop", "none", "yes", "TERM: the request in flight answered"),
        ("stop", "hasty,code", "partial", "dropped"),
        ("orphans", "none", "yes", "all gone"),
        ("orphans", "orphans", "no", "they still answer"),
        ("bad-import", "none", "yes", "ended with exit code 1"),
        ("bad-import", "exit", "partial", "ended with exit code 0"),
        ("concurrency", "none", "yes", "2 of 6 at once"),
    ],
)
def test_probe_of_a_life(name, faults, word, evidence, tmp_path, monkeypatch):
    if word == "no":
        monkeypatch.setattr(lifecycle, "CHANGE_WITHIN_S", 2.0)
    found = ask_copies(name, tmp_path, faults)
    assert (found.word, evidence in found.evidence) == (word, True), found


def test_a_copy_that_does_not_start_is_an_answer_with_its_reason(tmp_path):
    subject = Subject(
        cell("python -c 'raise SystemExit(9)' {app} {port}"),
        Address("127.0.0.1", 0), starter(PYTHON, tmp_path, ()), tmp_path,
    )  # fmt: skip
    found = attempt(PROBES["restart"], subject)
    assert found.word == "no"
    assert "ended with exit code 9" in found.evidence


@pytest.mark.parametrize("name", ["tls", "http2-tls", "http3", "unix"])
def test_what_the_row_does_not_claim_is_not_tried(name, tmp_path):
    found = ask_copies(name, tmp_path)
    assert found.word == "not tried"
    assert "not claimed" in found.evidence


# -- the whole ---------------------------------------------------------------------------------


def test_survey_keeps_a_server_that_does_not_start_beside_one_that_does():
    good_one = replace(cell(f"python {PREFORK} none {{host}} {{port}}"), threads=None)
    expecting = replace(good_one.server, expects={"keep-alive": "yes", "head": "no"})
    cells = [replace(good_one, server=expecting), cell("no-such-program {app} {port}")]
    servers: list[Findings] = []
    probes = select(["keep-alive", "websocket"])
    steps = list(survey(cells, lambda _: PYTHON, probes, servers))
    assert [finding and finding.answer.word for _, finding in steps] == ["no", "not tried", None]
    assert steps[0][1].differs
    assert isinstance(servers[1].failure, MeasurementError)
    facts = {"command": ["x|y"], "machine": {"cpu": "c", "system": "s"}, "created": "now",
             "ended": "complete"}  # fmt: skip
    found = json.loads(json.dumps(document(probes, servers, facts), default=dict))
    assert found["schema"] == 1
    assert found["servers"][0]["probes"][0] | {"took_s": 0} == {
        "name": "keep-alive", "answer": "no", "expected": "yes", "differs": True, "took_s": 0,
        "evidence": "closed after the first answer, as announced",
    }  # fmt: skip
    text = matrix_markdown(found)
    assert "| fake | no≠ |" in text
    assert "no instead of yes" in text
    assert "no-such-program" in text


def test_select_names_an_unknown_probe():
    with pytest.raises(ConfigurationError, match="unknown probe 'telepathy'"):
        select(["sse", "telepathy"])


def test_matrix_of_thirty_servers_fits_a_terminal(tmp_path):
    from rich.console import Console

    found = {
        "name": "",
        "answer": "partial",
        "evidence": "seen",
        "expected": "yes",
        "differs": True,
    }
    names = list(PROBES)
    probes = [{"name": it.name, "group": it.group, "question": "?"} for it in PROBES.values()]
    servers = [
        {"server": f"gunicorn-uvicorn-h11-{number}", "failure": None,
         "probes": [found | {"name": it} for it in names]}
        for number in range(30)
    ]  # fmt: skip
    with (tmp_path / "out").open("w+") as file:
        print_matrix({"servers": servers, "probes": probes}, Console(file=file, width=100))
        file.seek(0)
        lines = file.read().splitlines()
    rows = [line for line in lines if "part≠" in line]
    assert len(rows) == 30 * len({it.group for it in PROBES.values()})
    assert max(map(len, lines[: lines.index(rows[-1])])) <= 100


# -- real servers ------------------------------------------------------------------------------

# from servers.md, where they were found by hand
KNOWN = {
    "waitress": {
        "keep-alive": "yes", "keep-alive-1.0": "yes", "chunked": "yes", "streaming": "yes",
        "websocket": "not tried", "workers": "not tried", "concurrency": "yes",
        "orphans": "not tried",
    },
    "uvicorn": {
        "keep-alive-1.0": "no", "chunked": "yes", "websocket": "yes", "orphans": "no",
        "lifespan": "yes", "backlog": "yes", "concurrency": "yes", "streaming": "yes",
    },
    "nginx+uvicorn": {  # HTTP/1.0 is kept by the proxy, and its life is not the server's
        "keep-alive-1.0": "yes", "chunked": "yes", "websocket": "yes", "orphans": "not tried",
        "lifespan": "not tried", "concurrency": "yes", "streaming": "yes", "sse": "yes",
    },
}  # fmt: skip


needs_nginx = pytest.mark.skipif(
    shutil.which("nginx", path=debian.PROGRAMS) is None and "CI" not in os.environ,
    reason="needs nginx: apt-get install nginx",
)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "labels",
    [
        [label for label in KNOWN if "+" not in label],
        pytest.param([label for label in KNOWN if "+" in label], marks=needs_nginx),
    ],
)
def test_probe_finds_what_is_known_of_real_servers(labels, tmp_path):
    names = sorted({name for label in labels for name in KNOWN[label]})
    done = gatebench("probe", *labels, "--only", ",".join(names), "--json", cwd=tmp_path)
    assert done.code == 0, done.err
    (kept,) = (tmp_path / "results").glob("probe-*")
    assert json.loads((kept / "probe.json").read_text("utf-8")) == done.document
    assert "## Evidence" in (kept / "matrix.md").read_text("utf-8")
    for server in done.document["servers"]:
        found = {it["name"]: it["answer"] for it in server["probes"]}
        known = KNOWN[server["server"]]
        assert {name: found[name] for name in known} == known
        assert server["versions"]


def test_interrupted_probe_prints_what_it_found(tmp_path):
    import signal

    with started("probe", "waitress", "--json", cwd=tmp_path) as process:
        for line in process.stderr:
            if "chunked" in line:
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    found = json.loads(out)
    assert found["ended"] == "interrupted"
    assert found["servers"][0]["probes"][0]["name"] == "keep-alive"


def test_server_that_does_not_start_makes_the_exit_code_3(tmp_path):
    rows = tmp_path / "mine.toml"
    rows.write_text(
        '[servers.broken]\nspeaks = "wsgi"\npackages = ["waitress"]\nconcurrency = "thread"\n'
        'command = "waitress-serve --no-such-option {app} {host} {port}"\n'
    )
    done = gatebench("probe", "broken", "--servers", str(rows), "--json", cwd=tmp_path)
    assert done.code == 3
    assert "exit code" in done.document["servers"][0]["failure"]["reason"]


def test_expectations_are_checked_when_the_table_is_read(tmp_path):
    rows = tmp_path / "mine.toml"
    for expects, said in (
        ('{ ssse = "yes" }', "unknown probe 'ssse'; did you mean sse"),
        ('{ sse = "maybe" }', 'must be "yes", "no" or "partial"'),
    ):
        rows.write_text(
            f'[servers.mine]\nspeaks = "wsgi"\npackages = ["waitress"]\nconcurrency = "thread"\n'
            f'command = "waitress-serve {{app}} {{host}} {{port}}"\nexpects = {expects}\n'
        )
        with pytest.raises(ConfigurationError, match=said):
            load_registry([rows])
