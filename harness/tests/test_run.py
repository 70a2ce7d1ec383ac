"""The conductor: the order of a trial's life, and what each failure in it leaves."""

from __future__ import annotations

import errno
import inspect
import os
from collections import Counter
from dataclasses import replace

import pytest

from harness.model import (
    ConfigurationError,
    GatebenchError,
    Load,
    MeasurementError,
    Timing,
)
from harness.plan import Plan, describe
from harness.run import LIFE, Crew, conduct
from harness.store import StorageError, read_run
from harness.tests.builders import cell, scenario
from harness.tests.crew import ENVIRONMENT, TABLE, FakeCrew, Recording, plan_of
from harness.writer import RunWriter

LIVING = ["environment", "launch", "ready", "verify", "warm up", "measure", "stop", "store"]


@pytest.fixture
def fake():
    return FakeCrew()


@pytest.fixture
def watch():
    return Recording()


@pytest.fixture
def conducted(tmp_path, fake, watch):
    """Conduct a plan; what is on disk after it."""

    def conducted(plan: Plan):
        writer = RunWriter.begin(tmp_path / "results", plan.facts())
        conducted.path = writer.path
        for trial in conduct(plan, fake.crew, writer, watch):
            assert trial.path.is_dir()
        return read_run(writer.path)

    return conducted


def test_life_of_a_trial_is_this_and_in_this_order(conducted, watch):
    conducted(plan_of("demo"))
    assert watch.phases == [
        ["environment", "launch", "ready", "verify", "warm up", "measure", "stop", "store"]
    ]
    assert list(LIFE) == LIVING


def test_work_is_done_in_that_order_and_each_step_once(conducted, fake):
    conducted(plan_of("demo"))
    assert fake.done == [
        "environment", "launch", "ready", "verify", "drive",
        "warm up", "measure", "measuring", "result", "stop", "gone",
    ]  # fmt: skip
    assert (fake.running, fake.driving, fake.sampling) == (0, 0, 0)


def test_everyone_is_given_what_the_plan_says(conducted, fake):
    conducted(plan_of("demo"))
    assert fake.asked == [
        ("launch", "demo", ENVIRONMENT, (0,)),
        ("verify", "127.0.0.1", 8000, ("hello",)),
        ("drive", "hello", 10, Timing(1.0, 2.0), "http://127.0.0.1:8000", (1,), 5),
    ]


def test_generator_is_measured_once_for_each_scenario_before_the_first_trial(tmp_path, fake, watch):
    works = [
        scenario(),
        scenario("blocking-io", wait_s=0.05, checks=("hello", "sleep")),
        scenario("websocket-idle", pause_s=20.0),  # its users rest, and show no limit
    ]
    cells = [cell(name, work) for name in ("a", "b") for work in works]
    plan = replace(plan_of(), cells=tuple(cells), blocks=2)
    writer = RunWriter.begin(tmp_path, plan.facts())
    trials = iter(conduct(plan, fake.crew, writer, watch))
    next(trials)
    assert fake.ceilings == [("hello", Load(10), plan.placement)]
    assert watch.ceilings == ["hello"]
    assert len(list(trials)) == 11
    assert len(fake.ceilings) == 1
    (ceiling,) = read_run(writer.path).ceilings
    assert (ceiling["scenario"], ceiling["throughput_per_s"]) == ("hello", 100_000.0)


def test_measured_trial_is_stored_with_its_facts_series_and_logs(conducted):
    run = conducted(plan_of("demo"))
    assert len(run.trials) == 1
    trial = run.trials[0]
    facts = trial.facts
    assert (facts["number"], facts["block"], facts["outcome"]) == (1, 1, "measured")
    assert facts["failure"] is None
    assert facts["versions"] == {"demo": "1.2.3"}
    assert (facts["python"], facts["port"], facts["pid"]) == ("3.11.0", 8000, 100)
    assert facts["argv"] == ["demo", "--port", "8000"]
    assert (facts["startup_s"], facts["workers_seen"]) == (0.25, 2)
    assert facts["load"]["ok"] == 3
    assert facts["ending"]["how"] == "TERM"
    assert facts["placement"] == {"server": [0], "generator": [1], "notes": []}
    assert facts["timing"] == {"warmup_s": 1.0, "duration_s": 2.0}
    assert set(facts["life_s"]) == set(LIVING) - {"store"}
    for name in ("latency", "ticks", "processes", "noise"):
        assert trial.series(name) == TABLE
    assert (trial.path / "server.log").read_text("utf-8") == "log of demo\n"
    assert (trial.path / "locust.log").read_text("utf-8") == "log of Locust\n"


def test_watch_is_told_how_it_goes(conducted, watch):
    conducted(plan_of("a", "b"))
    assert [(number, of) for number, of, _ in watch.begun] == [(1, 2), (2, 2)]
    assert watch.lives == [(done, {"server_cpu_s": 0.5}) for _ in range(2) for done in range(3)]
    assert [path.name for path in watch.stored] == ["0001", "0002"]
    assert watch.left[0] >= 0.0
    assert watch.left[-1] == 0.0


