"""Evidence: a run's files alone give its verdicts, and reports show what these rest on."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from harness.analyze import trials_frame
from harness.ceiling import Ceiling
from harness.model import Load
from harness.store import read_run
from harness.tests.builders import (
    GENERATOR,
    SERVER,
    RunBuilder,
    cell,
    closed,
    constant_rate,
    quiet_table,
    scenario,
)
from harness.tests.commands import called
from harness.tests.test_report import Reported


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of many verdicts: each server's name says which."""
    waits = scenario("blocking-io", wait_s=0.05)
    cells = {
        "valid": cell("valid"),
        "generator-limited": cell("generator-limited"),
        "ceiling": cell("ceiling", users=20),
        "server-limited": cell("server-limited"),
        "invalid": cell("invalid", waits),
        "no-steady-state": cell("no-steady-state"),
        "open": cell("open", users=100, rate_per_s=200.0),
        "failed": cell("failed"),
    }
    ceilings = (Ceiling("hello", Load(20), 500.0, 0.99, 0.5),)
    folder = tmp_path_factory.mktemp("evidence")
    builder = RunBuilder(folder, cells.values(), ceilings=ceilings)
    good, full = closed(), replace(SERVER, cpu=0.99)
    builder.measured(
        cells["valid"], replace(good, failed_at_s=np.array([1.0])), errors={"reset": 1}
    )
    builder.measured(cells["generator-limited"], good, [SERVER, replace(GENERATOR, cpu=0.9)])
    builder.measured(cells["ceiling"], closed(users=20), startup_s=1.25)
    builder.measured(cells["server-limited"], good, [full, GENERATOR])
    builder.measured(cells["invalid"], closed(took_s=0.02), noise=quiet_table(
        generator_busy_s=lambda at: 0.62 * at
    ))  # fmt: skip
    builder.measured(cells["no-steady-state"], good.without(2.0, 3.2))
    late = constant_rate(lag_s=0.02)
    due = {"offered": 1000, "unsent": 0, "unanswered": 0}
    builder.measured(cells["open"], late, load=due)
    builder.failed(cells["failed"])
    return builder.read()


def told(run):
    """The document without what says where the run lies."""
    document = Reported.of(run).document
    assert document.pop("run") == str(run.path)
    return document


def test_verdicts_are_the_same_from_the_files_of_the_run_alone(run, tmp_path):
    verdicts = [row["verdict"] for row in told(run)["cells"]]
    assert verdicts == [
        "valid", "generator-limited", "generator-limited", "server-limited", "invalid",
        "invalid", "generator-limited", "failed",
    ]  # fmt: skip
    before = told(run)
    copied = tmp_path / "copied"
    shutil.copytree(run.path, copied)
    hidden = run.path.rename(run.path.with_name("hidden"))
    try:
        assert told(read_run(copied)) == before
        shown = called("report", str(copied), "--json", cwd=tmp_path)
    finally:
        hidden.rename(run.path)
    assert shown.code == 0, shown.err
    assert shown.document["run"] == str(copied)
    assert {name: shown.document[name] for name in before} == before


def test_no_verdict_is_stored(run):
    """What was said of a trial once is not read again: it is not there."""

    def keys(value):
        if isinstance(value, dict):
            for key, item in value.items():
                yield key
                yield from keys(item)
        elif isinstance(value, list):
            for item in value:
                yield from keys(item)

    files = list(run.path.rglob("*.json"))
    assert len(files) >= 10
    for file in files:
        found = set(keys(json.loads(file.read_text("utf-8"))))
        assert not found & {"verdict", "reasons", "findings"}, file


def test_verdict_follows_the_files_and_nothing_else(run, tmp_path):
    copied = shutil.copytree(run.path, tmp_path / "copied")
    file = copied / "trials" / "0003" / "trial.json"
    facts = json.loads(file.read_text("utf-8"))
    facts["cell"]["load"]["users"] = 10  # and not the 20 who sent
    file.write_text(json.dumps(facts))
    assert trials_frame(run)["verdict"].loc[2] == "generator-limited"
    assert trials_frame(read_run(copied))["verdict"].loc[2] == "invalid"


def test_document_tells_rule_figures_and_advice_of_each_finding(run):
    cells = {row["server"]: row for row in told(run)["cells"]}
    (found,) = cells["ceiling"]["findings"]
    assert found["name"] == "ceiling"
    assert found["figures"] == {"throughput_per_s": 400.0, "ceiling_per_s": 500.0}
    assert "70%" in found["rule"]
    assert "--processes" in found["advice"]
    assert found["trials"] == 1
    assert cells["ceiling"]["reasons"] == [found["text"]]
    assert cells["valid"]["findings"][0]["figures"]["reset GET /"] == 1
    assert cells["invalid"]["noise"]["generator_others_share"] == pytest.approx(0.31)
    json.dumps(list(cells.values()), allow_nan=False)


def test_start_up_is_a_measure_of_its_own(run, tmp_path):
    spread = {row["server"]: row["startup_s"] for row in told(run)["cells"]}
    assert spread["ceiling"] == {"median": 1.25, "low": None, "high": None}
    assert spread["failed"]["median"] == 0.25  # it had started
    it = cell()
    builder = RunBuilder(tmp_path / "more", [it], blocks=3)
    for startup_s in (0.3, 0.2, 0.9):
        builder.measured(it, closed(), startup_s=startup_s)
    reported = Reported.of(builder.read())
    (row,) = reported.document["cells"]
    assert row["startup_s"] == {"median": 0.3, "low": 0.2, "high": 0.9}
    assert "300 ms" in reported.markdown
    assert "300 ms" in reported.terminal(200)


def test_report_says_what_to_do_and_what_the_machine_did_meanwhile(run):
    reported = Reported.of(run)
    for text in (reported.markdown, reported.terminal(200)):
        assert "invalid: meanwhile others used 31% or more of the generator's CPUs" in text
        assert "valid: meanwhile" not in text.replace("invalid: meanwhile", "")
        assert text.count("about ceiling: give the generator more CPUs") == 1
        assert "noise, in the worst cell: others used at least 0.0% of the server's CPUs" in text


def test_kinds_of_findings_are_told_once_for_all_trials(tmp_path):
    it = cell()
    builder = RunBuilder(tmp_path, [it], blocks=4)
    for cpu in (0.97, 0.98, 0.98, 0.5):
        builder.measured(it, closed(), [replace(SERVER, cpu=cpu), GENERATOR])
    (row,) = Reported.of(builder.read()).document["cells"]
    assert row["reasons"] == [
        "3 of 4 trials, such as: the server's CPUs were 97% busy",
    ]
    assert row["findings"][0]["trials"] == 3


def test_different_kinds_of_errors_are_told_apart(tmp_path):
    it = cell()
    builder = RunBuilder(tmp_path, [it], blocks=2)
    for kind in ("reset", "timeout"):
        failing = replace(closed(), failed_at_s=np.array([1.0]))
        builder.measured(it, failing, errors={kind: 1})
    (row,) = Reported.of(builder.read()).document["cells"]
    assert [reason.rpartition(": ")[2] for reason in row["reasons"]] == [
        "1 reset GET /",
        "1 timeout GET /",
    ]
