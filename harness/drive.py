"""Drive a server: Locust as a child on the generator's CPUs, with the scenario's file.

Nothing of Locust is imported here: it would monkey-patch gatebench itself.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from harness.model import Load, MeasurementError, Progress, Request, Scenario, Timing, visible
from harness.ports import HOST, free_port
from harness.process import Tree, last_lines

PLUGIN = "harness.load.plugin"
SPAWN_WITHIN_S = 30.0
END_WITHIN_S = 20.0
POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Driven:
    """What a drive left: the recorder's summary and its two tables.

    `latency` has second, name, measure, bucket, count; `ticks` has tick, name, ok, errors,
    response_sum_ns. Both count from the start of the measured window.
    """

    summary: dict[str, Any]
    latency: pa.Table
    ticks: pa.Table


class Drive:
    """A running Locust."""

    def __init__(self, tree: Tree, work: Path, argv: Sequence[str] = ()) -> None:
        self.tree = tree
        self.argv = tuple(argv)
        self._work = work

    def progress(self) -> Progress | None:
        """The newest progress; None while users are being spawned."""
        try:
            return Progress(**json.loads((self._work / "progress.json").read_text("utf-8")))
        except (FileNotFoundError, json.JSONDecodeError):  # not there, or being written
            return None

    def watch(self) -> Iterator[Progress]:
        """Progress a few times a second until Locust has ended.

        MeasurementError if it does not spawn its users, or does not end, in time.
        """
        deadline = time.monotonic() + SPAWN_WITHIN_S
        spawned = False
        while self.tree.wait(POLL_S) is None:
            if (progress := self.progress()) is not None:
                if not spawned:
                    spawned = True
                    left_s = (progress.end_ns - progress.at_ns) / 1e9
                    deadline = time.monotonic() + left_s + END_WITHIN_S
                yield progress
            if time.monotonic() > deadline:
                raise self._failed(
                    f"did not end within {END_WITHIN_S:.0f} s of its window"
                    if spawned
                    else f"had not spawned its users after {SPAWN_WITHIN_S:.0f} s"
                )

    def result(self) -> Driven:
        """What was recorded, once Locust has ended."""
        try:
            summary = json.loads((self._work / "summary.json").read_text("utf-8"))
        except FileNotFoundError:
            code = self.tree.poll()
            raise self._failed(f"ended with exit code {code} and left no results") from None
        if pressed := summary.get("pressed"):
            raise MeasurementError(
                f"Locust's page was asked to change the load ({visible(pressed)}): it did not, and "
                "the trial was ended; the page is for looking"
            )
        return Driven(summary, *_tables(self._work, summary["names"], summary["measures"]))

    def _failed(self, what: str) -> MeasurementError:
        return MeasurementError(f"generator (Locust) {what}", log=last_lines(self._work / "log"))


@contextmanager
def drive(
    scenario: Scenario,
    load: Load,
    timing: Timing,
    *,
    url: str,
    work: Path,
    cpus: Sequence[int],
    seed: int = 0,
    page_port: int | None = None,
) -> Iterator[Drive]:
    """Start Locust against `url`; it ends by itself after the window, or here at the latest.

    With `page_port` it serves its own web page there meanwhile, on loopback.
    """
    work.mkdir(parents=True)
    window: dict[str, Any] = {
        "warmup_s": timing.warmup_s,
        "duration_s": timing.duration_s,
        "deadline_s": load.deadline_s,
        "latency": scenario.latency,
    }
    if load.model == "open":
        window |= {"rate_per_s": load.rate_per_s, "arrivals": load.arrivals, "seed": seed}
    (work / "window.json").write_text(json.dumps(window), "utf-8")
    argv = [sys.executable, "-m", PLUGIN, "-f", str(scenario.file)]
    if page_port is None:
        argv += ["--headless"]
    else:
        argv += ["--autostart", "--web-host", HOST, "--web-port", str(page_port)]
    argv += ["--host", url, "--users", str(load.users), "--spawn-rate", str(load.users)]
    argv += ["--only-summary", "--loglevel", "WARNING"]
    if load.processes > 1:
        port = str(free_port())
        argv += ["--processes", str(load.processes)]
        argv += ["--master-bind-host", HOST, "--master-bind-port", port, "--master-port", port]
    keep = {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"}
    env = {name: value for name, value in os.environ.items() if name in keep}
    env |= {
        "GATEBENCH_WORK": str(work),
        "PYTHONPATH": str(Path(__file__).parent.parent),
    }
    if scenario.request is not None:
        asked = work / "request.json"
        asked.write_text(_as_json(scenario.request), "utf-8")
        env["GATEBENCH_REQUEST"] = str(asked)
    with Tree(argv, cwd=work, env=env, log=work / "log", cpus=cpus) as tree:
        yield Drive(tree, work, argv)


def _as_json(request: Request) -> str:
    """The request as scenarios/request.py reads it: bytes in base64, what is not said left out."""
    known = {name: getattr(request, name) for name in Request.__dataclass_fields__}
    return json.dumps(
        {
            name: base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else value
            for name, value in known.items()
            if value is not None
        }
    )


def _tables(work: Path, names: list[str], measures: list[str]) -> tuple[pa.Table, pa.Table]:
    """The recorder's arrays with names in place of numbers."""
    with np.load(work / "latency.npz", allow_pickle=False) as latency:
        latency_table = pa.table(
            {
                "second": pa.array(latency["second"], pa.int32()),
                "name": _words(latency["name"], names),
                "measure": _words(latency["measure"], measures),
                "bucket": pa.array(latency["bucket"], pa.int32()),
                "count": pa.array(latency["count"], pa.int64()),
            }
        )
    with np.load(work / "ticks.npz", allow_pickle=False) as ticks:
        ticks_table = pa.table(
            {
                "tick": pa.array(ticks["tick"], pa.int32()),
                "name": _words(ticks["name"], names),
                "ok": pa.array(ticks["ok"], pa.int64()),
                "errors": pa.array(ticks["errors"], pa.int64()),
                "response_sum_ns": pa.array(ticks["response_sum_ns"], pa.int64()),
            }
        )
    return latency_table, ticks_table


def _words(numbers: Any, words: Sequence[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(
        pa.array(numbers, pa.int32()), pa.array(words, pa.string())
    )
