"""Known answers: what the engine records of a server whose times and faults are known.

Noise of the machine only adds time, so a time's upper bound may be reached in any of a few
tries; lower bounds and counts have to hold in each.
"""

import os
import random
import shutil
import socket
import statistics
import time

import numpy as np
import pytest

from harness.calibrate.generators import Bench
from harness.calibrate.latency import agreement
from harness.model import Load
from harness.tests.loads import PLACEMENT, SCENARIOS, drive_stub, queue_responses, stub
from harness.tests.quiet import needs_quiet, quietest
from harness.tests.test_schedule import schedule

pytestmark = [pytest.mark.servers, pytest.mark.alone]


def floor_s(server, service_s):
    """What the machine and the stub add to a service time, in seconds: the median that the
    simplest client sees, one request in 20 ms from the generator's CPU.
    """
    usual = os.sched_getaffinity(0)
    os.sched_setaffinity(0, PLACEMENT.generator)
    try:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            took = []
            for _ in range(75):
                time.sleep(0.020 - service_s)
                sent = time.monotonic()
                client.sendall(b"GET / HTTP/1.1\r\nHost: stub\r\n\r\n")
                assert client.recv(4096).endswith(b"Hello, world!")
                took.append(time.monotonic() - sent)
    finally:
        os.sched_setaffinity(0, usual)
    return statistics.median(took) - service_s


@needs_quiet
def test_k1_constant_arrivals_fixed_service(tmp_path):
    """Every response is the service and the floor; nothing queues at half load."""
    with stub(tmp_path, "--service", "fixed:0.010", "--concurrency", 1) as server:
        floor = floor_s(server, 0.010)

        def right(it):
            middle = it.percentile(50)
            return middle < 1.05 * 0.010 + floor and it.percentile(99) - middle < 0.001

        result = quietest(
            lambda: drive_stub(tmp_path, server, Load(50, "open", 50, "constant"), warmup_s=0.5),
            right,
        )
    assert result.summary["ok"] == result.summary["offered"] == 150
    assert 0.010 <= result.percentile(0) < result.percentile(50)
    assert right(result), [result.percentile(q) for q in (50, 99)]


STATIONS = [
    ("exp:100", lambda source: source.expovariate(100)),  # known answer 2, M/M/1
    ("fixed:0.010", lambda _: 0.010),  # known answer 3, M/D/1
]


def station(folder, knob, draw, seconds):
    """(expected response times, what was recorded) at 70/s and a service of 100/s.

    Arrivals and services are drawn from seeds, so Lindley's recursion knows every response;
    that its long-run figures are the textbook's is a test of its own.
    """
    due_s = schedule(70, seconds, "poisson", 11) / 1e9
    source = random.Random(5)
    expected = queue_responses(due_s, [draw(source) for _ in due_s])
    with stub(folder, "--service", knob, "--seed", 5, "--concurrency", 1) as server:
        load = Load(512, "open", 70, "poisson")
        result = drive_stub(folder, server, load, duration_s=seconds, seed=11)
    assert result.summary["ok"] == len(expected)
    return expected, result


def floor_of_stations(folder):
    with stub(folder, "--service", "fixed:0.010", "--concurrency", 1) as server:
        return floor_s(server, 0.010)


def over(both, q):
    """How far a percentile is above the exact one, in seconds, and how far it may be in 5 %."""
    expected, result = both
    exact = np.percentile(expected, q, method="inverted_cdf")
    return result.percentile(q) - exact, 0.05 * exact


def close(both, percentiles, floor):
    """Whether these percentiles are the exact ones, to 5 % and the floor, and never below them."""
    return all(
        -0.4 * limit < excess < limit + floor
        for excess, limit in (over(both, q) for q in percentiles)
    )


@pytest.mark.parametrize(("knob", "draw"), STATIONS)
@needs_quiet
def test_k2_k3_poisson_arrivals_at_one_station(tmp_path, knob, draw):
    """One stall of the host moves the mean and the tail of seconds, but not the lower half."""
    floor = floor_of_stations(tmp_path)
    both = quietest(
        lambda: station(tmp_path, knob, draw, 6.0), lambda both: close(both, (25, 50, 75), floor)
    )
    excess, limit = over(both, 10)
    assert excess > -0.2 * limit  # never faster than possible
    assert close(both, (25, 50, 75), floor), [over(both, q) for q in (25, 50, 75)]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("knob", "draw"), STATIONS)
@needs_quiet
def test_k2_k3_mean_and_tail(tmp_path, knob, draw):
    floor = floor_of_stations(tmp_path)

    def right(both):
        mean = both[0].mean()
        right_mean = 0.98 * mean < both[1].mean() < 1.05 * mean + floor
        return right_mean and close(both, (50, 95, 99), floor)

    both = quietest(lambda: station(tmp_path, knob, draw, 20.0), right)
    assert right(both), [(q, over(both, q)) for q in (50, 95, 99)]


