"""Times from sending to the answer's last byte, as our load and wrk see them."""

from __future__ import annotations

import time
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from harness import histogram
from harness.calibrate import wrk
from harness.calibrate.generators import (
    Bench,
    Figures,
    Gauge,
    drive_ours,
    run_wrk,
    serve,
)
from harness.calibrate.plan import OURS, WRK
from harness.companion import NULL_RESPONDER, STUB
from harness.drive import Driven
from harness.model import Load, MeasurementError, Progress
from harness.process import scratch_folder

OPEN_USERS = 512  # requests of an open load that may be in flight
DELAY_S = 0.010  # between two requests of a connection of wrk's, on average
FIXED_CONNECTIONS = 8  # of each
FIXED_SERVICE_S = 0.005
PERCENTILES = (50, 90, 99)


def added_latency(generator: str, bench: Bench, rate_per_s: float) -> Figures:
    """Times in seconds at `rate_per_s` against the null responder."""
    with scratch_folder() as work, serve(NULL_RESPONDER, work, bench) as server:
        gauge = Gauge(server.tree.pid)
        connections = max(1, round(rate_per_s * DELAY_S))
        if generator == OURS:
            load = Load(OPEN_USERS, "open", rate_per_s, "constant")
            driven = drive_ours("hello", load, server, work, bench, gauge)
            return _ours(driven, "service", connections)
        script = work / "delay.lua"
        script.write_text(wrk.DELAY % (2000 * DELAY_S), "ascii")
        argv = wrk.command(
            server.url, connections=connections, duration_s=bench.duration_s, script=script
        )
        output, _ = run_wrk(argv, work, bench, gauge)
        return _theirs(output)


def agreement(bench: Bench, generators: Collection[str]) -> dict[str, Figures]:
    """Times in seconds of a stub that takes 5 ms for each answer, as each generator sees them.

    Both load it at the same time, from the same CPU: what stalls one stalls the other, and two
    recorders that are right agree, however noisy the machine.
    """
    with (
        scratch_folder() as work,
        serve(STUB, work, bench, "--service", f"fixed:{FIXED_SERVICE_S}") as server,
    ):
        gauge = Gauge(server.tree.pid)
        argv = wrk.command(server.url, connections=FIXED_CONNECTIONS, duration_s=bench.duration_s)

        def beside(start_ns: int) -> wrk.Output:
            time.sleep(max(0.0, (start_ns - time.monotonic_ns()) / 1e9))
            return run_wrk(argv, work, bench, Gauge(server.tree.pid))[0]

        other: Future[wrk.Output] | None = None

        def at(progress: Progress) -> None:
            nonlocal other
            if other is None and WRK in generators:
                other = crew.submit(beside, progress.start_ns)

        with ThreadPoolExecutor(max_workers=1) as crew:
            driven = drive_ours("hello", Load(FIXED_CONNECTIONS), server, work, bench, gauge, at)
    found = {OURS: _ours(driven, "response", FIXED_CONNECTIONS)}
    if other is not None:
        found[WRK] = _theirs(other.result())
    elif WRK in generators:
        raise MeasurementError("wrk was not started: gatebench's generator told no progress")
    return found


def _ours(driven: Driven, measure: str, at_once: int) -> Figures:
    """Our figures, with the percentiles that wrk would print of the same answers."""
    summary = driven.summary
    window_s = (summary["end_ns"] - summary["start_ns"]) / 1e9
    frame = driven.latency.to_pandas()
    frame = frame[(frame["measure"] == measure) & (frame["second"] >= 0)]
    buckets, counts = frame["bucket"].to_numpy(), frame["count"].to_numpy()
    if not counts.sum():
        raise MeasurementError(f"gatebench had no right answer, and {summary['failed']} errors")
    times: Figures = {}
    for q in PERCENTILES:
        times[f"p{q}_s"] = histogram.percentile_s(buckets, counts, q) or 0.0
    low, high = histogram.bounds(buckets)
    interval_s = at_once * window_s / max(1, summary["ok"])
    as_wrk = wrk.corrected(np.repeat((low + high - 1) / 2e9, counts), interval_s)
    for q in PERCENTILES:
        times[f"p{q}_as_wrk_s"] = float(np.percentile(as_wrk, q))
    rest = {"errors": summary["failed"], "unsent": summary.get("unsent", 0)}
    return {"requests_per_s": summary["ok"] / window_s, **times, **rest}


def _theirs(output: wrk.Output) -> Figures:
    failed = sum(output.errors.values())
    times = {f"p{q}_s": output.percentiles_s.get(q, 0.0) for q in PERCENTILES}
    if output.requests <= 0 or not all(times.values()):
        raise MeasurementError(f"wrk had no right answer, and {failed} errors")
    rate = output.requests / output.seconds
    return {"requests_per_s": rate, **times, "errors": failed, "unsent": 0}
