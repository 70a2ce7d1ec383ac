"""Nothing that gatebench started survives it, whatever the server and however it dies."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from harness.environment import prepare
from harness.process import MARK
from harness.registry import load_registry

pytestmark = pytest.mark.servers

REGISTRY = load_registry()
GATEBENCH = [sys.executable, "-m", "harness.cli"]


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


@pytest.mark.parametrize("name", REGISTRY.servers)
def test_killed_harness_leaves_no_process_of(name, tmp_path):
    server = REGISTRY.servers[name]
    prepare(server, REGISTRY.app_for(server, None))  # so that what is killed is a server
    with subprocess.Popen(
        [*GATEBENCH, "serve", name, "--workers", "2", "--json"], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, cwd=tmp_path, text=True,
    ) as harness:  # fmt: skip
        try:
            assert harness.stdout is not None
            served = json.loads("".join(iter(harness.stdout.readline, "}\n")) + "}")
            guardians = psutil.Process(harness.pid).children()
            assert psutil.pid_exists(served["pid"])
            assert left_of(harness.pid)
        finally:
            harness.kill()
    wait_until(lambda: not left_of(harness.pid), seconds=3.0)
    wait_until(lambda: not any(process.is_running() for process in guardians), seconds=3.0)


@pytest.mark.parametrize("name", ["KILL", "TERM", "INT"])
def test_run_that_dies_under_load_leaves_no_process(name, tmp_path):
    """A killed run leaves nothing alive; an interrupted one keeps what it has and says so."""
    command = [*GATEBENCH, "run", "gunicorn-uvicorn", "--scenario", "hello", "--duration", "20s"]
    with subprocess.Popen(
        [*command, "--workers", "2", "--results", str(tmp_path / "results")], cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        # a shell gives background jobs an ignored SIGINT; a person in a terminal does not
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as harness:  # fmt: skip
        try:
            wait_until(lambda: any("load.plugin" in line for line in left_of(harness.pid)), 60)
            time.sleep(3.0)  # well under load
            guardians = psutil.Process(harness.pid).children()
            assert len(guardians) == 2
            os.kill(harness.pid, signal.Signals[f"SIG{name}"])
            output, _ = harness.communicate(timeout=30)
        finally:
            harness.kill()
    wait_until(lambda: not left_of(harness.pid), seconds=3.0)
    wait_until(lambda: not any(process.is_running() for process in guardians), seconds=3.0)
    if name != "KILL":
        assert harness.returncode == 130
        assert "interrupted: 0 of 1 trials are kept" in output
        assert "Traceback" not in output
