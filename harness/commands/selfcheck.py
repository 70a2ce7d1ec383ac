"""`gatebench selfcheck`: whether comparisons on this machine can be believed."""

from __future__ import annotations

import argparse
from typing import Any

from harness.analyze import records
from harness.analyze.decision import BETTER, WORSE
from harness.commands.arguments import scenarios_or
from harness.commands.compare import duel, measured, too_few
from harness.commands.console import DONE, GATE_FAILED, NOT_MEASURED, out, print_json, say
from harness.commands.publication import frames_of
from harness.machine import require_linux
from harness.report import units
from harness.report.verdicts import verdicts


def do_selfcheck(arguments: argparse.Namespace) -> int:
    """`gatebench selfcheck`: compare a server with itself, a few times.

    Exits with 10 if it was ever called better or worse, with 3 if that could not be told.
    """
    require_linux()
    arguments.scenario = scenarios_or(arguments, ["hello"])
    runs, alarms, gaps = [], [], []
    for number in range(1, arguments.times + 1):
        say(f"{arguments.a} beside itself, {number} of {arguments.times}")
        path, ending = measured(
            duel(arguments.a, arguments.a, arguments), arguments, may_extend=False
        )
        run, frames = frames_of(path)
        runs.append(str(path))
        alarms += [_alarm(row, str(path)) for row in records(frames[2]) if _differs(row)]
        gaps += [f"{path}: {few}" for few in [too_few(frames[2])] if few]
        if not arguments.json:
            for line in verdicts(frames[2]):
                out.print(line, markup=False, soft_wrap=True)
        if ending.how not in ("complete", "budget"):
            return ending.code(run, frames)
    if arguments.json:
        print_json({"schema": 1, "server": arguments.a, "runs": runs, "alarms": alarms})
    for line in gaps:
        say(line)
    for row in alarms:
        figure = f"{row['scenario']} {row['metric']} ({units.times(row['ratio'])})"
        say(f"{arguments.a} was called {row['verdict']} than itself in {figure}: {row['run']}")
    if alarms:
        return GATE_FAILED
    if gaps:
        return NOT_MEASURED
    say(f"{len(runs)} comparisons of {arguments.a} with itself: never called better or worse")
    return DONE


def _differs(row: dict[str, Any]) -> bool:
    return row["verdict"] in (BETTER, WORSE)


def _alarm(row: dict[str, Any], run: str) -> dict[str, Any]:
    return {name: row[name] for name in ("scenario", "metric", "ratio", "verdict")} | {"run": run}
