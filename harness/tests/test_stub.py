"""The stub's every knob does what it says and is counted; the null responder answers right."""

import json
import os
import random
import select
import socket
import ssl
import statistics
import struct
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.ports import free_port
from harness.process import Tree
from harness.tests.loads import certificate
from harness.tests.quiet import needs_quiet, quietest
from harness.verify import verify

HARNESS = Path(__file__).parents[1]
GET = b"GET / HTTP/1.1\r\nHost: stub\r\n\r\n"
HELLO = b"Hello, world!"

pytestmark = pytest.mark.alone


class Client:
    """A blocking connection that asks and reads, and is closed with its test."""

    def __init__(self, address):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.sock = socket.socket(family)
        self.sock.settimeout(10.0)
        self.sock.connect(("127.0.0.1", address) if family == socket.AF_INET else address)
        if family == socket.AF_INET:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""
        self.reads = 0

    def more(self):
        data = self.sock.recv(1 << 20)
        if not data:
            raise EOFError
        self.reads += 1
        self.rest += data

    def take(self, size):
        while len(self.rest) < size:
            self.more()
        data, self.rest = self.rest[:size], self.rest[size:]
        return data

    def read(self):
        """(status, fields, body) of the next response."""
        while b"\r\n\r\n" not in self.rest:
            self.more()
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        line, *lines = head.split(b"\r\n")
        fields = dict(field.lower().split(b": ", 1) for field in lines)
        return int(line.split()[1]), fields, self.take(int(fields.get(b"content-length", 0)))

    def ask(self, request=GET):
        self.sock.sendall(request)
        return self.read()

    def timed(self, request=GET):
        """Seconds from the first byte sent to the whole answer."""
        begin = time.monotonic_ns()
        self.ask(request)
        return (time.monotonic_ns() - begin) / 1e9

    def upgrade(self, path=b"/ws"):
        status, fields, _ = self.ask(
            b"GET %s HTTP/1.1\r\nHost: stub\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            % path
        )
        assert (status, fields[b"sec-websocket-accept"]) == (101, b"s3pplmbitxaq9kygzzhzrbk+xoo=")

    def say(self, *messages):
        self.sock.sendall(b"".join(map(masked, messages)))

    def hear(self):
        first, size = self.take(2)
        assert first & 128
        if size > 125:
            size = int.from_bytes(self.take(2 if size == 126 else 8), "big")
        return self.take(size)


def masked(payload, opcode=2, mask=b"\x01\x02\x03\x04"):
    size = len(payload)
    head = struct.pack("!BB", 128 | opcode, 128 | min(size, 126))
    head += struct.pack("!H", size) if size > 125 else b""
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def post(body):
    return b"POST /echo HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


class Running:
    """A script that listens, the clients of it, and its counters."""

    def __init__(self, port, tree):
        self.port, self.tree, self.clients = port, tree, []

    def client(self, address=None):
        self.clients.append(Client(address or self.port))
        return self.clients[-1]

    def counters(self):
        reader = Client(self.port)
        status, _, body = reader.ask(b"GET /__counters__ HTTP/1.1\r\nConnection: close\r\n\r\n")
        reader.sock.close()
        assert status == 200
        return json.loads(body)

    def counted(self, **expected):
        """Hold these counters; they follow an answer by a moment."""
        deadline = time.monotonic() + 2.0
        got = self.counters()
        while any(got[name] != value for name, value in expected.items()):
            assert time.monotonic() < deadline, {name: got[name] for name in expected}
            got = self.counters()
        return got


@pytest.fixture
def run(tmp_path):
    @contextmanager
    def start(script, *arguments, **env):
        log = tmp_path / f"{script}.log"
        log.unlink(missing_ok=True)
        port = free_port()
        argv = [sys.executable, "-I", "-S", str(HARNESS / script), str(port), *map(str, arguments)]
        with Tree(argv, cwd=tmp_path, env={"PATH": os.defpath, **env}, log=log) as tree:
            deadline = time.monotonic() + 10.0
            while not log.exists() or "ready\n" not in log.read_text():
                assert tree.wait(0.01) is None, log.read_text()
                assert time.monotonic() < deadline
            running = Running(port, tree)
            try:
                yield running
            finally:
                for client in running.clients:
                    client.sock.close()
            ending = tree.stop("TERM")
            assert (ending.how, ending.code, ending.gone) == ("TERM", 0, True), log.read_text()
            assert log.read_text() == "ready\n"

    return start


