"""`gatebench gate`: what is measured, how it is judged, and who is told."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from harness.cli import COMMANDS
from harness.commands import compare
from harness.commands.measurement import Ending
from harness.commands.sides import deltas_of, plan_of_sides
from harness.model import ConfigurationError, RefusedError
from harness.options import parser
from harness.recipe import Secrets, plan_of_recipe
from harness.run import unmeasured
from harness.store import read_recipe, read_run
from harness.tests.builders import MACHINE, RunBuilder, cell, closed
from harness.tests.commands import called, gatebench

ALIKE = ("uvicorn", "--scenario", "hello", "--blocks", "6")
OPTIONS = ("--scenario", "hello", "--duration", "1s", "--warmup", "1s")


def asked(*words: str):
    return parser(COMMANDS).parse_args(["gate", *words])


def planned(*words: str):
    return plan_of_sides(asked(*words))


def noisy(label: str, block: int, by: float = 0.005) -> float:
    """Everyone alike, give or take what depends on block and name."""
    turn = np.random.default_rng([block, *map(ord, label)])
    return float(0.3 * (1 + turn.normal(0, by)))


@pytest.fixture
def gate(tmp_path, monkeypatch, capsys):
    """A gate whose trials are made up: the seconds that an answer takes by label and block.

    A text is why it failed; below 0 most of the trial has no answers at all.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)

    def do(took_s, *words, how="complete"):
        def measure(plan, writer, *_, **__):
            builder = RunBuilder(tmp_path / "unused")
            builder.plan, builder.writer = plan, writer
            for slot in unmeasured(plan, writer):
                builder.number = slot.number - 1
                took = took_s(slot.cell.server.label, slot.block)
                if isinstance(took, str):
                    builder.failed(slot.cell, reason=took, log="boom <b> `x`\x1b[31m")
                    continue
                seconds, users = plan.timing.duration_s, slot.cell.load.users
                requests = closed(users, abs(took), seconds=seconds)
                if took < 0:
                    requests = requests.without(1, seconds - 1)
                versions = {"uvicorn": "2" if slot.cell.server.side == "head" else "1", "h11": "0"}
                builder.measured(slot.cell, requests, versions=versions)
                if how != "complete" and slot.block == 2:
                    break
            writer.end(how)
            return Ending(how)

        monkeypatch.setattr(compare, "measure", measure)
        arguments = asked(*words, "--json")
        code = arguments.do(arguments)
        said = capsys.readouterr()
        return code, json.loads(said.out), said.err

    return do


def outcomes(document):
    return {it["metric"]: it["outcome"] for it in document["gate"]["checks"]}


def slower(factor: float, by: float = 0.005):
    return lambda label, block: (
        noisy(label, block, by) * (factor if label.startswith("head") else 1)
    )


# -- what is measured


@pytest.mark.parametrize(
    ("words", "labels"),
    [
        (["uvicorn"], ["base uvicorn", "head uvicorn", "base uvicorn#2"]),
        (["uvicorn", "--no-placebo"], ["base uvicorn", "head uvicorn"]),
        (
            ["--base", "uvicorn@0.30", "--head", "uvicorn"],
            ["base uvicorn@0.30", "head uvicorn", "base uvicorn@0.30#2"],
        ),
        (
            ["--base", "uvicorn", "--head", "uvicorn+cpu=10%"],
            ["base uvicorn", "head uvicorn+cpu=10%", "base uvicorn#2"],
        ),
    ],
)
def test_sides_stand_in_one_run_in_balanced_order_and_are_told_apart(words, labels):
    plan = planned(*words, "--scenario", "hello", "--seed", "1")
    assert [cell.server.label for cell in plan.cells] == labels
    assert plan.blocks == 8
    described = plan.facts()["cells"]
    assert [it["side"] for it in described] == [it.split()[0] for it in labels]
    order = plan.facts()["order"]
    first, second = ([cell for block, cell in order if block == it] for it in (1, 2))
    assert second == first[::-1]


