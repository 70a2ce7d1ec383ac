"""What a reader has to know of a run that was not measured in one go."""

from __future__ import annotations

import shlex
from collections import defaultdict
from datetime import datetime
from itertools import pairwise

from harness.report import units
from harness.store import StoredRun, StoredTrial

MAY_CHANGE = ("kernel", "system", "governor", "python", "libc")


def sitting_lines(run: StoredRun) -> list[str]:
    """How to finish the run, what lay between its sittings, and what was measured again."""
    return [*_unfinished(run), *_sittings(run), *_changes(run), *_repeated(run)]


def _unfinished(run: StoredRun) -> list[str]:
    if run.ended == "complete" or not run.resumable:
        return []
    of = len(run.facts.get("order", ()))
    command = shlex.join(["gatebench", "run", "--resume", str(run.path)])
    return [f"{len(run.trials)} of {of} trials were made; to go on: {command}"]


def _sittings(run: StoredRun) -> list[str]:
    """How many, and which blocks are torn: what they compare was not measured close together."""
    # blocks that were added at once are no sitting of their own
    processes = [it["pid"] for it in run.sittings]
    sat = 1 + sum(before != after for before, after in pairwise(processes))
    if sat == 1:
        return []
    lines = [f"measured in {sat} sittings"]
    blocks: dict[int, list[StoredTrial]] = defaultdict(list)
    for trial in run.trials:
        blocks[trial.facts["block"]].append(trial)
    for number, trials in sorted(blocks.items()):
        if len({trial.facts.get("sitting") for trial in trials}) > 1:
            apart = units.clock(_longest_pause_s(trials))
            lines.append(
                f"block {number} is torn: {apart} lie between two of its trials, in which the "
                "machine may have changed"
            )
    return lines


def _longest_pause_s(trials: list[StoredTrial]) -> float:
    """The longest time from one trial's end to the next one's begin, in seconds."""
    facts = [trial.facts for trial in trials if {"began", "ended"} <= trial.facts.keys()]
    spans = sorted((_at(it["began"]), _at(it["ended"])) for it in facts)
    pauses = [(later - end).total_seconds() for (_, end), (later, _) in pairwise(spans)]
    return max(pauses, default=0.0)


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _changes(run: StoredRun) -> list[str]:
    """What else than the machine was another one in a later sitting."""
    machines = [sitting.get("machine", {}) for sitting in run.sittings]
    return [
        f"{name} was {before.get(name)} and from sitting {number} on {after.get(name)}"
        for number, (before, after) in enumerate(pairwise(machines), start=2)
        for name in MAY_CHANGE
        if before.get(name) != after.get(name)
    ]


def _repeated(run: StoredRun) -> list[str]:
    return [
        f"measured again after a failure: {cell['server']} · {cell['scenario']} in block "
        f"{facts['block']} (failed during {failure['during']}: {failure['reason']})"
        for facts in (trial.facts for trial in run.repeated)
        for cell, failure in [(facts["cell"], facts["failure"])]
    ]
