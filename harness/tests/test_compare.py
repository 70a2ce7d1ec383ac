"""`gatebench compare` and `selfcheck`: what is measured, when it is extended, how it ends."""

from __future__ import annotations

import json

import numpy as np
import pytest

from harness.cli import COMMANDS
from harness.commands import compare, selfcheck
from harness.commands.measurement import Ending
from harness.model import ConfigurationError
from harness.options import parser
from harness.run import unmeasured
from harness.store import read_run
from harness.tests.builders import RunBuilder, closed
from harness.tests.commands import gatebench

DO = {"compare": compare.do_compare, "selfcheck": selfcheck.do_selfcheck}


def asked(*words: str):
    return parser(dict.fromkeys(COMMANDS, lambda _: 0) | DO).parse_args(words)


@pytest.fixture
def imagined(tmp_path, monkeypatch):
    """Commands whose trials are made up: `took_s` by label and block, invalid where None."""
    monkeypatch.chdir(tmp_path)
    sittings = []

    def use(took_s):
        def measure(plan, writer, *_, **__):
            builder = RunBuilder(tmp_path / "unused")
            builder.plan, builder.writer = plan, writer
            sittings.append(len(unmeasured(plan, writer)))
            for slot in unmeasured(plan, writer):
                builder.number = slot.number - 1
                took = took_s(slot.cell.server.label, slot.block)
                if took is None:
                    builder.failed(slot.cell)
                    continue
                users = slot.cell.load.users
                builder.measured(slot.cell, closed(users, took, seconds=plan.timing.duration_s))
            writer.end("complete")
            return Ending("complete")

        monkeypatch.setattr(compare, "measure", measure)
        return sittings

    return use


def noisy(label: str, block: int) -> float:
    """Everyone alike, give or take what depends on block and name."""
    turn = np.random.default_rng([block, *map(ord, label)])
    return float(0.2 * (1 + turn.normal(0, 0.005)))


def noisier(label: str, block: int) -> float:
    return 0.2 + 12 * (noisy(label, block) - 0.2)


def verdicts(document, metric="throughput"):
    return {
        it["scenario"]: it["verdict"] for it in document["comparisons"] if it["metric"] == metric
    }


