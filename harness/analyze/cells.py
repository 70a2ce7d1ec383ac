"""One row per cell: its trials put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.analyze.columns import CELL, FIGURES, SAME, frame, missing
from harness.analyze.finding import Finding
from harness.analyze.noise import NOISE, disturbances
from harness.analyze.verdict import FAILED, GENERATOR_LIMITED, RANKED, SEVERITY

KEYS = tuple(column.name for column in CELL)

Row = Mapping[str, Any]


def cells_frame(trials: pd.DataFrame) -> pd.DataFrame:
    """One row per run and cell, in the order they first appear.

    For each of FIGURES, `NAME` is the median of the trials that the cell's verdict rests on,
    `NAME_low` and `NAME_high` their least and greatest (missing with a single trial).
    `verdict` is the best that its trials reached, `used` how many reached it, and `reasons`
    says what was found on them all, of which `findings` tells the rules and figures. `requests`
    and `errors` are sums over the used trials. `noise` is the median of what else the machine
    did during the used trials, `disturbances` what was worst in all of them, in words.
    """
    return frame("cells", [_row(group) for group in grouped(records(trials)).values()])


def grouped(trials: Iterable[Row]) -> dict[tuple[Any, ...], list[Row]]:
    """The trials of each run and cell, in the order in which they and the cells appear."""
    cells: dict[tuple[Any, ...], list[Row]] = {}
    for trial in trials:
        cells.setdefault(tuple(trial[name] for name in ("run", *KEYS)), []).append(trial)
    return cells


def used_of(cell: Sequence[Row]) -> list[Row]:
    """The trials of a cell that its verdict rests on: those with the best that any reached.

    But where the generator held faster trials back, half as many as the ranked ones or more, the
    ranked are the slow ones of all, and their median is not the server's: the verdict then rests
    on those that were held back.
    """
    best = max((trial["verdict"] for trial in cell), key=SEVERITY.index)
    # one server-limited trial says what the cell is limited by
    good = RANKED if best in RANKED else (best,)
    used = [trial for trial in cell if trial["verdict"] in good]
    if best in RANKED and cell[0]["model"] == "closed":
        median = float(np.median([trial["throughput_per_s"] for trial in used]))
        faster = [
            trial
            for trial in cell
            if trial["verdict"] == GENERATOR_LIMITED and trial["throughput_per_s"] > median
        ]
        if 2 * len(faster) >= len(used):
            return faster
    return used


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A frame's rows as dictionaries, every missing value as None."""
    columns = [
        [None if missing(value) else value for value in frame.iloc[:, place].tolist()]
        for place in range(frame.shape[1])
    ]
    names = [str(name) for name in frame.columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _row(cell: Sequence[Row]) -> dict[str, Any]:
    used = used_of(cell)
    first, found = used[0], _findings(cell)
    row: dict[str, Any] = {
        **{name: first[name] for name in ("run", *KEYS, "offered_per_s", *SAME)},
        "unsent": _total(used, "unsent"),
        "trials": len(cell),
        "used": len(used),
        "verdict": min((trial["verdict"] for trial in used), key=SEVERITY.index),
        "reasons": [_reason(it, len(cell)) for it in found],
        "findings": found,
        "noise": _noise(used, np.median),
        "disturbances": disturbances(_noise(cell, np.max)),
        "requests": _total(used, "requests"),
        "errors": _total(used, "errors"),
        "p99_by_chance": any(known) if (known := _known(used, "p99_by_chance")) else None,
    }
    for name in FIGURES:
        values = _known(used, name)
        row[name] = float(np.median(values)) if values else None
        if len(values) > 1:
            row |= {f"{name}_low": min(values), f"{name}_high": max(values)}
    return row


def _findings(cell: Iterable[Row]) -> list[dict[str, Any]]:
    """What was found on the trials, each kind of finding once, as it is on the first of them.

    `trials` is how many have it, `alike` whether it reads the same on all of these.
    """
    kinds: dict[tuple[Any, ...], list[Finding]] = {}
    for finding in (each for trial in cell for each in trial["findings"]):
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


def _noise(trials: Iterable[Row], of: Callable[[list[float]], Any]) -> dict[str, float | None]:
    """The median, or the greatest, of each figure over the trials that know it."""
    told = [noise for trial in trials if isinstance(noise := trial["noise"], dict)]
    known = {name: [it[name] for it in told if it[name] is not None] for name in NOISE}
    return {name: float(of(values)) if values else None for name, values in known.items()}


def _known(trials: Iterable[Row], name: str) -> list[Any]:
    """A column's values, where there are any."""
    return [trial[name] for trial in trials if trial[name] is not None]


def _total(trials: Iterable[Row], name: str) -> int | None:
    """The sum over the trials; None where none counted."""
    counts = _known(trials, name)
    return int(sum(counts)) if counts else None
