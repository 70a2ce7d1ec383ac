"""`gatebench capacity`: the highest rate at which a server still meets an objective."""

from __future__ import annotations

import argparse

from harness.analyze.capacity import Tried, capacities
from harness.capacity import Quest, explore
from harness.commands.arguments import scenarios_or
from harness.commands.console import (
    DONE,
    INTERRUPTED,
    NOT_MEASURED,
    OWN_FAULT,
    complain,
    say,
)
from harness.commands.environments import Environments
from harness.commands.measurement import crew_of, page_of, plan_of, sit, watcher
from harness.commands.publication import frames_of, publish
from harness.machine import require_linux
from harness.model import ConfigurationError
from harness.objective import parse_objective
from harness.page import Page
from harness.plan import Plan
from harness.report import units
from harness.writer import RunWriter

SETTLED = ("found", "at least", "below")


def do_capacity(arguments: argparse.Namespace) -> int:
    """`gatebench capacity`: search, store every try, report."""
    require_linux()
    quest = Quest(
        parse_objective(arguments.slo),
        arguments.precision,
        arguments.in_flight,
        arguments.try_deadline_s,
    )
    arguments.scenario = scenarios_or(arguments, ["hello"])
    plan = plan_of(arguments)
    hold_requests(plan)
    asked = {"slo": quest.objective.text, "precision": quest.precision}
    writer = RunWriter.begin(arguments.results, plan.facts() | {"capacity": asked})
    environments = Environments(arguments.refresh)
    page = page_of(arguments)
    ending = sit(plan, writer, lambda: _explore(plan, quest, writer, environments, page))
    writer.end(ending.how)
    run, frames = frames_of(writer.path)
    publish(run, frames, arguments.json)
    if ending.error is not None:
        complain(ending.error)
        return ending.error.exit_code
    if ending.how == "interrupted":
        say(f"interrupted: {len(run.trials)} trials are kept in {run.path}")
        return INTERRUPTED
    if any((trial.facts["failure"] or {}).get("own_fault") for trial in run.trials):
        return OWN_FAULT
    settled = [it.found.conclusion in SETTLED for it in capacities(run, frames[0])]
    return DONE if all(settled) else NOT_MEASURED


def hold_requests(plan: Plan) -> None:
    """That the work is requests that a client makes; events come at their own pace."""
    for cell in plan.cells:
        if cell.scenario.latency == "delay":
            raise ConfigurationError(
                f"scenario {cell.scenario.name} is paced by events, and has no throughput to seek"
            )


def _explore(
    plan: Plan, quest: Quest, writer: RunWriter, environments: Environments, page: Page | None
) -> str:
    say(
        f"searching the rate that keeps {quest.objective.text}, for {len(plan.cells)} cell(s), a "
        f"few minutes each, more for slow ones; results in {writer.path}"
    )
    crew = crew_of(environments, page)
    with watcher(plan, None, page) as watch:
        for cell, tried in explore(plan, quest, crew, writer, watch):
            say(f"{cell.name}: {_line(tried)}")
    return "complete"


def _line(tried: Tried) -> str:
    long = ", long" if tried.stage == "confirm" else ""
    window = "" if tried.window_s is None else f" for {tried.window_s:.0f} s"
    why = f" ({tried.why})" if tried.why else ""
    return f"{units.rate(tried.rate_per_s)}/s{window}{long}: {tried.outcome}{why}"