def test_compare_is_a_run_of_both_and_a_placebo_in_8_blocks(imagined, capsys):
    imagined(lambda label, block: noisy(label, block) * (1.3 if label == "waitress" else 1))
    arguments = asked("compare", "gunicorn-sync", "waitress", "--scenario", "hello", "--json")
    assert arguments.do(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert {it["server"] for it in found["cells"]} == {
        "gunicorn-sync", "waitress", "gunicorn-sync#2",
    }  # fmt: skip
    assert found["blocks"] == 8
    assert {(it["a"], it["b"]) for it in found["comparisons"]} == {("gunicorn-sync", "waitress")}
    assert verdicts(found) == {"hello": "worse"}
    assert {it["b"] for it in found["placebo"]} == {"gunicorn-sync#2"}
    assert not {it["verdict"] for it in found["placebo"]} & {"better", "worse"}


def test_lines_of_the_verdicts_stand_before_the_tables(imagined, capsys):
    imagined(noisy)
    arguments = asked("compare", "uvicorn", "uvicorn", "--scenario", "hello", "--blocks", "6")
    assert arguments.do(arguments) == 0
    shown = capsys.readouterr().out
    assert shown.index("hello, throughput: equivalent") < shown.index("at once")
    assert shown.count("hello, throughput:") == 1


@pytest.mark.parametrize(
    ("a", "b", "options", "labels"),
    [
        ("uvicorn", "waitress", [], ["uvicorn", "waitress", "uvicorn#2"]),
        ("uvicorn", "waitress", ["--no-placebo"], ["uvicorn", "waitress"]),
        ("uvicorn", "uvicorn", [], ["uvicorn", "uvicorn#2"]),  # is a placebo itself
        ("uvicorn", "uvicorn+cpu=5%", [], ["uvicorn", "uvicorn+cpu=5%", "uvicorn#2"]),
    ],
)
def test_placebo_is_the_first_server_entered_twice(a, b, options, labels):
    plan = compare.duel(a, b, asked("compare", a, b, "--scenario", "hello", *options))
    assert [cell.server.label for cell in plan.cells] == labels


def test_compare_without_scenarios_is_of_a_first_look():
    plan = compare.duel("uvicorn", "uvicorn", asked("compare", "uvicorn", "uvicorn"))
    assert {cell.scenario.name for cell in plan.cells} == {"hello", "blocking-io"}


@pytest.mark.parametrize(("blocks", "lost", "code"), [(7, 1, 0), (6, 1, 3), (5, 0, 3), (2, 2, 3)])
def test_fewer_than_six_pairs_are_exit_code_3(imagined, capsys, blocks, lost, code):
    imagined(
        lambda label, block: None if label == "waitress" and block <= lost else noisy(label, block)
    )
    arguments = asked(
        "compare", "gunicorn-sync", "waitress", "--scenario", "hello", "--blocks", str(blocks),
        "--no-placebo",
    )  # fmt: skip
    assert arguments.do(arguments) == code
    said = capsys.readouterr().err
    assert ("pairs of valid trials" in said or "nothing is compared" in said) == (code == 3)


@pytest.mark.parametrize(
    ("took_s", "options", "sittings"),
    [
        (noisy, ["--extend"], [12]),
        (noisier, ["--extend"], [12, 12]),
    ],
)
def test_run_is_extended_once_where_that_is_allowed_and_something_is_open(
    imagined, capsys, took_s, options, sittings
):
    made = imagined(took_s)
    arguments = asked(
        "compare", "uvicorn", "uvicorn", "--scenario", "hello", "--blocks", "6", "--json", *options
    )
    assert arguments.do(arguments) == 0
    assert made == sittings
    found = json.loads(capsys.readouterr().out)
    run = read_run(arguments.results / found["run"].rpartition("/")[2])
    assert len(run.trials) == len(run.facts["order"]) == sum(sittings)
    assert run.facts["looks"] == (2 if options else 1)
    confidences = {it["confidence"] for it in found["comparisons"]}
    assert confidences == {0.995 if options else 0.99}


def test_selfcheck_compares_a_server_with_itself_a_few_times(imagined, capsys):
    made = imagined(noisy)
    arguments = asked("selfcheck", "--times", "2")
    assert arguments.do(arguments) == 0
    assert made == [12, 12]
    assert "never called better or worse" in capsys.readouterr().err


def test_selfcheck_fails_where_a_server_is_called_different_from_itself(imagined, capsys):
    imagined(lambda label, block: noisy(label, block) * (1.3 if "#" in label else 1))
    arguments = asked("selfcheck", "--times", "1", "--json")
    assert arguments.do(arguments) == 10
    shown = capsys.readouterr()
    assert "uvicorn was called worse than itself in hello throughput" in shown.err
    alarms = json.loads(shown.out)["alarms"]
    assert {"throughput", "p50"} <= {it["metric"] for it in alarms}


def test_selfcheck_that_cannot_tell_is_exit_code_3(imagined, capsys):
    imagined(lambda label, block: None if block < 3 else noisy(label, block))
    arguments = asked("selfcheck", "--times", "1")
    assert arguments.do(arguments) == 3
    assert "too few pairs of valid trials" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ("gunicorn-*", "uvicorn", "compare takes two servers"),
        ("uvicorn", "uvicorn#1", "write uvicorn#2"),
        ("uvicorn", "uvicron", "unknown server 'uvicron'"),
        ("uvicorn", "waitress+cpu=x", "is not an injection"),
    ],
)
def test_mistake_in_what_to_compare_is_a_configuration_error(tmp_path, monkeypatch, a, b, words):
    monkeypatch.chdir(tmp_path)
    arguments = asked("compare", a, b)
    with pytest.raises(ConfigurationError, match=words.replace("+", r"\+")):
        arguments.do(arguments)
    assert not (tmp_path / "results").exists()


@pytest.mark.servers
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_slower_parser_is_called_worse_and_a_server_is_not_called_different_from_itself(tmp_path):
    """For real: uvicorn with h11 in place of httptools, and the same uvicorn twice."""
    finished = gatebench(
        "compare", "uvicorn", "uvicorn-h11", "--scenario", "hello", "--duration", "2s",
        "--warmup", "1s", "--blocks", "6", "--json", cwd=tmp_path, timeout=400,
    )  # fmt: skip
    assert finished.code == 0, finished.err
    found = {it["metric"]: it for it in finished.document["comparisons"]}
    assert found["throughput"]["verdict"] == "worse"
    assert found["throughput"]["high"] < 1
    assert found["cpu"]["verdict"] == "worse"
    assert found["cpu"]["low"] > 1
    assert not {it["verdict"] for it in finished.document["placebo"]} & {"better", "worse"}
