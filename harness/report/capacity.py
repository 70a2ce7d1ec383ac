"""Capacities as sheets: what each server keeps, and the tries that show it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.analyze.capacity import Capacity, Tried
from harness.objective import Term
from harness.report import units
from harness.report.sheet import Head, Sheet

ENOUGH = 0.9  # of the requests that it takes to tell: arrivals are random


def capacity_sheets(searched: Sequence[Capacity]) -> list[Sheet]:
    """A sheet of all servers of one scenario, and one of each with its tries."""
    return [_summary(searched), *map(_tries, searched)]


def capacity_text(it: Capacity) -> str:
    """What a server can keep, in words."""
    found, slo = it.found, it.objective.text
    low, high = f"{units.rate(found.low)}/s", f"{units.rate(found.high)}/s"
    known = f"; it was met at {low}" if found.low else ""
    return {
        "found": f"{it.server} keeps {slo} at {low}, and not at {high}",
        "at least": f"{it.server} keeps {slo} at {low} at least: beyond that nothing is known of "
        f"it, because the generator was the limit{_why(it, 'held back')}",
        "below": f"{it.server} does not keep {slo}, not even at {high}",
        "unsettled": f"{it.server}: the search for {slo} was not ended{known}",
        "failed": f"{it.server}: it could not be measured{_why(it, 'failed')}{known}",
    }[found.conclusion]


def _why(it: Capacity, outcome: str) -> str:
    said = [tried.why for tried in it.tries if tried.outcome == outcome]
    return f" ({said[-1]})" if said else ""


def _summary(searched: Sequence[Capacity]) -> Sheet:
    heads = (
        Head("server", right=False), Head("workers"), Head("threads"), Head("met at"),
        Head("not at"), Head("tries"), Head("conclusion", right=False),
    )  # fmt: skip
    rows = tuple(
        (
            it.server, f"{it.workers}", f"{it.threads or units.NOTHING}",
            units.rate(it.found.low), units.rate(it.found.high), f"{len(it.tries)}",
            it.found.conclusion,
        )
        for it in searched
    )  # fmt: skip
    first = searched[0]
    title = f"{first.scenario} · capacity under {first.objective.text} · requests/s, poisson"
    return Sheet(title, heads, rows, findings=tuple(map(capacity_text, searched)))


def _tries(it: Capacity) -> Sheet:
    terms = it.objective.terms
    heads = (
        Head("trial"), Head("requests/s"), Head("for"), Head("due"), Head("missed"),
        *(Head(term.metric) for term in terms), Head("outcome", right=False),
    )  # fmt: skip
    rows = tuple(
        (
            f"{tried.number}", units.rate(tried.rate_per_s),
            units.NOTHING if tried.window_s is None else f"{tried.window_s:.0f} s",
            units.count(tried.due), units.count(tried.missed),
            *(_figure(term, tried) for term in terms),
            f"{tried.outcome}{' (long)' * (tried.stage == 'confirm')}",
        )
        for tried in it.tries
    )  # fmt: skip
    notes = [
        f"trial {tried.number}: {tried.why}"
        for tried in it.tries
        if tried.outcome in ("held back", "failed")
    ]
    return Sheet(f"{it.server} · every rate that was tried", heads, rows, notes=(*notes, *_few(it)))


def _figure(term: Term, tried: Tried) -> str:
    value = tried.figures.get(term.metric)
    if value is None:
        return units.NOTHING
    if term.metric == "errors":
        return f"{value:.2%}"
    if term.metric == "throughput":
        return units.rate(value)
    return "missed" if math.isinf(value) else units.seconds(value)


def _few(it: Capacity) -> list[str]:
    """A note where the long tries were too short to tell."""
    held = [tried.due for tried in it.tries if tried.stage == "confirm" and tried.due]
    needed = it.objective.requests
    if not held or min(held) >= ENOUGH * needed:
        return []
    return [
        f"the long tries had {units.count(min(held))} requests at the least, and to tell "
        f"{it.objective.text} takes {units.count(needed)}: a longer --duration tells more"
    ]