@pytest.fixture
def stub(run):
    return lambda *knobs, **env: run("stub.py", *knobs, **env)


@pytest.fixture
def null(run):
    return lambda *arguments: run("null_responder.py", *arguments)


def best(measure, at_most):
    """Measure until it is good enough, or too often."""
    assert quietest(measure, lambda figure: figure <= at_most) <= at_most


# -- service times -----------------------------------------------------------------------------


@needs_quiet
def test_fixed_service_is_exact(stub):
    with stub("--service", "fixed:0.010") as it:
        client = it.client()

        def mean_excess():
            times = [client.timed() for _ in range(200)]
            assert min(times) >= 0.010
            return statistics.fmean(times) - 0.010

        best(mean_excess, 0.0003)
        got = it.counters()
        assert 0 <= got["late_mean_s"] <= got["late_max_s"]


@pytest.mark.parametrize(
    ("service", "draw", "mean", "sigma"),
    [
        ("exp:500", lambda source: source.expovariate(500), 1 / 500, 1 / 500),
        (  # the mean is median * exp(s^2 / 2), its deviation mean * sqrt(exp(s^2) - 1)
            "lognormal:0.00045,0.5",
            lambda source: 0.00045 * source.lognormvariate(0, 0.5),
            0.00045 * 1.133148,
            0.00045 * 1.133148 * 0.532940,
        ),
    ],
)
@needs_quiet
def test_random_service_follows_its_seed(stub, service, draw, mean, sigma):
    count = 400
    source = random.Random(7)

    def mean_excess():
        drawn = [draw(source) for _ in range(count)]
        assert statistics.fmean(drawn) == pytest.approx(mean, abs=3 * sigma / count**0.5)
        times = [client.timed() for _ in drawn]
        # each request has its own draw, not only the mean
        assert all(took >= due - 1e-8 for took, due in zip(times, drawn, strict=True))
        return statistics.fmean(times) - statistics.fmean(drawn)

    with stub("--service", service, "--seed", "7") as it:
        client = it.client()
        best(mean_excess, 0.0004)


def answers_in(clients, count):
    """Seconds until `count` requests are answered, each client asking when it was answered."""
    by_socket = {client.sock: client for client in clients}
    begin = time.monotonic()
    for client in clients:
        client.sock.sendall(GET)
    answered = 0
    while answered < count:
        for sock in select.select(by_socket, [], [])[0]:
            by_socket[sock].read()
            sock.sendall(GET)
            answered += 1
    return time.monotonic() - begin


@pytest.mark.parametrize(("concurrency", "at_once"), [(1, 1), (2, 2), (0, 5)])
@needs_quiet
def test_concurrency_bounds_the_throughput(stub, concurrency, at_once):
    with stub("--service", "fixed:0.010", "--concurrency", concurrency) as it:
        clients = [it.client() for _ in range(5)]
        floor = 0.010 * 50 / at_once

        def excess():
            took = answers_in(clients, 50)
            assert took >= floor - 0.010  # the last round need not be whole
            for client in clients:  # what answers_in left under way
                client.read()
            return took / floor

        best(excess, 1.05)
        got = it.counters()
        assert got["queue_max"] == (5 - at_once if concurrency else 0)
        assert (got["in_service"], got["queued"]) == (0, 0)


def test_station_is_seen_at_work(stub):
    with stub("--service", "fixed:0.5", "--concurrency", "2") as it:
        for _ in range(5):
            it.client().sock.sendall(GET)
        it.counted(received=5, answered=0, in_service=2, queued=3, queue_max=3)


def test_freeze_holds_and_drains_at_once(stub):
    with stub("--freeze", "0.2,0.4") as it:
        first, *rest = [it.client() for _ in range(20)]
        begin = time.monotonic()
        assert first.timed() < 0.1
        time.sleep(0.3)  # into the freeze
        for client in rest:
            client.sock.sendall(GET)
        ends = []
        for client in rest:
            client.read()
            ends.append(time.monotonic() - begin)
        assert min(ends) >= 0.6
        assert max(ends) < 0.65
        assert first.timed() < 0.1
        it.counted(received=21, answered=21)


def test_sleep_adds_to_the_service(stub):
    with stub("--service", "fixed:0.010") as it:
        client = it.client()
        assert client.ask(b"GET /sleep/30 HTTP/1.1\r\n\r\n")[2] == b"slept 30 ms"
        took = client.timed(b"GET /sleep/30 HTTP/1.1\r\n\r\n")
        assert 0.040 <= took < 0.060


