"""Nothing that gatebench started survives it, whatever the server and however it dies."""

import os
import signal
import time

import psutil
import pytest

from harness.environment import prepare
from harness.process import MARK
from harness.registry import load_registry
from harness.tests.commands import served, started

pytestmark = pytest.mark.servers

REGISTRY = load_registry()


def left_of(owner: int) -> list[str]:
    """Processes that carry the mark of a tree of `owner`, and guardians that serve nobody."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        try:
            mark = process.environ().get(MARK, "")
        except psutil.Error:
            continue
        if mark.startswith(f"{owner}-"):
            found.append(f"{process.info['pid']} {process.info['cmdline']}")
    return found


def wait_until(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, condition()
        time.sleep(0.02)


# each kind of tree once: forked, spawned, preforked by us, threads alone, Apache's, a router's
KINDS = {
    *("gunicorn-sync", "gunicorn-uvicorn", "uvicorn", "hypercorn", "daphne", "waitress"),
    *("uwsgi-router", "mod-wsgi", "granian", "bjoern", "fastpysgi", "socketify"),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in KINDS else pytest.mark.slow)
        for name in REGISTRY.servers
    ],
)
def test_killed_harness_leaves_no_process_of(name, tmp_path):
    server = REGISTRY.servers[name]
    prepare(server, REGISTRY.app_for(server, None))  # so that what is killed is a server
    with started("serve", name, "--workers", "2", "--json", cwd=tmp_path) as harness:
        served_pid = served(harness)["pid"]
        guardians = psutil.Process(harness.pid).children()
        assert psutil.pid_exists(served_pid)
        assert left_of(harness.pid)
        harness.kill()
    wait_until(lambda: not left_of(harness.pid), seconds=3.0)
    wait_until(lambda: not any(process.is_running() for process in guardians), seconds=3.0)


@pytest.mark.parametrize("name", ["KILL", "TERM", "INT"])
def test_run_that_dies_under_load_leaves_no_process(name, tmp_path):
    """A killed run leaves nothing alive; an interrupted one keeps what it has and says so."""
    options = ["--scenario", "hello", "--duration", "20s", "--workers", "2"]
    with started("run", "gunicorn-uvicorn", *options, cwd=tmp_path) as harness:
        wait_until(lambda: any("load.plugin" in line for line in left_of(harness.pid)), 60)
        time.sleep(3.0)  # well under load
        guardians = psutil.Process(harness.pid).children()
        assert len(guardians) == 2
        os.kill(harness.pid, signal.Signals[f"SIG{name}"])
        _, said = harness.communicate(timeout=30)
    wait_until(lambda: not left_of(harness.pid), seconds=3.0)
    wait_until(lambda: not any(process.is_running() for process in guardians), seconds=3.0)
    if name != "KILL":
        assert harness.returncode == 130
        assert "interrupted: 0 of 1 trials are kept" in said
        assert "Traceback" not in said


def test_interrupted_run_keeps_and_reports_the_finished_trials(tmp_path):
    options = ["--scenario", "hello", "--duration", "2s", "--warmup", "1s", "--blocks", "3"]
    with started("run", "waitress", *options, cwd=tmp_path) as harness:
        assert harness.stderr is not None
        while "[1/3]" not in (line := harness.stderr.readline()):
            assert line, "the run ended before its first trial"
        harness.send_signal(signal.SIGINT)
        out, said = harness.communicate(timeout=30)
    assert harness.returncode == 130
    assert "interrupted: 1 of 3 trials are kept" in said
    assert "waitress" in out
    assert "the run is interrupted" in out
    (run,) = (tmp_path / "results").iterdir()
    assert "waitress" in (run / "report.md").read_text()
    assert not left_of(harness.pid)
