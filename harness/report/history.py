"""A history for people and programs: what stands, what is suspect, what changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from harness.history import Change, History, MachineClass, Record, Series, State
from harness.report.escape import safe
from harness.store import plain

# what somebody should look at first
ORDER = (
    State.REGRESSION, State.SUSPECT, State.HOST, State.ENVIRONMENT, State.IMPROVEMENT,
    State.COLLECTING, State.OK,
)  # fmt: skip
NEWS = ORDER[:5]


def tally(series: Sequence[Series]) -> str:
    """How many series are in which state, in one line."""
    states = Counter(each.state for each in series)
    counts = [f"{states[state]} {state}" for state in ORDER if states[state]]
    return f"{len(series)} series: {', '.join(counts)}" if series else "no series"


def title(series: Series) -> str:
    """A series in one line, with what its values are."""
    key = series.key
    what = f"ratio to {key.reference}" if key.reference else "as measured"
    return f"{key.text}: {key.metric} ({what})"


def telling(series: Series) -> list[Change]:
    """The changes that its state is about: those that stand, or else the last one.

    None where one run alone is what it is about.
    """
    standing = [change for change in series.changes if change.stands]
    return standing or [it for it in series.changes[-1:] if it.kind == series.state]


def sorted_by_state(series: Sequence[Series]) -> list[Series]:
    """The series with the most urgent states first, else as they were."""
    return sorted(series, key=lambda each: ORDER.index(each.state))


def unmeasured(series: Sequence[Series], run: Record) -> list[Series]:
    """The throughputs that a run was to measure and could not."""
    return [
        it
        for it in series
        if it.metric.name == "throughput"
        and it.points[-1].run_id == run.id
        and it.points[-1].value is None
    ]


def summary(
    series: Sequence[Series], machine: MachineClass, runs: int, failed: Sequence[Series] = ()
) -> str:
    """Markdown for a build's page; every text that came from outside is escaped. `failed` are
    those that the newest run could not measure.
    """
    lines = [
        "## gatebench history",
        "",
        f"{runs} runs on {safe(machine.text)} (`{machine.id}`). {tally(series)}.",
    ]
    if failed:
        lines += ["", "### not measured in the newest run", ""]
        lines += [f"- {safe(title(each))}: {safe(each.points[-1].gap)}" for each in failed]
    for state in NEWS:
        rows = [each for each in series if each.state == state]
        if rows:
            lines += ["", f"### {state}", "", "| change | series | what |", "| --- | --- | --- |"]
            lines += [_row(each) for each in rows]
    return "\n".join([*lines, ""])


def _row(series: Series) -> str:
    ids = " ".join(f"`{change.id}`" for change in telling(series))
    shown = "" if series.gates else " (shown, does not gate)"
    return f"| {ids} | {safe(title(series))}{shown} | {safe(series.note)} |"


def history_document(history: History, series: Sequence[Series], machine: str) -> dict[str, Any]:
    """A history as JSON: its machine classes, its runs, and one class's series with all points."""
    return {
        "schema": 1,
        "machine": machine,
        "machines": [
            {"id": each.id, "text": each.text, "runs": len(history.runs(each.id)), **plain(each)}
            for each in history.machines
        ],
        "runs": [
            {
                **{name: getattr(run, name) for name in ("id", "run", "created", "ended")},
                "machine": run.machine_class.id,
                "trials": run.trials,
                "cells": len(run.cells),
            }
            for run in history.records
        ],
        "series": [
            {
                "id": each.key.id,
                **{name: value for name, value in plain(each).items() if name != "metric"},
                "gates": each.gates,
                "more_is_better": each.metric.more_is_better,
            }
            for each in series
        ],
    }
