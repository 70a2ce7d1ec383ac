"""One figure of one cell over many runs: the ratio to a server measured beside it, or the figure.

The machine's own drift moves both servers of a run alike, so the ratio is what is looked at; the
figure itself is for the reference, which has no other, and for cells measured alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from operator import attrgetter

import numpy as np

from harness.analyze.decision import METRICS, Metric
from harness.analyze.pairs import Paired
from harness.history.record import CellRecord, Record
from harness.history.segmentation import Numbers
from harness.history.subject import Subject, conditions

CONFIDENCE = 0.99  # of a ratio's interval
# errors are shares, mostly 0: they have no ratio, and are looked at in the runs themselves
KEPT = tuple(metric for metric in METRICS if not metric.share)
LOAD = attrgetter("scenario", "model", "users", "rate_per_s", "arrivals")


@dataclass(frozen=True, slots=True)
class Key:
    """What tells a series from the others.

    `machine` is the id of a machine class; `reference` the server that the values are ratios to,
    empty where they are the figures themselves.
    """

    machine: str
    server: str
    app: str
    scenario: str
    model: str
    users: int | None
    rate_per_s: float | None
    arrivals: str | None
    workers: int
    threads: int | None
    metric: str
    reference: str

    @classmethod
    def of(cls, machine: str, cell: CellRecord, metric: Metric, reference: str) -> Key:
        """The key of one figure of a cell."""
        own = ("machine", "metric", "reference")
        shared = {it.name: getattr(cell, it.name) for it in fields(cls) if it.name not in own}
        return cls(machine=machine, metric=metric.name, reference=reference, **shared)

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:12]

    @property
    def load(self) -> str:
        """The load in words."""
        if self.model == "closed":
            return f"{self.users} users"
        return f"{self.rate_per_s:g}/s {self.arrivals}, at most {self.users}"

    @property
    def text(self) -> str:
        """The key in one line, for people, without the machine."""
        threads = f", {self.threads} threads" if self.threads else ""
        workers = f"{self.workers} worker{'s' * (self.workers != 1)}{threads}"
        return f"{self.server} · {self.app} · {self.scenario} ({self.load}, {workers})"


@dataclass(frozen=True, slots=True)
class Point:
    """One run's value, with its interval; None, and the reason in `gap`, where there is none.

    A ratio is the geometric mean over the `blocks` in which both were measured, and its interval
    Student's at CONFIDENCE, missing below two blocks. A figure is the median of its blocks, with
    the least and the greatest. `at` is when the run began, ISO 8601 in UTC; `beside` is what the
    reference was, None of a figure.
    """

    run: str
    run_id: str
    at: str
    value: float | None
    low: float | None
    high: float | None
    blocks: int
    gap: str
    subject: Subject
    beside: Subject | None
    conditions: dict[str, str]


@dataclass(frozen=True, slots=True)
class Line:
    """A series as measured: a point for each run that its cell was part of, oldest first."""

    key: Key
    metric: Metric
    points: tuple[Point, ...]

    @property
    def valued(self) -> tuple[Point, ...]:
        """The points that have a value: what segmentation and changes count by."""
        return tuple(point for point in self.points if point.value is not None)

    @property
    def logarithms(self) -> Numbers:
        """Their values, as segmentation takes them."""
        return np.log([point.value or np.nan for point in self.valued])


def lines(records: Sequence[Record], machine: str, reference: str | None = None) -> list[Line]:
    """Every series of a machine class, in the order in which they first appear.

    A run in which the reference was measured under the same load adds to the ratios to it, any
    other run to the figures. Without `reference` each scenario and load has its own: of the first
    run in which two servers were measured under it the first that is pinned to a version, or the
    first. It rests on that run alone: later ones do not change what they are compared with. With
    an empty one there are figures only.
    """
    own = [record for record in records if record.machine_class.id == machine]
    found: dict[Key, list[Point]] = {}
    chosen: dict[object, str] = {}
    for record in own:
        if reference is None:
            chosen = references(record) | chosen
        for cell in measured(record):
            name = chosen.get(LOAD(cell), reference or "")
            other = beside(record, cell, name)
            for metric in KEPT:
                key = Key.of(machine, cell, metric, other.server if other else "")
                point = (
                    ratio(record, cell, other, metric) if other else figure(record, cell, metric)
                )
                found.setdefault(key, []).append(point)
    metrics = {metric.name: metric for metric in KEPT}
    return [Line(key, metrics[key.metric], tuple(points)) for key, points in found.items()]


def measured(record: Record) -> list[CellRecord]:
    """A server that was entered a second time is there to be compared with itself, once."""
    return [cell for cell in record.cells if cell.twin_of is None]


def references(record: Record) -> dict[object, str]:
    """A server for each load under which the run measured two or more."""
    loads: dict[object, list[str]] = {}
    for cell in measured(record):
        if any(value is not None for value in cell.figures.get("throughput", ())):
            loads.setdefault(LOAD(cell), []).append(cell.server)
    several = {load: names for load, names in loads.items() if len(set(names)) > 1}
    return {
        load: next((name for name in names if "@" in name), names[0])
        for load, names in several.items()
    }


def beside(record: Record, cell: CellRecord, reference: str) -> CellRecord | None:
    """The reference's cell of the run under the same load, with the budget most like this one's.

    None if there is none, and for the reference itself.
    """
    if cell.server == reference:
        return None
    rivals = [it for it in measured(record) if it.server == reference and LOAD(it) == LOAD(cell)]
    alike = attrgetter("workers", "threads", "app")
    return max(
        rivals,
        key=lambda it: [mine == its for mine, its in zip(alike(cell), alike(it), strict=True)],
        default=None,
    )


def figure(record: Record, cell: CellRecord, metric: Metric) -> Point:
    """A cell's figure as it was measured."""
    values = np.array(list(_by_block(cell, metric).values()))
    if not len(values):
        return _point(record, cell, None, why=_why(record, cell))
    ends = (float(values.min()), float(values.max())) if len(values) > 1 else (None, None)
    return _point(record, cell, None, (float(np.median(values)), *ends), len(values))


