"""Where others used the CPUs of a run meanwhile: its figures are then those of a busy machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.report import units

CROWDED = 0.10  # of a side's CPUs
ABOUT = (
    f"others used more than {CROWDED:.0%} of the server's or the generator's CPUs meanwhile: on an "
    "idle machine the figures may be better, and in another order"
)

Row = Mapping[str, Any]


def crowded(row: Row) -> str:
    """What others used of the CPUs beside a cell, in a sentence; empty where that is little."""
    found = {side: share for side, share in _shares(row).items() if share > CROWDED}
    if not found:
        return ""
    each = " and ".join(
        f"{units.cpu_share(share)} of the {side}'s CPUs" for side, share in found.items()
    )
    return f"Others used at least {each} meanwhile."


def crowding(rows: Sequence[Row]) -> str:
    """The worst of it over the cells of a run, in a sentence; empty if no cell was crowded."""
    known = [shares for row in rows if (shares := _shares(row))]
    many = sum(max(shares.values()) > CROWDED for shares in known)
    if not many:
        return ""
    share, side = max((share, side) for shares in known for side, share in shares.items())
    of = "the only cell" if len(known) == 1 else f"{many} of {len(known)} cells"
    return (
        f"The machine was crowded: in {of} others used more than {CROWDED:.0%} of the server's or "
        f"the generator's CPUs, at worst at least {units.cpu_share(share)} of the {side}'s. On an "
        "idle machine the figures may be better, and in another order."
    )


def _shares(row: Row) -> dict[str, float]:
    """What others used of each side's CPUs, where it is known; the median of the trials used."""
    told = {side: row["noise"][f"{side}_others_share"] for side in ("server", "generator")}
    return {side: share for side, share in told.items() if share is not None}
