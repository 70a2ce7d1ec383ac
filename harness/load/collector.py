"""The collector: what the Locust processes of one load report, added up and written down.

One process reports to itself; several, or several machines' worth of them, through Locust's
worker reports. What a process reported before it died is kept, and its death is noted.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from harness.load.recent import Recent
from harness.load.recorder import EXAMPLES, LATENCY, MEASURES, TICKS, Times, Window

Report = dict[str, Any]
SUMS = (
    *("users", "in_flight", "starved", "offered", "unsent", "unanswered"),
    *("cpu_s", "rss_before_bytes", "rss_bytes"),
)


class Collector:
    """Adds reports: counts as they come, sums by what each process said last.

    `shown` is the measure whose percentiles are shown while the load goes on.
    """

    def __init__(self, shown: str = "response") -> None:
        self._shown = MEASURES.index(shown)
        self._recent = Recent()
        self._names: dict[tuple[str, str], int] = {}
        self._latency: list[Times] = []
        self._ticks: list[Times] = []
        self._last: dict[str, Report] = {}

    def add(self, process: str, report: Report) -> None:
        """Take in one report (see Recorder.take) of a process."""
        own = np.array(
            [self._names.setdefault((m, name), len(self._names)) for m, name in report["names"]],
            dtype=np.int64,
        )
        for columns, parts in ((LATENCY, self._latency), (TICKS, self._ticks)):
            kind = "latency" if columns is LATENCY else "ticks"
            rows = np.frombuffer(report[kind], dtype=np.int64).reshape(len(columns), -1).copy()
            if rows.shape[1]:
                rows[1] = own[rows[1]]
                parts.append(rows)
                if columns is LATENCY:
                    self._show(rows)
        self._last[process] = report

    def complete(self, process: str) -> bool:
        """Whether a process has said its last."""
        return self._last.get(process, {}).get("final") is not None

    def progress(self) -> tuple[int, int]:
        """Requests done and failed so far."""
        totals = [report["since_start"] for report in self._last.values()]
        failed = sum(total["failed"] for total in totals)
        return sum(total["ok"] for total in totals) + failed, failed

    def percentiles_s(self) -> tuple[float | None, float | None]:
        """p50 and p99 of the last second or so, in seconds, to be looked at; None if not known."""
        return self._recent.percentiles_s(time.monotonic_ns())

    def save(self, folder: Path, window: Window, lost: list[str], facts: Report) -> None:
        """Write `latency.npz`, `ticks.npz` and then `summary.json` into `folder`.

        Seconds and ticks count from the window's start; those below 0 are the warm-up. What
        came at its end or later is not kept. `lost` are processes that did not report to the
        end.
        """
        _write(folder / "latency.npz", _summed(LATENCY, self._latency, ("count",)))
        sums = ("ok", "errors", "response_sum_ns")
        _write(folder / "ticks.npz", _summed(TICKS, self._ticks, sums))
        reports = list(self._last.values())
        finals = [report["final"] for report in reports if report.get("final")]
        since_start = {
            key: sum(report["since_start"][key] for report in reports)
            for key in ("sent", "ok", "failed", "connects")
        }
        own = since_start["sent"] > 0
        summary = {
            **facts,
            "start_ns": window.start_ns,
            "end_ns": window.end_ns,
            "names": [name for _, name in self._names],
            "measures": list(MEASURES),
            "ok": sum(report["ok"] for report in reports),
            "failed": sum(report["failed"] for report in reports),
            "since_start": since_start,
            "errors": self._errors(),
            "lost": lost,
            **{
                key: sum(final[key] for final in finals)
                for key in SUMS
                if any(key in final for final in finals)
            },
            "workers": [
                {"process": process, **{key: report[key] for key in ("ok", "failed")}}
                | {"since_start": report["since_start"], "final": report.get("final")}
                for process, report in self._last.items()
            ],
        }
        if not own:  # a client of Locust's, whose beginnings nobody sees
            summary |= {"in_flight": None, "starved": None}
        (folder / "summary.json").write_text(json.dumps(summary), "utf-8")

    def _show(self, rows: Times) -> None:
        measure, bucket, count = (rows[LATENCY.index(it)] for it in ("measure", "bucket", "count"))
        shown = measure == self._shown
        self._recent.add(time.monotonic_ns(), bucket[shown], count[shown])

    def _errors(self) -> list[dict[str, Any]]:
        found: dict[tuple[str, str, str], dict[str, Any]] = {}
        for report in self._last.values():
            for number, kind, count, examples in report["errors"]:
                method, name = report["names"][number]
                error = found.setdefault(
                    (method, name, kind),
                    {"method": method, "name": name, "kind": kind, "count": 0, "examples": []},
                )
                error["count"] += count
                fresh = [text for text in examples if text not in error["examples"]]
                error["examples"] = [*error["examples"], *fresh][:EXAMPLES]
        return [found[key] for key in sorted(found)]


def _write(path: Path, columns: dict[str, Any]) -> None:
    np.savez(path, **columns)


def _summed(
    columns: tuple[str, ...], parts: list[Times], sums: tuple[str, ...]
) -> dict[str, Times]:
    """The columns of all parts, rows of the same key added into one."""
    whole = np.concatenate(parts, axis=1) if parts else np.empty((len(columns), 0), np.int64)
    held = dict(zip(columns, whole, strict=True))
    keys = [held[column] for column in columns if column not in sums]
    order = np.lexsort(keys[::-1])
    fresh = np.ones(len(order), bool)
    if len(order):
        sorted_keys = np.stack(keys)[:, order]
        fresh[1:] = (sorted_keys[:, 1:] != sorted_keys[:, :-1]).any(axis=0)
    starts = np.flatnonzero(fresh)
    return {
        column: np.add.reduceat(values[order], starts)
        if column in sums and len(starts)
        else values[order][starts]
        for column, values in held.items()
    }
