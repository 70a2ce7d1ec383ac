"""What releases of a server changed, as a table to work on and in words.

Versions of one server were measured in one run; `harness.History` compares each with the one
before it, in the same blocks. A step is better or worse by its rules, not by this notebook's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import show
from ratios import contender

COLUMNS = [
    "server", "scenario", "load", "metric", "version", "value", "ratio", "low", "high",
    "after", "step", "step_low", "step_high", "pairs", "verdict", "judged",
]  # fmt: skip
WORDS = {"throughput_per_s": "throughput", "server_cpu_s_per_1k": "CPU per request",
         "server_pss_bytes": "memory", "p50_s": "p50", "p90_s": "p90"}  # fmt: skip


def releases(lineages: Sequence[Any]) -> pd.DataFrame:
    """A row for each release and metric of `History.lineages`, oldest first.

    `ratio` is to the reference server of the same run, which is 1 times itself; `step` to the
    release before, named in `after`; `low` and `high` are the ends of their intervals; `judged`
    says whether there is a verdict at all. The newest release also has a row against the oldest,
    in which `value` and `ratio` are missing.
    """
    keys = [it.key for it in lineages]
    rows = [
        dict(zip(COLUMNS, row, strict=True))
        for it in lineages
        for row in _rows(it, contender(it.key, keys))
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def told(frame: pd.DataFrame) -> Iterator[str]:
    """A sentence for each pair of releases of which any judged figure was told apart."""
    known = frame[frame["verdict"].isin(("better", "worse")) & frame["judged"]]
    for (server, scenario, _, version, after), steps in known.groupby(
        ["server", "scenario", "load", "version", "after"], sort=False
    ):
        what = "; ".join(
            f"{WORDS.get(row['metric'], row['metric'])} {row['verdict']}, "
            f"{show.ratio(row['step'])} times "
            f"[{show.ratio(row['step_low'])}..{show.ratio(row['step_high'])}]"
            for row in steps.to_dict("records")
        )
        yield (
            f"{show.code(server)} {show.code(version)} after {show.code(after)}, "
            f"{show.plain(str(scenario))}: {what}."
        )


def _rows(it: Any, who: str) -> Iterator[tuple[Any, ...]]:
    key = (who, it.key.scenario, it.key.load, it.metric.column)
    for release in it.releases:
        beside = release.ratio
        over = (beside.value, beside.low, beside.high) if beside else (np.nan,) * 3
        if f"{it.key.server}@{release.version}" == it.key.reference:
            over = (1.0, np.nan, np.nan)
        yield (*key, release.version, release.figure.value, *over, *_step(release.step))
    if len(it.releases) > 2:
        yield (*key, it.whole.newer, *(np.nan,) * 4, *_step(it.whole))


def _step(step: Any) -> tuple[Any, ...]:
    if step is None:
        return ("", *(np.nan,) * 3, 0, "", False)
    size = (step.ratio, step.low, step.high)
    return (step.older, *size, step.pairs, step.verdict, step.p_holm is not None)
