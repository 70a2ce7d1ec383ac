"""Calibration: its order, its ratios, what wrk's output says, and one short run of it."""

import json
import signal
import sys
import time
from itertools import groupby

import numpy as np
import psutil
import pytest
from rich.console import Console

from harness.calibrate import PARTS, Measurement, Plan, Step, document, meter, wrk
from harness.calibrate.figures import limit
from harness.model import MeasurementError
from harness.report.calibration import line, print_calibration
from harness.store import plain
from harness.tests.commands import gatebench, started

HELLO, ADDED, IDLE = PARTS["hello"], PARTS["added-latency"], PARTS["idle-http"]
SHOWN = {
    "machine": {
        "cpu": "a CPU", "cpus_usable": [0, 1], "system": "Linux", "kernel": "6", "hypervisor": True
    },
    "placement": {"server": [0], "generator": [1], "notes": ["a note on CPUs"]},
    "versions": {"locust": "2.47.0", "wrk": None}, "load_before": 0.5, "load_after": 1.5,
    "ended": "complete",
}  # fmt: skip

OUTPUT = """\
Running 1s test @ http://127.0.0.1:18123/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   245.73us    1.05ms  14.39ms   98.24%
    Req/Sec   204.85k    26.10k  225.02k    80.00%
  Latency Distribution
     50%  117.00us
     75%    1.47ms
     90%    1.02s
     99%    1.10m
  203452 requests in 1.00s, 15.13MB read
Requests/sec: 203259.72
Transfer/sec:     15.12MB
"""


def plan(*parts, pairs=3, seed=1, missing=()):
    return Plan(parts or tuple(PARTS.values()), pairs, 2.0, seed, dict.fromkeys(missing, "apt-get"))


def speed(part, pair, generator, per_s, per_cpu_s, cpu=0.9, server=0.5, errors=0):
    figures = {
        "requests_per_s": per_s, "requests_per_cpu_s": per_cpu_s, "cpu_share": cpu,
        "server_cpu_share": server, "errors": errors,
    }  # fmt: skip
    return Measurement(Step(part, pair, generator), figures)


def times(pair, generator, per_s, p50, p99):
    values = {"p50_s": p50, "p90_s": p50, "p99_s": p99}
    if generator == "gatebench":
        values |= {"p50_as_wrk_s": p50, "p90_as_wrk_s": p50, "p99_as_wrk_s": p99 * 2}
    figures = {"requests_per_s": per_s, **values, "errors": 0}
    return Measurement(Step(ADDED, pair, generator), figures)


def rows(found, part):
    (it,) = [it for it in found["parts"] if it["part"] == part.name]
    return {row["generator"]: row for row in it["generators"]}


def shown(found, width=120):
    json.dumps(plain(found), allow_nan=False)
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        print_calibration(plain(found), console)
        return console.export_text()


# The order


def test_every_pair_has_each_generator_once_right_after_each_other():
    for (part, pair), steps in groupby(plan().order(), lambda step: (step.part, step.pair)):
        assert sorted(step.generator for step in steps) == sorted(part.generators), pair


def test_each_part_has_its_pairs_in_order_and_the_idle_ones_fewer():
    steps = plan(pairs=4).order()
    assert [pair for pair, _ in groupby(it.pair for it in steps if it.part is HELLO)] == [
        *(1, 2, 3, 4)
    ]
    assert max(it.pair for it in steps if it.part is IDLE) == 2


def test_order_comes_from_the_seed_and_is_shuffled():
    assert plan(seed=3).order() == plan(seed=3).order()
    assert plan(seed=3).order() != plan(seed=4).order()
    first = {plan(HELLO, seed=seed).order()[0].generator for seed in range(50)}
    assert first == set(HELLO.generators)


def test_a_missing_generator_is_not_measured():
    assert "wrk" not in {step.generator for step in plan(missing=["wrk"]).order()}


def test_added_latency_alone_measures_hello_once_before():
    first, *others = plan(ADDED).order()
    assert (first.part, first.pair, first.generator) == (HELLO, 0, "gatebench")
    assert {step.part for step in others} == {ADDED}
    assert all(step.pair for step in plan(HELLO, ADDED).order())


