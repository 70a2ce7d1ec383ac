"""The sampler: what it sees is what happened, and what it costs is known."""

import os
import sys
import time

import pytest

from harness.cells import Budget, cell_of
from harness.environment import prepare
from harness.launch import launch
from harness.model import Load
from harness.process import Tree
from harness.registry import load_registry
from harness.sample import Sampler, Subject
from harness.tests.loads import PLACEMENT
from harness.tests.quiet import needs_quiet, quietest

pytestmark = pytest.mark.alone


def test_cpu_seconds_are_those_that_the_process_used(tmp_path):
    burn = "import time\nwhile time.process_time() < 0.8: pass\ntime.sleep(60)"
    argv = [sys.executable, "-I", "-S", "-c", burn]
    with Tree(argv, cwd=tmp_path, env={}, log=tmp_path / "log") as tree:
        sampler = Sampler([Subject("server", tree.pids)], {})
        sampler.start()
        deadline = time.monotonic() + 10
        while sampler.live.get("server_cpu_s", 0.0) < 0.78 and time.monotonic() < deadline:
            time.sleep(0.05)
        sampler.stop()
        frame = sampler.table().to_pandas()
    last = frame.iloc[-1]
    assert last["cpu_user_s"] + last["cpu_system_s"] == pytest.approx(0.8, abs=0.05)
    assert set(frame["role"]) == {"worker"}  # a process alone serves
    assert frame["rss_bytes"].min() > 1e6
    assert frame["pss_bytes"].notna().any()
    assert set(frame["threads"].dropna()) == {1}
    assert frame["fds"].max() > 0


def test_process_that_ends_is_kept_in_the_rows_and_no_longer_read(tmp_path):
    argv = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(0.5)"]
    with Tree(argv, cwd=tmp_path, env={}, log=tmp_path / "log") as tree:
        sampler = Sampler([Subject("server", tree.pids)], {})
        sampler.start()
        assert tree.wait(5) == 0
        time.sleep(0.3)
        sampler.stop()
    frame = sampler.table().to_pandas()
    assert len(frame) > 2
    assert (frame["at_ns"].max() - frame["at_ns"].min()) / 1e9 < 1.0


@pytest.mark.servers
@needs_quiet
def test_ten_processes_cost_less_than_two_percent_of_a_cpu(tmp_path):
    """uvicorn's parent, its resource tracker and eight workers, at ten samples a second."""
    registry = load_registry()
    server = registry.servers["uvicorn"]
    cell = cell_of(server, registry.scenarios["hello"], Budget(8, 4, Load(1)), registry)
    environment = prepare(server, cell.app)
    with launch(cell, environment, log=tmp_path / "log") as running:
        running.wait_ready()
        subject = Subject("server", running.tree.pids, frozenset(running.workers_seen))

        def sampled():
            sampler = Sampler([subject], PLACEMENT.sides)
            sampler.start()
            time.sleep(4.0)
            sampler.stop()
            return sampler

        sampler = quietest(
            sampled, lambda it: it.cost()["cpu_share"] < 0.02 and it.cost()["ticks"] >= 35
        )
    frame = sampler.table().to_pandas()
    cost = sampler.cost()
    assert frame["pid"].nunique() == 10
    assert frame.groupby("pid")["role"].last().value_counts().to_dict() == {
        "worker": 8,
        "master": 1,
        "helper": 1,
    }
    assert 35 <= cost["ticks"] <= 41
    assert cost["cpu_share"] < 0.02
    # memory is read as often as its cost allows, and often enough to be known
    assert frame["pss_bytes"].notna().sum() >= 10 * 2
    assert os.getpid() not in set(frame["pid"])
