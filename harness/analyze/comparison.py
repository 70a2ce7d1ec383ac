"""How the servers of one scenario compare: every one with the fastest."""

from __future__ import annotations

from typing import Any

import pandas as pd

from harness.analyze.verdict import GENERATOR_LIMITED, RANKED


def comparisons_frame(cells: pd.DataFrame) -> pd.DataFrame:
    """Each cell (b) over the best of its scenario (a), as `ratio` = b/a.

    A closed load finds the throughput; under an open one that was ours to choose, and the
    median response time is compared. `bound` is "" where the ratio is as measured, "at most"
    where the best was generator-limited (it may be better still), "at least" where only b was,
    and "unknown" where both were. Fewer than 6 pairs give numbers and no verdict:
    `inconclusive`.
    """
    rows: list[dict[str, Any]] = []
    comparable = cells[cells["verdict"].isin((*RANKED, GENERATOR_LIMITED))]
    for (scenario, model), group in comparable.groupby(["scenario", "model"], sort=False):
        metric, column = (
            ("throughput", "throughput_per_s") if model == "closed" else ("p50", "p50_s")
        )
        ordered = group.sort_values(column, ascending=model == "open")
        best = ordered.iloc[0]
        for _, other in ordered.iloc[1:].iterrows():
            rows.append(
                {
                    "a": best["server"],
                    "b": other["server"],
                    "scenario": scenario,
                    "metric": metric,
                    "ratio": other[column] / best[column],
                    "low": None,
                    "high": None,
                    "verdict": "inconclusive",
                    "bound": _bound(best["verdict"], other["verdict"]),
                }
            )
    columns = ["a", "b", "scenario", "metric", "ratio", "low", "high", "verdict", "bound"]
    return pd.DataFrame(rows, columns=columns)


def _bound(best: str, other: str) -> str:
    limited = (best == GENERATOR_LIMITED, other == GENERATOR_LIMITED)
    return {
        (False, False): "",
        (True, False): "at most",
        (False, True): "at least",
        (True, True): "unknown",
    }[limited]