def test_the_default_run_is_said_to_take_less_than_five_minutes():
    default = plan(pairs=5)
    assert 60 < default.estimate_s(default.order()) < 300


# The figures


def test_ratios_are_taken_within_pairs_before_the_median():
    found = document(
        plan(HELLO),
        [
            speed(HELLO, 1, "gatebench", 100, 1000), speed(HELLO, 1, "wrk", 200, 1000),
            speed(HELLO, 2, "wrk", 20, 500), speed(HELLO, 2, "gatebench", 40, 1000),
            speed(HELLO, 3, "gatebench", 90, 900), speed(HELLO, 3, "wrk", 90, 1000),
        ],
        SHOWN,
    )  # fmt: skip
    row = rows(found, HELLO)["wrk"]
    assert row["ratios"]["requests_per_s"] == {"median": 1.0, "low": 0.5, "high": 2.0}
    assert row["ratios"]["requests_per_cpu_s"] == {"median": 1.0, "low": 0.9, "high": 2.0}
    assert row["figures"]["requests_per_s"] == {"median": 90, "low": 20, "high": 200}
    assert "0.5" in shown(found)


def test_a_failure_is_named_and_its_pair_gives_no_ratio():
    failed = Measurement(Step(HELLO, 1, "wrk"), failure="wrk printed no result", log="its log")
    ours = [speed(HELLO, pair, "gatebench", 100, 1000) for pair in (1, 2)]
    found = document(plan(HELLO, pairs=2), [*ours, failed, speed(HELLO, 2, "wrk", 50, 500)], SHOWN)
    row = rows(found, HELLO)["wrk"]
    assert row["measured"] == 1
    assert row["failures"] == [{"pair": 1, "reason": "wrk printed no result"}]
    assert row["ratios"]["requests_per_s"] == {"median": 2.0, "low": 2.0, "high": 2.0}
    assert "hello, wrk: 1 of 2 failed: wrk printed no result" in shown(found)
    assert "FAILED: wrk printed no result" in line(failed)


def test_without_ours_there_is_no_ratio_and_no_zero():
    failed = Measurement(Step(HELLO, 1, "gatebench"), failure="it broke")
    found = document(plan(HELLO, pairs=1), [failed, speed(HELLO, 1, "wrk", 50, 500)], SHOWN)
    assert rows(found, HELLO)["gatebench"]["figures"] == {}
    assert rows(found, HELLO)["wrk"]["ratios"]["requests_per_s"] is None
    assert "gatebench" in shown(found)


def test_a_missing_generator_has_null_ratios_and_one_line_that_says_what_installs_it():
    found = document(
        Plan((HELLO, ADDED), 1, 2.0, 1, {"wrk": wrk.INSTALL}),
        [speed(HELLO, 1, "gatebench", 100, 1000), times(1, "gatebench", 10, 1e-4, 1e-3)],
        SHOWN,
    )
    row = rows(found, HELLO)["wrk"]
    assert row["missing"] == "apt-get install wrk"
    assert row["ratios"] == {"requests_per_s": None, "requests_per_cpu_s": None}
    assert set(rows(found, ADDED)["wrk"]["differences"].values()) == {None}
    assert [note for note in found["notes"] if "apt-get install wrk" in note] == [
        "wrk is not installed, so its rows are left out: apt-get install wrk"
    ]
    # its row is left out of the tables, not shown empty
    assert not [text for text in shown(found).splitlines() if text.strip().startswith("wrk ")]


def test_pairs_interrupted_before_anything_was_measured_are_an_empty_document():
    found = document(plan(), [], SHOWN | {"ended": "interrupted"})
    assert found["measurements"] == []
    assert "the calibration is interrupted" in shown(found)


@pytest.mark.parametrize(
    ("cpu", "server", "side"),
    [(0.99, 0.5, "generator"), (0.5, 0.97, "server"), (0.5, 0.6, None), (0.96, 0.97, "generator")],
)
def test_which_side_was_the_limit(cpu, server, side):
    assert limit(cpu, server) == side


