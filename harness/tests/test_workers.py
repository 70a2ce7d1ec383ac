"""Several Locust processes as one generator: what they say together is the sum of what each says.

`--processes 2` forks them; a master and workers may also be started one by one.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from harness.analyze import cells_frame, comparisons_frame, records, trials_frame
from harness.drive import PLUGIN, Drive, drive
from harness.model import Load, Timing
from harness.ports import HOST, free_port
from harness.process import Tree
from harness.report import units
from harness.report.document import document
from harness.tests.builders import RunBuilder, cell, closed
from harness.tests.commands import started
from harness.tests.loads import HARNESS, PLACEMENT, SCENARIOS, Result, drive_stub, stub

pytestmark = pytest.mark.servers

# every process that sends writes down what it knows itself, by Locust's own statistics and ours
TELLING = """
import json, os
from locust import events
from harness.load import Exchange, HttpUser
from harness.load.recorder import recorder

class Telling(HttpUser):
    exchange = Exchange('GET', '/', expect=b'Hello, world!')

@events.quitting.add_listener
def write(environment, **_):
    total = environment.stats.total
    own = {**recorder.totals(), "locust": [total.num_requests, total.num_failures]}
    own["kind"] = type(environment.runner).__name__
    with open(f"own-{os.getpid()}.json", "w") as file:
        json.dump(own, file)
"""


def told(folder):
    """(workers, masters): what each process wrote down at its end."""
    own = [json.loads(path.read_text()) for path in sorted(folder.glob("own-*.json"))]
    workers = [it for it in own if it["kind"] != "MasterRunner"]
    return workers, [it for it in own if it not in workers]


def check_sums(result, told_by, counters, processes=2):
    workers, masters = told_by
    summary = result.summary
    assert summary["lost"] == []
    assert summary["processes"] == len(summary["workers"]) == len(workers) == processes
    for key, whole in summary["since_start"].items():
        assert whole == sum(it[key] for it in workers), key
    assert counters["received"] == summary["since_start"]["sent"]
    unseen = counters["wrong_statuses"] - summary["since_start"]["failed"]
    assert 0 <= unseen <= summary["in_flight"]  # those that were under way at the end
    assert summary["since_start"]["failed"] > 10
    assert summary["ok"] == sum(it["ok"] for it in summary["workers"])
    for measure in ("response", "first"):
        assert result.histogram(measure)["count"].sum() == summary["ok"] > 100
    assert result.ticks[result.ticks["tick"] >= 0]["ok"].sum() == summary["ok"]
    assert result.errors == {"bad-status": summary["failed"]}
    # Locust's own totals, which its web UI shows, are these too
    (master,) = masters
    since = summary["since_start"]
    assert master["locust"] == [since["ok"] + since["failed"], since["failed"]]


@pytest.mark.parametrize(
    "load",
    # users for all requests of a second and more, so that none is left unsent however late they are
    [Load(4, processes=2), Load(512, "open", 400, "poisson", processes=2)],
    ids=["closed", "open"],
)
def test_two_processes_are_the_sum_of_both(tmp_path, load):
    file = tmp_path / "telling.py"
    file.write_text(TELLING)
    with stub(tmp_path, "--status-every", "9:500", "--service", "fixed:0.001") as server:
        result = drive_stub(tmp_path, server, load, duration_s=2.0, file=file)
        counters = server.counters()
    (folder,) = tmp_path.glob("drive-*")
    check_sums(result, told(folder), counters)
    if load.model == "open":
        # each sent its share of one schedule
        assert result.summary["offered"] == result.summary["ok"] + result.summary["failed"]
        assert result.summary["offered"] == pytest.approx(800, abs=4 * 800**0.5)


def test_master_and_two_workers_started_one_by_one(tmp_path):
    file, work, port = tmp_path / "telling.py", tmp_path / "drive-apart", free_port()
    file.write_text(TELLING)
    work.mkdir()
    window = {"warmup_s": 0.5, "duration_s": 2.0}
    (work / "window.json").write_text(json.dumps(window))
    env = {"PATH": os.environ["PATH"], "GATEBENCH_WORK": str(work)}
    env["PYTHONPATH"] = str(HARNESS.parent)
    with stub(tmp_path, "--status-every", "9:500", "--service", "fixed:0.001") as server:
        common = [sys.executable, "-m", PLUGIN, "-f", str(file), "--host", server.url]
        common += ["--loglevel", "WARNING", "--only-summary"]
        lead = ["--master", "--headless", "--expect-workers", "2", "--users", "4"]
        lead += ["--spawn-rate", "4"]
        lead += ["--master-bind-host", HOST, "--master-bind-port", str(port)]
        follow = ["--worker", "--master-host", HOST, "--master-port", str(port)]
        cpus = PLACEMENT.generator
        with contextlib.ExitStack() as stack:
            trees = [
                stack.enter_context(
                    Tree([*common, *options], cwd=work, env=env, log=work / name, cpus=cpus)
                )
                for name, options in (("log", lead), ("log-1", follow), ("log-2", follow))
            ]
            for _ in Drive(trees[0], work).watch():
                continue
            assert [tree.wait(10.0) for tree in trees[1:]] == [0, 0]
            result = Result(Drive(trees[0], work).result())
        counters = server.counters()
    check_sums(result, told(work), counters)


def worker_of(tree):
    """One of Locust's worker processes: the children of its main one."""
    main = psutil.Process(tree.pids()[0])
    return next(child for child in main.children() if child.pid in tree.pids())


