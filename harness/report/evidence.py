"""What stands behind a verdict: what to do about a finding, and what the machine did meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.analyze.noise import missing_noise
from harness.analyze.verdict import RANKED
from harness.report import units
from harness.store import StoredRun

WIDE = 0.10  # from the least to the greatest trial, of the median

Row = Mapping[str, Any]


def advice(rows: list[dict[str, Any]]) -> list[str]:
    """What to do about the findings on these cells, each finding once."""
    told = {
        found["name"]: found["advice"]
        for row in rows
        for found in row["findings"]
        if found["advice"]
    }
    return [f"about {name}: {text}" for name, text in told.items()]


def beside(row: Row) -> list[str]:
    """What else the machine did, at worst, where a cell's figures ask for an explanation; of one
    trial alone these cannot show that it was disturbed.
    """
    wide = _wide(row, "throughput_per_s") or _wide(row, "p50_s")
    if row["verdict"] in RANKED and row["trials"] > 1 and not wide:
        return []
    return [f"{row['server']}: meanwhile {what}" for what in row["disturbances"]]


def _wide(row: Row, name: str) -> bool:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return not units.missing(low) and high - low > WIDE * row[name]


def noise_lines(run: StoredRun, rows: list[dict[str, Any]]) -> list[str]:
    """What else the machine did during the run, and what it could not tell."""
    figures = [row["noise"] for row in rows]
    worst = {
        name: max((it[name] for it in figures if it[name] is not None), default=None)
        for name in (figures[0] if figures else ())
    }
    shares = [
        f"{who} {units.cpu_share(worst[f'server_{name}'])} of the server's CPUs and "
        f"{units.cpu_share(worst[f'generator_{name}'])} of the generator's"
        for name, who in (
            ("others_share", "others used at least"),
            ("steal_share", "the hypervisor took"),
        )
        if worst and worst[f"server_{name}"] is not None
    ]
    if worst and worst["late_p50_s"] is not None:
        shares.append(
            f"a sleeper was woken {units.seconds(worst['late_p50_s'])} late at the median, "
            f"one time in ten by {units.seconds(worst['late_p90_s'])} or more"
        )
    missing = missing_noise(run)
    return [
        *([f"noise, in the worst cell: {'; '.join(shares)}"] if shares else []),
        *(f"noise not known ({source}): {why}" for source, why in missing.items()),
    ]
