"""Thousands of connections in one process of Locust."""

import psutil
import pytest

from harness.drive import drive
from harness.model import Load, Timing
from harness.tests.loads import PLACEMENT, SCENARIOS, Result, stub

pytestmark = pytest.mark.servers


def crowd(folder, users, scenario, duration_s):
    """(result, counters, bytes per connection of the generator and of the stub)."""
    with stub(folder) as server:
        theirs = psutil.Process(server.pid).memory_info().rss
        with drive(
            SCENARIOS[scenario], Load(users), Timing(1.0, duration_s), url=server.url,
            work=folder / "drive", cpus=PLACEMENT.generator,
        ) as driving:  # fmt: skip
            ours = most = 0
            for _ in driving.watch():
                pids = [pid for pid in driving.tree.pids() if psutil.pid_exists(pid)]
                ours = max(ours, *(psutil.Process(pid).memory_info().rss for pid in pids), 0)
                most = max(most, psutil.Process(server.pid).memory_info().rss)
            result = Result(driving.result())
        return result, server.counters(), (ours / users, (most - theirs) / users)


def test_five_thousand_kept_connections(tmp_path):
    """Descriptors above 1024 work, and none is opened twice."""
    result, counters, _ = crowd(tmp_path, 5_000, "hello", 3.0)
    totals = result.summary["since_start"]
    assert result.errors == {}
    assert counters["accepted"] == counters["max_open"] == totals["connects"] == 5_000
    assert totals["sent"] == totals["ok"] + result.summary["in_flight"] > 20_000
    assert result.summary["starved"] == 0


@pytest.mark.slow
def test_ten_thousand_idle_websockets(tmp_path, capsys):
    """A message each 20 s of each: 500 per second from the start, heard at once."""
    result, counters, (ours, theirs) = crowd(tmp_path, 10_000, "websocket-idle", 10.0)
    with capsys.disabled():
        print(f"\nper connection: generator {ours / 1024:.1f} KiB, stub {theirs / 1024:.1f} KiB")
    totals = result.summary["since_start"]
    assert result.errors == {}
    assert counters["accepted"] == counters["max_open"] == totals["connects"] == 10_000
    assert result.summary["ok"] == pytest.approx(5_000, rel=0.05)
    assert result.percentile(50) < 0.005
    assert ours < 100 * 1024
