"""A run that is gone on with: all that it needs is read from its own files."""

from __future__ import annotations

import argparse

from harness import __version__
from harness.application import read_body, read_headers, read_variables
from harness.commands.arguments import run_path
from harness.commands.console import say
from harness.machine import differences, facts, usable_cpus
from harness.model import ConfigurationError, RefusedError
from harness.plan import Plan
from harness.recipe import Secrets, plan_of_recipe, recipe
from harness.store import read_facts, read_recipe
from harness.writer import RunWriter

# what may stand beside --resume: where, how it is shown, for how long, and what is not stored
BESIDE = (
    "resume", "results", "json", "budget", "live", "app_env", "request_header", "request_body",
)  # fmt: skip


def resume(arguments: argparse.Namespace) -> tuple[Plan, RunWriter]:
    """The plan of the run that is named, and its writer.

    Trials that were measured stay as they are; those that failed, and those that a crash cut or
    damaged, are measured again. RefusedError where what is measured now would not be comparable:
    another gatebench, machine or placement, or changed files.
    """
    for name, value in vars(arguments).items():
        if name not in BESIDE and value != arguments.usual.get(name, value):
            option = "SERVER" if name == "server" else f"--{name.removesuffix('_s')}"
            option = option.replace("_", "-")
            raise ConfigurationError(f"{option}: is taken from the run; leave it out")
    run = run_path(arguments.resume, arguments.results)
    begun = read_facts(run)
    if begun["gatebench"] != __version__:
        raise RefusedError(
            f"{run}: was begun by gatebench {begun['gatebench']}, and this is {__version__}; a run "
            "is measured by one version: install that one, or begin a new run"
        )
    plan = plan_of_recipe(read_recipe(run), _secrets(arguments), run)
    if unlike := differences(plan.machine, facts(usable_cpus())):
        raise RefusedError(
            f"{run}: was begun on another machine: {'; '.join(unlike)}; trials before and after "
            "cannot be compared: go on there, or begin a new run here"
        )
    writer, aside = RunWriter.resume(run)
    for line in aside:
        say(f"put aside, to be measured again: {line}")
    if begun["blocks"] != plan.blocks:  # it was extended, and cut off in the middle of that
        writer.extend(plan.facts(), recipe(plan))
    return plan, writer


def _secrets(arguments: argparse.Namespace) -> Secrets:
    body = arguments.request_body
    return Secrets(
        read_variables(arguments.app_env or ()),
        read_headers(arguments.request_header or ()),
        None if body is None else read_body(body),
    )
