"""How the servers of one scenario compare: every one with the fastest."""

from __future__ import annotations

from typing import Any

import pandas as pd

from harness.analyze.verdict import GENERATOR_LIMITED, RANKED


def comparisons_frame(cells: pd.DataFrame) -> pd.DataFrame:
    """Throughput of each cell (b) over the fastest of its scenario (a), as `ratio` = b/a.

    `bound` is "" where the ratio is as measured, "at most" where the fastest was
    generator-limited (it may be faster still), "at least" where only b was, and "unknown"
    where both were. Fewer than 6 pairs give numbers and no verdict: `inconclusive`.
    """
    rows: list[dict[str, Any]] = []
    comparable = cells[cells["verdict"].isin((*RANKED, GENERATOR_LIMITED))]
    for scenario, group in comparable.groupby("scenario", sort=False):
        ordered = group.sort_values("throughput_per_s", ascending=False)
        best = ordered.iloc[0]
        for _, other in ordered.iloc[1:].iterrows():
            rows.append(
                {
                    "a": best["server"],
                    "b": other["server"],
                    "scenario": scenario,
                    "metric": "throughput",
                    "ratio": other["throughput_per_s"] / best["throughput_per_s"],
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