# where it fails, the word `during` that is stored, and what the watch was told
FAILURES = {
    "environment": ("environment", LIVING[:1]),
    "launch": ("launch", LIVING[:2]),
    "ready": ("ready", LIVING[:3]),
    "verify": ("verify", LIVING[:4]),
    "drive": ("warm up", LIVING[:5]),
    "warm up": ("warm up", LIVING[:5]),
    "measuring": ("measure", LIVING[:6]),
    "result": ("measure", LIVING[:6]),
    "stop": ("stop", LIVING[:7]),
}


@pytest.mark.parametrize("step", FAILURES)
def test_failure_is_stored_with_its_step_and_the_next_trial_goes_on(conducted, fake, watch, step):
    fake.fails[step] = MeasurementError("it would not", log="line 1\nline 2")
    fake.only = "bad"
    run = conducted(plan_of("good", "bad", "fine"))
    during, told = FAILURES[step]
    outcomes = {trial.facts["cell"]["server"]: trial.facts for trial in run.trials}
    assert {name: facts["outcome"] for name, facts in outcomes.items()} == {
        "good": "measured",
        "bad": "failed",
        "fine": "measured",
    }
    assert outcomes["bad"]["failure"] == {
        "during": during,
        "reason": "it would not",
        "log": "line 1\nline 2",
    }
    number = next(number for number, _, name in watch.begun if name == "bad")
    assert watch.phases[number - 1] == [*told, "store"]
    assert all(phases == LIVING for index, phases in enumerate(watch.phases) if index != number - 1)