def test_a_busy_responder_is_said_to_be_the_limit_of_requests_per_second():
    measured = [
        speed(HELLO, 1, "gatebench", 100, 1000, cpu=0.6, server=0.98),
        speed(HELLO, 1, "HttpUser", 10, 10, cpu=1.0, server=0.1),
        speed(HELLO, 1, "wrk", 10, 10, cpu=0.4, server=0.3, errors=7),
    ]
    notes = document(plan(HELLO, pairs=1), measured, SHOWN)["notes"]
    (server,) = [note for note in notes if "not this generator's ceiling" in note]
    assert server.startswith("hello, gatebench: the null responder used all of its CPU")
    (neither,) = [note for note in notes if "neither side" in note]
    assert "under wrk:" in neither
    assert "hello, wrk: up to 7 errors in a window" in notes


def test_latencies_are_compared_only_where_the_rates_were_alike():
    measured = [
        times(1, "gatebench", 1000, 1e-4, 2e-4), times(1, "wrk", 900, 8e-5, 3e-4),
        times(2, "gatebench", 1000, 1e-4, 9e-4), times(2, "wrk", 700, 1e-5, 1e-5),
    ]  # fmt: skip
    found = document(plan(ADDED, pairs=2), measured, SHOWN)
    row = rows(found, ADDED)["wrk"]
    assert row["pairs_at_the_same_load"] == 1
    assert row["differences"]["p50_s"]["median"] == pytest.approx(2e-5)
    # like with like: ours as wrk counts, less wrk's
    assert row["differences"]["p99_s"]["median"] == pytest.approx(1e-4)
    assert "in 1 of 2 pairs the rates differed by more than 20%" in shown(found)
    apart = document(plan(ADDED, pairs=1), measured[2:], SHOWN)
    assert rows(apart, ADDED)["wrk"]["differences"]["p50_s"] is None


@pytest.mark.parametrize("width", [80, 120])
def test_no_number_is_cut_in_a_table(width):
    measured = [
        measurement
        for pair in (1, 2, 3)
        for measurement in (
            *(speed(HELLO, pair, name, 123456.7 * pair, 98765.4 * pair) for name in
              HELLO.generators),
            times(pair, "gatebench", 12345, 1.23e-4 * pair, 4.56e-3 * pair),
            times(pair, "wrk", 12345, 1.21e-4, 4.51e-3),
        )
    ]  # fmt: skip
    text = shown(document(plan(HELLO, ADDED), measured, SHOWN), width)
    assert "…" not in text
    assert "98,765..296,296" in text


# wrk


def test_wrk_output_is_read_with_its_units():
    output = wrk.parse(OUTPUT)
    assert output.requests == 203452
    assert output.seconds == pytest.approx(203452 / 203259.72)
    assert output.errors == {}
    assert output.percentiles_s == pytest.approx({50: 117e-6, 75: 1.47e-3, 90: 1.02, 99: 66.0})


def test_wrk_errors_are_read_and_wrong_statuses_are_no_answers():
    text = OUTPUT.replace(
        "Requests/sec",
        "  Socket errors: connect 3, read 0, write 1, timeout 12\n"
        "  Non-2xx or 3xx responses: 452\nRequests/sec",
    )
    output = wrk.parse(text)
    assert output.requests == 203000
    assert output.errors == {"connect": 3, "write": 1, "timeout": 12, "status": 452}
    # the rate counts them, so the seconds are still those of all
    assert output.seconds == pytest.approx(203452 / 203259.72)


@pytest.mark.parametrize(
    ("text", "value"), [("812", 812), ("12.34k", 12340), ("1.20M", 1.2e6), ("0.00", 0)]
)
def test_wrk_quantities(text, value):
    assert wrk.quantity(text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "value"), [("611.26us", 611.26e-6), ("1.05ms", 1.05e-3), ("2.00s", 2), ("1.50m", 90)]
)
def test_wrk_durations(text, value):
    assert wrk.seconds(text) == pytest.approx(value)


def test_wrk_without_any_answer_has_seconds_and_no_requests():
    text = "  0 requests in 2.04s, 0.00B read\nRequests/sec:      0.00\n"
    output = wrk.parse(text)
    assert (output.requests, output.seconds) == (0, 2.04)


@pytest.mark.parametrize(
    "text", ["", "unable to connect to 127.0.0.1:1 Connection refused\n", OUTPUT[:200]]
)
def test_wrk_output_without_a_result_is_a_failure_with_its_text(text):
    with pytest.raises(MeasurementError, match="wrk printed no result") as raised:
        wrk.parse(text)
    assert raised.value.log == text