def test_checkouts_of_an_application_are_served_each_from_its_own_folder(tmp_path):
    for side in ("old", "new"):
        (tmp_path / side).mkdir()
        (tmp_path / side / "shop.py").write_text("app = None\n")
        (tmp_path / side / "requirements.txt").write_text(f"# {side}\n")
    plan = planned(
        "uvicorn", "--app", "shop:app", "--base-dir", str(tmp_path / "old"),
        "--head-dir", str(tmp_path / "new"), "--head-requirements",
        str(tmp_path / "new" / "requirements.txt"), "--no-placebo",
    )  # fmt: skip
    base, head = plan.cells
    assert (base.app.folder, head.app.folder) == (tmp_path / "old", tmp_path / "new")
    assert (base.app.requirements, head.app.requirements) == (
        None, tmp_path / "new" / "requirements.txt",
    )  # fmt: skip
    assert f"application from {tmp_path / 'new'}" in head.server.notes
    assert base.scenario.name == head.scenario.name == "GET /"


def test_command_lines_are_rows_made_of_placeholders():
    command = "gunicorn -k {} -w {{workers}} -b {{host}}:{{port}} {{app}}"
    plan = planned(
        "--base", command.format("sync"), "--head", command.format("gthread"), "--interface",
        "wsgi", "--package", "gunicorn==23", "--scenario", "hello", "--no-placebo",
    )  # fmt: skip
    assert [it.server.label for it in plan.cells] == ["base gunicorn", "head gunicorn"]
    assert [it.server.command for it in plan.cells] == [
        command.format("sync").replace("{{", "{").replace("}}", "}"),
        command.format("gthread").replace("{{", "{").replace("}}", "}"),
    ]
    assert {it.server.packages for it in plan.cells} == {("gunicorn==23",)}
    assert {it.app.name for it in plan.cells} == {"wsgi"}
    assert {it.slots for it in plan.cells} == {None}, "what serves a request is not known"


def test_packages_stand_in_place_of_a_sides_own():
    plan = planned(
        "uvicorn", "--head-package", "h11==0.14", "--head-package", "uvicorn==0.30.1",
        "--scenario", "hello", "--no-placebo",
    )  # fmt: skip
    base, head = (it.server for it in plan.cells)
    assert "h11==0.14" in head.packages
    assert head.packages[0] == "uvicorn==0.30.1"
    assert len(head.packages) == len(base.packages) + ("h11" not in " ".join(base.packages))
    assert set(head.notes) - set(base.notes) == {"with h11==0.14", "with uvicorn==0.30.1"}


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--base", "uvicorn"], "--head is missing"),
        (["gunicorn-*"], "--base names"),
        (["uvicorn#2"], "leave the # out"),
        (["uvicorn", "--sweep", "users=1,2"], "a gate holds one load"),
        (["uvicorn", "--base-dir", "."], "--base-dir goes with --app"),
        (["uvicron"], "did you mean uvicorn"),
        (["uvicorn", "--head-package", "h11=="], "is no package"),
        (["uvicorn", "--head-package", "h11@https://x/h11.whl"], "may change unseen"),
        (["uvicorn@0.30", "--head-package", "uvicorn==0.31"], "says the version, too"),
        (["--base", "uvicorn {app}", "--head", "uvicorn"], "say what it speaks"),
        (
            ["--base", "uvicorn {app}", "--head", "uvicorn", "--interface", "asgi"],
            "say what is installed",
        ),
        (
            ["--base", "uvicorn {app}", "--head", "uvicorn", "--interface", "asgi", "--package",
             "uvicorn"],
            r"the placeholder \{port\} is missing",
        ),
        (["uvicorn", "--blocks", "5"], "a gate needs 6"),
        (["uvicorn", "--budget", "30s"], "a gate needs 6|takes about"),
        (["uvicorn", "--threshold", "1%"], "is not above what matters"),
        (["uvicorn", "--threshold", "p50=4%"], r"not be narrower than 5\.0%"),
        (["uvicorn", "--threshold", "p99=50%"], "'p99' is not a metric that gates"),
        (["uvicorn", "--summary", "no/such/folder.md"], "there is no folder no/such"),
        (["uvicorn", "--extend", "--budget", "10m"], "leave one out"),
        (["uvicorn", "--run", "x"], "SERVER: --run judges what was measured"),
        (["--users", "7", "--run", "x"], "--users: --run judges what was measured"),
        (["--run", "nothing"], "no such run|is not a run"),
    ],
)  # fmt: skip
def test_mistake_is_one_clear_line_before_anything_is_measured(tmp_path, monkeypatch, words, what):
    monkeypatch.chdir(tmp_path)
    if "--scenario" not in words and "--run" not in words:
        words = [*words, "--scenario", "hello"]
    arguments = asked(*words)
    with pytest.raises(ConfigurationError, match=what) as caught:
        arguments.do(arguments)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "results").exists()


