"""What the processes of a trial used in a stretch of time: CPU, memory, and their turns to run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.analyze.arrays import Arrays

SIDES = ("server", "proxy", "generator")
SAME_TICK_NS = 40_000_000  # rows closer than that are of one round of the sampler


def usage(sampled: Arrays, start_ns: int, end_ns: int, idle_until_ns: int) -> dict[str, Any]:
    """From the stored series `processes`, between two instants.

    CPU seconds of each side; the server's memory in bytes, also before `idle_until_ns`, when
    no user was there yet. `SIDE_waited_s` is for how long its threads together were ready to run
    and had no CPU, `SIDE_involuntary` how often one was made to stop; None where not known.
    """
    used: dict[str, Any] = {}
    sides = {side: sampled.where(sampled.said("side", side)) for side in SIDES}
    for side, rows in sides.items():
        cpu_s = rows["cpu_user_s"] + rows["cpu_system_s"]
        used[f"{side}_cpu_s"] = sum(_grown(rows, cpu_s, start_ns, end_ns))
        for column, name, unit in (
            ("waited_ns", "waited_s", 1e9),
            ("switches_involuntary", "involuntary", 1),
        ):
            grown = list(_grown(rows, rows[column], start_ns, end_ns)) if column in rows else []
            used[f"{side}_{name}"] = sum(grown) / unit if grown else None
    server, beside = (_between(sides[side], start_ns, end_ns) for side in ("server", "proxy"))
    return used | {
        "proxy_cpu_s": used["proxy_cpu_s"] if len(beside) else None,
        "processes": len(np.unique(server["pid"])) + len(np.unique(beside["pid"])),
        "server_pss_bytes": _held(server, "pss_bytes"),
        "server_rss_bytes": _held(server, "rss_bytes"),
        "server_idle_pss_bytes": _held(_between(sides["server"], 0, idle_until_ns), "pss_bytes"),
        "proxy_pss_bytes": _held(beside, "pss_bytes"),
    }


def growth(at: npt.ArrayLike, values: npt.ArrayLike, start_ns: int, end_ns: int) -> float:
    """How much a sum grew between two instants, interpolated between its readings."""
    begin, end = np.interp([start_ns, end_ns], np.asarray(at), np.asarray(values, dtype=float))
    return float(end - begin)


def _grown(rows: Arrays, values: npt.NDArray[Any], start_ns: int, end_ns: int) -> Iterator[float]:
    """How much `values` grew in each process that lived then and told it."""
    for pid in np.unique(rows["pid"]):
        told = (rows["pid"] == pid) & ~np.isnan(values)
        at, own = rows["at_ns"][told], values[told]
        if not len(at) or at[0] >= end_ns:
            continue  # it began after the window
        if at[0] > start_ns:  # it began in it, from nothing
            yield float(np.interp(end_ns, at, own))
        else:
            yield growth(at, own, start_ns, end_ns)


def _between(rows: Arrays, start_ns: int, end_ns: int) -> Arrays:
    """The rows of a stretch of time, as they come: in order."""
    return rows.where((rows["at_ns"] >= start_ns) & (rows["at_ns"] < end_ns))


def rounds(rows: Arrays) -> npt.NDArray[np.int64]:
    """The round of the sampler that each row is of, from 0 on; the rows in order of time.

    A round that was late may end shortly before the next, which has its processes again.
    """
    later = np.diff(rows["at_ns"], prepend=rows["at_ns"][:1]) > SAME_TICK_NS
    found = np.cumsum(later, dtype=np.int64)
    while len(again := _repeated(found, rows["pid"])):
        found[again[0] :] += 1
    return found


def _repeated(rounds: npt.NDArray[np.int64], pids: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """The rows whose process was in their round before."""
    order = np.lexsort((np.arange(len(pids)), pids, rounds))
    same = (np.diff(rounds[order]) == 0) & (np.diff(pids[order]) == 0)
    return np.sort(order[1:][same])


def _held(rows: Arrays, column: str) -> float | None:
    """The mean of the processes' memory together, in bytes; None where none was read."""
    if not len(rows):
        return None
    sums = np.bincount(rounds(rows), weights=rows[column])
    # a round in which one process was not read says nothing of the sum
    known = sums[~np.isnan(sums)]
    return float(known.mean()) if len(known) else None
