"""Histories on disk, and the commands on them: real runs in, states and exit codes out."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from harness.history import Archive, Decision, History, MachineClass, record_of
from harness.machine import facts, usable_cpus
from harness.results import Results, load_run
from harness.store import UnreadableRunError, plain
from harness.tests.builders import RunBuilder, cell, closed, scenario
from harness.tests.commands import called
from harness.tests.histories import cell as kept_cell
from harness.tests.histories import noise, record, records
from harness.tests.test_history import fallen, renewed, throughputs


def stored(results, *, blocks=2, failing=False, how="complete", asked=None):
    """A run of two servers, a ten percent slower than b; a's second trial may fail."""
    cells = [cell("a"), cell("b")]
    built = RunBuilder(results, cells, blocks=blocks, asked=asked)
    for block in range(blocks):
        for it, took_s in zip(cells, (0.055, 0.05), strict=True):
            if failing and block and it is cells[0]:
                built.failed(it, reason="it did not start")
            else:
                built.measured(it, closed(took_s=took_s))
    return built.read(how)


def files(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*") if path.is_file()
    }  # fmt: skip


@pytest.fixture
def archive(tmp_path):
    return Archive(tmp_path / "history")


def test_figures_are_those_of_their_own_cell_in_whatever_order_it_was_measured(tmp_path):
    cells = [
        cell(name, work) for name in ("z", "a", "m") for work in (scenario("hello"), scenario("z"))
    ]
    took_s = [0.05 + 0.01 * number for number in range(len(cells))]
    built = RunBuilder(tmp_path, cells, blocks=2)
    for order in ((3, 0, 5, 1, 4, 2), (2, 5, 1, 0, 3, 4)):
        for number in order:
            built.measured(cells[number], closed(took_s=took_s[number]))
    kept = record_of(Results((built.read(),)))
    assert len(kept.cells) == len(cells)
    by_name = {
        (it.server.name, it.scenario.name): 10 / at for it, at in zip(cells, took_s, strict=True)
    }
    for it in kept.cells:
        expected = [by_name[it.server, it.scenario]] * 2
        assert it.figures["throughput"] == pytest.approx(expected, rel=0.1)
    assert len({it.figures["throughput"] for it in kept.cells}) == len(cells)


def test_record_has_each_blocks_figures_and_says_what_was_measured(tmp_path):
    kept = record_of(Results((stored(tmp_path),)))
    a, b = kept.cells
    each = [np.array(it.figures["throughput"], float) for it in kept.cells]
    assert (a.server, b.server, kept.trials, kept.complete) == ("a", "b", 4, True)
    trials = load_run(tmp_path / kept.run).trials
    measured = trials[trials["server"] == "a"]["throughput_per_s"]
    assert a.figures["throughput"] == pytest.approx(measured.tolist(), rel=1e-5)
    assert each[0] / each[1] == pytest.approx(1 / 1.1, rel=0.02)
    assert (a.blocks, a.versions, a.python) == ((1, 2), {"a": "1.2.3"}, "3.11.0")
    assert {"throughput", "p50", "p90", "p99", "cpu", "memory", "errors"} <= a.figures.keys()
    assert a.command_digest == b.command_digest != ""


def test_failed_trial_has_its_verdict_and_no_number(tmp_path):
    failed = record_of(Results((stored(tmp_path, failing=True),))).cells[0]
    assert failed.verdicts[1] == "failed"
    assert {values[1] for values in failed.figures.values()} == {None}
    assert failed.figures["throughput"][0]


def test_run_that_broke_off_is_kept_as_such_and_has_no_number(tmp_path, archive):
    kept = record_of(Results((stored(tmp_path, how="interrupted"),)))
    assert (kept.ended, [it.figures for it in kept.cells]) == ("interrupted", [{}, {}])
    assert "interrupted: kept without its figures" in archive.add(kept)
    assert archive.records() == [kept]


def test_search_is_refused(tmp_path):
    run = stored(tmp_path, asked={"capacity": {"slo": "p99<1s"}})
    with pytest.raises(UnreadableRunError, match="is a search"):
        record_of(Results((run,)))


def test_command_is_told_apart_by_its_words_and_not_by_its_places(tmp_path):
    def digest(port, folder, loop="uvloop"):
        argv = [f"/cache/{folder}/bin/demo", "-b", f"127.0.0.1:{port}", "--loop", loop]
        argv += [f"--log=/tmp/{folder}/log", "--workers", "2"]
        built = RunBuilder(tmp_path, [cell("a")])
        built.measured(cell("a"), closed(), argv=argv, port=port)
        return record_of(Results((built.read(),))).cells[0].command_digest

    assert digest(8000, "one") == digest(18211, "two") != digest(8000, "one", loop="asyncio")


