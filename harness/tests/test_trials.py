"""From a stored trial to its row: known requests and processes, known figures."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from harness.analyze import records, trials_frame
from harness.analyze.trials import COLUMNS
from harness.drive import Drive
from harness.store import UnreadableRunError
from harness.tests.builders import (
    GENERATOR,
    MIB,
    SERVER,
    START_NS,
    Process,
    Requests,
    RunBuilder,
    cell,
    closed,
    nanoseconds,
    none,
    random_times,
    scenario,
)

WINDOW_S = 5.0
IDLE = replace(GENERATOR, cpu=0.0)


def row_of(
    tmp_path, requests, processes=(SERVER, GENERATOR), *, it=None, generator_cpus=(7,), **facts
):
    builder = RunBuilder(tmp_path, generator_cpus=generator_cpus)
    builder.measured(it or cell(), requests, processes, **facts)
    rows = records(trials_frame(builder.read()))
    assert len(rows) == 1
    return rows[0]


def exact(values, q):
    """The order statistic: the smallest value with a share of at least q at or below it."""
    ordered = np.sort(values)
    return ordered[max(1, math.ceil(q * len(ordered) / 100 - 1e-9)) - 1]


def test_throughput_counts_right_answers_of_the_window_alone(tmp_path):
    requests = closed(users=10, took_s=0.05)
    row = row_of(tmp_path, requests)
    assert len(requests.done_s) > 1000  # the warm-up's are there too
    assert row["requests"] == 1000
    assert row["window_s"] == WINDOW_S
    assert row["throughput_per_s"] == 200.0


def test_percentiles_are_the_order_statistics_of_the_window(tmp_path):
    requests = random_times()
    # had the warm-up been counted, or had percentiles been averaged, this would show
    requests = replace(requests, took_s=np.where(requests.done_s < 0, 9.0, requests.took_s))
    row = row_of(tmp_path, requests)
    inside = requests.took_s[requests.done_s >= 0]
    assert inside.std() > 0.005
    for name, q in (("p50_s", 50), ("p90_s", 90), ("p99_s", 99), ("max_s", 100)):
        assert row[name] == pytest.approx(exact(inside, q), rel=1e-3), name
    assert row["min_s"] == pytest.approx(inside.min(), rel=1e-3)
    assert row["min_s"] <= inside.min()
    assert row["longest_s"] == pytest.approx(inside.max(), rel=1e-3)
    assert row["longest_s"] >= inside.max()


def test_percentiles_are_of_all_seconds_together(tmp_path):
    """A bad second of many: its own p99, or the mean of five p99s, is another number."""
    requests = closed(users=10, took_s=0.01)
    bad = (requests.done_s >= 2) & (requests.done_s < 3)
    took = np.where(bad, np.linspace(0.01, 0.5, len(bad)), requests.took_s)
    inside = took[requests.done_s >= 0]
    row = row_of(tmp_path, replace(requests, took_s=took))
    assert row["p90_s"] == pytest.approx(exact(inside, 90), rel=1e-3)
    assert row["p99_s"] == pytest.approx(exact(inside, 99), rel=1e-3)


def test_mean_is_exact_and_not_of_bucket_middles(tmp_path):
    requests = random_times()
    took = nanoseconds(requests.took_s[requests.done_s >= 0])
    row = row_of(tmp_path, requests)
    assert row["mean_s"] == pytest.approx(took.sum() / len(took) / 1e9, rel=1e-12)


def test_errors_are_taken_out_of_throughput_and_latency(tmp_path):
    good = closed(users=10, took_s=0.05)
    failed = np.array([-0.5, 0.0, 1.0, 2.0, 4.9])
    row = row_of(
        tmp_path, replace(good, failed_at_s=failed), errors={"bad-status": 3, "timeout": 1}
    )
    assert row["errors"] == 4  # that of the warm-up is none of the window's
    assert row["requests"] == 1000
    assert row["throughput_per_s"] == 200.0
    assert row["max_s"] == pytest.approx(0.05, rel=1e-3)
    assert row["mean_s"] == pytest.approx(0.05)
    assert row["error_kinds"] == {"bad-status GET /": 3, "timeout GET /": 1}


def test_latency_is_the_delay_where_that_is_what_users_feel(tmp_path):
    delays = np.linspace(0.001, 0.004, 500)
    requests = replace(
        closed(users=10, took_s=0.5),
        delayed_at_s=np.concatenate([[-0.5], np.linspace(0.0, 4.99, 500)]),
        delay_s=np.concatenate([[3.0], delays]),
    )
    row = row_of(tmp_path, requests, it=cell(work=scenario("long-poll", latency="delay")))
    assert row["latency_measure"] == "delay"
    assert row["p50_s"] == pytest.approx(exact(delays, 50), rel=1e-3)
    assert row["max_s"] == pytest.approx(0.004, rel=1e-3)
    # how long requests took stays known beside it: Little's law is about them
    assert row["mean_s"] == pytest.approx(0.5)
    assert row["min_s"] == pytest.approx(0.5, rel=1e-3)


def test_cpu_of_the_window_is_interpolated_at_its_edges(tmp_path):
    """Samples fall 37 ms beside the edges; without them a tenth of a second would be lost."""
    row = row_of(tmp_path, closed(), [replace(SERVER, cpu=0.4), replace(GENERATOR, cpu=0.3)])
    assert row["server_cpu_s"] == pytest.approx(0.4 * WINDOW_S, rel=1e-9)
    assert row["server_cpu_share"] == pytest.approx(0.4, rel=1e-9)
    assert row["server_cpu_s_per_1k"] == pytest.approx(0.4 * WINDOW_S, rel=1e-9)  # of 1,000
    assert row["generator_cpu_share"] == pytest.approx(0.3, rel=1e-9)


def test_cpu_of_warm_up_and_of_the_end_is_not_counted(tmp_path):
    def used(at: float) -> float:
        # busy before -0.063 s and from 5.037 s on, where samples fall
        return 0.9 * min(at, -0.063) + 0.2 * at + 0.9 * max(at - 5.037, 0.0) + 10.0

    row = row_of(tmp_path, closed(), [replace(SERVER, cpu=used), GENERATOR])
    assert row["server_cpu_s"] == pytest.approx(0.2 * WINDOW_S, rel=1e-9)


def test_cpu_per_thousand_is_of_right_answers(tmp_path):
    half = closed(users=10, took_s=0.1)
    row = row_of(tmp_path, replace(half, failed_at_s=half.done_s), [replace(SERVER, cpu=0.4), IDLE])
    assert row["requests"] == 500
    assert row["server_cpu_s_per_1k"] == pytest.approx(4.0, rel=1e-9)


def test_cpu_of_all_processes_of_a_side_is_added(tmp_path):
    workers = [replace(SERVER, pid=pid, cpu=0.1 * pid / 100) for pid in (100, 101, 102)]
    row = row_of(tmp_path, closed(), [*workers, GENERATOR])
    assert row["server_cpu_s"] == pytest.approx(0.303 * WINDOW_S, rel=1e-9)
    assert row["processes"] == 3


def test_process_born_inside_the_window_counts_from_nothing(tmp_path):
    child = Process("server", 101, cpu=lambda at: 0.07 + 0.5 * (at - 2.0), born_s=2.0)
    row = row_of(tmp_path, closed(), [replace(SERVER, cpu=0.0), child, GENERATOR])
    # what it used before it was first seen was used inside the window as well
    assert row["server_cpu_s"] == pytest.approx(0.07 + 0.5 * 3.0, rel=1e-9)


def test_process_that_ends_inside_the_window_keeps_what_it_used(tmp_path):
    brief = Process("server", 101, cpu=0.5, died_s=3.04)  # its last sample is at 3.037 s
    row = row_of(tmp_path, closed(), [replace(SERVER, cpu=0.0), brief, GENERATOR])
    assert row["server_cpu_s"] == pytest.approx(0.5 * 3.037, rel=1e-9)


def test_process_that_ended_in_the_warm_up_used_nothing(tmp_path):
    gone = Process("server", 101, cpu=0.9, died_s=-0.1)
    row = row_of(tmp_path, closed(), [replace(SERVER, cpu=0.2), gone, GENERATOR])
    assert row["server_cpu_s"] == pytest.approx(0.2 * WINDOW_S, rel=1e-9)
    assert row["processes"] == 1
    assert row["server_pss_bytes"] == 50 * MIB


def test_process_born_after_the_window_used_nothing(tmp_path):
    late = Process("server", 101, cpu=lambda _: 0.5, born_s=5.2)
    row = row_of(tmp_path, closed(), [replace(SERVER, cpu=0.2), late, GENERATOR])
    assert row["server_cpu_s"] == pytest.approx(0.2 * WINDOW_S, rel=1e-9)


def test_memory_is_the_mean_of_its_readings_in_the_window(tmp_path):
    """The proportional set size is read at some ticks only; those between are no zeros."""

    def read(at: float) -> int | None:
        tick = round((at - 0.037) * 10)
        if tick % 5:
            return None
        return 900 * MIB if at < 0 else (40 if tick % 10 else 60) * MIB

    row = row_of(
        tmp_path,
        closed(),
        [replace(SERVER, pss=read), replace(SERVER, pid=101, pss=20 * MIB), GENERATOR],
    )
    assert row["server_pss_bytes"] == pytest.approx((50 + 20) * MIB)
    assert row["server_rss_bytes"] == pytest.approx(120 * MIB)


def test_memory_that_was_never_read_is_missing_and_not_zero(tmp_path):
    row = row_of(tmp_path, closed(), [replace(SERVER, pss=None), GENERATOR])
    assert row["server_pss_bytes"] is None
    assert row["server_rss_bytes"] == 60 * MIB


def test_gap_is_the_longest_time_without_any_completion(tmp_path):
    steady = closed(users=10, took_s=0.05)
    assert row_of(tmp_path / "steady", steady)["gap_s"] == 0.0
    row = row_of(tmp_path / "middle", steady.without(2.0, 3.2).without(4.0, 4.5))
    assert row["gap_s"] == pytest.approx(1.2)
    assert row_of(tmp_path / "begin", steady.without(-1.0, 0.7))["gap_s"] == pytest.approx(0.7)
    assert row_of(tmp_path / "end", steady.without(3.5, 5.0))["gap_s"] == pytest.approx(1.5)


def test_error_ends_a_gap_as_well(tmp_path):
    requests = replace(closed().without(1.0, 4.0), failed_at_s=np.array([2.55]))
    assert row_of(tmp_path, requests)["gap_s"] == pytest.approx(1.5)


def test_generator_of_several_processes_is_busy_by_their_mean(tmp_path):
    both = [replace(GENERATOR, pid=pid, cpu=cpu) for pid, cpu in ((200, 0.9), (201, 0.5))]
    row = row_of(tmp_path, closed(), [SERVER, *both], load={"processes": 2}, generator_cpus=(6, 7))
    assert row["generator_cpu_share"] == pytest.approx(0.7, rel=1e-9)


def test_trial_without_any_answer_has_no_latency(tmp_path):
    row = row_of(tmp_path, Requests(none(), none(), failed_at_s=np.array([0.5, 1.5])))
    assert (row["requests"], row["throughput_per_s"], row["errors"]) == (0, 0.0, 2)
    for name in ("mean_s", "min_s", "longest_s", "p50_s", "max_s", "server_cpu_s_per_1k"):
        assert row[name] is None, name


def test_trial_in_which_nothing_at_all_came_is_a_row(tmp_path):
    row = row_of(tmp_path, Requests(none(), none()))
    assert (row["requests"], row["errors"], row["gap_s"]) == (0, 0, 5.0)
    assert row["verdict"] == "invalid"


def test_failed_trial_has_missing_values_and_never_zeros(tmp_path):
    builder = RunBuilder(tmp_path)
    builder.failed(cell(), "environment", "no such package", log="a\nb")
    frame = trials_frame(builder.read())
    row = records(frame)[0]
    known = set(COLUMNS[COLUMNS.index("window_s") : COLUMNS.index("verdict")])
    known -= {"latency_measure", "server_cpus", "shared_cpus"}  # these were asked for
    assert {name: row[name] for name in known} == dict.fromkeys(known)
    assert (row["failure"], row["during"], row["log"]) == ("no such package", "environment", "a\nb")
    assert (row["versions"], row["argv"]) == ({}, [])


def test_frame_has_a_row_per_trial_in_the_order_they_were_made(tmp_path):
    a, b = cell("a"), cell("b", workers=3)
    builder = RunBuilder(tmp_path, [a, b], blocks=2)
    builder.measured(a, closed())
    builder.failed(b)
    builder.measured(b, closed(took_s=0.1))
    builder.measured(a, closed())
    frame = trials_frame(builder.read())
    assert tuple(frame.columns) == COLUMNS
    assert list(frame["server"]) == ["a", "b", "b", "a"]
    assert list(frame["number"]) == [1, 2, 3, 4]
    assert list(frame["block"]) == [1, 1, 2, 2]
    assert list(frame["verdict"]) == ["valid", "failed", "valid", "valid"]
    assert list(frame["run"].unique()) == [builder.writer.path.name]


def test_run_without_trials_is_an_empty_frame_with_all_columns(tmp_path):
    frame = trials_frame(RunBuilder(tmp_path).read())
    assert frame.empty
    assert tuple(frame.columns) == COLUMNS


def test_damaged_series_is_said_in_one_line(tmp_path):
    builder = RunBuilder(tmp_path)
    trial = builder.measured(cell(), closed())
    (trial.path / "ticks.parquet").write_bytes(b"PAR1")
    with pytest.raises(UnreadableRunError, match=r"ticks\.parquet: is damaged"):
        trials_frame(builder.read())


@pytest.mark.parametrize("name", ["latency", "ticks", "processes"])
def test_series_that_is_gone_is_said_in_one_line(tmp_path, name):
    builder = RunBuilder(tmp_path)
    trial = builder.measured(cell(), closed())
    (trial.path / f"{name}.parquet").unlink()
    with pytest.raises(UnreadableRunError, match=rf"it has no {name}\.parquet"):
        trials_frame(builder.read())


# Locust patches the process that imports it, so the recorder is used in one of its own. The
# requests are dealt out to several recorders, whose reports take the way of Locust's messages.
RECORD = """
import json, sys
from pathlib import Path
import msgpack
from harness.load.collector import Collector
from harness.load.recorder import Recorder, Window
folder = Path(sys.argv[1])
window = Window(int(sys.argv[2]), int(sys.argv[3]))
facts, workers = json.loads(sys.argv[4]), int(sys.argv[5])
requests = json.loads((folder / "requests.json").read_text())
collector = Collector()
recorders = [Recorder() for _ in range(workers)]
for index, recorder in enumerate(recorders):
    recorder.measure(window)
    own = requests[index::workers]
    if index % 2:  # names are numbered by who comes first
        own = own[::-1]
    parts = [own[: len(own) // 3], own[len(own) // 3 :]]
    for number, part in enumerate(parts):
        for method, name, kind, done, took in part:
            track = recorder.track(method, name)
            if kind == "ok":
                track.answer(done, took)
            elif kind == "delay":
                track.delay(done, took)
            else:
                track.error(done, took, kind, "it says so")
        for _ in recorder.drain():
            continue
        final = {"users": 10, "pid": index} if number else None
        report = recorder.take() | {"final": final}
        sent = msgpack.dumps(report, use_bin_type=True)
        collector.add(str(index), msgpack.loads(sent, raw=False, strict_map_key=False))
collector.save(folder, window, [], facts)
"""


def recorded(folder, samples, workers=1):
    """What the real recorders and the collector leave of `samples`, read as drive reads it."""
    folder.mkdir()
    (folder / "requests.json").write_text(json.dumps(samples), "utf-8")
    end = str(START_NS + round(WINDOW_S * 1e9))
    facts = json.dumps({"processes": 1, "client": "ours"})
    done = subprocess.run(
        [sys.executable, "-c", RECORD, str(folder), str(START_NS), end, facts, str(workers)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Drive(cast(Any, None), folder).result()  # what has ended has no tree


def sample(kind, at_s, took_s, method="GET", name="GET /"):
    instants = (nanoseconds(at_s) + START_NS).tolist()
    return [
        [method, name, kind, done, took]
        for done, took in zip(instants, nanoseconds(took_s).tolist(), strict=True)
    ]


# not of the requests' times, or (the kinds of errors) tested below
UNLIKE = {"reopened_share", "run", "error_kinds", "client", "reasons", "users"}
UNLIKE |= {"in_flight", "starved", "findings"}


@pytest.mark.parametrize("workers", [1, 3])
def test_recorder_drive_store_and_analysis_agree_on_the_same_requests(tmp_path, workers):
    """The whole way of a number, beside the builder's own: every column is the same."""
    made = replace(
        random_times(),
        failed_at_s=np.array([-0.3, 0.5, 4.2]),
        delayed_at_s=np.array([-0.1, 0.1, 2.0, 4.0]),
        delay_s=np.array([5.0, 0.001, 0.002, 0.003]),
    )
    samples = [
        *sample("ok", made.done_s, made.took_s),
        *sample("reset", made.failed_at_s, np.full(3, 0.7)),
        *sample("delay", made.delayed_at_s, made.delay_s),
        # what comes at the window's end or later is not kept
        *sample("ok", np.array([5.0, 5.5]), np.array([0.4, 0.4])),
        *sample("reset", np.array([5.0]), np.array([0.4])),
    ]
    driven = recorded(tmp_path / "work", samples, workers)
    total = driven.summary["since_start"]
    assert (total["ok"], total["failed"]) == (len(made.done_s) + 2, 4)
    for measure in ("response", "delay"):
        it = cell(work=scenario(measure, latency=measure))
        ours = row_of(tmp_path / f"{measure}-1", made, it=it, errors={"reset": 2})
        theirs = row_of(
            tmp_path / f"{measure}-2", made, it=it,
            load=driven.summary, tables=(driven.latency, driven.ticks),
        )  # fmt: skip
        for name in COLUMNS:
            if name not in UNLIKE:
                assert ours[name] == theirs[name], name
        assert ours["requests"] > 1000
        assert ours["errors"] == 2


def test_kinds_of_errors_add_up_to_the_errors_of_the_window(tmp_path):
    made = closed()
    samples = [
        *sample("ok", made.done_s, made.took_s),
        *sample("reset", np.array([-0.5, 1.0, 5.5]), np.full(3, 0.1)),
    ]
    driven = recorded(tmp_path / "work", samples)
    row = row_of(tmp_path / "run", made, load=driven.summary, tables=(driven.latency, driven.ticks))
    assert row["errors"] == 1
    assert sum(row["error_kinds"].values()) == 1


def test_same_name_under_two_methods_is_two_tracks_of_one_row(tmp_path):
    made = closed()
    half = len(made.done_s) // 2
    samples = [
        *sample("ok", made.done_s[:half], made.took_s[:half], "GET", "/x"),
        *sample("ok", made.done_s[half:], made.took_s[half:], "POST", "/x"),
    ]
    driven = recorded(tmp_path / "work", samples)
    row = row_of(tmp_path / "run", made, load=driven.summary, tables=(driven.latency, driven.ticks))
    assert row["requests"] == 1000
    assert row["gap_s"] == 0.0
    assert row["p99_s"] == pytest.approx(0.05, rel=1e-3)


def test_errors_of_one_name_under_two_methods_are_all_told(tmp_path):
    made = replace(closed(), failed_at_s=np.linspace(0, 4, 5))
    errors: list[dict[str, object]]
    errors = [{"name": "/x", "kind": "reset", "count": count, "examples": []} for count in (2, 3)]
    row = row_of(tmp_path, made, load={"errors": errors})
    assert sum(row["error_kinds"].values()) == 5
