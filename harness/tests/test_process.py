"""The guardian's promise: nothing of a tree outlives gatebench."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from harness.process import StartError, Tree, scratch_folder

PYTHON = [sys.executable, "-I", "-S", "-c"]
ENV = {"PATH": os.defpath}
# a master whose worker ignores TERM and outlives it, as many servers' workers do
STUBBORN = """
import os, signal, time
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("worker", os.getpid(), flush=True)
    time.sleep(100)
print("master", os.getpid(), flush=True)
time.sleep(100)
"""


def tree(code: str, folder: Path) -> Tree:
    return Tree([*PYTHON, code], cwd=folder, env=ENV, log=folder / "log")


def wait_for(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_exit_code_and_log(tmp_path):
    with tree("import sys; print('hello'); sys.exit(7)", tmp_path) as it:
        assert it.wait(5.0) == 7
        ending = it.stop()
    assert (ending.how, ending.code, ending.gone, ending.killed) == ("exited", 7, True, 0)
    assert (tmp_path / "log").read_text() == "hello\n"


def test_signal_that_kills_is_a_negative_code(tmp_path):
    with tree("print(1, flush=True); import time; time.sleep(100)", tmp_path) as it:
        wait_for(lambda: "1" in (tmp_path / "log").read_text())
        assert it.poll() is None
        ending = it.stop("TERM")
    assert (ending.how, ending.code, ending.gone) == ("TERM", -signal.SIGTERM, True)


def test_program_that_ignores_the_signal_is_killed(tmp_path):
    code = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True)\n"
        "time.sleep(100)"
    )
    with tree(code, tmp_path) as it:
        wait_for(lambda: "1" in (tmp_path / "log").read_text())
        ending = it.stop(grace_s=0.3)
    assert (ending.how, ending.code, ending.gone, ending.killed) == ("KILL", -9, True, 1)


def test_worker_that_outlives_its_master_is_found_and_killed(tmp_path):
    with tree(STUBBORN, tmp_path) as it:
        wait_for(lambda: len(it.pids()) == 2)
        pids = it.pids()
        ending = it.stop()
    assert ending.killed == 1
    assert ending.gone
    assert not any(alive(pid) for pid in pids)


def test_leaving_the_context_ends_the_tree(tmp_path):
    with tree(STUBBORN, tmp_path) as it:
        wait_for(lambda: len(it.pids()) == 2)
        pids = [*it.pids(), it.guardian]
    assert not any(alive(pid) for pid in pids)


def test_program_that_cannot_be_executed_says_why(tmp_path):
    with pytest.raises(StartError, match=r"no-such-program cannot be started: .*No such file"):
        Tree(["no-such-program"], cwd=tmp_path, env=ENV, log=tmp_path / "log")


def test_cpu_set_is_inherited(tmp_path):
    cpu = min(os.sched_getaffinity(0))
    code = "import os; print(sorted(os.sched_getaffinity(0)), flush=True)"
    with Tree([*PYTHON, code], cwd=tmp_path, env=ENV, log=tmp_path / "log", cpus=[cpu]) as it:
        assert it.wait(5.0) == 0
    assert (tmp_path / "log").read_text() == f"[{cpu}]\n"


@pytest.mark.parametrize("name", ["KILL", "TERM", "INT", "HUP"])
def test_nothing_survives_the_harness(tmp_path, name):
    """The harness is killed outright; master, stubborn worker and guardian go within a second."""
    code = (
        "import sys, time; from pathlib import Path; from harness.process import Tree\n"
        "folder = Path(sys.argv[1])\n"
        "it = Tree(eval(sys.argv[2]), cwd=folder, env={}, log=folder / 'log')\n"
        "while len(it.pids()) < 2: time.sleep(0.01)\n"
        "print(it.guardian, *it.pids(), flush=True); time.sleep(100)"
    )
    harness = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), repr([*PYTHON, STUBBORN])],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    with harness:
        assert harness.stdout is not None
        pids = [int(word) for word in harness.stdout.readline().split()]
        assert len(pids) == 3
        harness.send_signal(signal.Signals[f"SIG{name}"])
        harness.wait(5)
    wait_for(lambda: not any(alive(pid) for pid in pids), seconds=1.0)


def test_killed_guardian_does_not_free_the_tree(tmp_path):
    """The program goes with its guardian; what is init's then is found by its mark."""
    with tree(STUBBORN, tmp_path) as it:
        wait_for(lambda: len(it.pids()) == 2)
        master, worker = it.pids()
        os.kill(it.guardian, signal.SIGKILL)
        wait_for(lambda: not alive(master))
        assert alive(worker)
    wait_for(lambda: not alive(worker))


def test_scratch_of_a_killed_gatebench_is_cleared_when_it_is_old(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gone = subprocess.Popen(["true"])
    gone.wait()
    old, fresh, ours = (
        tmp_path / f"gatebench-{owner}-x{index}"
        for index, owner in enumerate((gone.pid, gone.pid, os.getpid()))
    )
    for folder in (old, fresh, ours):
        folder.mkdir()
    for folder in (old, ours):
        os.utime(folder, (0, 0))
    with scratch_folder() as folder:
        assert folder.is_dir()
        assert sorted(tmp_path.iterdir()) == sorted([fresh, ours, folder])
    assert sorted(tmp_path.iterdir()) == sorted([fresh, ours])


def test_scratch_folder_is_gone_afterwards_whatever_happened():
    def fail() -> None:
        with scratch_folder() as folder:
            (folder / "log").touch()
            seen.append(folder)
            raise KeyboardInterrupt

    seen: list[Path] = []
    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not seen[0].exists()