def test_threshold_is_not_written_so(capsys):
    for text in ("10", "throughput", "=10%", "5%,5%", "throughput=0%"):
        with pytest.raises(SystemExit):
            asked("uvicorn", "--threshold", text)
        assert "is not written like 10%" in capsys.readouterr().err


# -- how it is judged


def test_alike_passes_and_says_what_it_could_have_found(gate):
    code, document, said = gate(slower(1), *ALIKE)
    assert code == 0
    assert set(outcomes(document).values()) <= {"passed"}
    assert document["gate"]["outcome"] == "passed"
    assert "gate passed: head is not found worse than base in any of 6 figures" in said
    assert "the smallest differences that it could have found: throughput " in said


def test_slower_head_fails(gate):
    code, document, said = gate(slower(1.1), *ALIKE)
    assert code == 10
    assert outcomes(document) | {"memory": "passed", "errors": "passed"} == outcomes(document)
    assert {outcomes(document)[it] for it in ("throughput", "p50", "p90", "cpu")} == {"worse"}
    assert "gate failed: hello throughput is worse, 0.9" in said


def test_faster_head_passes(gate):
    code, document, _ = gate(slower(0.9), *ALIKE)
    assert code == 0
    assert "worse" not in outcomes(document).values()


@pytest.mark.parametrize(("options", "code"), [([], 0), (["--strict"], 11)])
def test_inconclusive_fails_only_with_strict(gate, options, code):
    found, document, said = gate(slower(1.02, by=0.03), *ALIKE, *options)
    assert document["gate"]["outcome"] == "inconclusive"
    assert found == code
    assert "inconclusive: " in said


@pytest.mark.parametrize(
    ("threshold", "code"),
    [("11%", 10), ("30%", 0), ("throughput=30%,p50=30%,p90=30%", 10)],
)
def test_threshold_tolerates_what_is_below_it_and_nothing_else(gate, threshold, code):
    found, document, _ = gate(slower(1.2), *ALIKE, "--threshold", threshold)
    assert found == code
    deltas = {it["metric"]: it["delta"] for it in document["gate"]["checks"]}
    assert deltas["errors"] == 0.001
    assert deltas["throughput"] == pytest.approx(0.11 if threshold == "11%" else 0.3)


def test_threshold_is_kept_with_the_run_and_holds_when_it_is_reported_again(gate, tmp_path):
    _, document, _ = gate(slower(1.2), *ALIKE, "--threshold", "30%")
    run = read_run(tmp_path / document["run"])
    assert set(run.facts["deltas"].values()) == {0.3}
    again = called("report", str(run.path), "--json", cwd=tmp_path)
    verdicts = {it["metric"]: it["verdict"] for it in again.document["comparisons"]}
    assert verdicts["throughput"] == "equivalent"


def test_threshold_of_all_widens_only_what_is_narrower():
    assert deltas_of({"": 0.04}) == {"throughput": 0.04, "cpu": 0.04}
    assert deltas_of({"": 0.04, "errors": 0.01}) == {
        "throughput": 0.04, "cpu": 0.04, "errors": 0.01,
    }  # fmt: skip


@pytest.mark.parametrize("side", ["base", "head"])
@pytest.mark.parametrize("failing", [{1}, {1, 2, 3, 4, 5, 6, 7, 8}])
def test_side_that_failed_is_exit_code_3_however_the_others_came_out(gate, side, failing):
    def took(label, block):
        if label.startswith(side) and block in failing and not label.endswith("#2"):
            return "it did not start"
        return slower(1.3)(label, block)

    code, document, said = gate(took, "uvicorn", "--scenario", "hello")
    assert code == 3
    (first, *_) = document["gate"]["gaps"]
    assert first == (
        f"hello: {len(failing)} of 8 trials of {side} uvicorn failed: it did not start"
    )
    assert "gate without a result" in said


def test_alarm_of_the_placebo_takes_the_word_from_the_gate(gate):
    def took(label, block):
        return noisy(label, block) * (1.3 if label == "base uvicorn" else 1)

    code, document, _ = gate(lambda label, block: 0.5 - took(label, block) / 2, *ALIKE)
    assert code == 3
    assert outcomes(document)["throughput"] == "not measured"
    assert "the placebo" in document["gate"]["checks"][0]["why"]