def test_adding_again_changes_nothing_and_says_so(tmp_path, archive):
    kept = record_of(Results((stored(tmp_path),)))
    assert archive.add(kept).endswith("added, 4 trials of 2 cells")
    before = files(archive.folder)
    assert archive.add(kept).endswith("is there already, nothing is changed")
    assert files(archive.folder) == before
    assert archive.records() == [kept]


def test_run_that_was_resumed_replaces_its_earlier_reading(archive):
    whole = record(3, [kept_cell("a", [9.0])], trials=8)
    part = replace(whole, ended="interrupted", trials=5)
    archive.add(part)
    assert "it was there with 5 trials" in archive.add(whole)
    assert archive.records() == [whole]
    assert len(archive.readings()) == 2  # no file is ever changed


def test_two_histories_merge_as_sets_of_files(tmp_path):
    runs = records(throughputs(8))
    ours, theirs = Archive(tmp_path / "ours"), Archive(tmp_path / "theirs")
    for archive, part in ((ours, runs[:6]), (theirs, runs[3:])):
        for run in part:
            archive.add(run)
    shared = files(ours.folder).keys() & files(theirs.folder).keys()
    assert len(shared) == 3
    assert all(files(ours.folder)[name] == files(theirs.folder)[name] for name in shared)
    shutil.copytree(theirs.folder, ours.folder, dirs_exist_ok=True)
    assert ours.records() == runs


def test_decisions_are_appended_and_read_in_order(archive):
    first = Decision("ignore", "noise", "2026-01-01T00:00:00+00:00", "c", "s", "r")
    second = replace(first, choice="fixed", when="2026-01-02T00:00:00+00:00")
    archive.decide(second)
    before = files(archive.folder)
    archive.decide(first)
    assert archive.decisions() == [first, second]
    assert files(archive.folder).items() >= before.items()


def test_file_of_a_run_is_small(archive):
    random = np.random.default_rng(1)
    versions = {f"package-{number}": "12.34.56" for number in range(10)}
    figures = {
        name: tuple(float(f"{it:.6g}") for it in random.uniform(1e-3, 1e5, 8))
        for name in ("throughput", "p50", "p90", "cpu", "memory", "errors", "p99", "max")
    }
    cells = [
        kept_cell(f"server-{number}", [1.0] * 8, figures=figures, versions=versions,
             verdicts=("server-limited",) * 8)
        for number in range(10)
    ]  # fmt: skip
    archive.add(record(1, cells))
    ((name, text),) = files(archive.folder).items()
    assert len(text) < 20_000
    assert name.parts[0] == "runs"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("1.2.3", "1.2.4"), "was changed after it was written"),
        (lambda text: text[:100], "was changed after it was written"),
    ],
)
def test_file_that_was_changed_is_told(tmp_path, archive, change, words):
    archive.add(record_of(Results((stored(tmp_path),))))
    (path,) = archive.folder.glob("runs/*.json")
    path.write_text(change(path.read_text()))
    with pytest.raises(UnreadableRunError, match=words):
        archive.records()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"schema": 7}', "has schema 7, and this gatebench reads 1"),
        ('{"schema": 1, "id": 3}', "is not a file of a history"),
        ("[]", "is not a file of a history"),
        ("{", "is not a file of a history"),
    ],
)
def test_file_of_another_kind_is_told(archive, text, words):
    from harness.history.archive import _digest

    (archive.folder / "runs").mkdir(parents=True)
    path = archive.folder / "runs" / f"20260101T000000Z-{_digest(text)}.json"
    path.write_text(text)
    with pytest.raises(UnreadableRunError, match=words):
        archive.records()


def here(runs):
    """The same runs, as if this machine had measured them."""
    own = facts(usable_cpus())
    return [replace(run, machine=own) for run in runs]


@pytest.fixture
def kept(tmp_path):
    def keep(runs):
        archive = Archive(tmp_path / "results" / "history")
        for run in runs:
            archive.add(run)
        return archive

    return keep


def test_regression_fails_the_check_until_it_is_decided_about(tmp_path, kept):
    archive = kept(here(records(fallen(), renewed())))
    found = called("history", "check", "--summary", "s.md", cwd=tmp_path)
    assert found.code == 10
    assert (
        "regression: a · wsgi · hello (10 users, 2 workers): throughput (ratio to ref)" in found.out
    )
    assert "a 1.0 → 1.1" in found.out
    document = called("history", "check", "--json", cwd=tmp_path).document
    assert document["exit_code"] == 10
    (machine,) = document["machines"]
    assert machine["id"] == MachineClass.of(facts(usable_cpus())).id
    ids = [it["id"] for each in document["series"] for it in each["changes"] if it["stands"]]
    assert len(ids) == 2  # throughput and the median response time
    text = (tmp_path / "s.md").read_text()
    assert all(f"`{it}`" in text for it in ids)
    told = called("history", "acknowledge", *ids, "--why", "a needs it", cwd=tmp_path)
    assert told.code == 0
    assert {each.why for each in archive.decisions()} == {"a needs it"}
    assert called("history", "check", cwd=tmp_path).code == 0


