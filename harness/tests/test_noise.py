"""The noise log: what the kernel says, what that means for a trial, and what is missing."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time

import pyarrow as pa
import pytest

from harness.analyze import cells_frame, records, trials_frame
from harness.analyze.noise import NOISE, disturbances, missing_noise
from harness.noise import TICKS_PER_S, CpuTimes, Kernel, Queued, Scheduled
from harness.pace import Pace
from harness.process import Tree
from harness.report.evidence import beside, noise_lines
from harness.sample import Sampler, Subject
from harness.tests.builders import (
    GENERATOR,
    SERVER,
    Process,
    RunBuilder,
    cell,
    closed,
    processes_table,
    quiet_table,
)
from harness.tests.loads import PLACEMENT

SIDES = {"server": (0, 2), "generator": (1,)}
STAT = """cpu  9 9 9 9 9 9 9 9 0 0
cpu0 100 10 200 5000 7 3 4 50 0 0
cpu1 1000 0 0 5000 0 0 0 0 0 0
cpu2 1 0 2 5000 0 0 1 0 0 0
intr 1 2 3
"""


@pytest.fixture
def proc(tmp_path):
    """A kernel's files as this test writes them."""
    root = tmp_path / "proc"
    for folder in ("pressure", "thread-self", "42/task"):
        (root / folder).mkdir(parents=True)
    (root / "stat").write_text(STAT)
    (root / "pressure" / "cpu").write_text(
        "some avg10=1.00 avg60=2.00 avg300=3.00 total=123456\n"
        "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
    )
    (root / "thread-self" / "schedstat").write_text("111 222 3\n")
    return root


def thread(proc, number, waited, voluntary, involuntary):
    folder = proc / "42" / "task" / str(number)
    folder.mkdir(exist_ok=True)
    folder.joinpath("schedstat").write_text(f"1 {waited} 9\n")
    folder.joinpath("status").write_text(
        f"Name:\tx\nvoluntary_ctxt_switches:\t{voluntary}\n"
        f"nonvoluntary_ctxt_switches:\t{involuntary}\nx86_Thread_features:\t\n"
    )


def test_kernel_tells_the_times_of_each_sides_cpus(proc):
    kernel = Kernel(SIDES, proc)
    ticks = {"server": (313, 8, 50), "generator": (1000, 0, 0)}
    assert kernel.cpu_times() == {
        side: CpuTimes(*(pytest.approx(count / TICKS_PER_S) for count in counts))
        for side, counts in ticks.items()
    }
    assert (kernel.pressure_us(), kernel.own_wait_ns(), kernel.missing) == (123456, 222, {})


def test_source_that_is_not_there_is_missing_with_its_reason_and_asked_once(proc):
    shutil.rmtree(proc / "pressure")
    (proc / "thread-self" / "schedstat").unlink()
    kernel = Kernel(SIDES, proc)
    for _ in range(2):
        assert (kernel.pressure_us(), kernel.own_wait_ns()) == (None, None)
    reason = os.strerror(errno.ENOENT)
    assert kernel.missing == {
        "pressure": f"{proc}/pressure/cpu: {reason}",
        "run queue": f"{proc}/thread-self/schedstat: {reason}",
    }


def test_side_with_a_cpu_that_is_not_listed_is_left_out(proc):
    assert set(Kernel({"server": (0, 9), "generator": (1,)}, proc).cpu_times()) == {"generator"}


def test_what_threads_met_is_added_and_outlives_them(proc):
    thread(proc, 42, 1000, 5, 2)
    thread(proc, 43, 500, 10, 0)
    process = Scheduled(42, proc)
    assert process.read() == Queued(2, 15, 2, 1500)
    shutil.rmtree(proc / "42" / "task" / "43")
    thread(proc, 42, 3000, 6, 4)
    assert process.read() == Queued(1, 16, 4, 3500)


def test_process_that_is_gone_is_said_to_be(proc):
    with pytest.raises(FileNotFoundError):
        Scheduled(43, proc).read()


def test_own_threads_are_read_from_this_kernel():
    kernel = Kernel(PLACEMENT.sides)
    assert set(kernel.cpu_times()) == {"server", "generator"}
    met = Scheduled(os.getpid()).read()
    assert met.voluntary > 0
    time.sleep(0.01)
    assert Scheduled(os.getpid()).read().voluntary > met.voluntary


