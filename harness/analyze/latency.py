"""The latencies of a trial: percentiles of merged histograms, and modes that no app asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness import histogram
from harness.analyze.arrays import Arrays
from harness.histogram import Histogram

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "max": 100.0}

# Linux delays an ACK by 40 ms at the least, other systems, and Linux at the most, by 200 ms; its
# clock counts in steps of 4 ms or less, and then the rest of the answer has to come.
DELAYED_ACKS_S = (0.040, 0.200)
EARLY_S, LATE_S = 0.001, 0.006
PLATEAU = 0.05  # of the answers
STANDS_OUT = 3.0  # times what there is as near below, and above


def latencies(counted: Arrays, felt: str, wait_s: float) -> dict[str, Any]:
    """From the rows of the stored series `latency` that count, in seconds.

    The percentiles are of the measure `felt`; `p99_by_chance` is whether fewer than BEYOND lie
    beyond p99. `min_s` and `longest_s` are the bounds of all responses. `plateau_s` is the delay
    at which a mode stands, beyond the wait of `wait_s` that the app was asked for,
    `plateau_share` the share of the answers in it, and `plateau_first_share` that of their first
    bytes; None without. A delay from an event on knows neither wait nor first byte.
    """
    merged = {it: histogram_of(counted, it) for it in ("response", "lag", "first", felt)}
    low, high = histogram.bounds(merged["response"].buckets)
    found: dict[str, Any] = {
        "min_s": float(low[0]) / 1e9 if len(low) else None,
        "longest_s": float(high[-1]) / 1e9 if len(high) else None,
        "lag_p99_s": merged["lag"].percentile_s(99),
        **{f"{name}_s": merged[felt].percentile_s(q) for name, q in PERCENTILES.items()},
        "p99_by_chance": not merged[felt].tells(99) if merged[felt].total else None,
    }
    asked = felt == "response"
    for delay_s in DELAYED_ACKS_S:
        at_s = delay_s + wait_s * asked
        share, stands_out = _mode(merged[felt], at_s)
        if share >= PLATEAU and stands_out:
            found |= {"plateau_s": delay_s, "plateau_share": share}
            first = merged["first"]
            found["plateau_first_share"] = _mode(first, at_s)[0] if asked and first.total else None
            break
    return found


def histogram_of(latency: Arrays, measure: str) -> Histogram:
    """All names' counts of one measure; empty where nothing was counted."""
    rows = latency.said("measure", measure)
    return Histogram.merged(latency["bucket"][rows], latency["count"][rows])


def _mode(of: Histogram, at_s: float) -> tuple[float, bool]:
    """The share of the counts around a time, and whether it stands out from what is beside."""
    if not of.total:
        return 0.0, False
    low, high = histogram.bounds(of.buckets)
    middle_s = (low + high) / 2e9
    width_s = EARLY_S + LATE_S
    edges = at_s - EARLY_S + np.array([-1, 0, 1, 2]) * width_s
    counted, _ = np.histogram(middle_s, edges, weights=of.counts)
    below, inside, above = (float(share) for share in counted / of.total)
    return inside, inside > STANDS_OUT * max(below, above)
