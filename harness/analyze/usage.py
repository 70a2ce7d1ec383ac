"""What the processes of a trial used in a stretch of time: CPU, memory, and their turns to run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

SIDES = ("server", "proxy", "generator")
SAME_TICK_NS = 40_000_000  # rows closer than that are of one round of the sampler


def usage(frame: pd.DataFrame, start_ns: int, end_ns: int, idle_until_ns: int) -> dict[str, Any]:
    """From the stored series `processes`, between two instants.

    CPU seconds of each side; the server's memory in bytes, also before `idle_until_ns`, when
    no user was there yet. `SIDE_waited_s` is for how long its threads together were ready to run
    and had no CPU, `SIDE_involuntary` how often one was made to stop; None where not known.
    """
    frame = frame.assign(cpu_s=frame["cpu_user_s"] + frame["cpu_system_s"])
    used: dict[str, Any] = {}
    for side in SIDES:
        rows = frame[frame["side"] == side]
        used[f"{side}_cpu_s"] = sum(_grown(rows, "cpu_s", start_ns, end_ns))
        for column, name, unit in (
            ("waited_ns", "waited_s", 1e9),
            ("switches_involuntary", "involuntary", 1),
        ):
            grown = list(_grown(rows, column, start_ns, end_ns)) if column in rows else []
            used[f"{side}_{name}"] = sum(grown) / unit if grown else None
    server, beside = (_between(frame, side, start_ns, end_ns) for side in ("server", "proxy"))
    return used | {
        "proxy_cpu_s": used["proxy_cpu_s"] if len(beside) else None,
        "processes": server["pid"].nunique() + beside["pid"].nunique(),
        "server_pss_bytes": _held(server, "pss_bytes"),
        "server_rss_bytes": _held(server, "rss_bytes"),
        "server_idle_pss_bytes": _held(_between(frame, "server", 0, idle_until_ns), "pss_bytes"),
        "proxy_pss_bytes": _held(beside, "pss_bytes"),
    }


def growth(at: npt.ArrayLike, values: npt.ArrayLike, start_ns: int, end_ns: int) -> float:
    """How much a sum grew between two instants, interpolated between its readings."""
    begin, end = np.interp([start_ns, end_ns], np.asarray(at), np.asarray(values, dtype=float))
    return float(end - begin)


def _grown(rows: pd.DataFrame, column: str, start_ns: int, end_ns: int) -> Iterator[float]:
    """How much a column grew in each process that lived then and told it."""
    for _, own in rows[rows[column].notna()].groupby("pid"):
        at, values = own["at_ns"].to_numpy(), own[column].to_numpy(dtype=float)
        if at[0] >= end_ns:
            continue  # it began after the window
        if at[0] > start_ns:  # it began in it, from nothing
            yield float(np.interp(end_ns, at, values))
        else:
            yield growth(at, values, start_ns, end_ns)


def _between(frame: pd.DataFrame, side: str, start_ns: int, end_ns: int) -> pd.DataFrame:
    rows: pd.DataFrame = frame[
        (frame["side"] == side) & (frame["at_ns"] >= start_ns) & (frame["at_ns"] < end_ns)
    ]
    return rows.sort_values("at_ns")


def _held(rows: pd.DataFrame, column: str) -> float | None:
    """The mean of the processes' memory together, in bytes; None where none was read."""
    tick = (rows["at_ns"].diff() > SAME_TICK_NS).cumsum()
    # a round in which one process was not read says nothing of the sum
    rounds = rows[column].groupby(tick).agg(lambda values: values.sum(skipna=False))
    mean = rounds.mean()
    return None if pd.isna(mean) else float(mean)