def test_pace_keeps_its_share():
    pace = Pace(0.5, ticks_per_s=10)  # 50 ms a tick
    assert all(pace.turn(tick) for tick in range(5))
    with pace.timed():
        end = time.thread_time() + 0.12
        while time.thread_time() < end:
            pass
    assert pace.every == 3
    assert [pace.turn(tick) for tick in range(6)] == [True, False, False, True, False, False]
    for every in (2, 2, 2, 1, 1):  # it is forgotten by a quarter each time
        with pace.timed():
            pass
        assert pace.every == every


# -- from the stored series to figures ------------------------------------------------------------


def noise_of(tmp_path, processes=(SERVER, GENERATOR), **changes):
    builder = RunBuilder(tmp_path)
    builder.measured(cell(), closed(), processes, noise=quiet_table(**changes))
    return records(trials_frame(builder.read()))[0]["noise"]


def test_quiet_machine_shows_nothing(tmp_path):
    figures = noise_of(tmp_path)
    assert set(figures) == set(NOISE)
    zeros = {
        it: value
        for it, value in figures.items()
        if not it.startswith(("late", "server_full", "generator_full"))
    }
    assert figures["server_full_share"] == pytest.approx(0.4)
    assert zeros == pytest.approx(dict.fromkeys(zeros, 0.0), abs=1e-9)
    assert figures["late_p50_s"] == pytest.approx(0.0001)
    assert disturbances(figures) == []


def test_cpu_of_others_is_what_is_busy_and_not_ours(tmp_path):
    """Ours are 0.4 of the server's CPU, and 0.3 of the generator's and 0.01 for sampling."""
    figures = noise_of(
        tmp_path,
        server_busy_s=lambda at: 0.52 * at,
        generator_busy_s=lambda at: 0.62 * at + 100.0,
        server_steal_s=lambda at: 0.07 * at,
    )
    assert figures["server_others_share"] == pytest.approx(0.12)
    assert figures["generator_others_share"] == pytest.approx(0.31)
    assert figures["server_steal_share"] == pytest.approx(0.07)
    assert disturbances(figures) == [
        "others used 12% or more of the server's CPUs",
        "the hypervisor took 7% of the server's CPUs",
        "others used 31% or more of the generator's CPUs",
    ]


def test_only_what_falls_into_the_window_counts(tmp_path):
    def before(at):
        return 0.31 * at + 0.9 * at.clip(max=-0.063) + 0.9 * (at - 5.037).clip(min=0)

    assert noise_of(tmp_path, generator_busy_s=before)["generator_others_share"] < 0.001


def test_turns_to_run_are_those_of_all_processes(tmp_path):
    table = processes_table([SERVER, Process("server", 101), GENERATOR]).to_pandas()
    since_s = (table["at_ns"] - table["at_ns"].min()) / 1e9
    table["waited_ns"] = (since_s * 0.2e9).where(table["side"] == "server", 0)
    table["switches_involuntary"] = since_s * 30
    # the costly readings are not made at every tick
    table.loc[table.index % 6 >= 3, ["waited_ns", "switches_involuntary"]] = None
    series = pa.Table.from_pandas(table, preserve_index=False)
    figures = noise_of(tmp_path, series)
    assert figures["server_waited_share"] == pytest.approx(0.4, rel=0.01)
    assert figures["generator_waited_share"] == 0.0
    assert figures["server_involuntary_per_s"] == pytest.approx(60, rel=0.01)


def test_late_wake_up_behind_others_is_not_the_hosts(tmp_path):
    """3 ms late, of which it waited 1 ms in the queue; one time in ten by 9 ms more."""

    def late(at):
        return 3_000_000 + 9_000_000 * (at * 10 % 10 < 1)

    figures = noise_of(tmp_path, late_ns=late, waited_ns=lambda at: 10_000_000 * at)
    assert figures["late_p50_s"] == pytest.approx(0.002)
    assert figures["late_max_s"] == pytest.approx(0.011)
    (said,) = disturbances(figures)
    assert "woken 2.0 ms late at the median" in said
    assert said.endswith("the host was busy")


def test_pressure_is_the_share_of_the_time_in_which_somebody_waited(tmp_path):
    assert noise_of(tmp_path, pressure_us=lambda at: at * 250_000)[
        "pressure_share"
    ] == pytest.approx(0.25)


