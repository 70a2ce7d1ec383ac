"""Connections against the stub: how they are reached, opened, timed, given up and woken."""

import os
import socket
import ssl
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.model import Load, MeasurementError
from harness.ports import free_port
from harness.tests.loads import Stub, certificate, drive_stub, locustfile, stub
from harness.tests.quiet import needs_quiet, quietest
from harness.tests.test_frames import load

pytestmark = [pytest.mark.servers, pytest.mark.alone]

LARGE = (
    "class Large(HttpUser):",
    "    body = bytes(range(256)) * 2000",
    "    exchange = Exchange('POST', '/echo', body=body, expect=body)",
)
PORTABLE = "import os; os.environ['GATEBENCH_POLLER'] = 'portable'"


def holds(result):
    """sent = ok + errors + in flight, and no errors."""
    totals = result.summary["since_start"]
    assert totals["sent"] == totals["ok"] + totals["failed"] + result.summary["in_flight"]
    assert result.errors == {}
    return totals


@contextmanager
def reached(folder, how):
    """The stub over TCP, TLS or a unix socket."""
    if how == "tls":
        with stub(folder, "--tls", *certificate(folder), url="https://127.0.0.1:{port}") as server:
            yield server
    elif how == "unix":
        path = folder / "s"
        url = "http+unix://" + str(path).replace("/", "%2F")
        with stub(folder, "--unix", path, url=url) as server:
            yield server
    else:
        with stub(folder) as server:
            yield server


@pytest.mark.parametrize("how", ["tls", "unix"])
def test_http_and_websocket_over_other_transports(tmp_path, how):
    with reached(tmp_path, how) as server:
        for scenario in ("hello", "websocket-echo"):
            before = server.counters()
            result = drive_stub(tmp_path, server, Load(4), scenario=scenario, duration_s=1.0)
            counters = server.counters()
            totals = holds(result)
            done = counters["received"] - before["received"], counters["ws_received"]
            assert totals["sent"] == (done[0] if scenario == "hello" else done[1]) > 500
            assert counters["accepted"] - before["accepted"] == totals["connects"] == 4
        short = drive_stub(tmp_path, server, Load(2), scenario="connect", duration_s=0.5)
        assert 0 < short.percentile(50, "connect") < 0.02
        assert holds(short)["connects"] > 5
        assert counters["ws_closed"] == 4  # each said goodbye


@pytest.mark.parametrize("how", ["tls", "tcp"])
def test_large_bodies_are_taken_out_whole(tmp_path, how):
    """Half a megabyte each way: many records of TLS in one read, and more than a socket takes."""
    with reached(tmp_path, how) as server:
        file = locustfile(tmp_path, *LARGE)
        result = drive_stub(tmp_path, server, Load(3), duration_s=1.0, file=file)
    assert holds(result)["ok"] > 20
    assert result.summary["since_start"]["connects"] == 3


def test_tls_with_what_is_not_tls_is_an_error_with_a_name(tmp_path):
    with stub(tmp_path) as server:
        wrong = Stub(f"https://127.0.0.1:{server.port}", server.port)
        result = drive_stub(tmp_path, wrong, Load(2, deadline_s=0.2), duration_s=1.0)
    assert result.summary["ok"] == 0
    assert set(result.errors) == {"timeout"}  # the stub waits for the rest of a request
    assert 4 <= result.errors["timeout"] <= 10


@pytest.mark.parametrize(
    "url", ["ftp://x", "http+unix://relative.sock", "http://no.such.host.invalid"]
)
def test_what_cannot_be_driven_is_said(tmp_path, url):
    with pytest.raises(MeasurementError) as caught:
        drive_stub(tmp_path, Stub(url, 0), Load(1), duration_s=1.0)
    assert "--host" in caught.value.log


