"""Messages against the stub: echoed, pushed, dropped, doubled and swapped, each counted exactly."""

import json
import threading

import pytest
import websockets.sync.server

from harness.model import Load, MeasurementError
from harness.ports import free_port
from harness.tests.loads import Stub, drive_stub, locustfile, stub
from harness.tests.quiet import needs_quiet, quietest

pytestmark = [pytest.mark.servers, pytest.mark.alone]

MANY = ("class Many(WebSocketUser):", "    message = b'x' * 64", "    in_flight = 8")
FAULTS = {
    "dropped": ["--ws-drop-every", 7],
    "duplicated": ["--ws-duplicate-every", 11],
    "reordered": ["--ws-reorder-every", 13],
}
SAID = {"dropped": "never came", "duplicated": "twice", "reordered": "after"}


def balance(result):
    totals = result.summary["since_start"]
    assert totals["sent"] == totals["ok"] + totals["failed"] + result.summary["in_flight"]
    return totals


@pytest.mark.parametrize("faults", [["dropped"], ["duplicated"], ["reordered"], list(FAULTS)])
def test_k26_each_fault_of_an_echo_is_counted_exactly(tmp_path, faults):
    """What is still in flight at the end may be dropped as well; nobody can know."""
    knobs = [knob for fault in faults for knob in FAULTS[fault]]
    with stub(tmp_path, "--service", "fixed:0.0005", *knobs) as server:
        file = locustfile(tmp_path, *MANY)
        result = drive_stub(tmp_path, server, Load(3), duration_s=1.2, file=file)
        counters = server.counters()
    totals = balance(result)
    injected = sum(counters[f"ws_{fault}"] for fault in faults)
    assert injected - result.summary["in_flight"] <= totals["failed"] <= injected
    assert totals["failed"] > 50
    assert totals["connects"] == 3
    (error,) = result.summary["errors"]
    assert error["kind"] == "bad-body"
    assert len(error["examples"]) == len(faults)  # each has its own words
    for fault in faults:
        assert any(SAID[fault] in example for example in error["examples"])


def test_k26_one_at_a_time_a_second_echo_is_not_taken_for_the_next(tmp_path):
    with stub(tmp_path, *FAULTS["duplicated"], "--service", "fixed:0.0005") as server:
        result = drive_stub(tmp_path, server, Load(3), scenario="websocket-echo", duration_s=1.0)
        counters = server.counters()
    totals = balance(result)
    assert counters["ws_duplicated"] - 3 <= totals["failed"] <= counters["ws_duplicated"]
    assert totals["failed"] > 50
    assert totals["connects"] == 3
    assert totals["ok"] + result.summary["in_flight"] == counters["ws_received"]


def test_k26_one_at_a_time_a_dropped_echo_is_a_timeout(tmp_path):
    with stub(tmp_path, "--ws-drop-every", 20, "--service", "fixed:0.001") as server:
        load = Load(3, deadline_s=0.1)
        result = drive_stub(tmp_path, server, load, scenario="websocket-echo", duration_s=1.2)
        counters = server.counters()
    totals = balance(result)
    assert set(result.errors) == {"timeout"}
    assert counters["ws_dropped"] - 3 <= totals["failed"] <= counters["ws_dropped"]
    assert totals["failed"] >= 20
    assert totals["connects"] >= totals["failed"]


PUSHED = ["websocket-ticks", "server-sent-events"]


@pytest.mark.parametrize("scenario", PUSHED)
@needs_quiet
def test_every_event_is_heard_once_in_order_and_soon(tmp_path, scenario):
    with stub(tmp_path, period_s=0.02) as server:
        result = quietest(
            lambda: drive_stub(tmp_path, server, Load(20), scenario=scenario, duration_s=1.2),
            lambda it: it.percentile(50, "delay") < 0.003,
        )
    totals = balance(result)
    assert result.errors == {}
    assert result.summary["ok"] == pytest.approx(20 * 60, abs=40)
    assert totals["connects"] == 20
    assert 0 <= result.percentile(0, "delay") < result.percentile(50, "delay") < 0.003
    assert result.summary["in_flight"] == 0


