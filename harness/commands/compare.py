"""`gatebench compare`: whether B is better or worse than A."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import pandas as pd

from harness.analyze.decision import FEWEST, INCONCLUSIVE
from harness.cells import DEFAULT_SCENARIOS
from harness.commands.arguments import scenarios_or
from harness.commands.console import DONE, NOT_MEASURED, OWN_FAULT, say
from harness.commands.environments import Environments
from harness.commands.measurement import Ending, begin, measure, page_of, plan_of
from harness.commands.publication import frames_of, publish
from harness.machine import require_linux
from harness.model import ConfigurationError
from harness.plan import Plan
from harness.recipe import recipe
from harness.report.units import plural
from harness.writer import RunWriter


def do_compare(arguments: argparse.Namespace) -> int:
    """`gatebench compare`: a run of two servers and a placebo, and a verdict for each metric.

    It is no gate: it exits with 0 whatever the verdicts, and with 3 where there are none.
    """
    require_linux()
    if arguments.extend and arguments.budget is not None:
        raise ConfigurationError("--extend may double the time that --budget bounds: leave one out")
    injected = "" if arguments.inject is None else f"+{arguments.inject}"
    plan = duel(arguments.a, f"{arguments.b}{injected}", arguments)
    if plan.blocks < FEWEST:
        say(f"{plural(plan.blocks, 'block')} give numbers and no verdict: that needs {FEWEST}")
    run_path, ending = measured(plan, arguments, may_extend=arguments.extend)
    run, frames = frames_of(run_path)
    publish(run, frames, arguments.json)
    code = ending.code(run, frames)
    if ending.how not in ("complete", "budget") or code == OWN_FAULT:
        return code
    if few := too_few(frames[2]):
        say(few)
        return NOT_MEASURED
    return DONE


def duel(a: str, b: str, arguments: argparse.Namespace) -> Plan:
    """The plan of a run of `b` beside `a`; the same word twice is one server entered twice.

    Where no scenario is named it is of the few of a first look.
    """
    arguments.server = [a, f"{b}#2" if a == b else b]
    arguments.scenario = scenarios_or(arguments, DEFAULT_SCENARIOS)
    plan = plan_of(arguments)
    servers = {cell.server.label: cell.server for cell in plan.cells}
    apart = [label for label, it in servers.items() if a == b or it.twin_of is None]
    if len(apart) != 2:
        raise ConfigurationError(
            f"compare takes two servers; {a} and {b} are {len(apart)}: {', '.join(apart)}"
        )
    return plan


def measured(plan: Plan, arguments: argparse.Namespace, *, may_extend: bool) -> tuple[Path, Ending]:
    """Measure a plan as a run, and as many blocks again if that is allowed and leaves a doubt."""
    plan = replace(plan, looks=2) if may_extend else plan
    environments, page = Environments(arguments.refresh), page_of(arguments)
    writer = begin(plan, arguments.results)
    ending = measure(plan, writer, environments, arguments.budget, page)
    if may_extend and ending.how == "complete":
        open_questions = undecided(frames_of(writer.path)[1][2])
        if open_questions:
            say(f"inconclusive: {', '.join(open_questions)}; measuring as many blocks again")
            plan = replace(plan, blocks=2 * plan.blocks)
            writer, _ = RunWriter.resume(writer.path)
            writer.extend(plan.facts(), recipe(plan))
            ending = measure(plan, writer, environments, page=page)
    return writer.path, ending


def undecided(comparisons: pd.DataFrame) -> list[str]:
    """The scenarios and metrics of which nothing could be said."""
    judged = _judged(comparisons)
    doubtful = judged[judged["verdict"] == INCONCLUSIVE]
    return [f"{row.scenario} {row.metric}" for row in doubtful.itertuples()]


def too_few(comparisons: pd.DataFrame) -> str:
    """Which scenarios have too few pairs of valid trials for a verdict; empty if none has."""
    judged = _judged(comparisons)
    if judged.empty:
        return "no trial of both servers could be used: nothing is compared"
    pairs = judged.groupby("scenario", sort=False)["pairs"].max()
    few = [f"{scenario} {count}" for scenario, count in pairs.items() if count < FEWEST]
    if not few:
        return ""
    return (
        f"too few pairs of valid trials ({FEWEST} are needed): {', '.join(few)}; what each trial "
        "lost is told below the tables: end what else runs on this machine, then measure again, "
        "or with more --blocks"
    )


def _judged(comparisons: pd.DataFrame) -> pd.DataFrame:
    return comparisons[comparisons["gates"].astype(bool) & ~comparisons["placebo"].astype(bool)]
