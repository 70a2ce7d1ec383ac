"""`gatebench run`: measure, store, report."""

from __future__ import annotations

import argparse

from harness.commands.environments import Environments
from harness.commands.measurement import begin, measure, page_of, plan_of
from harness.commands.publication import frames_of, publish
from harness.commands.resumption import resume
from harness.machine import require_linux


def do_run(arguments: argparse.Namespace) -> int:
    """`gatebench run`: measure, store, report; or go on with a run that was not finished."""
    require_linux()
    if arguments.resume is None:
        plan = plan_of(arguments)
        writer = begin(plan, arguments.results)
    else:
        plan, writer = resume(arguments)
    trials = (trial.facts for trial in writer.trials.values())
    environments = Environments(arguments.refresh, trials)
    ending = measure(plan, writer, environments, arguments.budget, page_of(arguments))
    run, frames = frames_of(writer.path)
    publish(run, frames, arguments.json)
    return ending.code(run, frames)