# -- faults --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("how", "error"), [("close", EOFError), ("reset", ConnectionResetError)])
def test_drops_are_counted_and_seen(stub, how, error):
    with stub("--drop-every", "2", "--drop-how", how) as it:
        for _ in range(10):
            client = it.client()
            assert client.ask()[2] == HELLO
            client.sock.sendall(GET)
            with pytest.raises(error):
                client.read()
        it.counted(received=20, answered=10, dropped=10, accepted=10, open=0, max_open=1)


@pytest.mark.parametrize("announce", [False, True])
def test_close_after(stub, announce):
    with stub("--close-after", "3", *["--announce"] * announce) as it:
        for _ in range(2):
            client = it.client()
            said = [client.ask()[1].get(b"connection") for _ in range(3)]
            assert said == [None, None, b"close" if announce else None]
            with pytest.raises(EOFError):
                client.read()
        it.counted(received=6, answered=6, closed=2, accepted=2, dropped=0)


def test_wrong_statuses_and_bodies(stub):
    with stub("--status-every", "3:503", "--wrong-body-every", "2") as it:
        client = it.client()
        answers = [client.ask(post(b"abc")) for _ in range(12)]
        assert [status for status, _, _ in answers] == [200, 200, 503] * 4
        right = [body == b"abc" for status, _, body in answers if status == 200]
        assert right == [True, False, False, True, True, False, False, True]
        assert all(len(body) == 3 for status, _, body in answers if status == 200)
        it.counted(received=12, answered=12, wrong_statuses=4, wrong_bodies=4)


def test_stalled_requests_are_never_answered(stub):
    with stub("--stall-every", "2", "--concurrency", "1") as it:
        for _ in range(3):
            assert it.client().ask()[0] == 200
            stalled = it.client()
            stalled.sock.settimeout(0.1)
            stalled.sock.sendall(GET)
            with pytest.raises(TimeoutError):
                stalled.read()
            stalled.sock.close()
        it.counted(received=6, answered=3, stalled=3, abandoned=0, in_service=0, open=3)


def test_client_that_leaves_is_counted(stub):
    with stub("--service", "fixed:0.2") as it:
        client = it.client()
        client.sock.sendall(GET)
        it.counted(received=1, in_service=1, open=1)
        client.sock.close()
        it.counted(answered=0, abandoned=1, open=0, in_service=0)


def test_nonsense_ends_its_connection_only(stub):
    with stub() as it:
        client, other = it.client(), it.client()
        client.sock.sendall(b"what is this\r\n\r\n")
        with pytest.raises(EOFError):
            client.read()
        assert other.ask()[2] == HELLO
        it.counted(received=1, bad_requests=1, open=1, max_open=2)


def test_split_responses_reassemble(stub):
    body = random.Random(1).randbytes(2000)
    with stub("--split", "100") as it:
        client = it.client()
        for _ in range(20):
            assert client.ask(post(body))[2] == body
        assert client.reads > 60  # of 400 pieces; a client that must wait reads some together
        assert client.timed(post(body)) >= 20 * 0.0001  # the gaps between 21 pieces
        it.counted(answered=21)


def test_nagle_makes_the_delayed_ack_plateau(stub):
    with stub("--nagle") as it:
        client = it.client()
        times = [client.timed() for _ in range(15)]
        # Linux delays an ACK by 40 ms at the least; the first are quick
        assert 0.035 < statistics.median(times) < 0.080
    with stub() as it:
        client = it.client()
        assert statistics.median(client.timed() for _ in range(15)) < 0.010


# -- WebSockets and the contract -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("knobs", "heard", "counters"),
    [
        ((), b"012345678", {"ws_sent": 9}),
        (("--ws-drop-every", "4"), b"0124568", {"ws_sent": 7, "ws_dropped": 2}),
        (("--ws-duplicate-every", "4"), b"01233456778", {"ws_sent": 11, "ws_duplicated": 2}),
        (("--ws-reorder-every", "4"), b"012435687", {"ws_sent": 9, "ws_reordered": 2}),
    ],
)
def test_websocket_faults_are_exact(stub, knobs, heard, counters):
    with stub(*knobs) as it:
        client = it.client()
        client.upgrade()
        client.say(*(b"%d" % number for number in range(9)))
        assert b"".join(client.hear() for _ in heard) == heard
        it.counted(ws_received=9, received=1, answered=1, **counters)


