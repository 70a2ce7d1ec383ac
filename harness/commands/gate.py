"""`gatebench gate`: whether head is worse than base, for continuous integration."""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path
from typing import Any

from harness.analyze.decision import FEWEST
from harness.analyze.gate import Check, Gate, judge_gate
from harness.commands.arguments import run_path
from harness.commands.compare import measured
from harness.commands.console import (
    DONE,
    GATE_FAILED,
    NOT_MEASURED,
    OWN_FAULT,
    UNDECIDED,
    say,
)
from harness.commands.publication import Frames, frames_of, publish
from harness.commands.sides import is_command, plan_of_sides
from harness.export.junit import ERROR, FAILURE, SKIPPED, Case, document
from harness.machine import differences, require_linux
from harness.model import ConfigurationError, RefusedError
from harness.report.summary import findable, headline, summary
from harness.report.verdicts import told
from harness.store import StoredRun, read_facts, write_text

# what may stand beside --run: who is told, and how
BESIDE = ("run", "results", "json", "strict", "summary", "junit")
CODES = {"passed": DONE, "worse": GATE_FAILED, "inconclusive": DONE, "not measured": NOT_MEASURED}
ENDS = {"worse": FAILURE, "inconclusive": SKIPPED, "not measured": ERROR}


def do_gate(arguments: argparse.Namespace) -> int:
    """`gatebench gate`: measure base and head in one run, and say whether head is worse.

    Exits with 0 if nothing that gates is worse, 10 if something is, 3 if that could not be
    measured, and 11 with --strict if something is inconclusive.
    """
    for path in (arguments.summary, arguments.junit):
        if path is not None and not path.parent.is_dir():
            raise ConfigurationError(f"{path}: there is no folder {path.parent} to write it in")
    if arguments.run is not None:
        return _conclude(*frames_of(_stored(arguments)), arguments)
    require_linux()
    _refuse_runs(arguments)
    if arguments.extend and arguments.budget is not None:
        raise ConfigurationError("--extend may double the time that --budget bounds: leave one out")
    plan = plan_of_sides(arguments)
    if plan.blocks < FEWEST:
        how = "--blocks" if arguments.budget is None else "--budget has room for"
        raise ConfigurationError(
            f"{how} {plan.blocks}: a gate needs {FEWEST} blocks or more to give a verdict"
        )
    path, ending = measured(plan, arguments, may_extend=arguments.extend)
    run, frames = frames_of(path)
    code = ending.code(run, frames)
    judged = _conclude(run, frames, arguments)
    if ending.how in ("complete", "budget") and code != OWN_FAULT:
        return judged
    say(f"once it is complete: {shlex.join(['gatebench', 'gate', '--run', str(path)])}")
    return code


def _stored(arguments: argparse.Namespace) -> Path:
    """The run that is judged again, and nothing said that would have to be measured."""
    for name, value in vars(arguments).items():
        if name not in BESIDE and value != arguments.usual.get(name, value):
            option = "SERVER" if name == "server" else f"--{name.removesuffix('_s')}"
            raise ConfigurationError(
                f"{option.replace('_', '-')}: --run judges what was measured; leave it out"
            )
    return run_path(arguments.run, arguments.results)


def _refuse_runs(arguments: argparse.Namespace) -> None:
    """Two runs have no pairs: what the machine did between them would be head's doing."""
    words = [it for it in (arguments.base, arguments.head) if it and not is_command(it)]
    facts = [
        read_facts(path)
        for word in words
        for path in dict.fromkeys([Path(word), arguments.results / word])
        if (path / "run.json").exists()
    ]
    if len(facts) == 2 and (unlike := differences(facts[0]["machine"], facts[1]["machine"])):
        raise RefusedError(
            f"--base and --head are runs of different machines: {'; '.join(unlike)}; measure both "
            "sides in one run, on one machine"
        )
    if facts:
        raise ConfigurationError(
            "--base and --head are what to measure, and not runs: blocks of two runs are not "
            "interleaved and make no pairs; --run RUN judges the run of a gate again"
        )


def _conclude(run: StoredRun, frames: Frames, arguments: argparse.Namespace) -> int:
    """Judge a run, and say it to all who asked."""
    gate = judge_gate(run, frames[0], frames[2])
    _write_summary(run, frames, gate, arguments)
    if arguments.junit is not None:
        _write(arguments.junit, _junit(run, gate))
    publish(run, frames, arguments.json, {"gate": _document(gate)})
    say(headline(gate, strict=arguments.strict))
    if least := findable(gate):
        say(f"the smallest differences that it could have found: {least}")
    if arguments.strict and gate.outcome == "inconclusive":
        return UNDECIDED
    return CODES[gate.outcome]


def _write_summary(
    run: StoredRun, frames: Frames, gate: Gate, arguments: argparse.Namespace
) -> None:
    text = summary(run, *frames[1:], gate, strict=arguments.strict)
    _write(run.path / "gate.md", text)
    if arguments.summary is not None:
        _write(arguments.summary, text)
    elif step := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(step).open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            say(f"{step} cannot be written: {error.strerror}")


def _write(path: Path, text: str) -> None:
    try:
        write_text(path, text)
    except OSError as error:
        say(f"{path} cannot be written: {error.strerror}")


def _document(gate: Gate) -> dict[str, Any]:
    """The gate as JSON."""
    return {
        "outcome": gate.outcome,
        "base": gate.base,
        "head": gate.head,
        "gaps": gate.gaps,
        "checks": [
            {name: check.row[name] for name in ("scenario", "metric", "delta", "smallest_effect")}
            | {"outcome": check.outcome, "verdict": check.row["verdict"], "why": check.why}
            for check in gate.checks
        ],
    }


def _junit(run: StoredRun, gate: Gate) -> str:
    """A test case for each figure of each scenario, and one for each that was not measured."""
    gaps = [
        Case("gate", f"measured ({number})", ERROR, "not measured", gap, gap)
        for number, gap in enumerate(gate.gaps, start=1)
    ]
    cases = [*gaps, *(_case(check) for check in gate.checks)]
    name = f"{gate.head} beside {gate.base}"
    return document([(f"gate: {name}", run.facts["created"], cases)])


def _case(check: Check) -> Case:
    row, said = check.row, told(check.row)
    why = f"{check.why}; {said}" if check.why else said
    name = f"{row['b']} beside {row['a']}: {row['metric']}"
    return Case(row["scenario"], name, ENDS.get(check.outcome), row["verdict"], why, why)
