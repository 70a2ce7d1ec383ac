"""Comparisons as the page shows them: those with the best, or all of two servers, and placebos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.analyze import records
from harness.analyze.decision import FEWEST
from harness.report import units
from harness.report.page.headline import duel
from harness.report.verdicts import FIGURES, effect_text, size_text
from harness.results import Results


@dataclass(frozen=True, slots=True)
class Difference:
    """One comparison, in the words of the page; `instead` stands where there is no verdict.

    `a` and `b` are the contenders' names in the table.
    """

    scenario: str
    a: str
    b: str
    who: str
    metric: str
    size: str
    verdict: str
    instead: str
    least: str
    p: str
    pairs: int
    fragile: bool
    placebo: bool


@dataclass(frozen=True, slots=True)
class Differences:
    """The comparisons that are shown, and what is said of all of them."""

    caption: str
    about: str
    rows: tuple[Difference, ...]


def differences(results: Results) -> Differences | None:
    """The comparisons of a run; None where a single block leaves nothing but ratios."""
    rows = records(results.comparisons)
    if not rows or results.run.facts["blocks"] == 1:
        return None
    asked = duel(results.comparisons)
    shown = [row for row in rows if _shown(row, asked is not None)]
    pairs = len({(row["a"], row["b"]) for row in rows if not row["placebo"]})
    beside = "" if asked else (
        f" Shown are the pairs with the best of each scenario; all {pairs} pairs are in the JSON."
    )  # fmt: skip
    confidence = rows[0]["confidence"]
    return Differences(
        "b beside a, from pairs of trials of the same block",
        f"A ratio is b's figure over a's, in brackets its {confidence * 100:g} % interval. “Would "
        "have been found” is the smallest difference that this run can tell from noise. A placebo "
        f"is a server beside itself: it must not be found different.{beside}",
        tuple(_difference(row) for row in sorted(shown, key=_order)),
    )


def _shown(row: dict[str, Any], all_of_them: bool) -> bool:
    if all_of_them:
        return True
    with_best = row["placebo"] or row["best"] in (row["a"], row["b"])
    return with_best and bool(row["gates"] or row["headline"])


def _order(row: dict[str, Any]) -> bool:
    return bool(row["placebo"])


def _difference(row: dict[str, Any]) -> Difference:
    measured = bool(row["pairs"]) and (row["ratio"] is not None or row["difference"] is not None)
    judged = row["gates"] and row["pairs"] >= FEWEST
    smallest = row["smallest_effect"]
    return Difference(
        scenario=row["scenario"],
        a=row["a"],
        b=row["b"],
        who=f"{row['b']} beside {row['a']}" + " (placebo)" * bool(row["placebo"]),
        metric=FIGURES.get(row["metric"], row["metric"]),
        size=size_text(row) if measured else units.NOTHING,
        verdict=row["verdict"] if judged else "",
        instead="shown, not judged" if not row["gates"] else f"no verdict: {row['pairs']} pairs",
        least=effect_text(row, smallest) if judged and smallest is not None else units.NOTHING,
        p=units.NOTHING if row["p_holm"] is None else f"{row['p_holm']:.2g}",
        pairs=row["pairs"],
        fragile=bool(row["fragile"]),
        placebo=bool(row["placebo"]),
    )
