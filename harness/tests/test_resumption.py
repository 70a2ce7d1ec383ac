"""What `run --resume` goes on with, what it refuses, and what a reader is told of it."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from types import SimpleNamespace

import pytest

from harness import environment
from harness.cells import Budget, make_cells
from harness.cli import COMMANDS
from harness.commands import environments as room
from harness.commands import measurement
from harness.commands.environments import Environments
from harness.commands.measurement import Ending, begin, fitted, max_servers, measure
from harness.commands.resumption import resume
from harness.machine import facts, usable_cpus
from harness.model import (
    ConfigurationError,
    Environment,
    Load,
    MeasurementError,
    RefusedError,
)
from harness.options import parser
from harness.recipe import recipe
from harness.registry import load_registry
from harness.report.sittings import sitting_lines
from harness.run import conduct
from harness.store import StoredRun, StoredTrial, read_run
from harness.tests.builders import cell, scenario
from harness.tests.crew import FakeCrew, Recording, plan_of


def arguments(*words: str):
    return parser(dict.fromkeys(COMMANDS, print)).parse_args(["run", *words])


@pytest.fixture
def plan():
    return replace(plan_of("a", "b", blocks=2), machine=facts(usable_cpus()))


@pytest.fixture
def run(tmp_path, plan):
    """A run that was interrupted after its first trial."""
    writer = begin(plan, tmp_path / "results")
    writer.sit({"command": ["gatebench"], "machine": plan.machine})
    next(iter(conduct(plan, FakeCrew().crew, writer, Recording())))
    writer.end("interrupted")
    return writer.path


def changed(run, name: str, change) -> None:
    document = json.loads((run / name).read_text("utf-8"))
    change(document)
    (run / name).write_text(json.dumps(document), "utf-8")


def test_plan_and_trials_are_those_of_the_run(run, plan):
    again, writer = resume(arguments("--resume", str(run)))
    assert again == plan
    assert list(writer.trials) == [1]
    assert writer.sitting == 2
    writer.leave()


def test_run_is_found_by_its_name_among_the_results(run):
    _, writer = resume(arguments("--resume", run.name, "--results", str(run.parent)))
    assert writer.path == run
    writer.leave()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["uvicorn"], "SERVER"),
        (["--scenario", "hello"], "--scenario"),
        (["--blocks", "3"], "--blocks"),
        (["--deadline", "3s"], "--deadline"),
        (["--app-dir", "."], "--app-dir"),
        (["--refresh"], "--refresh"),
        (["--seed", "0"], "--seed"),
    ],
)
def test_what_the_run_says_itself_is_not_said_again(run, words, named):
    with pytest.raises(ConfigurationError, match=rf"^{named}: is taken from the run"):
        resume(arguments("--resume", str(run), *words))


def test_folder_that_is_no_run_is_said_so(tmp_path):
    with pytest.raises(ConfigurationError, match="nothing: no such run"):
        resume(arguments("--resume", "nothing", "--results", str(tmp_path)))


def test_run_of_before_plans_were_kept_cannot_be_resumed(run):
    (run / "plan.json").unlink()
    with pytest.raises(ConfigurationError, match=r"it has no plan\.json"):
        resume(arguments("--resume", str(run)))


def test_run_that_was_cut_while_it_was_extended_has_its_blocks(run, plan):
    longer = replace(plan, blocks=4)
    changed(run, "plan.json", lambda it: it.update(recipe(longer)))
    again, writer = resume(arguments("--resume", str(run)))
    writer.leave()
    assert again == longer
    facts = read_run(run).facts
    assert (facts["blocks"], len(facts["order"])) == (4, 8)


def test_other_version_of_gatebench_is_refused(run):
    changed(run, "run.json", lambda it: it.update(gatebench="0.0.1"))
    with pytest.raises(RefusedError, match=r"was begun by gatebench 0\.0\.1") as caught:
        resume(arguments("--resume", str(run)))
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"cpu": "Another 9"}, "cpu was Another 9 and is"),
        ({"cpus_usable": [0, 1, 2, 3, 4, 5, 6]}, "cpus_usable was"),
        ({"memory_bytes": 1 << 50}, "memory was 1073741824 MiB"),
    ],
)
def test_other_machine_is_refused(run, change, word):
    changed(run, "plan.json", lambda it: it["plan"]["machine"].update(change))
    with pytest.raises(RefusedError, match=word):
        resume(arguments("--resume", str(run)))


def test_new_kernel_host_name_and_some_memory_are_the_same_machine(run):
    memory = int(facts(usable_cpus())["memory_bytes"] * 1.01)
    new = {"kernel": "9.9", "hostname": "other", "memory_bytes": memory, "governor": "slow"}
    changed(run, "plan.json", lambda it: it["plan"]["machine"].update(new))
    resume(arguments("--resume", str(run)))[1].leave()


def test_complete_run_is_said_to_be_so_and_nothing_is_measured(tmp_path, plan, capsys):
    writer = begin(plan, tmp_path)
    for _ in conduct(plan, FakeCrew().crew, writer, Recording()):
        pass
    writer.end("complete")
    again, writer = resume(arguments("--resume", str(writer.path)))
    assert measure(again, writer, Environments(refresh=False)) == Ending("complete")
    assert "is complete: nothing is left to measure" in capsys.readouterr().err
    assert len(read_run(writer.path).sittings) == 0


def test_gatebench_keeps_off_the_servers_cpus_only_while_it_measures(tmp_path, plan, monkeypatch):
    seen, crew, cpus = [], FakeCrew().crew, usable_cpus()

    def conducted(*arguments, **options):
        seen.append(usable_cpus())
        return conduct(arguments[0], crew, arguments[2], Recording(), **options)

    monkeypatch.setattr(measurement, "conduct", conducted)
    monkeypatch.setattr(Environments, "missing", lambda *_: 0)
    plan = replace(plan, placement=replace(plan.placement, generator=cpus[-1:]))
    writer = begin(plan, tmp_path)
    assert measure(plan, writer, Environments(refresh=False)) == Ending("complete")
    assert seen == [cpus[-1:]]
    assert usable_cpus() == cpus
    (sitting,) = read_run(writer.path).sittings
    assert sitting["machine"]["cpus_usable"] == list(cpus)
    assert sitting["pid"] == os.getpid()


@pytest.mark.parametrize(
    ("ending", "code", "said"),
    [
        (Ending("interrupted"), 130, "interrupted: 1 of 4 trials are kept in"),
        (Ending("budget"), 0, "the budget is spent: 1 of 4 trials are kept in"),
        (Ending("stopped", MeasurementError("no more")), 3, "gatebench: no more"),
    ],
)
def test_run_that_is_not_complete_says_how_to_go_on(run, ending, code, said, capsys):
    frames = ({"verdict": SimpleNamespace(isin=lambda _: SimpleNamespace(any=lambda: False))},)
    assert ending.code(read_run(run), frames) == code
    told = capsys.readouterr().err
    assert said in told
    assert f"to go on: gatebench run --resume {run}" in told


def test_run_that_was_refused_does_not_say_how_to_go_on(run, capsys):
    assert Ending("stopped", RefusedError("unlike")).code(read_run(run), ()) == 4
    assert "to go on" not in capsys.readouterr().err


def test_budget_fits_blocks_to_time(plan):
    # two cells of 4.5 s, and 4 s for the generator's ceiling
    blocks = {budget: fitted(plan, budget).blocks for budget in (13.0, 21.9, 22.0, 544.0)}
    assert blocks == {13.0: 1, 21.9: 1, 22.0: 2, 544.0: 60}


def test_budget_without_room_for_one_block_says_the_least_that_would_do(plan):
    with pytest.raises(ConfigurationError) as caught:
        fitted(plan, 10.0)
    line = str(caught.value)
    assert "one block of 2 cells takes about 13 s; give --budget 13s" in line
    assert "--duration 2s" in line
    assert fitted(plan, 13.0).blocks == 1


def test_servers_of_a_family_are_those_of_one_scenario_and_load():
    works = [scenario(), scenario("echo")]
    cells = [cell(name, work) for name in ("a", "b", "c") for work in works]
    assert max_servers(replace(plan_of(), cells=(*cells, cell("a", users=99)))) == 3


# environments


@pytest.fixture
def installed(monkeypatch):
    """What can be installed: by requirements, its receipt; and what was asked for."""
    there = SimpleNamespace(receipt={"demo": "2.0"}, asked=[], python="3.11.0", fails=None)

    def prepare(server, app, *, refresh=False):
        there.asked.append((server.packages, server.version, app.packages, refresh))
        pinned = dict(it.split("==") for it in server.packages if "==" in it)
        if pinned and there.fails:
            raise there.fails
        return Environment(server.origin, there.python, pinned or there.receipt)

    monkeypatch.setattr(environment, "prepare", prepare)
    return there


HAD = {
    "outcome": "measured",
    "cell": {"server": "demo", "app": "wsgi"},
    "versions": {"demo": "1.0", "other": "3"},
    "python": "3.11.0",
}


def test_environment_that_is_as_it_was_is_used(installed):
    installed.receipt = HAD["versions"]
    assert Environments(False, [HAD]).of(cell()).receipt == HAD["versions"]
    assert installed.asked == [(("demo",), None, (), False)]


def test_environment_that_is_newer_by_now_is_made_again_as_it_was(installed):
    assert Environments(False, [HAD]).of(cell()).receipt == HAD["versions"]
    assert installed.asked[-1] == (("demo==1.0", "other==3"), None, (), False)


def test_environment_that_cannot_be_had_as_it_was_is_refused(installed):
    installed.fails = MeasurementError("demo==1.0 does not exist")
    with pytest.raises(RefusedError, match=r"demo cannot be had .*: demo==1\.0 does not exist"):
        Environments(False, [HAD]).of(cell())


def test_other_python_is_refused(installed):
    installed.python = "3.11.9"
    with pytest.raises(RefusedError, match=r"Python was 3\.11\.0 and is 3\.11\.9"):
        Environments(False, [HAD]).of(cell())


def test_proxy_that_was_updated_is_refused(installed, monkeypatch):
    monkeypatch.setattr(room, "receipt", lambda _: "1.23")
    (subject,), _ = make_cells(
        load_registry(), ["nginx+uvicorn"], ["hello"], Budget(1, 4, Load(32))
    )
    installed.receipt = {"demo": "1.0"}
    had = {**HAD, "cell": {"server": "nginx+uvicorn", "app": "asgi"}}
    same = {**had, "versions": {"nginx": "1.23", "demo": "1.0"}}
    assert Environments(False, [same]).of(subject).receipt == {"demo": "1.0"}
    older = {**had, "versions": {"nginx": "1.22", "demo": "1.0"}}
    with pytest.raises(RefusedError, match=r"nginx was 1\.22 and is 1\.23"):
        Environments(False, [older]).of(subject)


@pytest.mark.usefixtures("installed")
def test_server_that_was_never_measured_takes_what_there_is():
    failed = {**HAD, "outcome": "failed"}
    assert Environments(False, [failed]).of(cell()).receipt == {"demo": "2.0"}
    assert Environments(False, [HAD]).of(cell("another")).receipt == {"demo": "2.0"}


def test_environments_that_have_to_be_built_are_counted_once_each(monkeypatch):
    places = {"a": "place 1", "b": "place 1", "c": "place 2", "ready": None}
    monkeypatch.setattr(environment, "missing", lambda server, _: places[server.name])
    cells = [cell(name, work) for name in places for work in (scenario(), scenario("echo"))]
    assert Environments(refresh=False).missing(cells) == 2
    assert Environments(refresh=True).missing(cells) == 4


# what a reader is told


def at(minute: int) -> str:
    return f"2026-01-01T10:{minute:02d}:00+00:00"


def trial(number: int, block: int, sitting: int, minute: int, **more) -> StoredTrial:
    return StoredTrial(
        None,
        {
            "number": number, "block": block, "sitting": sitting, "began": at(minute),
            "ended": at(minute + 1), "cell": {"server": f"s{number}", "scenario": "hello"}, **more,
        },
    )  # fmt: skip


def test_report_says_which_block_is_torn_and_how_far(tmp_path):
    trials = [trial(1, 1, 1, 0), trial(2, 1, 1, 1), trial(3, 2, 1, 2), trial(4, 2, 2, 45)]
    sittings = [
        {"sitting": n, "at": at(0), "pid": 100 + n, "machine": {"kernel": f"6.{n}"}} for n in (1, 2)
    ]
    run = StoredRun(tmp_path, {"order": [0] * 4}, trials, "complete", sittings=sittings)
    assert sitting_lines(run) == [
        "measured in 2 sittings",
        "block 2 is torn: 42 min 00 s lie between two of its trials, in which the machine may "
        "have changed",
        "kernel was 6.1 and from sitting 2 on 6.2",
    ]


def test_report_says_nothing_of_sittings_where_there_was_one(tmp_path):
    run = StoredRun(tmp_path, {"order": [0]}, [trial(1, 1, 1, 0)], "complete")
    assert sitting_lines(run) == []
    extended = [{"sitting": n, "at": at(0), "pid": 100, "machine": {}} for n in (1, 2)]
    assert sitting_lines(replace(run, sittings=extended)) == []


def test_run_that_cannot_be_gone_on_with_is_not_said_to_be(tmp_path):
    run = StoredRun(tmp_path, {"order": [0] * 4}, [trial(1, 1, 1, 0)], "interrupted")
    assert sitting_lines(run) == []


def test_report_says_what_is_missing_and_what_was_measured_again(tmp_path):
    failure = {"during": "ready", "reason": "it did not start", "log": ""}
    repeated = [trial(2, 1, 1, 1, failure=failure)]
    run = StoredRun(
        tmp_path,
        {"order": [0] * 4},
        [trial(1, 1, 1, 0)],
        "interrupted",
        repeated=repeated,
        resumable=True,
    )
    missing, again = sitting_lines(run)
    assert missing == f"1 of 4 trials were made; to go on: gatebench run --resume {tmp_path}"
    assert "measured again after a failure: s2 · hello in block 1" in again
    assert "failed during ready: it did not start" in again