def test_wrk_is_called_with_whole_seconds():
    argv = wrk.command("http://it", connections=8, duration_s=1.5, header="Connection: close")
    assert argv[:7] == ["wrk", "-t", "1", "-c", "8", "-d", "2s"]
    assert argv[-3:] == ["-H", "Connection: close", "http://it"]


def test_latencies_are_corrected_as_wrk_does_it():
    """Against its algorithm as it stands in stats.c, on counts of whole microseconds."""
    draw = np.random.default_rng(1)
    values = np.sort(draw.integers(1, 400, 300))
    interval = 37
    data = np.bincount(values, minlength=400)
    for n in range(2 * interval, 400):
        at = n - interval
        while data[n] and at > interval:
            data[at] += data[n]
            at -= interval
    # wrk goes upwards, so what it added at one place is not counted again at a later one
    expected = np.repeat(np.arange(400), data)
    assert np.array_equal(np.sort(wrk.corrected(values, interval)), expected)


# The meter


def test_meter_writes_what_a_program_used_and_exits_like_it(tmp_path):
    used = tmp_path / "used.json"
    spin = "import time\nend = time.process_time() + 0.1\nwhile time.process_time() < end: pass"
    assert meter.main(str(used), sys.executable, "-S", "-c", f"{spin}\nraise SystemExit(7)") == 7
    figures = json.loads(used.read_text())
    assert figures["code"] == 7
    assert 0.1 <= figures["cpu_s"] < 5
    assert figures["end_ns"] - figures["start_ns"] >= 0.1e9


# The command


def test_an_unknown_part_is_one_line_and_exit_code_2(tmp_path):
    finished = gatebench("calibrate", "--only", "helo", cwd=tmp_path)
    assert finished.code == 2
    assert "unknown part 'helo'; there are hello, echo" in finished.complaint


@pytest.mark.servers
def test_a_short_run_measures_every_generator(tmp_path):
    finished = gatebench(
        *("calibrate", "--json", "--pairs", "1", "--duration", "1s", "--seed", "5"),
        *("--only", "hello,websocket-echo"),
        cwd=tmp_path,
    )
    assert finished.code == 0, finished.err
    found = finished.document
    assert [part["part"] for part in found["parts"]] == ["hello", "websocket-echo"]
    assert found["ended"] == "complete"
    assert found["seed"] == 5
    for part in found["parts"]:
        ours, *others = part["generators"]
        assert ours["generator"] == "gatebench"
        assert ours["figures"]["errors"]["high"] == 0
        for row in others:
            if not row["missing"]:
                assert row["measured"] == 1
                assert row["figures"]["errors"]["high"] == 0
                assert row["ratios"]["requests_per_cpu_s"]["median"] > 0
                assert 0 < row["figures"]["cpu_share"]["median"] < 1.2
    assert len(finished.err.splitlines()) == 1 + len(found["measurements"])


@pytest.mark.servers
def test_without_wrk_the_rest_is_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    finished = gatebench(
        *("calibrate", "--json", "--pairs", "1", "--duration", "1s", "--only", "agreement"),
        cwd=tmp_path,
    )
    assert finished.code == 0, finished.err
    ours, other = finished.document["parts"][0]["generators"]
    # nobody is faster than the server's 5 ms
    assert ours["figures"]["p50_s"]["median"] >= 5e-3
    assert (other["missing"], other["differences"]["p50_s"]) == ("apt-get install wrk", None)


@pytest.mark.servers
def test_ctrl_c_shows_what_was_measured_and_leaves_nothing_running(tmp_path):
    with started(
        *("calibrate", "--json", "--pairs", "9", "--duration", "1s", "--only", "hello"),
        cwd=tmp_path,
    ) as process:
        lines = iter(process.stderr.readline, "")
        assert any(text.startswith("[1/") for text in lines)
        family = psutil.Process(process.pid)
        deadline = time.monotonic() + 20
        while len(children := family.children(recursive=True)) < 4:  # two trees are at work
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted: " in err
    found = json.loads(out)
    assert found["ended"] == "interrupted"
    assert 1 <= len(found["measurements"]) < 36
    assert not psutil.wait_procs(children, timeout=10)[1]
