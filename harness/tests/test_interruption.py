"""Runs with real servers that are killed, and that are gone on with."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from harness.store import read_run
from harness.tests.commands import Finished, gatebench, started

pytestmark = [pytest.mark.servers]

# a scenario that waits has no ceiling to measure first
ASKED = (
    "run", "waitress", "gunicorn-sync", "--scenario", "blocking-io", "--users", "4", "--blocks",
    "2", "--seed", "3", "--warmup", "200ms", "--duration", "1s",
)  # fmt: skip
TRIALS = 4
TAKES_S = 11.0  # all of it, about; a kill that comes too late finds a complete run


def killed(cwd: Path, *arguments: str, after_s: float) -> None:
    """Start gatebench and kill it after some seconds."""
    with started(*arguments, cwd=cwd) as process:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=after_s)
        process.kill()
        process.communicate(timeout=30)


def run_of(cwd: Path) -> Path | None:
    """The run that was begun; None if the kill came before its first file."""
    return next((path.parent for path in cwd.glob("results/*/run.json")), None)


def measured(run: Path) -> dict[str, tuple[int, bytes]]:
    """Each trial that can be seen: when its facts were written, and what they are."""
    return {
        it.parent.name: (it.stat().st_mtime_ns, it.read_bytes())
        for it in (run / "trials").glob("[0-9]*/trial.json")
    }


def planned(run: Path) -> list[tuple[int, str]]:
    facts = json.loads((run / "run.json").read_text("utf-8"))
    return [(block, facts["cells"][index]["server"]) for block, index in facts["order"]]


def assert_finished(cwd: Path, run: Path, before: dict[str, tuple[int, bytes]]) -> None:
    """Go on with the run to its end: all cells once, and what was there is as it was."""
    finished = gatebench("run", "--resume", run.name, "--json", cwd=cwd)
    assert finished.code in (0, 3), finished.err  # a busy machine may spoil so short a trial
    last, whole = measured(run), read_run(run)
    assert {name: last[name] for name in before} == before
    assert [(it.facts["block"], it.facts["cell"]["server"]) for it in whole.trials] == planned(run)
    assert {it.facts["outcome"] for it in whole.trials} == {"measured"}
    assert len(last) == TRIALS
    assert whole.repeated == []
    assert whole.ended == finished.document["ended"] == "complete"
    assert {it["server"]: it["trials"] for it in finished.document["cells"]} == {
        "waitress": 2, "gunicorn-sync": 2,
    }  # fmt: skip
    assert not list(run.glob("trials/.*"))


def until_trials(process: subprocess.Popen[str], cwd: Path, count: int) -> Path:
    """Wait until so many trials of the run can be seen."""
    while (run := run_of(cwd)) is None or len(measured(run)) < count:
        assert process.poll() is None
        time.sleep(0.05)
    return run


def test_run_that_is_killed_and_then_interrupted_goes_on(tmp_path):
    with started(*ASKED, cwd=tmp_path) as process:
        run = until_trials(process, tmp_path, 1)
        time.sleep(1.0)  # into the second
        process.kill()
        process.communicate(timeout=30)
    first = measured(run)

    with started("run", "--resume", run.name, cwd=tmp_path) as process:
        until_trials(process, tmp_path, len(first) + 1)
        process.send_signal(signal.SIGSTOP)  # so that it does not end before the other is there
        other = gatebench("run", "--resume", run.name, cwd=tmp_path)
        assert other.code == 2
        assert f"another gatebench (pid {process.pid}) is measuring it" in other.complaint
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        out, err = process.communicate(timeout=30)
    second = measured(run)
    assert process.returncode == 130
    assert f"{len(second)} of {TRIALS} trials are kept in" in err
    assert f"to go on: gatebench run --resume results/{run.name}" in err
    assert f"{len(second)} of {TRIALS} trials were made; to go on: gatebench run" in out
    assert {name: second[name] for name in first} == first

    assert_finished(tmp_path, run, second)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("moment", range(10))
def test_run_that_is_killed_at_any_moment_goes_on(tmp_path, moment):
    killed(tmp_path, *ASKED, after_s=random.Random(moment).uniform(0.5, TAKES_S))
    if (run := run_of(tmp_path)) is not None:
        assert_finished(tmp_path, run, measured(run))


def test_budget_that_is_too_small_is_said_before_anything_starts(tmp_path):
    finished = gatebench("run", "waitress", "--budget", "9s", cwd=tmp_path)
    assert finished.code == 2
    assert "give --budget" in finished.complaint
    assert not (tmp_path / "results").exists()


def own(status: int, *more: str) -> list[str]:
    return [
        "--app", "shop:app", "--app-dir", ".", "--expect-status", str(status),
        "--app-env", "STATUS=200", *more,
    ]  # fmt: skip


@pytest.mark.slow
def test_failed_trial_of_an_own_application_is_repeated_with_its_secrets(tmp_path) -> None:
    (tmp_path / "shop.py").write_text(
        "import os\n"
        "def app(environ, start):\n"
        "    start(os.environ['STATUS'] + ' x', [('Content-Length', '2')])\n"
        "    return [b'ok']\n"
    )
    first: Finished = gatebench(
        "run", "waitress", *own(200), "--users", "4", "--warmup", "500ms", "--duration", "1s",
        "--json", cwd=tmp_path,
    )  # fmt: skip
    assert first.code in (0, 3), first.err
    run = Path(first.document["run"]).name
    trial = tmp_path / "results" / run / "trials" / "0001" / "trial.json"
    facts = json.loads(trial.read_text("utf-8"))
    failure = {"during": "ready", "reason": "made up", "log": ""}
    trial.write_text(json.dumps(facts | {"outcome": "failed", "failure": failure}), "utf-8")

    without = gatebench("run", "--resume", run, cwd=tmp_path)
    assert without.code == 2
    assert "give --app-env STATUS=... again" in without.complaint
    again = gatebench("run", "--resume", run, "--app-env", "STATUS=200", "--json", cwd=tmp_path)
    assert again.code in (0, 3), again.err
    assert again.document["cells"][0]["verdict"] != "failed"
    assert (trial.parents[1] / "0001-2" / "trial.json").exists()
    assert "measured again after a failure: waitress" in (
        tmp_path / "results" / run / "report.md"
    ).read_text("utf-8")
