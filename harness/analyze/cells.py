"""One row per cell: its trials put together."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd

from harness.analyze.verdict import RANKED, SEVERITY

KEYS = (
    "server", "app", "scenario", "workers", "threads", "model", "users", "rate_per_s", "arrivals",
)  # fmt: skip
FIGURES = (
    "throughput_per_s", "p50_s", "p90_s", "p99_s", "max_s",
    "server_cpu_s_per_1k", "server_pss_bytes", "proxy_cpu_s_per_1k", "proxy_pss_bytes",
    "generator_cpu_share", "sampler_cpu_share",
    "startup_s", "server_idle_pss_bytes", "generator_bytes_per_user",
)  # fmt: skip
SAME = (
    "front", "slots", "speaks", "concurrency", "wait_s", "pause_s", "latency_measure", "client",
    "python", "versions", "argv", "notes", "workers_seen", "log",
)  # fmt: skip

COLUMNS = (
    *KEYS,
    *("offered_per_s", "unsent", "trials", "used", "verdict", "reasons", "requests", "errors"),
    *(f"{name}{end}" for name in FIGURES for end in ("", "_low", "_high")),
    *SAME,
)


def cells_frame(trials: pd.DataFrame) -> pd.DataFrame:
    """One row per cell, in the order the cells first appear.

    For each of FIGURES, `NAME` is the median of the trials that the cell's verdict rests on,
    `NAME_low` and `NAME_high` their least and greatest (missing with a single trial).
    `verdict` is the best that its trials reached, `used` how many reached it, and `reasons`
    says why the others did not. `requests` and `errors` are sums over the used trials.
    """
    rows = [
        _row(dict(zip(KEYS, key, strict=True)), group)
        for key, group in trials.groupby(list(KEYS), sort=False, dropna=False)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A frame's rows as dictionaries, every missing value as None."""
    return [
        {str(name): _known(value) for name, value in row.items()}
        for row in frame.to_dict("records")
    ]


def _row(key: dict[str, Any], group: pd.DataFrame) -> dict[str, Any]:
    verdict = max(group["verdict"], key=SEVERITY.index)
    used = group[group["verdict"] == verdict]
    if verdict in RANKED:  # one server-limited trial says what the cell is limited by
        used = group[group["verdict"].isin(RANKED)]
        verdict = min(used["verdict"], key=SEVERITY.index)
    row: dict[str, Any] = {
        **key,
        "threads": None if pd.isna(key["threads"]) else int(key["threads"]),
        "offered_per_s": _known(used.iloc[0]["offered_per_s"]),
        "unsent": _total(used["unsent"]),
        "trials": len(group),
        "used": len(used),
        "verdict": verdict,
        "reasons": _reasons(group),
        "requests": _total(used["requests"]),
        "errors": _total(used["errors"]),
    }
    for name in FIGURES:
        values = pd.to_numeric(used[name]).dropna()
        several = len(values) > 1
        row[name] = float(values.median()) if len(values) else None
        row[f"{name}_low"] = float(values.min()) if several else None
        row[f"{name}_high"] = float(values.max()) if several else None
    first = used.iloc[0]
    return row | {name: _known(first[name]) for name in SAME}


def _reasons(group: pd.DataFrame) -> list[str]:
    """Each reason once; with several trials, of how many it is true."""
    if len(group) == 1:
        return list(group.iloc[0]["reasons"])
    by_rule: Counter[str] = Counter(text for reasons in group["reasons"] for text in reasons)
    return [f"{count} of {len(group)} trials: {text}" for text, count in by_rule.items()]


def _total(counts: pd.Series) -> int | None:
    """The sum over the trials; None where none counted."""
    known = pd.to_numeric(counts).dropna()
    return int(known.sum()) if len(known) else None


def _known(value: Any) -> Any:
    """A missing value as None, whatever pandas made of it."""
    return None if pd.api.types.is_scalar(value) and pd.isna(value) else value
