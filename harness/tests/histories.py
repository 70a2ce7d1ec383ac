"""Histories with known truths: series of logarithms from seeds, and records that hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.history import CellRecord, Record
from harness.tests.builders import MACHINE

Numbers = npt.NDArray[np.float64]
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
KINDS = ("normal", "lognormal", "t3", "outliers", "correlated")


def noise(kind: str, several: int, length: int, deviation: float = 0.02, seed: int = 1) -> Numbers:
    """`several` series of logarithms without a change, of this standard deviation.

    `outliers`: 5 % of the values have ten times the deviation. `correlated`: AR(1) of 0.5.
    """
    random = np.random.default_rng([seed, KINDS.index(kind), length])
    shape = (several, length)
    if kind == "lognormal":
        skewed = random.lognormal(0, 0.5, shape)
        return np.asarray(
            deviation * (skewed - np.exp(0.125)) / np.sqrt(np.exp(0.5) - np.exp(0.25))
        )
    if kind == "t3":
        return np.asarray(deviation * random.standard_t(3, shape) / np.sqrt(3))
    x = random.normal(0, deviation, shape)
    if kind == "outliers":
        return np.where(random.random(shape) < 0.05, 10 * x, x)
    if kind == "correlated":
        for at in range(1, length):
            x[:, at] = 0.5 * x[:, at - 1] + np.sqrt(0.75) * x[:, at]
    return x


def cell(server: str, blocks: Sequence[float | None], **facts: Any) -> CellRecord:
    """A cell that measured these requests per second; the other figures follow from them."""
    figures = {
        "throughput": tuple(blocks),
        "p50": tuple(None if it is None else 10 / it for it in blocks),
    }
    known = CellRecord(
        server=server, app="wsgi", scenario="hello", workers=2, threads=None, model="closed",
        users=10, rate_per_s=None, arrivals=None, twin_of=None, front=None, verdict="valid",
        reasons=(), versions={server: "1.0"}, python="3.11.0", app_digest="a", work_digest="w",
        command_digest="c", blocks=tuple(range(1, len(blocks) + 1)),
        verdicts=tuple("valid" if it else "failed" for it in blocks), figures=figures,
    )  # fmt: skip
    return replace(known, **facts)


def record(number: int, cells: Sequence[CellRecord], **facts: Any) -> Record:
    """The run of day `number`."""
    created = BEGIN + timedelta(days=number)
    known = Record(
        id=f"{number:012x}", run=created.strftime("%Y%m%dT%H%M%SZ"),
        created=created.isoformat(timespec="seconds"), ended="complete", gatebench="0.1.0",
        read_by="0.1.0", machine=MACHINE,
        placement={"server": [0], "generator": [1], "disjoint": True},
        timing={"warmup_s": 2.0, "duration_s": 5.0}, blocks=1, trials=len(cells),
        cells=tuple(cells),
    )  # fmt: skip
    return replace(known, **facts)


def records(
    throughput: Mapping[str, Numbers], versions: Mapping[str, Sequence[str]] | None = None
) -> list[Record]:
    """A run for each value: a cell for each server, with the version it had then."""
    had = versions or {}
    length = min(map(len, throughput.values()))
    return [
        record(
            number,
            [
                cell(
                    server,
                    [float(values[number])],
                    versions={server: had[server][number] if server in had else "1.0"},
                )
                for server, values in throughput.items()
            ],
        )
        for number in range(length)
    ]