def closed_by_us(port):
    """Sockets in TIME_WAIT whose port of ours was the first to close."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(
        int(fields[2].split(":")[1], 16) == port and fields[3] == "06"
        for fields in map(str.split, lines)
    )


@pytest.mark.parametrize("each", [1, 5])
def test_connections_are_opened_anew_and_closed_at_once(tmp_path, each):
    """Some servers, gunicorn's sync worker for one, serve nobody until the client has closed."""
    file = locustfile(
        tmp_path,
        "class Short(HttpUser):",
        "    exchange = Exchange('GET', '/', expect=b'Hello, world!')",
        f"    requests_per_connection = {each}",
    )
    with stub(tmp_path, "--close-late", 0.5) as server:
        result = drive_stub(tmp_path, server, Load(8), duration_s=1.0, file=file)
        counters = server.counters()
        ours = closed_by_us(server.port)
    totals = holds(result)
    assert totals["connects"] == counters["accepted"]
    assert totals["connects"] == pytest.approx(totals["sent"] / each, abs=16)
    assert totals["connects"] > 200
    assert ours > 0.9 * totals["connects"] - 16
    # those before the window are only in the totals
    count = result.histogram("connect")["count"].sum()
    assert totals["connects"] / 2 < count <= totals["connects"]


def test_connections_of_an_open_load_are_opened_anew(tmp_path):
    with stub(tmp_path) as server:
        load = Load(64, "open", 300, "constant")
        result = drive_stub(tmp_path, server, load, scenario="connect", duration_s=1.0)
    assert holds(result)["connects"] == result.summary["ok"] == result.summary["offered"] == 300


def test_lack_of_descriptors_is_the_generators_own_fault(tmp_path):
    file = locustfile(
        tmp_path,
        "import errno, itertools",
        "from harness.load.transport import Target",
        "made, count = Target.socket, itertools.count(1)",
        "def some(self):",
        "    if next(count) % 50 == 0: raise OSError(errno.EMFILE, 'Too many open files')",
        "    return made(self)",
        "Target.socket = some",
        "class Many(HttpUser):",
        "    exchange = Exchange('GET', '/', expect=b'Hello, world!')",
        "    requests_per_connection = 1",
    )
    with stub(tmp_path) as server:
        result = drive_stub(tmp_path, server, Load(8), duration_s=1.0, file=file)
        counters = server.counters()
    totals = result.summary["since_start"]
    assert set(result.errors) == {"generator"}
    assert totals["failed"] == totals["connects"] // 50 > 20
    assert counters["accepted"] == totals["connects"] - totals["failed"]


def test_too_many_users_are_refused_in_one_line(tmp_path):
    file = locustfile(
        tmp_path,
        "import resource",
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))",
        "class Many(HttpUser):",
        "    exchange = Exchange('GET', '/', expect=b'Hello, world!')",
    )
    with stub(tmp_path) as server, pytest.raises(MeasurementError) as caught:
        drive_stub(tmp_path, server, Load(120), duration_s=1.0, file=file)
    assert "hard limit of 100: give fewer users, or raise it" in caught.value.log


def test_own_lack_of_ports_or_descriptors_has_its_name():
    errors = load("errors")
    for number in errors.OURS:
        assert errors.kind_of(OSError(number, os.strerror(number))) == "generator"
    assert errors.kind_of(ConnectionRefusedError(111, "no")) == "connect-refused"
    assert errors.kind_of(ssl.SSLError(24, "not a number of the system's")) == "protocol"
    assert errors.kind_of(ssl.SSLEOFError(8, "end")) == "early-close"


@needs_quiet
def test_first_byte_of_an_answer_in_pieces(tmp_path):
    """Pieces 0.1 ms apart: the first comes with the service time, the last later by the rest."""
    with stub(tmp_path, "--split", 30, "--service", "fixed:0.005") as server:
        result = drive_stub(tmp_path, server, Load(1), duration_s=1.5)
    holds(result)
    gaps = 2  # 3 pieces or more
    assert 0.005 < result.percentile(0, "first") < 0.0075
    assert result.percentile(50, "response") - result.percentile(50, "first") > gaps * 100e-6
    count = result.histogram("first")["count"].sum()
    assert count == result.histogram("response")["count"].sum() > 100