def test_suspect_fails_only_a_strict_check(tmp_path, kept):
    values = throughputs(41, deviation=0.01)
    values["a"][40] *= 0.7
    kept(here(records(values)))
    assert called("history", "check", cwd=tmp_path).code == 0
    assert called("history", "check", "--strict", cwd=tmp_path).code == 11


def test_server_that_the_newest_run_could_not_measure_is_never_a_success(tmp_path, kept):
    runs = here(records(throughputs(40)))
    last = runs[-1]
    failed = [
        replace(it, verdict="failed", reasons=("no port",), verdicts=("failed",),
                figures=dict.fromkeys(it.figures, (None,)))
        if it.server == "a" else it
        for it in last.cells
    ]  # fmt: skip
    kept([*runs[:-1], replace(last, cells=tuple(failed))])
    found = called("history", "check", "--summary", "s.md", cwd=tmp_path)
    assert found.code == 3
    assert "not measured in the newest run: a · wsgi" in found.out
    assert "failed; no port" in found.out
    assert "no port" in (tmp_path / "s.md").read_text()


def test_too_few_runs_could_not_be_judged(tmp_path, kept):
    kept(here(records(throughputs(4))))
    assert called("history", "check", cwd=tmp_path).code == 3


def test_other_machines_are_refused_unless_named(tmp_path, kept):
    runs = records(throughputs(25))
    kept(runs)
    refused = called("history", "check", cwd=tmp_path)
    assert refused.code == 4
    machine = runs[0].machine_class.id
    assert f"--machine {machine}: 2 × Imaginary 9000" in refused.complaint
    assert called("history", "check", "--machine", machine, cwd=tmp_path).code == 0


def test_runs_are_added_by_name_and_listed(tmp_path):
    run = stored(tmp_path / "results")
    first = called("history", "add", run.path.name, cwd=tmp_path)
    assert (first.code, first.out) == (0, f"{run.path.name}: added, 4 trials of 2 cells\n")
    assert "nothing is changed" in called("history", "add", str(run.path), cwd=tmp_path).out
    document = called("history", "list", "--json", cwd=tmp_path).document
    assert [it["run"] for it in document["runs"]] == [run.path.name]
    assert {it["key"]["server"] for it in document["series"]} == {"a", "b"}
    shown = called("history", "list", cwd=tmp_path)
    assert "Imaginary 9000" in shown.out
    assert "collecting" in shown.out


def test_names_from_outside_are_escaped(tmp_path, kept):
    evil = "a|<b>`[x](y)\x1b[31m"
    values = fallen()
    values[evil] = values.pop("a")
    kept(here(records(values, {evil: renewed()["a"]})))
    found = called("history", "check", "--summary", "s.md", cwd=tmp_path)
    assert found.code == 10
    text = (tmp_path / "s.md").read_text()
    assert "\x1b" not in text + found.out
    assert "<b>" not in text
    assert r"a\|\<b\>\`" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check"], "results/history: holds no run yet"),
        (["add", "nothing"], "nothing"),
        (["fixed", "abc", "--why", "so"], "holds no run yet"),
        (["fixed", "abc"], "--why"),
        (["fixed", "abc", "--why", " "], "say why"),
        ([], "WHAT"),
        (["melt"], "invalid choice: 'melt'"),
    ],
)
def test_mistakes_are_one_line(tmp_path, arguments, words):
    finished = called("history", *arguments, cwd=tmp_path)
    assert (finished.code, finished.out) == (2, "")
    assert words in finished.complaint
    assert not (tmp_path / "results" / "history").exists()


def test_run_among_damaged_ones_is_not_added_alone(tmp_path):
    run = stored(tmp_path / "results")
    assert called("history", "add", run.path.name, "gone", cwd=tmp_path).code == 2
    assert not (tmp_path / "results" / "history").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_that_cannot_be_written_is_told(tmp_path, archive):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(Exception, match="cannot be written"):
            archive.add(record(1, [kept_cell("a", [1.0])]))
    finally:
        tmp_path.chmod(0o700)


def test_history_reads_back_what_it_kept(archive):
    runs = records({"a": np.exp(noise("normal", 1, 3)[0])})
    for run in runs:
        archive.add(run)
    assert History.load(archive.folder).records == tuple(runs)
    assert json.loads(json.dumps(plain(runs[0])))["run"] == runs[0].run
