"""What happened within trials: the processes of each role, and the answers, as time series."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.analyze.arrays import Arrays, Places, arrays
from harness.analyze.long import Part, Trial, Words, long_frame
from harness.analyze.steady import TICK_S
from harness.analyze.usage import rounds

LEVELS = {it: it for it in ("rss_bytes", "pss_bytes", "fds")} | {"os_threads": "threads"}
# how much a sum grew in a second, and the sum's own unit in that of the column
GROWTH = {
    "cpu_share": ("cpu_s", 1.0),
    "switches_voluntary_per_s": ("switches_voluntary", 1.0),
    "switches_involuntary_per_s": ("switches_involuntary", 1.0),
    "waited_share": ("waited_ns", 1e-9),
}
TICKS_PER_S = round(1 / TICK_S)
Numbers = npt.NDArray[np.float64]


def series_frame(trials: Iterable[Trial]) -> pd.DataFrame:
    """A row for each trial, round of the sampler, side and role: its processes together.

    A sum over several processes is missing where one of them was not read. Rates are of the time
    since a process was read before, so its first reading adds nothing: what it used until then,
    nobody knows when. The trials' frame counts that, and is what totals are to be taken from.
    """
    return long_frame("series", (_processes(trial) for trial in trials if trial.measured))


def ticks_frame(trials: Iterable[Trial]) -> pd.DataFrame:
    """A row for each trial and tick of 100 ms, from its first answer to the window's end."""
    return long_frame("ticks", (_answers(trial) for trial in trials if trial.measured))


def _processes(trial: Trial) -> Part:
    sampled = arrays(trial.stored, "processes")
    rows = sampled.where(np.argsort(sampled["at_ns"], kind="stable"))
    start_ns, end_ns = trial.window_ns
    sides, roles = rows.words["side"], rows.words["role"]
    role = rows["side"].astype(np.int64) * len(roles) + rows["role"]
    many = max(1, len(sides) * len(roles))
    keys, first, group = np.unique(
        rounds(rows) * many + role, return_index=True, return_inverse=True
    )
    at_s = (rows["at_ns"][first] - start_ns) / 1e9
    kind = keys % many
    return Part(
        trial.row,
        {
            "side": Words(kind // max(1, len(roles)), sides),
            "role": Words(kind % max(1, len(roles)), roles),
            "at_s": at_s,
            "counts": (at_s >= trial.row["skipped_s"]) & (at_s < (end_ns - start_ns) / 1e9),
            "processes": np.bincount(group),
            **{name: _level(rows, of, group) for name, of in LEVELS.items()},
            **{name: _pace(rows, *of, group) for name, of in GROWTH.items()},
        },
    )


def _level(rows: Arrays, name: str, group: Places) -> Numbers:
    """The sum over the processes of each group; NaN where one of them is not known."""
    return np.asarray(np.bincount(group, weights=_column(rows, name)), dtype=float)


def _column(rows: Arrays, name: str) -> Numbers:
    """A column as floats; NaN where an older gatebench did not read it."""
    if name == "cpu_s":
        return np.asarray(rows["cpu_user_s"] + rows["cpu_system_s"])
    return rows[name].astype(float) if name in rows else np.full(len(rows), np.nan)


def _pace(rows: Arrays, name: str, unit: float, group: Places) -> Numbers:
    """How fast a sum grows in the processes of each group together, per second."""
    values = _column(rows, name) * unit
    order = np.lexsort((rows["at_ns"], rows["pid"]))
    order = order[~np.isnan(values[order])]
    pid, at_s, told = rows["pid"][order], rows["at_ns"][order] / 1e9, values[order]
    pace, new = np.full(len(values), np.nan), np.zeros(len(values), dtype=bool)
    grown = np.diff(told, prepend=np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        pace[order] = grown / np.diff(at_s, prepend=np.nan)
    # one that counts less than before is another process under the same number
    new[order] = np.append(True, pid[1:] != pid[:-1])[: len(pid)] | ~(grown >= 0)
    pace[new] = 0.0
    sums, strange, members = (
        np.bincount(group, weights=it) for it in (pace, new, np.ones(len(values)))
    )
    return np.where(strange < members, sums, np.nan)


def _answers(trial: Trial) -> Part:
    ticks = arrays(trial.stored, "ticks")
    start_ns, end_ns = trial.window_ns
    end = round((end_ns - start_ns) / 1e9 / TICK_S)
    ticks = ticks.where(ticks["tick"] < end)
    first = int(ticks["tick"].min()) if len(ticks) else 0
    # a tick in which nothing was completed has no row on the disk
    number = np.arange(first, end)
    ok, errors, took_ns = (
        np.bincount(ticks["tick"] - first, weights=ticks[name], minlength=len(number))
        for name in ("ok", "errors", "response_sum_ns")
    )
    at_s = np.round(number * TICK_S, 6)
    with np.errstate(invalid="ignore"):
        mean_s = np.where(ok > 0, took_ns / ok / 1e9, np.nan)
    return Part(
        trial.row,
        {
            "at_s": at_s,
            "counts": at_s >= trial.row["skipped_s"],
            "ok_per_s": ok * TICKS_PER_S,
            "errors_per_s": errors * TICKS_PER_S,
            "mean_s": mean_s,
        },
    )