@pytest.mark.parametrize("load", [Load(1, deadline_s=0.2), Load(1, "open", 100, "constant", 0.2)])
@needs_quiet
def test_deadline_ends_a_request_within_a_tenth_of_it(tmp_path, load):
    """Every second request is never answered: each costs the user the deadline, and no more."""
    with stub(tmp_path, "--stall-every", 2) as server:
        result = quietest(
            lambda: drive_stub(tmp_path, server, load, duration_s=2.0),
            lambda it: it.errors["timeout"] >= 9,
        )
        counters = server.counters()
    totals = result.summary["since_start"]
    assert set(result.errors) == {"timeout"}
    assert 9 <= result.errors["timeout"] <= 10
    assert totals["sent"] == totals["ok"] + totals["failed"] + result.summary["in_flight"]
    assert totals["connects"] - totals["failed"] in (0, 1)  # the last may not be needed again
    assert counters["stalled"] >= result.errors["timeout"]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_deadline_holds_for_connecting_as_well(tmp_path, family):
    """A listener whose backlog is full answers no SYN."""
    with socket.socket(family) as listener:
        path = str(tmp_path / "s")
        listener.bind(("127.0.0.1", 0) if family == socket.AF_INET else path)
        listener.listen(0)
        address = listener.getsockname()
        fillers = [socket.socket(family) for _ in range(4)]
        for each in fillers:
            each.setblocking(False)
            each.connect_ex(address)
        url = f"http+unix://{path.replace('/', '%2F')}"
        if family == socket.AF_INET:
            url = f"http://127.0.0.1:{address[1]}"
        server = Stub(url, 0)
        result = drive_stub(tmp_path, server, Load(2, deadline_s=0.3), duration_s=1.5)
        for each in fillers:
            each.close()
    assert set(result.errors) == {"timeout"}
    assert 4 <= result.errors["timeout"] <= 10
    assert result.summary["ok"] == 0


BUSY = (
    "import time, gevent",
    "from locust import events",
    "class Busy(HttpUser):",
    "    exchange = Exchange('GET', '/', expect=b'Hello, world!')",
    "def hog():",
    "    while True:",
    "        end = time.monotonic() + 0.05",
    "        while time.monotonic() < end: pass",
    "        gevent.sleep(0.05)",
    "@events.test_start.add_listener",
    "def start(**_): gevent.spawn(hog)",
)


@needs_quiet
def test_reactor_notes_how_late_it_is_at_every_instant(tmp_path):
    with stub(tmp_path) as server:
        load = Load(1, "open", 10, "constant")
        file = locustfile(tmp_path, *BUSY)
        hogged = drive_stub(tmp_path, server, load, duration_s=2.0, file=file)
        free = quietest(
            lambda: drive_stub(tmp_path, server, load, duration_s=2.0),
            lambda it: it.percentile(95, "lateness") < 0.001,
        )
    for result in (hogged, free):  # none is left out, however late
        assert result.histogram("lateness")["count"].sum() == pytest.approx(100, abs=5)
        assert "reactor" not in result.driven.ticks["name"].to_pylist()
    # 50 ms of 100 are taken: half of the instants wait, for up to 50 ms
    assert hogged.percentile(90, "lateness") > 0.02
    assert free.percentile(95, "lateness") < 0.001


@pytest.mark.parametrize(
    ("user", "load"),
    [
        ("class A(HttpUser): exchange = Exchange('GET', '/', expect=b'Hello, world!')", Load(8)),
        ("class A(WebSocketUser): message = b'x' * 64", Load(8)),
        (
            "class A(HttpUser): exchange = Exchange('GET', '/', expect=b'Hello, world!')",
            Load(32, "open", 200, "constant"),
        ),
    ],
)
def test_without_epoll_and_timerfd(tmp_path, user, load):
    file = locustfile(tmp_path, PORTABLE, user)
    with stub(tmp_path, "--service", "fixed:0.002") as server:
        result = drive_stub(tmp_path, server, load, duration_s=1.5, file=file)
        counters = server.counters()
    totals = holds(result)
    assert totals["sent"] == (counters["ws_received"] or counters["received"])
    if load.model == "open":
        assert result.summary["ok"] == result.summary["offered"] == 300
        assert result.percentile(50, "lag") < 0.002
    else:
        assert result.summary["ok"] > 1000
    assert result.percentile(0) >= 0.002


def test_refusing_server_is_not_asked_in_a_busy_loop(tmp_path):
    """One that accepts and closes at once."""
    port = free_port()
    with socket.create_server(("127.0.0.1", port)) as listener:
        accepted = []

        def serve():
            while True:
                try:
                    made, _ = listener.accept()
                except OSError:
                    return
                accepted.append(1)
                made.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        file = locustfile(tmp_path, "class A(WebSocketUser): message = b'x'")
        server = Stub(f"http://127.0.0.1:{port}", port)
        result = drive_stub(tmp_path, server, Load(2), duration_s=1.0, file=file)
        listener.shutdown(socket.SHUT_RDWR)
    assert set(result.errors) <= {"early-close", "reset"}
    assert 10 < len(accepted) < 40