def test_websocket_messages_take_their_service_time(stub):
    with stub("--service", "fixed:0.010") as it:
        client = it.client()
        client.upgrade()
        begin = time.monotonic()
        for _ in range(10):
            client.say(b"x" * 200)
            assert client.hear() == b"x" * 200
        assert 0.1 <= time.monotonic() - begin < 0.150


def test_message_kept_back_for_ever_counts_as_dropped(stub):
    with stub("--ws-reorder-every", "1") as it:
        client = it.client()
        client.upgrade()
        client.say(b"never")
        it.counted(ws_received=1)
        client.sock.close()
        it.counted(ws_sent=0, ws_reordered=0, ws_dropped=1)


def test_pushes_suffer_the_same_faults(stub):
    knobs = ["--ws-drop-every", 5, "--ws-duplicate-every", 3, "--ws-reorder-every", 4]
    with stub(*knobs, GATEBENCH_PERIOD_NS=str(10_000_000)) as server:
        client = server.client()
        client.upgrade(b"/ws/ticks")
        heard = [int(client.hear().split()[0]) for _ in range(6)]
        first = heard[0]
        assert [number - first + 1 for number in heard] == [1, 2, 3, 3, 6, 6]
        assert int(client.hear().split()[0]) == first + 3  # the fourth, after the sixth
        client.sock.sendall(masked(b"\x03\xe8", opcode=8))
        server.counted(ws_closed=1, ws_dropped=1, ws_duplicated=2, ws_reordered=1, open=0)


def test_unix_socket_and_late_closing(stub, tmp_path):
    path = str(tmp_path / "socket")
    with stub("--unix", path, "--close-late", 0.05) as server:
        client = server.client(path)
        assert client.ask()[2] == HELLO
        request = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        assert client.ask(request)[2] == HELLO
        begin = time.monotonic()
        with pytest.raises(EOFError):
            client.more()
        assert time.monotonic() - begin > 0.04