def test_interrupted_gate_is_neither_passed_nor_failed(gate):
    code, document, _ = gate(slower(1.3), *ALIKE, how="interrupted")
    assert code == 130
    assert document["gate"]["outcome"] == "not measured"
    assert "the run is interrupted" in document["gate"]["gaps"][0]


def test_gate_can_be_gone_on_with_and_then_judged(gate, tmp_path):
    code, document, said = gate(slower(1.3), *ALIKE, "--threshold", "40%", how="interrupted")
    assert code == 130
    assert f"once it is complete: gatebench gate --run {document['run']}" in said
    path = tmp_path / document["run"]
    plan = plan_of_recipe(read_recipe(path), Secrets(), path)
    assert [it.server.side for it in plan.cells] == ["base", "head", "base"]
    assert plan.deltas["throughput"] == 0.4


def test_extension_measures_as_many_blocks_again_at_half_the_level(gate, tmp_path):
    _, document, _ = gate(slower(1.02, by=0.03), *ALIKE, "--extend")
    assert document["blocks"] == 12
    assert read_run(tmp_path / document["run"]).facts["looks"] == 2


def test_stored_gate_is_judged_again_to_the_same_end(gate, capsys, tmp_path):
    _, document, _ = gate(slower(1.1), *ALIKE)
    arguments = asked("--run", document["run"], "--json", "--summary", "again.md")
    assert arguments.do(arguments) == 10
    assert json.loads(capsys.readouterr().out) == document
    assert "gate failed" in (tmp_path / "again.md").read_text("utf-8")


# -- runs that exist already


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """The names of runs of the same and of another machine."""
    monkeypatch.chdir(tmp_path)

    def make(**machine):
        builder = RunBuilder(
            tmp_path / "results", [cell()], asked={"machine": {**MACHINE, **machine}}
        )
        builder.measured(cell(), closed())
        return builder.read().path.name

    return make


def test_two_runs_are_no_gate(stored):
    one, other = stored(), stored()
    arguments = asked("--base", one, "--head", other)
    with pytest.raises(ConfigurationError, match="not interleaved and make no pairs"):
        arguments.do(arguments)


@pytest.mark.parametrize(
    "unlike", [{"cpu": "Other 1"}, {"cpus_usable": [0, 1, 2]}, {"memory_bytes": 2**30}]
)
def test_runs_of_different_machines_are_refused(stored, unlike):
    arguments = asked("--base", stored(), "--head", stored(**unlike))
    with pytest.raises(RefusedError, match="runs of different machines") as caught:
        arguments.do(arguments)
    assert caught.value.exit_code == 4


def test_run_without_sides_is_no_gates(stored):
    arguments = asked("--run", stored())
    with pytest.raises(ConfigurationError, match="it has no base and head"):
        arguments.do(arguments)


# -- who is told


def test_summary_has_the_verdict_first_and_all_that_it_rests_on(gate, tmp_path):
    _, document, _ = gate(slower(1.1), *ALIKE, "--summary", "pr.md")
    text = (tmp_path / "pr.md").read_text("utf-8")
    marker, _, verdict, *_ = text.splitlines()
    assert marker == "<!-- gatebench gate -->"
    assert verdict.startswith("### ❌ gate failed: hello throughput is worse, 0.9")
    (throughput,) = (line for line in text.splitlines() if line.startswith("| throughput |"))
    row = next(it for it in document["comparisons"] if it["metric"] == "throughput")
    assert f"{row['ratio']:.3f} times" in throughput
    assert f"{row['low']:.3f}..{row['high']:.3f}" in throughput
    assert "**worse**" in throughput
    base, head = (next(it for it in document["cells"] if it["server"] == label)
                  for label in ("base uvicorn", "head uvicorn"))  # fmt: skip
    assert f"| {base['throughput_per_s']['median']:.0f}/s | " in throughput
    assert f" | {head['throughput_per_s']['median']:.1f}/s | " in throughput
    assert "placebo, base uvicorn beside itself: not called different" in text
    assert "| uvicorn | 1 | 2 |" in text
    assert "on both sides: Python 3.11.0, h11 0" in text
    assert "noise, in the worst cell" in text
    assert "machine: " in text
    assert "~~~sh\ngatebench" in text


