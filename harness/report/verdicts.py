"""Comparisons in words."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pandas as pd

from harness.analyze import records
from harness.analyze.contenders import LOAD
from harness.analyze.decision import BETTER, EQUIVALENT, FEWEST, INCONCLUSIVE, WORSE
from harness.report import units

Row = Mapping[str, Any]

NOT_APART = {EQUIVALENT: "; that is equivalent", INCONCLUSIVE: "; that is not told apart"}
TURNED = {"": "", "at most": "at least", "at least": "at most", "unknown": "unknown"}
FIGURES = {"cpu": "CPU per request", "memory": "memory (PSS)"}


def verdicts(comparisons: pd.DataFrame) -> list[str]:
    """A line for each metric of two servers that were measured in several blocks."""
    return [line for group in _by_load(comparisons) if _duel(group) for line in _in_full(group)]


def sentences(comparisons: pd.DataFrame) -> list[str]:
    """How each server does beside the best, where there are more, and what the placebo says."""
    lines = []
    for group in _by_load(comparisons):
        if not _duel(group):
            lines += [
                f"{row['scenario']}: {_sentence(row)}{_told_apart(row)}"
                for row in group
                if row["headline"] and not row["placebo"] and row["best"] in (row["a"], row["b"])
            ]
        lines += _placebo([row for row in group if row["placebo"]])
    return lines


def beside_best(row: Row) -> tuple[str, float | None, str]:
    """Who is compared with the best, its figure over the best's, and how that is bounded.

    The figure is None where no block has a trial of both that can be used.
    """
    ratio = row["ratio"]
    if row["best"] == row["a"]:
        return row["b"], ratio, row["bound"]
    return row["a"], None if ratio is None else 1 / ratio, TURNED[row["bound"]]


def told(row: Row) -> str:
    """A comparison's verdict, how large the difference is, and what it takes to believe it."""
    if not row["pairs"]:
        return "not measured in any pair of valid trials"
    a, b, size = row["a"], row["b"], size_text(row)
    if not row["gates"]:
        return f"{size} (shown, not judged)"
    if row["pairs"] < FEWEST:
        middle = size.partition(" [")[0]
        return f"{middle}; no verdict: {row['pairs']} pairs of valid trials, {FEWEST} are needed"
    doubt = (
        f" (fragile: the sign-flip test does not say the same, p {row['p_sign_flip']:.2g} "
        f"beside {row['p']:.2g})"
    )
    return {
        BETTER: f"{b} is better than {a}: {size}",
        WORSE: f"{b} is worse than {a}: {size}",
        EQUIVALENT: f"equivalent within ±{effect_text(row, row['delta'])}: {size}",
        INCONCLUSIVE: f"inconclusive: {size}; {effect_text(row, row['smallest_effect'])} would "
        "have been found",
    }[row["verdict"]] + (doubt if row["fragile"] else "")


def _told_apart(row: Row) -> str:
    """What is to be said of a ratio that the verdict does not bear out."""
    return NOT_APART.get(row["verdict"], "") if row["pairs"] >= FEWEST else ""


def _by_load(comparisons: pd.DataFrame) -> Iterator[list[dict[str, Any]]]:
    for _, group in comparisons.groupby(list(LOAD), sort=False, dropna=False):
        yield records(group)


def _duel(group: list[dict[str, Any]]) -> bool:
    apart = [row for row in group if not row["placebo"]]
    return len({(row["a"], row["b"]) for row in apart}) == 1 and apart[0]["pairs"] > 1


def _in_full(group: list[dict[str, Any]]) -> Iterator[str]:
    rows = [row for row in group if not row["placebo"]]
    first, most = rows[0], max(row["pairs"] for row in rows)
    a, b, scenario = first["a"], first["b"], first["scenario"]
    yield (
        f"{scenario}: {b} beside {a}, from {most} pairs of trials; "
        f"in brackets the {_percent(first['confidence'])} interval"
    )
    for row in rows:
        yield f"{scenario}, {FIGURES.get(row['metric'], row['metric'])}: {told(row)}"


def size_text(row: Row) -> str:
    """b's figure over a's, or the difference of their shares, with its interval."""
    if row["difference"] is not None:
        ends = (row["difference_low"], row["difference_high"])
        return f"{_points(row['difference'])} percentage points{_interval(ends, _points)}"
    return f"{_times(row['ratio'])} times{_interval((row['low'], row['high']), _times)}"


def _interval(ends: tuple[float | None, float | None], show: Callable[[float], str]) -> str:
    low, high = ends
    return "" if low is None or high is None else f" [{show(low)}..{show(high)}]"


def effect_text(row: Row, effect: float) -> str:
    """A size of effect as a share, or as a difference of shares."""
    if row["difference"] is not None:
        return f"{effect * 100:.2g} points"
    return _percent(effect) if effect < 1 else f"a factor of {units.significant(1 + effect)}"


def _percent(share: float) -> str:
    return f"{share * 100:.3g} %"


def _points(share: float) -> str:
    return f"{share * 100:+.3g}" if share else "0"


def _times(ratio: float) -> str:
    if not 0.001 <= ratio < 1000:  # the end of an interval that says nothing
        return "<0.001" if ratio < 1 else ">1000"
    return f"{ratio:.3f}" if 0.1 <= ratio < 10 else units.significant(ratio)


def _placebo(rows: list[dict[str, Any]]) -> Iterator[str]:
    """What the servers that were entered twice say of this run's verdicts."""
    for (a, _), metrics in itertools.groupby(rows, key=lambda row: (row["a"], row["b"])):
        gating = [row for row in metrics if row["gates"]]
        head = f"{gating[0]['scenario']}: placebo, {a} beside itself"
        alarms = [row for row in gating if row["verdict"] in (BETTER, WORSE)]
        figures = ", ".join(
            f"{FIGURES.get(row['metric'], row['metric'])} {size_text(row)}"
            for row in alarms or [row for row in gating if row["ratio"] is not None]
            if row["pairs"] and (alarms or row["difference"] is None)
        )
        if alarms:
            yield (
                f"{head}: called different, {figures}: in this run differences of that size mean "
                "nothing"
            )
        elif max(row["pairs"] for row in gating) < FEWEST:
            yield f"{head}: {figures or 'not measured in any pair'} (too few pairs for a verdict)"
        else:
            yield f"{head}: not called different: {figures}"


def _sentence(row: Row) -> str:
    """The best and another server, in the headline's metric."""
    best = row["best"]
    other, ratio, bound = beside_best(row)
    if ratio is None:
        return f"{best} and {other} have no block in which both can be used: not compared"
    if row["metric"] == "p50":
        if bound:
            return (
                f"{best} and {other}: the generator was late, so their latencies are not compared"
            )
        return f"the median response of {other} took {ratio:.2f} times that of {best}"
    times = f"{1 / ratio:.2f}" if ratio else "∞"
    return {
        "": f"{best} answered {times} times as many requests as {other}",
        "at most": f"{best} answered at least {times} times as many requests as {other} "
        f"({best} was generator-limited)",
        "at least": f"{best} answered at most {times} times as many requests as {other} "
        f"({other} was generator-limited)",
        "unknown": f"{best} and {other} were both generator-limited: "
        f"their ratio ({times} measured) is the generator's, not theirs",
    }[bound]