def test_tls_in_pieces_and_whole(stub, tmp_path):
    body = os.urandom(200_000)  # many records
    with stub("--tls", *certificate(tmp_path)) as server:
        client = server.client()
        context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        client.sock = context.wrap_socket(client.sock, server_hostname="localhost")
        assert client.ask(post(body))[2] == body
        assert client.ask()[2] == HELLO
        plain = server.client()
        plain.sock.sendall(GET)
        with pytest.raises((EOFError, ConnectionResetError)):
            plain.take(1 << 20)
        client.sock.sendall(b"GET /__counters__ HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert json.loads(client.read()[2])["received"] == 2


def test_contract_of_the_scenarios(stub):
    settings = {"GATEBENCH_PERIOD_NS": "100000000", "GATEBENCH_HOLD_S": "0.3"}
    checks = (
        "hello echo echo_empty echo_large sleep poll_hold events websocket_echo "
        "websocket_echo_empty websocket_ticks whoami not_found"
    )
    with stub(**settings) as it:
        verify("127.0.0.1", it.port, checks.split())
    with stub(GATEBENCH_PERIOD_NS="500000000") as it:  # the check's times ask for this period
        verify("127.0.0.1", it.port, ["poll"])


@pytest.mark.parametrize("knob", [["--service", "fixed:1,2"], ["--freeze", "1"], ["--drop-every"]])
def test_misread_knob_is_a_usage_error(tmp_path, knob):
    argv = [sys.executable, "-I", "-S", str(HARNESS / "stub.py"), "1", *knob]
    with Tree(argv, cwd=tmp_path, env={"PATH": os.defpath}, log=tmp_path / "log") as tree:
        assert tree.wait(10.0) == 2
    assert knob[0] in (tmp_path / "log").read_text()


# -- the null responder ----------------------------------------------------------------------------


def test_null_answers_what_it_has_seen_and_what_not(null):
    with null() as it:
        client = it.client()
        for _ in range(3):
            status, fields, body = client.ask()
            assert (status, fields[b"content-type"], body) == (200, b"text/plain", HELLO)
            assert client.ask(post(b"abc"))[2] == b"abc"
            assert client.ask(post(b""))[2] == b""


def test_null_closes_when_asked(null):
    with null() as it:
        for _ in range(3):
            client = it.client()
            assert client.ask()[2] == HELLO
            _, fields, body = client.ask(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
            assert (fields[b"connection"], body) == (b"close", HELLO)
            with pytest.raises(EOFError):
                client.read()
        assert it.client().ask()[2] == HELLO


def test_null_pipelines(null):
    with null() as it:
        client = it.client()
        for _ in range(3):
            client.sock.sendall(GET + post(b"abc") + GET[:10])
            assert [client.read()[2], client.read()[2]] == [HELLO, b"abc"]
            assert client.ask(GET[10:])[2] == HELLO


def test_null_is_not_fooled_by_a_body_that_looks_like_a_request(null):
    with null() as it:
        client = it.client()
        client.ask()  # known from here on
        head, body = post(GET)[: -len(GET)], GET
        client.sock.sendall(head)
        time.sleep(0.05)  # so that the body comes alone
        assert client.ask(body)[2] == body
        assert client.ask()[2] == HELLO


def test_null_takes_large_bodies(null):
    body = random.Random(1).randbytes(16 * 1024 * 1024)
    with null() as it:
        for _ in range(2):
            assert it.client().ask(post(body))[2] == body


def test_null_waits_for_a_client_that_reads_late(null):
    body, count = b"x" * 16_000, 400
    with null() as it:
        client = it.client()
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 * 1024)
        assert client.ask(post(body))[2] == body  # known from here on
        for _ in range(count):
            client.sock.sendall(post(body))
            time.sleep(0.001)  # so that each is read alone, by the fast path, until it is blocked
        assert all(client.read()[2] == body for _ in range(count))


def test_null_echoes_frames(null):
    with null() as it:
        for _ in range(2):
            client = it.client()
            client.upgrade(b"/any")
            for payload in (b"", b"x" * 64, b"x" * 64, b"y" * 20_000):
                client.say(payload)
                assert client.hear() == payload
            client.say(b"one", b"two")
            assert [client.hear(), client.hear()] == [b"one", b"two"]
            for byte in masked(b"slowly"):
                client.sock.sendall(bytes([byte]))
            assert client.hear() == b"slowly"
            client.sock.sendall(masked(b"ping", opcode=9))
            assert client.take(2)[0] & 15 == 10
            assert client.take(4) == b"ping"
            client.sock.sendall(masked(b"", opcode=8))
            assert client.take(2) == b"\x88\x00"
            with pytest.raises(EOFError):
                client.take(1)


def test_null_refuses_nonsense_and_goes_on(null):
    with null() as it:
        other = it.client()
        for nonsense in (b"what\r\n\r\n", b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"):
            client = it.client()
            assert client.ask(nonsense)[0] == 400
            with pytest.raises(EOFError):
                client.read()
        assert other.ask()[2] == HELLO


def test_null_meets_the_contract_where_it_speaks_it(null):
    with null() as it:
        verify("127.0.0.1", it.port, ["hello", "echo", "echo_empty", "websocket_echo"])


def test_null_on_a_unix_socket(null, tmp_path):
    path = str(tmp_path / "null.sock")
    with null("--unix", path) as it:
        for _ in range(2):
            assert it.client(path).ask()[2] == HELLO
        assert it.client().ask()[2] == HELLO
    assert not Path(path).exists()


def test_null_serves_many_connections(null):
    with null() as it:
        clients = [it.client() for _ in range(1000)]
        for client in clients:
            client.sock.sendall(GET)
        assert all(client.read()[2] == HELLO for client in clients)


def test_busy_port_is_named(null, tmp_path):
    with null() as it:
        for script in ("stub.py", "null_responder.py"):
            argv = [sys.executable, "-I", "-S", str(HARNESS / script), str(it.port)]
            log = tmp_path / "second.log"
            with Tree(argv, cwd=tmp_path, env={"PATH": os.defpath}, log=log) as tree:
                assert tree.wait(10.0) == 1
            assert f"cannot listen on 127.0.0.1:{it.port}" in log.read_text()


@pytest.mark.parametrize("script", ["stub.py", "null_responder.py"])
def test_interrupt_ends_it_quietly(tmp_path, script):
    log = tmp_path / "log"
    argv = [sys.executable, "-I", "-S", str(HARNESS / script), str(free_port())]
    with Tree(argv, cwd=tmp_path, env={"PATH": os.defpath}, log=log) as tree:
        deadline = time.monotonic() + 10.0
        while log.read_text() != "ready\n":
            assert tree.wait(0.01) is None
            assert time.monotonic() < deadline
        tree.signal("INT")
        assert tree.wait(5.0) == 0
    assert log.read_text() == "ready\n"