def ratio(record: Record, cell: CellRecord, other: CellRecord, metric: Metric) -> Point:
    """A cell's figure over another's, of the blocks in which both were measured."""
    its, mine = _by_block(other, metric), _by_block(cell, metric)
    shared = sorted(its.keys() & mine.keys())
    if not shared:
        lacking = f"{other.server} beside it: {_why(record, other)}" if mine else ""
        return _point(record, cell, other, why=lacking or _why(record, cell))
    paired = Paired.of(np.log([mine[it] / its[it] for it in shared]))
    low, high = (float(np.exp(end)) for end in paired.interval(CONFIDENCE))
    ends = (low, high) if len(shared) > 1 else (None, None)
    return _point(record, cell, other, (float(np.exp(paired.mean)), *ends), len(shared))


def _by_block(cell: CellRecord, metric: Metric) -> dict[int, float]:
    """The values that count; what is 0 has no logarithm and was below what could be told."""
    values = cell.figures.get(metric.name, ())
    return {block: it for block, it in zip(cell.blocks, values, strict=False) if it and it > 0}


def _why(record: Record, cell: CellRecord) -> str:
    """Why a cell has no value, or not in the blocks that the other has one in."""
    if not record.complete:
        return f"the run was {record.ended}"
    return "; ".join([cell.verdict, *cell.reasons[:1]])


def _point(
    record: Record,
    cell: CellRecord,
    other: CellRecord | None,
    value: tuple[float | None, float | None, float | None] = (None, None, None),
    blocks: int = 0,
    why: str = "",
) -> Point:
    return Point(
        record.run, record.id, record.created, *value, blocks, why,
        Subject.of(cell), Subject.of(other) if other else None, conditions(record, cell),
    )  # fmt: skip