@pytest.mark.parametrize("step", FAILURES)
@pytest.mark.parametrize("error", [MeasurementError("x"), ValueError("x"), KeyboardInterrupt()])
def test_whatever_fails_everything_that_was_started_is_ended(conducted, fake, step, error):
    fake.fails[step] = error
    if isinstance(error, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            conducted(plan_of("demo"))
    else:
        conducted(plan_of("demo"))
    assert (fake.running, fake.driving, fake.sampling) == (0, 0, 0)
    started = step not in ("environment", "launch")
    assert fake.done.count("gone") == started


@pytest.mark.parametrize("step", ["verify", "result", "stop"])
def test_failed_trial_keeps_what_was_known_of_its_server(conducted, fake, step):
    fake.fails[step] = MeasurementError("it would not")
    trial = conducted(plan_of("demo")).trials[0]
    assert trial.facts["versions"] == {"demo": "1.2.3"}
    assert trial.facts["argv"] == ["demo", "--port", "8000"]
    assert trial.facts["workers_seen"] == 2
    assert (trial.path / "server.log").exists()


def test_server_that_ended_under_load_is_a_failure(conducted, fake):
    fake.exit_code = -11
    trial = conducted(plan_of("demo")).trials[0]
    assert trial.facts["outcome"] == "failed"
    assert trial.facts["failure"] == {
        "during": "measure",
        "reason": "server demo ended with exit code -11 under load",
        "log": "last words",
    }


@pytest.mark.parametrize("step", FAILURES)
def test_unexpected_exception_is_our_own_fault_and_never_a_number(conducted, fake, step):
    fake.fails[step] = ZeroDivisionError("in our own code")
    run = conducted(plan_of("demo", blocks=2))
    assert len(run.trials) == 2
    for trial in run.trials:
        failure = trial.facts["failure"]
        assert trial.facts["outcome"] == "failed"
        assert failure["own_fault"] is True
        assert failure["during"] == FAILURES[step][0]
        assert failure["reason"] == "gatebench's own fault: ZeroDivisionError: in our own code"
        assert "Traceback" in failure["log"]


def test_failure_of_a_server_is_not_our_own_fault(conducted, fake):
    fake.fails["verify"] = MeasurementError("it would not")
    assert "own_fault" not in conducted(plan_of("demo")).trials[0].facts["failure"]


@pytest.mark.parametrize("error", [ConfigurationError("no"), StorageError("full")])
def test_error_that_is_not_of_the_cell_ends_the_run(conducted, fake, watch, error):
    fake.fails["launch"] = error
    with pytest.raises(GatebenchError) as caught:
        conducted(plan_of("a", "b"))
    assert caught.value is error
    assert len(watch.begun) == 1
    assert read_run(conducted.path).trials == []


def test_interrupt_leaves_the_finished_trials_readable(conducted, fake):
    plan = plan_of("a", "b", "c")
    fake.only = plan.order()[-1][1].server.name
    fake.fails["measure"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        conducted(plan)
    run = read_run(conducted.path)
    assert run.ended == "unfinished"
    assert [trial.facts["outcome"] for trial in run.trials] == ["measured", "measured"]
    assert fake.running == 0


def test_work_folder_of_an_interrupted_trial_is_gone(conducted, fake, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    fake.fails["measure"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        conducted(plan_of("demo"))
    assert "gone" in fake.done
    assert list(scratch.iterdir()) == []


def test_full_disk_ends_the_run_before_the_next_trial(conducted, watch, monkeypatch):
    class Disk:
        free = 10**9

    monkeypatch.setattr("shutil.disk_usage", lambda _: Disk)
    original = watch.done

    def fill(trial, left_s):
        original(trial, left_s)
        Disk.free = 1000

    watch.done = fill
    with pytest.raises(StorageError, match="the disk is full"):
        conducted(plan_of("a", "b", "c"))
    assert len(watch.begun) == 1
    assert len(read_run(conducted.path).trials) == 1


def test_trial_that_cannot_be_stored_ends_the_run(conducted, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pyarrow.parquet.write_table", full)
    with pytest.raises(StorageError, match="the trials stored so far are kept"):
        conducted(plan_of("a", "b"))
    assert read_run(conducted.path).trials == []


NAMES = ("a", "b", "c", "d", "e")


def names_of(plan: Plan) -> list[list[str]]:
    """The servers of each block, in order."""
    blocks: dict[int, list[str]] = {}
    for block, it in plan.order():
        blocks.setdefault(block, []).append(it.server.name)
    assert list(blocks) == list(range(1, plan.blocks + 1))
    return list(blocks.values())


@pytest.mark.parametrize("seed", range(5))
def test_every_cell_is_measured_once_in_every_block(seed):
    for block in names_of(plan_of(*NAMES, blocks=7, seed=seed)):
        assert sorted(block) == list(NAMES)


@pytest.mark.parametrize("seed", range(5))
def test_even_blocks_are_the_reverse_of_those_before(seed):
    blocks = names_of(plan_of(*NAMES, blocks=8, seed=seed))
    for odd, even in zip(blocks[::2], blocks[1::2], strict=True):
        assert even == odd[::-1]


def test_two_servers_are_measured_as_abba():
    for seed in range(5):
        first, second = names_of(plan_of("a", "b", blocks=2, seed=seed))
        assert first + second in (["a", "b", "b", "a"], ["b", "a", "a", "b"])


def test_order_is_reproducible_from_the_seed():
    plan = plan_of(*NAMES, blocks=6, seed=3)
    assert plan.order() == plan.order() == replace(plan, machine={}).order()
    assert plan.order() != replace(plan, seed=4).order()


def test_odd_blocks_are_drawn_anew_and_without_favour():
    first = Counter(names_of(plan_of(*NAMES, seed=seed))[0][0] for seed in range(500))
    assert set(first) == set(NAMES)
    assert max(first.values()) < 2 * min(first.values())  # 100 each, and 60..140 by chance
    blocks = names_of(plan_of(*NAMES, blocks=20))
    assert len({tuple(block) for block in blocks[::2]}) > 5


def test_more_blocks_begin_as_fewer_did():
    few, many = plan_of(*NAMES, blocks=3), plan_of(*NAMES, blocks=9)
    assert many.order()[: len(few.order())] == few.order()


def test_run_json_says_what_is_asked_for_and_in_which_order(conducted):
    plan = plan_of("a", "b", "c", blocks=2)
    run = conducted(plan)
    facts = run.facts
    assert (facts["seed"], facts["blocks"]) == (5, 2)
    assert facts["placement"] == {"server": [0], "generator": [1], "disjoint": True}
    assert [it["server"] for it in facts["cells"]] == ["a", "b", "c"]
    planned = [[block, facts["cells"][index]["server"]] for block, index in facts["order"]]
    measured = [[it.facts["block"], it.facts["cell"]["server"]] for it in run.trials]
    assert planned == measured == [[block, it.server.name] for block, it in plan.order()]


def test_cell_is_described_by_what_its_figures_rest_on():
    facts = describe(cell("demo", users=3, workers=4, threads=2, concurrency="thread"))
    assert (facts["server"], facts["workers"], facts["threads"]) == ("demo", 4, 2)
    assert (facts["slots"], facts["wait_s"], facts["latency"]) == (8, 0.0, "response")
    assert facts["load"].users == 3


@pytest.mark.parametrize(
    ("fake", "real"),
    [
        (FakeCrew.launch, Crew.launch),
        (FakeCrew.drive, Crew.drive),
        (FakeCrew.verify, Crew.verify),
    ],
)
def test_fakes_take_what_the_real_ones_take(fake, real):
    taken = list(inspect.signature(fake).parameters.values())[1:]
    known = inspect.signature(real).parameters
    needed = {name for name, it in known.items() if it.default is inspect.Parameter.empty}
    assert needed <= {it.name for it in taken} <= set(known)
    assert all(it.kind is known[it.name].kind for it in taken)