@pytest.mark.parametrize("scenario", PUSHED)
@pytest.mark.parametrize("faults", [["dropped"], ["duplicated"], list(FAULTS)])
def test_each_fault_of_a_push_is_counted_exactly(tmp_path, scenario, faults):
    """What is held back at the very end was not sent, and cannot be missed."""
    knobs = [knob for fault in faults for knob in FAULTS[fault]]
    with stub(tmp_path, *knobs, period_s=0.01) as server:
        result = drive_stub(tmp_path, server, Load(3), scenario=scenario, duration_s=1.0)
        counters = server.counters()
    totals = balance(result)
    injected = sum(counters[f"ws_{fault}"] for fault in faults)
    assert injected - 3 <= totals["failed"] <= injected
    assert totals["failed"] > 20
    assert totals["connects"] == 3
    assert set(result.errors) == {"bad-body"}
    # each message that was sent was counted once, right or wrong
    missing = totals["failed"] - counters["ws_duplicated"] - counters["ws_reordered"]
    assert totals["sent"] - missing == pytest.approx(counters["ws_sent"], abs=6)


@pytest.mark.parametrize("scenario", [*PUSHED, "long-poll"])
def test_events_are_not_asked_for_at_a_rate(tmp_path, scenario):
    rate = Load(2, "open", 10, "constant")
    with stub(tmp_path) as server, pytest.raises(MeasurementError) as caught:
        drive_stub(tmp_path, server, rate, scenario=scenario, duration_s=1.0)
    assert "asked by the server's events, not at a rate: no --rate" in caught.value.log


def test_silent_stream_is_a_timeout(tmp_path):
    with stub(tmp_path, period_s=0.5) as server:
        load = Load(2, deadline_s=0.2)
        result = drive_stub(tmp_path, server, load, scenario="websocket-ticks", duration_s=1.2)
    balance(result)
    assert result.errors["timeout"] >= 6


@needs_quiet
def test_k27_long_poll_is_held_and_answered_with_the_event(tmp_path):
    """100 clients, an event each half second: 2 messages per second each, about 100 held."""
    whole = pytest.approx(100 * 2.0 * 4.0, rel=0.01)
    with stub(tmp_path, period_s=0.5) as server:
        result = quietest(
            lambda: drive_stub(
                tmp_path, server, Load(100), scenario="long-poll", warmup_s=0.6, duration_s=4.0
            ),
            lambda it: it.percentile(50, "delay") < 0.006 and it.summary["ok"] == whole,
        )
        counters = server.counters()
    balance(result)
    assert result.errors == {}
    assert result.summary["ok"] == whole
    assert counters["max_open"] == 100
    assert 0 <= result.percentile(0, "delay") < result.percentile(50, "delay") < 0.006
    assert result.percentile(50) == pytest.approx(0.5, rel=0.05)


IDLE = (
    "class Idle(WebSocketUser):",
    "    message = b'x' * 64",
    "    pause_s = 1.0",
)
SELDOM = (
    "class Seldom(HttpUser):",
    "    exchange = Exchange('GET', '/', expect=b'Hello, world!')",
    "    pause_s = 1.0",
)


@pytest.mark.parametrize("lines", [IDLE, SELDOM])
def test_pauses_are_kept_and_spread_from_the_start(tmp_path, lines):
    """N users give N / pause_s messages per second, in each part of a second."""
    with stub(tmp_path) as server:
        file = locustfile(tmp_path, *lines)
        result = drive_stub(tmp_path, server, Load(200), duration_s=2.5, file=file)
        counters = server.counters()
    totals = balance(result)
    assert result.errors == {}
    assert totals["connects"] == counters["accepted"] == 200
    assert result.summary["ok"] == pytest.approx(500, rel=0.08)
    ticks = result.ticks[result.ticks["tick"].between(1, 23)].groupby("tick")["ok"].sum()
    assert ticks.between(8, 32).all()  # 20 in each 100 ms, where 200 would be all at once
    assert result.percentile(50) < 0.005


@pytest.fixture
def closing_server():
    """A WebSocket server that says goodbye after the third message, and notes the answers."""
    answers = []

    def handle(connection):
        for number, message in enumerate(connection, 1):
            connection.send(message)
            if number == 3:
                connection.close(1001, "enough")
                answers.append(connection.protocol.close_rcvd.code)
                return

    with websockets.sync.server.serve(handle, "127.0.0.1", port := free_port()) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Stub(f"http://127.0.0.1:{port}", port), answers
        server.shutdown()
        thread.join()


def test_goodbye_of_the_server_is_answered_and_counted(tmp_path, closing_server):
    server, answers = closing_server
    result = drive_stub(tmp_path, server, Load(1), scenario="websocket-echo", duration_s=1.0)
    totals = balance(result)
    assert set(result.errors) == {"early-close"}
    assert "1001 enough" in json.dumps(result.summary["errors"])
    # the user's own goodbye, if the end of the run found it connected
    assert [code for code in answers if code != 1001] in ([], [1000])
    assert 1001 in answers
    assert len(answers) >= totals["failed"] > 3
    assert totals["ok"] == pytest.approx(3 * len(answers), abs=3)
