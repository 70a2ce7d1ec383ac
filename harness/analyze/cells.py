"""One row per cell: its trials put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from harness.analyze.findings import Finding
from harness.analyze.noise import NOISE, disturbances
from harness.analyze.verdict import FAILED, RANKED, SEVERITY

KEYS = (
    "server", "app", "scenario", "workers", "threads", "model", "users", "rate_per_s", "arrivals",
)  # fmt: skip
FIGURES = (
    "throughput_per_s", "p50_s", "p90_s", "p99_s", "max_s",
    "server_cpu_s_per_1k", "server_pss_bytes", "proxy_cpu_s_per_1k", "proxy_pss_bytes",
    "generator_cpu_share", "sampler_cpu_share",
    "startup_s", "steady_at_s", "server_idle_pss_bytes", "generator_bytes_per_user",
)  # fmt: skip
SAME = (
    "twin_of", "front", "slots", "speaks", "concurrency", "wait_s", "pause_s", "latency_measure",
    "client", "python", "versions", "argv", "notes", "workers_seen", "log",
)  # fmt: skip

COLUMNS = (
    *KEYS,
    *("offered_per_s", "unsent", "trials", "used", "verdict", "reasons", "findings"),
    *("requests", "errors"),
    *("noise", "disturbances"),
    *(f"{name}{end}" for name in FIGURES for end in ("", "_low", "_high")),
    *SAME,
)


def cells_frame(trials: pd.DataFrame) -> pd.DataFrame:
    """One row per cell, in the order the cells first appear.

    For each of FIGURES, `NAME` is the median of the trials that the cell's verdict rests on,
    `NAME_low` and `NAME_high` their least and greatest (missing with a single trial).
    `verdict` is the best that its trials reached, `used` how many reached it, and `reasons`
    says what was found on them all, of which `findings` tells the rules and figures. `requests`
    and `errors` are sums over the used trials. `noise` is the median of what else the machine
    did during the used trials, `disturbances` what was worst in all of them, in words.
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
    found = _findings(group)
    row: dict[str, Any] = {
        **key,
        "threads": None if pd.isna(key["threads"]) else int(key["threads"]),
        "offered_per_s": _known(used.iloc[0]["offered_per_s"]),
        "unsent": _total(used["unsent"]),
        "trials": len(group),
        "used": len(used),
        "verdict": verdict,
        "reasons": [_reason(it, len(group)) for it in found],
        "findings": found,
        "noise": _noise(used, pd.Series.median),
        "disturbances": disturbances(_noise(group, pd.Series.max)),
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


def _findings(group: pd.DataFrame) -> list[dict[str, Any]]:
    """What was found on the trials, each kind of finding once, as it is on the first of them.

    `trials` is how many have it, `alike` whether it reads the same on all of these.
    """
    kinds: dict[tuple[Any, ...], list[Finding]] = {}
    for finding in (each for found in group["findings"] for each in found):
        # trials fail for reasons of their own, and requests by kinds, which are figures
        why = finding.text if finding.verdict == FAILED else ""
        kinds.setdefault((finding.name, why, *sorted(finding.figures)), []).append(finding)
    return [
        {
            **{name: getattr(found[0], name) for name in ("name", "verdict", "rule", "text")},
            "figures": dict(found[0].figures),
            "advice": found[0].advice,
            "trials": len(found),
            "alike": len({each.text for each in found}) == 1,
        }
        for found in kinds.values()
    ]


def _reason(found: dict[str, Any], trials: int) -> str:
    """A finding in words; with several trials, of how many it is true."""
    if trials == 1:
        return str(found["text"])
    such = "" if found["alike"] else ", such as"
    return f"{found['trials']} of {trials} trials{such}: {found['text']}"


def _noise(group: pd.DataFrame, of: Callable[[pd.Series[float]], float]) -> dict[str, float | None]:
    """The median, or the greatest, of each figure over the trials that know it."""
    told = [noise for noise in group["noise"] if isinstance(noise, dict)]
    known = {name: [it[name] for it in told if it[name] is not None] for name in NOISE}
    return {
        name: float(of(pd.Series(values))) if values else None for name, values in known.items()
    }


def _total(counts: pd.Series) -> int | None:
    """The sum over the trials; None where none counted."""
    known = pd.to_numeric(counts).dropna()
    return int(known.sum()) if len(known) else None


def _known(value: Any) -> Any:
    """A missing value as None, whatever pandas made of it."""
    return None if pd.api.types.is_scalar(value) and pd.isna(value) else value
