"""A run that was cut off anywhere goes on: nothing valid is lost, and nothing is done twice."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from harness.journal import Journal, read_journal
from harness.model import ConfigurationError, MeasurementError
from harness.run import conduct, unmeasured
from harness.store import StorageError, read_run
from harness.tests.crew import FakeCrew, Recording, plan_of
from harness.writer import RunWriter

PLAN = plan_of("a", "b", blocks=2)


class Cut(BaseException):
    """The process is gone: nothing runs after this, so nothing is tidied up either."""


class Fuse:
    """Blows at the n-th thing that is done to the disk or by the crew."""

    def __init__(self, after: int) -> None:
        self.left = after
        self.blown = False

    def burn(self) -> None:
        self.left -= 1
        if self.left < 0 or self.blown:
            self.blown = True
            raise Cut


@contextmanager
def power(monkeypatch, fuse: Fuse, scratch: Path):
    """As long as the fuse holds; a cut leaves the disk as it is at that moment."""

    def cut(real):
        def burning(*arguments, **options):
            fuse.burn()
            return real(*arguments, **options)

        return burning

    with monkeypatch.context() as patched:
        for name in ("fsync", "replace", "rename", "mkdir", "write", "chmod"):
            patched.setattr(os, name, cut(getattr(os, name)))
        patched.setattr(pq, "write_table", cut(pq.write_table))
        patched.setattr(shutil, "rmtree", lambda *_, **__: None)
        patched.setattr(Path, "unlink", lambda *_, **__: None)
        patched.setattr("tempfile.tempdir", str(scratch))
        yield


class Cutting(FakeCrew):
    """A crew that hangs on the same fuse."""

    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self._fuse = fuse

    def does(self, word: str) -> None:
        self._fuse.burn()
        super().does(word)


def begun(results: Path) -> RunWriter:
    return RunWriter.begin(results, PLAN.facts())


def sit(writer: RunWriter, crew: FakeCrew, plan=PLAN) -> None:
    """One sitting to its end."""
    writer.sit({"command": ["gatebench"], "machine": {}})
    for _ in conduct(plan, crew.crew, writer, Recording()):
        pass
    writer.end("complete")


def content(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {it.name: (it.stat().st_mtime_ns, it.read_bytes()) for it in folder.iterdir()}


def stored(run: Path) -> dict[str, dict[str, tuple[int, bytes]]]:
    """The trials that can be seen, with all that they hold."""
    return {it.name: content(it) for it in (run / "trials").glob("[0-9]*")}


def cells_of(run: Path) -> list[tuple[int, str]]:
    return [(it.facts["block"], it.facts["cell"]["server"]) for it in read_run(run).trials]


def launches(crew: FakeCrew) -> int:
    return crew.done.count("launch")


def moments(tmp_path, monkeypatch) -> int:
    """How many things a whole run does."""
    fuse = Fuse(10**6)
    writer = begun(tmp_path)
    with power(monkeypatch, fuse, tmp_path):
        sit(writer, Cutting(fuse))
    return 10**6 - fuse.left


def test_run_that_was_cut_at_any_moment_ends_with_the_same_cells(tmp_path, monkeypatch):
    planned = [(block, it.server.name) for block, it in PLAN.order()]
    whole = moments(tmp_path / "whole", monkeypatch)
    assert whole > 100
    for moment in range(0, whole, 5):
        fuse, results = Fuse(moment), tmp_path / str(moment)
        writer = begun(results)
        with power(monkeypatch, fuse, tmp_path), pytest.raises(Cut):
            sit(writer, Cutting(fuse))
        writer.leave()  # as the kernel lets go of what a dead process held
        before = stored(writer.path)

        again, aside = RunWriter.resume(writer.path)
        assert aside == []
        left, crew = len(unmeasured(PLAN, again)), FakeCrew()
        sit(again, crew)
        after = stored(writer.path)
        assert cells_of(writer.path) == planned, moment
        assert {name: after[name] for name in before} == before, moment
        assert launches(crew) == left == len(planned) - len(before), moment
        assert len(crew.ceilings) <= 1
        assert read_run(writer.path).ended == "complete"
        assert not list((writer.path / "trials").glob(".*")), moment
        assert not list(writer.path.glob(".*")), moment


@pytest.fixture
def half(tmp_path):
    """A run whose second block was never measured."""
    writer = begun(tmp_path / "results")
    crew, order = FakeCrew(), PLAN.order()
    writer.sit({"command": ["gatebench"], "machine": {}})
    trials = conduct(PLAN, crew.crew, writer, Recording())
    for _ in range(len(order) // 2):
        next(iter(trials))
    writer.end("interrupted")
    return writer.path


def test_resumed_run_says_who_measured_what_and_when(half):
    writer, _ = RunWriter.resume(half)
    sit(writer, FakeCrew())
    run = read_run(half)
    assert [it.facts["sitting"] for it in run.trials] == [1, 1, 2, 2]
    assert [it["sitting"] for it in run.sittings] == [1, 2]
    events = [line["event"] for line in read_journal(half)]
    assert events == [
        "sitting", *["trial", "stored"] * 2, "end", "sitting", *["trial", "stored"] * 2, "end",
    ]  # fmt: skip
    for trial in run.trials:
        assert trial.facts["began"] <= trial.facts["ended"]
        assert trial.facts["argv"]
        assert trial.facts["generator_argv"]


def test_generator_is_not_measured_again(half):
    writer, _ = RunWriter.resume(half)
    crew = FakeCrew()
    sit(writer, crew)
    assert crew.ceilings == []
    assert len(read_run(half).ceilings) == 1


def test_numbers_of_a_resumed_run_go_on_where_they_were(half):
    writer, _ = RunWriter.resume(half)
    watch = Recording()
    for _ in conduct(PLAN, FakeCrew().crew, writer, watch):
        pass
    assert [(number, of) for number, of, _ in watch.begun] == [(3, 4), (4, 4)]
    assert watch.left[-1] == 0


def test_complete_run_is_left_as_it_is(half):
    sit(RunWriter.resume(half)[0], FakeCrew())
    before = {path: path.stat().st_mtime_ns for path in half.rglob("*")}
    writer, _ = RunWriter.resume(half)
    assert unmeasured(PLAN, writer) == []
    writer.end("complete")
    assert {path: path.stat().st_mtime_ns for path in half.rglob("*")} == before


def test_run_that_lacked_only_its_end_gets_it(half):
    sit(RunWriter.resume(half)[0], FakeCrew())
    (half / "end.json").unlink()
    RunWriter.resume(half)[0].end("complete")
    assert read_run(half).ended == "complete"


def test_trial_that_failed_is_measured_again_and_its_failure_kept(tmp_path):
    writer = begun(tmp_path)
    crew = FakeCrew()
    crew.fails["ready"], crew.only = MeasurementError("it would not", log="why"), "b"
    sit(writer, crew)
    assert [it.facts["outcome"] for it in read_run(writer.path).trials].count("failed") == 2
    failed = {it.path.name for it in read_run(writer.path).trials if it.facts["failure"]}

    again, _ = RunWriter.resume(writer.path)
    crew = FakeCrew()
    sit(again, crew)
    run = read_run(writer.path)
    assert launches(crew) == 2
    assert [it.facts["outcome"] for it in run.trials] == ["measured"] * 4
    assert cells_of(writer.path) == [(block, it.server.name) for block, it in PLAN.order()]
    assert {it.path.name for it in run.repeated} == failed
    assert {it.facts["attempt"] for it in run.trials if it.facts["cell"]["server"] == "b"} == {2}
    assert all(it.facts["failure"]["log"] == "why" for it in run.repeated)


def test_trial_that_fails_each_time_has_all_its_attempts_and_the_last_counts(tmp_path):
    plan = plan_of("b")
    writer = RunWriter.begin(tmp_path, plan.facts())
    for number in range(3):
        crew = FakeCrew()
        crew.fails["verify"] = MeasurementError(f"try {number}")
        sit(writer, crew, plan)
        writer, _ = RunWriter.resume(writer.path)
    run = read_run(writer.path)
    assert [it.facts["failure"]["reason"] for it in run.repeated] == ["try 0", "try 1"]
    assert [it.facts["failure"]["reason"] for it in run.trials] == ["try 2"]


@pytest.mark.parametrize("harm", ["empty", "cut", "gone", "json"])
def test_trial_that_a_power_cut_damaged_is_put_aside_and_measured_again(half, harm):
    folder = half / "trials" / "0002"
    series = folder / "latency.parquet"
    whole = series.read_bytes()
    {
        "empty": lambda: series.write_bytes(b""),
        "cut": lambda: series.write_bytes(whole[: len(whole) // 2]),
        "gone": series.unlink,
        "json": lambda: (folder / "trial.json").write_bytes(b""),
    }[harm]()
    writer, aside = RunWriter.resume(half)
    assert len(aside) == 1
    assert str(folder) in aside[0]
    crew = FakeCrew()
    sit(writer, crew)
    assert launches(crew) == 3
    assert cells_of(half) == [(block, it.server.name) for block, it in PLAN.order()]
    assert len(list((half / "trials").glob(".0002.damaged-*"))) == 1


def test_two_processes_do_not_measure_one_run(half):
    writer, _ = RunWriter.resume(half)
    writer.sit({"command": [], "machine": {}})
    with pytest.raises(ConfigurationError, match=rf"another gatebench \(pid {os.getpid()}\) is"):
        RunWriter.resume(half)
    writer.leave()
    RunWriter.resume(half)[0].leave()


def test_run_that_is_being_begun_cannot_be_resumed(tmp_path):
    writer = begun(tmp_path)
    with pytest.raises(ConfigurationError, match="another gatebench is measuring it; wait"):
        RunWriter.resume(writer.path)


def test_line_that_a_crash_cut_is_left_out_and_the_next_stands_alone(tmp_path):
    journal = Journal(tmp_path)
    journal.note("sitting", {"sitting": 1, "pid": 1})
    journal.close()
    with (tmp_path / "journal.jsonl").open("a") as file:
        file.write('{"at": "2026", "ev')
    journal = Journal(tmp_path)
    journal.note("sitting", {"sitting": 2, "pid": 2})
    journal.close()
    assert [line["sitting"] for line in read_journal(tmp_path)] == [1, 2]


def test_journal_that_is_damaged_hides_no_trial(half):
    (half / "journal.jsonl").write_bytes(b"\xff\n[]\n3\n{}\n")
    assert read_run(half).sittings == []
    sit(RunWriter.resume(half)[0], FakeCrew())
    assert len(read_run(half).trials) == 4


def test_disk_that_is_full_ends_the_run_which_then_goes_on(half, monkeypatch):
    writer, _ = RunWriter.resume(half)
    real = os.write

    def full(handle, data):
        if b'"trial"' in data:
            raise OSError(28, "No space left on device")
        return real(handle, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StorageError, match="the disk is full"):
        sit(writer, FakeCrew())
    writer.end("disk-full")
    monkeypatch.undo()
    assert read_run(half).ended == "disk-full"
    sit(RunWriter.resume(half)[0], FakeCrew())
    assert read_run(half).ended == "complete"


def test_budget_ends_the_run_before_a_block_that_would_not_fit(tmp_path):
    plan = plan_of("a", "b", blocks=9)
    now = [0.0]

    class Slow(FakeCrew):
        def does(self, word):
            now[0] += 10.0 * (word == "measuring")
            super().does(word)

    def measured(writer, budget_s):
        crew = replace(Slow().crew, clock=lambda: now[0])
        return len(list(conduct(plan, crew, writer, Recording(), budget_s=budget_s)))

    writer = RunWriter.begin(tmp_path, plan.facts())
    assert measured(writer, 65.0) == 6  # three blocks take 60 s
    assert measured(writer, 80.0) == 8  # it knows by now what a block takes
    assert measured(writer, 1.0) == 2  # one block in any case
    assert [slot.number for slot in unmeasured(plan, writer)] == [17, 18]


def test_time_left_is_learned_from_each_cell_and_from_earlier_sittings(tmp_path):
    plan = plan_of("fast", "slow", blocks=2)
    now = [0.0]

    class Unequal(FakeCrew):
        def does(self, word):
            starts_s = 1.0 if self._server == "fast" else 31.0
            now[0] += {"environment": 100.0, "ready": starts_s, "measuring": 3.0}.get(word, 0.0)
            super().does(word)

    crew = replace(Unequal().crew, clock=lambda: now[0])
    writer, watch = RunWriter.begin(tmp_path, plan.facts()), Recording()
    trials = iter(conduct(plan, crew, writer, watch))
    next(trials)
    next(trials)
    assert watch.left[1] == pytest.approx(4.0 + 34.0)  # what making environments takes is not in it
    writer.leave()
    again, later = RunWriter.resume(writer.path)[0], Recording()
    next(iter(conduct(plan, crew, again, later)))
    third = plan.slots()[2].cell.server.name
    assert later.left[0] == pytest.approx(34.0 if third == "fast" else 4.0)


def test_journal_holds_json_alone(half):
    for line in (half / "journal.jsonl").read_text("utf-8").splitlines():
        assert {"at", "event"} <= json.loads(line).keys()