def test_killed_worker_is_named_and_what_it_reported_is_kept(tmp_path):
    with (
        stub(tmp_path, "--service", "fixed:0.002") as server,
        drive(
            SCENARIOS["hello"], Load(4, processes=2), Timing(0.0, 4.0),
            url=server.url, work=tmp_path / "drive", cpus=PLACEMENT.generator,
        ) as driving,
    ):  # fmt: skip
        victim = None
        for progress in driving.watch():
            if victim is None and progress.at_ns > progress.start_ns + 1_500_000_000:
                victim = worker_of(driving.tree)
                victim.send_signal(signal.SIGKILL)
        result = Result(driving.result())
    (lost,) = result.summary["lost"]
    assert lost.startswith(("1 of 2", "2 of 2"))
    dead, alive = sorted(result.summary["workers"], key=lambda it: it["final"] is not None)
    assert dead["final"] is None
    assert alive["final"]["pid"] != victim.pid
    assert 0 < dead["ok"] < alive["ok"]
    assert result.summary["ok"] == dead["ok"] + alive["ok"]
    assert result.histogram()["count"].sum() == result.summary["ok"]


@pytest.mark.alone  # a verdict among other tests would be theirs
def test_run_goes_on_after_a_trial_whose_worker_was_killed(tmp_path):
    # a scenario that waits has no ceiling to measure first
    arguments = ["run", "waitress", "--scenario", "blocking-io", "--blocks", "2"]
    arguments += ["--processes", "2"]
    arguments += ["--users", "4", "--duration", "3s", "--warmup", "500ms", "--json"]
    with started(*arguments, cwd=tmp_path) as process:
        (victim,) = [_a_worker(process.pid, tmp_path)]
        victim.send_signal(signal.SIGKILL)
        out, err = process.communicate(timeout=120)
    (found,) = json.loads(out)["cells"]
    assert process.returncode == 3, err  # one trial did not measure
    assert (found["trials"], found["used"]) == (2, 1)
    assert found["verdict"] != "invalid"
    assert any("ended in mid-run: worker" in reason for reason in found["reasons"])


def _a_worker(pid, folder):
    """A worker of Locust's in the first trial, once that measures."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        for child in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                line = child.cmdline()
                work = child.environ().get("GATEBENCH_WORK", "")
                forked = PLUGIN in line and child.parent().cmdline() == line
                # the run's own trial, not the generator's against the null responder
                if (
                    forked
                    and _measures(Path(work))
                    and list(folder.glob("results/*/ceilings.json"))
                ):
                    return child
        time.sleep(0.02)
    raise AssertionError("no worker was seen")


def _measures(work):
    try:
        progress = json.loads((work / "progress.json").read_text())
    except (OSError, ValueError):
        return False
    return progress["at_ns"] > progress["start_ns"]


# a user that takes no time: its answers are drawn, and recorded as the engine records its own
DRAWING = """
import os, time
import gevent, numpy as np
from locust import User, task
from harness.load.reactor import Reactor
from harness.load.recorder import recorder

class Drawing(User):
    @task
    def work(self):
        Reactor.of(self.environment)
        draw = np.random.default_rng(os.getpid())
        track = recorder.track("GET", "/")
        while True:
            gevent.sleep(0.02)
            now = time.monotonic_ns()
            for took in (draw.lognormal(np.log(450_000), 0.5, 500)).astype(int).tolist():
                track.sent += 1
                track.answer(now, took)
"""


def test_k19_times_below_a_millisecond_through_workers_master_store_and_report(tmp_path):
    """Lognormal around 0.45 ms: p50 0.45, p99 1.44 within 2 %. Stock Locust prints 0 and 1."""
    file = tmp_path / "drawing.py"
    file.write_text(DRAWING)
    with stub(tmp_path) as server:
        driven = drive_stub(tmp_path, server, Load(2, processes=2), file=file).driven
    builder = RunBuilder(tmp_path / "results", [cell()], seconds=3.0)
    tables = (driven.latency, driven.ticks)
    builder.measured(cell(), closed(seconds=3.0), load=driven.summary, tables=tables)
    run = builder.read()
    trials = trials_frame(run)
    (row,) = records(trials)
    assert row["requests"] > 20_000
    assert row["p50_s"] == pytest.approx(0.00045, rel=0.02)
    assert row["p99_s"] == pytest.approx(0.00144, rel=0.02)
    cells = cells_frame(trials)
    (shown,) = document(run, cells, comparisons_frame(run, trials))["cells"]
    assert shown["latency_s"]["p50"]["median"] == pytest.approx(0.00045, rel=0.02)
    assert shown["latency_s"]["p99"]["median"] == pytest.approx(0.00144, rel=0.02)
    assert units.seconds(row["p50_s"]).endswith("µs")  # what people read keeps the digits
    assert units.seconds(row["p99_s"]).startswith("1.4")