def test_figure_whose_source_is_missing_is_null_and_its_reason_told(tmp_path):
    builder = RunBuilder(tmp_path)
    table = quiet_table().to_pandas()
    table["pressure_us"] = None
    noise = pa.Table.from_pandas(table, quiet_table().schema, preserve_index=False)
    missing = {"pressure": "/proc/pressure/cpu: No such file or directory"}
    sampler = {"cpu_share": 0.01, "ticks": 70, "latest_s": 0.0, "missing": missing}
    builder.measured(cell(), closed(), noise=noise, sampler=sampler)
    run = builder.read()
    rows = records(cells_frame(trials_frame(run)))
    assert rows[0]["noise"]["pressure_share"] is None
    assert rows[0]["noise"]["late_p50_s"] is not None
    assert missing_noise(run) == missing
    assert f"noise not known (pressure): {missing['pressure']}" in noise_lines(run, rows)


def test_run_of_an_older_gatebench_has_no_noise_and_says_so(tmp_path):
    builder = RunBuilder(tmp_path)
    trial = builder.measured(cell(), closed())
    (trial.path / "noise.parquet").unlink()
    run = builder.read()
    rows = records(cells_frame(trials_frame(run)))
    assert rows[0]["noise"]["server_others_share"] is None
    assert rows[0]["verdict"] == "valid"
    assert "not recorded" in missing_noise(run)["all"]


BUSY = {"generator_busy_s": lambda at: 0.62 * at}


def test_noise_stands_beside_what_it_may_explain_and_not_beside_all(tmp_path):
    """Beside an invalid cell and beside one whose trials differ by more than a tenth."""
    calm, wide, wrong = cell("calm"), cell("wide"), cell("wrong")
    builder = RunBuilder(tmp_path, [calm, wide, wrong], blocks=2)
    for took_s in (0.05, 0.06):
        builder.measured(calm, closed(took_s=0.05), noise=quiet_table(**BUSY))
        builder.measured(wide, closed(took_s=took_s), noise=quiet_table(**BUSY))
        builder.measured(wrong, closed().without(0.0, 5.0), noise=quiet_table(**BUSY))
    run = builder.read()
    rows = {row["server"]: row for row in records(cells_frame(trials_frame(run)))}
    assert beside(rows["calm"]) == []
    for name in ("wide", "wrong"):
        assert beside(rows[name]) == [
            f"{name}: meanwhile others used 31% or more of the generator's CPUs"
        ]
    (line,) = noise_lines(run, list(rows.values()))
    assert "others used at least 0.0% of the server's CPUs and 31.0% of the generator's" in line
    assert "woken 100 µs late at the median" in line


# -- for real -------------------------------------------------------------------------------------

BURN = (
    "import os, sys, time\n"
    "os.sched_setaffinity(0, {int(sys.argv[1])})\n"
    "end = time.monotonic() + 30\n"
    "while time.monotonic() < end: pass\n"
)


@pytest.mark.alone
def test_another_process_on_the_servers_cpu_is_seen_for_what_it_uses(tmp_path):
    """One burns of its own accord, and is not ours; the server would have burnt alone."""
    cpu = PLACEMENT.server[0]
    argv = [sys.executable, "-I", "-S", "-c", BURN, str(cpu)]
    with (
        Tree(argv, cwd=tmp_path, env={}, log=tmp_path / "log") as tree,
        subprocess.Popen(argv) as other,
    ):
        try:
            sampler = Sampler([Subject("server", tree.pids)], {"server": [cpu], "generator": []})
            time.sleep(0.3)
            sampler.start()
            time.sleep(1.5)
            sampler.stop()
        finally:
            other.kill()
    beside = sampler.noise().to_pandas().dropna(subset="server_busy_s")
    own = sampler.table().to_pandas().dropna(subset="waited_ns")
    span_s = (beside["at_ns"].iloc[-1] - beside["at_ns"].iloc[0]) / 1e9
    busy_s = beside["server_busy_s"].iloc[-1] - beside["server_busy_s"].iloc[0]
    cpu_s = (own["cpu_user_s"] + own["cpu_system_s"]).to_numpy()
    assert busy_s / span_s == pytest.approx(1.0, abs=0.1)
    assert (busy_s - (cpu_s[-1] - cpu_s[0])) / span_s == pytest.approx(0.5, abs=0.15)
    # both were ready all the time, and one at a time ran
    waited_s = (own["waited_ns"].iloc[-1] - own["waited_ns"].iloc[0]) / 1e9
    assert waited_s / span_s == pytest.approx(0.5, abs=0.15)
    assert own["switches_involuntary"].iloc[-1] > own["switches_involuntary"].iloc[0]
    assert (beside["late_ns"] >= 0).all()
    assert sampler.cost()["missing"] == {}