def test_summary_of_a_failure_shows_its_log_and_lets_nothing_through(gate, tmp_path):
    gate(
        lambda label, block: (
            "<img src=x> | `a`\n| b |" if label.startswith("head") else noisy(label, block)
        ),
        *ALIKE, "--summary", "pr.md",
    )  # fmt: skip
    text = (tmp_path / "pr.md").read_text("utf-8")
    assert text.splitlines()[2].startswith("### ⚠️ gate without a result: hello: 6 of 6 trials")
    assert "<img" not in text.replace(r"\<img", "")
    assert "\x1b" not in text
    assert r"- head: demo" in text


def test_github_gets_the_summary_where_no_file_is_named(gate, tmp_path, monkeypatch):
    step = tmp_path / "step.md"
    step.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))
    gate(slower(1), *ALIKE)
    first = step.read_text("utf-8")
    assert first.startswith("before\n<!-- gatebench gate -->")
    gate(slower(1), *ALIKE, "--summary", "pr.md")
    assert step.read_text("utf-8") == first


def test_junit_has_a_case_for_each_figure_that_gates(gate, tmp_path):
    gate(slower(1.1), *ALIKE, "--junit", "gate.xml")
    suite = ET.fromstring((tmp_path / "gate.xml").read_text("utf-8"))[0]  # noqa: S314
    assert suite.attrib | {"tests": "6", "failures": "4", "errors": "0"} == suite.attrib
    failed = {
        case.get("name").rpartition(" ")[2] for case in suite if case.find("failure") is not None
    }
    assert failed == {"throughput", "p50", "p90", "cpu"}


def test_junit_of_what_was_not_measured_is_an_error(gate, tmp_path):
    gate(
        lambda label, block: "\x00bad" if label.startswith("head") else noisy(label, block),
        *ALIKE, "--junit", "gate.xml",
    )  # fmt: skip
    suite = ET.fromstring((tmp_path / "gate.xml").read_text("utf-8"))[0]  # noqa: S314
    assert int(suite.get("errors")) == len(suite) > 0


@pytest.mark.parametrize("pairs", [0, 3])
def test_too_few_valid_pairs_are_an_error_and_no_verdict(gate, tmp_path, pairs):
    """Not failed: the generator was too slow, say, and the trials are worth nothing."""

    def took(label, block):
        # half of the trial nothing answers: no steady state
        return -0.3 if label.startswith("head") and block > pairs else noisy(label, block)

    code, document, said = gate(took, *ALIKE, "--junit", "gate.xml", "--summary", "pr.md")
    assert code == 3
    assert f"hello: {pairs} pairs of valid trials, 6 are needed (head uvicorn" in said
    assert set(outcomes(document).values()) == ({"not measured"} if pairs else set())
    suite = ET.fromstring((tmp_path / "gate.xml").read_text("utf-8"))[0]  # noqa: S314
    assert int(suite.get("errors")) == len(suite)
    told = (tmp_path / "pr.md").read_text("utf-8").count("| no result |")
    assert told == (6 if pairs else 0)


# -- for real


@pytest.mark.servers
@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_server_passes_a_gate_against_itself_and_not_with_a_regression(tmp_path):
    alike = gatebench("gate", "uvicorn", *OPTIONS, "--json", cwd=tmp_path, timeout=400)
    assert alike.code == 0, alike.err
    slow = gatebench(
        "gate", "--base", "uvicorn", "--head", "uvicorn+cpu=10%", *OPTIONS, "--blocks", "6",
        "--json", cwd=tmp_path, timeout=400,
    )  # fmt: skip
    assert slow.code == 10, slow.err
    assert outcomes(slow.document)["cpu"] == "worse"


@pytest.mark.slow
@pytest.mark.servers
def test_head_that_does_not_start_is_exit_code_3(tmp_path):
    finished = gatebench(
        "gate", "--base", "uvicorn", "--head",
        "uvicorn --no-such-option --host {host} --port {port} {app}", "--interface", "asgi",
        "--head-package", "uvicorn", "--blocks", "6", *OPTIONS, "--no-placebo", "--summary",
        "pr.md", "--json", cwd=tmp_path,
    )  # fmt: skip
    assert finished.code == 3, finished.err
    assert "6 of 6 trials of head uvicorn failed" in finished.document["gate"]["gaps"][0]
    assert "no-such-option" in (tmp_path / "pr.md").read_text("utf-8")
