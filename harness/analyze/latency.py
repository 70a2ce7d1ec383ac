"""The latencies of a trial: percentiles of merged histograms, and modes that no app asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from harness import histogram

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "max": 100.0}

# Linux delays an ACK by 40 ms at the least, other systems, and Linux at the most, by 200 ms; its
# clock counts in steps of 4 ms or less, and then the rest of the answer has to come.
DELAYED_ACKS_S = (0.040, 0.200)
EARLY_S, LATE_S = 0.001, 0.006
PLATEAU = 0.05  # of the answers
STANDS_OUT = 3.0  # times what there is as near below, and above


def latencies(frame: pd.DataFrame, felt: str, wait_s: float) -> dict[str, Any]:
    """From the rows of the stored series `latency` that count, in seconds.

    The percentiles are of the measure `felt`; `min_s` and `longest_s` are the bounds of all
    responses. `plateau_s` is the delay at which a mode stands, beyond the wait of `wait_s` that
    the app was asked for, `plateau_share` the share of the answers in it, and
    `plateau_first_share` that of their first bytes; None without. A delay from an event on knows
    neither wait nor first byte.
    """
    response, lag, first, felt_rows = (
        frame[frame["measure"] == measure] for measure in ("response", "lag", "first", felt)
    )
    lowest, highest = histogram.bounds(response["bucket"].to_numpy())
    found: dict[str, Any] = {
        "min_s": float(lowest.min()) / 1e9 if len(lowest) else None,
        "longest_s": float(highest.max()) / 1e9 if len(highest) else None,
        "lag_p99_s": _percentile_s(lag, 99),
        **{f"{name}_s": _percentile_s(felt_rows, q) for name, q in PERCENTILES.items()},
    }
    asked = felt == "response"
    for delay_s in DELAYED_ACKS_S:
        at_s = delay_s + wait_s * asked
        share, stands_out = _mode(felt_rows, at_s)
        if share >= PLATEAU and stands_out:
            found |= {"plateau_s": delay_s, "plateau_share": share}
            found["plateau_first_share"] = _mode(first, at_s)[0] if asked and len(first) else None
            break
    return found


def _percentile_s(rows: pd.DataFrame, q: float) -> float | None:
    return histogram.percentile_s(rows["bucket"].to_numpy(), rows["count"].to_numpy(), q)


def _mode(rows: pd.DataFrame, at_s: float) -> tuple[float, bool]:
    """The share of the counts around a time, and whether it stands out from what is beside."""
    total = rows["count"].sum()
    if not total:
        return 0.0, False
    low, high = histogram.bounds(rows["bucket"].to_numpy())
    middle_s = (low + high) / 2e9
    width_s = EARLY_S + LATE_S
    edges = at_s - EARLY_S + np.array([-1, 0, 1, 2]) * width_s
    counted, _ = np.histogram(middle_s, edges, weights=rows["count"].to_numpy())
    below, inside, above = (float(share) for share in counted / total)
    return inside, inside > STANDS_OUT * max(below, above)
