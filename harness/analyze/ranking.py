"""Ranks of many servers: which are distinguishably better than which."""

from __future__ import annotations

from typing import Any

import pandas as pd

from harness.analyze.columns import frame
from harness.analyze.contenders import LOAD
from harness.analyze.decision import BETTER, FEWEST, WORSE


def rankings_frame(comparisons: pd.DataFrame) -> pd.DataFrame:
    """A row for each server that can be ranked, by scenario and load, from the first.

    `rank` is 1 and those called better than it; `rank_last` is how far back it may be, all but
    those called worse. The two are its rank as far as this run tells (the confidence set of
    Mogstad, Romano, Shaikh & Wilhelm 2023, from the same tests as the comparisons). `tied` are
    the servers that it is not told apart from. A server with fewer than FEWEST pairs has none.
    """
    told = comparisons[comparisons["headline"] & ~comparisons["placebo"].astype(bool)]
    rows: list[dict[str, Any]] = []
    for key, group in told.groupby(list(LOAD), sort=False, dropna=False):
        same = {name: group.iloc[0][name] for name in ("run", "metric")}
        load = dict(zip(LOAD, key, strict=True)) | same
        rows += [load | row for row in _ranks(group[group["pairs"] >= FEWEST])]
    return frame("rankings", rows)


def _ranks(compared: pd.DataFrame) -> list[dict[str, Any]]:
    servers = list(dict.fromkeys([*compared["a"], *compared["b"]]))
    better: dict[str, set[str]] = {server: set() for server in servers}  # than the key
    for a, b, verdict in compared[["a", "b", "verdict"]].itertuples(index=False):
        if verdict in (BETTER, WORSE):
            better[a if verdict == BETTER else b].add(b if verdict == BETTER else a)
    worse = {server: {it for it in servers if server in better[it]} for server in servers}
    rows = [
        {
            "server": server,
            "rank": 1 + len(better[server]),
            "rank_last": len(servers) - len(worse[server]),
            "tied": [it for it in servers if it not in better[server] | worse[server] | {server}],
        }
        for server in servers
    ]
    return sorted(rows, key=lambda row: (row["rank"], row["rank_last"]))