@pytest.mark.parametrize(("concurrency", "rate", "response"), [(1, 100, 0.080), (0, 800, 0.010)])
@needs_quiet
def test_k6_closed_load_at_a_fixed_service(tmp_path, concurrency, rate, response):
    """8 users: one at a time X = 1/D and R = N D; all at once X = N/D and R = D."""
    close = pytest.approx((rate, response), rel=0.05)
    with stub(tmp_path, "--service", "fixed:0.010", "--concurrency", concurrency) as server:
        result = quietest(
            lambda: drive_stub(tmp_path, server, Load(8), warmup_s=0.5),
            lambda it: (it.summary["ok"] / 3, it.mean()) == close,
        )
    assert (result.summary["ok"] / 3, result.mean()) == close
    assert result.summary["ok"] / 3 <= rate * 1.01


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_k8_freeze_is_seen_by_all_who_should_have_been_sent(tmp_path):
    """1,000/s for 60 s, one freeze of 1 s: 1,000 requests wait from 0 to 1 s. A recorder that
    is blind to coordinated omission sees milliseconds.
    """
    with stub(tmp_path, "--freeze", "20,1") as server:
        load = Load(2000, "open", 1000, "constant")
        result = drive_stub(tmp_path, server, load, duration_s=60.0)
    assert result.summary["ok"] == 60_000
    assert result.summary["unsent"] == 0
    for q, expected in ((99, 0.400), (99.5, 0.700), (99.9, 0.940)):
        assert result.percentile(q) == pytest.approx(expected, rel=0.05)
    assert result.percentile(50) < 0.005


def test_k14_what_the_cap_forbids_is_counted_as_unsent(tmp_path):
    """5 in flight at most, answers of 1 s, 100/s for 10 s."""
    with stub(tmp_path, "--service", "fixed:1.0") as server:
        load = Load(5, "open", 100, "constant")
        result = drive_stub(tmp_path, server, load, duration_s=10.0)
        counters = server.counters()
    sent = result.summary["since_start"]["sent"]
    assert 45 <= sent <= 55
    assert sent + result.summary["unsent"] == result.summary["offered"] == 1000
    assert counters["received"] == sent
    assert result.summary["ok"] + result.summary["unanswered"] == sent


@needs_quiet
def test_k19_lognormal_service_below_a_millisecond(tmp_path):
    """p50 0.45 ms and p99 1.44 ms: stock Locust prints 0 and 1.

    Waking up the stub and us takes its time, most on a virtual machine: the same service
    without its spread shows how much, in the same try.
    """

    def measure():
        both = []
        for knob in ("fixed:0.00045", "lognormal:0.00045,0.5"):
            with stub(tmp_path, "--service", knob) as server:
                both.append(drive_stub(tmp_path, server, Load(1), duration_s=3.0))
        return both

    def wide(both):
        floor = both[0].percentile(50) - 0.00045
        return both[1].percentile(50) - floor, both[1].percentile(99) - floor

    def right(both):
        p50, p99 = wide(both)
        return p50 == pytest.approx(0.00045, rel=0.05) and 0.00135 < p99 < 0.00165

    both = quietest(measure, right)
    assert both[0].percentile(50) - 0.00045 < 0.0003
    assert right(both), wide(both)


@needs_quiet
def test_k15_busy_generator_is_named(tmp_path):
    """20 ms in every 50 are taken from the loop: lag says so, response has it, service less."""
    busy = tmp_path / "busy.py"
    busy.write_text(
        "import time, gevent\n"
        "from locust import events\n"
        "from harness.load import Exchange, HttpUser\n"
        "class Busy(HttpUser):\n"
        "    exchange = Exchange('GET', '/', expect=b'Hello, world!')\n"
        "def hog():\n"
        "    while True:\n"
        "        end = time.monotonic() + 0.02\n"
        "        while time.monotonic() < end: pass\n"
        "        gevent.sleep(0.03)\n"
        "@events.test_start.add_listener\n"
        "def start(**_): gevent.spawn(hog)\n"
    )
    with stub(tmp_path) as server:
        load = Load(64, "open", 500, "constant")
        hogged = drive_stub(tmp_path, server, load, file=busy)
        free = quietest(
            lambda: drive_stub(tmp_path, server, load), lambda it: it.percentile(99, "lag") < 0.001
        )
    assert hogged.percentile(99, "lag") > 0.015
    assert hogged.summary["ok"] == hogged.summary["offered"] == 1500  # late, but never fewer
    assert free.percentile(99, "lag") < 0.001


@pytest.mark.skipif(shutil.which("wrk") is None, reason="no wrk here: apt-get install wrk")
@needs_quiet
def test_percentiles_agree_with_wrk():
    """The same server in the same seconds, measured by another program."""
    bench = Bench(SCENARIOS, PLACEMENT, 2.0)

    def measure():
        found = agreement(bench, {"gatebench", "wrk"})
        ours, theirs = found["gatebench"], found["wrk"]
        return [(ours[f"p{q}_as_wrk_s"], theirs[f"p{q}_s"]) for q in (50, 90, 99)]

    def agree(pairs):
        return all(abs(ours - theirs) < max(0.05 * theirs, 50e-6) for ours, theirs in pairs)

    pairs = quietest(measure, agree)
    assert agree(pairs), pairs
