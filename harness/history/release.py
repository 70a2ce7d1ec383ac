"""What each release of a server changed: several versions of it, measured beside each other.

`gatebench run waitress@3.0.2 uvicorn@0.50,0.51,0.52 --blocks 8` is a history that takes minutes:
one machine, one hour, dependencies as alike as the releases allow. Each release is compared with
the one before it, block by block, and ratios to the reference server are as in `series`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from harness.analyze.decision import BETTER, WORSE, Judgement, Metric, judge
from harness.analyze.pairs import Numbers
from harness.history.record import CellRecord, Record
from harness.history.series import (
    KEPT,
    LOAD,
    Key,
    Point,
    beside,
    figure,
    measured,
    ratio,
    references,
)
from harness.history.subject import PackageChange, Subject

LABEL = re.compile(r"(?P<name>[^@]+)@(?P<version>[^\s+#]+)(?P<rest>.*)")


@dataclass(frozen=True, slots=True)
class Step:
    """One figure of a release, over that of an `older` one in the same blocks.

    `ratio` is newer/older, the geometric mean over `pairs` blocks, with Student's interval at
    `confidence`; None without a pair. `verdict` is of the newer: better, worse, equivalent or
    inconclusive, as `decision.judge` has it, where all steps of a run's scenario and load are one
    family. `packages` are the other distributions that were not the same: a release may ask for
    an older one. `gap` says why there is no pair.
    """

    older: str
    newer: str
    ratio: float | None
    low: float | None
    high: float | None
    pairs: int
    p_holm: float | None
    confidence: float
    verdict: str
    packages: tuple[PackageChange, ...]
    gap: str

    @property
    def tells(self) -> bool:
        """Whether the newer is better or worse."""
        return self.verdict in (BETTER, WORSE)


@dataclass(frozen=True, slots=True)
class Release:
    """One figure of a version: as measured, over the reference's, and over the release before's.

    `ratio` is None for the reference itself and where there is none, `step` for the oldest one.
    """

    version: str
    figure: Point
    ratio: Point | None
    step: Step | None


@dataclass(frozen=True, slots=True)
class Lineage:
    """The versions of a server that a run measured, oldest first, by one figure under one load.

    `key.server` is the name without a version; `whole` compares the newest with the oldest.
    """

    run: Record
    key: Key
    metric: Metric
    releases: tuple[Release, ...]
    whole: Step


def lineages(record: Record, reference: str | None = None) -> list[Lineage]:
    """Every server of a run of which two versions or more were measured, figure by figure.

    `reference` as in `series.lines`. None where the run did not end as planned.
    """
    if not record.complete:
        return []
    chosen = references(record) if reference is None else {}
    families: dict[object, list[list[CellRecord]]] = {}
    for cells in _versions(record):
        families.setdefault(LOAD(cells[0]), []).append(cells)
    return [
        lineage
        for load, several in families.items()
        for lineage in _family(record, several, chosen.get(load, reference or ""))
    ]


def newest(records: Sequence[Record], reference: str | None = None) -> list[Lineage]:
    """The lineages of several runs, oldest first: of those alike but for what they were measured
    beside, the last run's.
    """
    found = {
        replace(it.key, reference=""): it
        for record in records
        for it in lineages(record, reference)
    }
    return list(found.values())


def placebos(record: Record) -> list[dict[str, Step]]:
    """Each server that the run entered a second time, over its first entry, by metric.

    Whatever is told apart here is the machine's or gatebench's making. All of them under one
    scenario and load are one family, apart from that of the releases.
    """
    families: dict[object, list[tuple[CellRecord, CellRecord]]] = {}
    for again in record.cells if record.complete else ():
        alike = (LOAD(again), again.app, again.workers, again.threads)
        for first in record.cells:
            if first.server == again.twin_of and alike == (
                LOAD(first), first.app, first.workers, first.threads
            ):  # fmt: skip
                families.setdefault(LOAD(first), []).append((first, again))
    found = []
    for pairs in families.values():
        judged = _judged(record, pairs)
        for number, pair in enumerate(pairs):
            steps = (_step(judged, (number, at), *pair) for at in range(len(KEPT)))
            found.append({it.name: step for it, step in zip(KEPT, steps, strict=True)})
    return found


def version_of(label: str) -> tuple[str, str] | None:
    """A server's name and its version, `uvicorn@0.50` being `uvicorn` and `0.50`; None without."""
    it = LABEL.fullmatch(label)
    return (it["name"] + it["rest"], it["version"]) if it else None


def _versions(record: Record) -> Iterator[list[CellRecord]]:
    """The cells that differ in nothing but the version, oldest version first."""
    groups: dict[object, list[tuple[Version, CellRecord]]] = {}
    for cell in measured(record):
        name, version = version_of(cell.server) or ("", "")
        try:
            entry = (Version(version), cell)
        except InvalidVersion:
            continue
        whole = (LOAD(cell), name, cell.app, cell.workers, cell.threads)
        groups.setdefault(whole, []).append(entry)
    for group in groups.values():
        if len(group) > 1:
            yield [cell for _, cell in sorted(group, key=lambda it: it[0])]


def _family(record: Record, several: list[list[CellRecord]], reference: str) -> Iterator[Lineage]:
    """All servers of a load, judged together: each release beside the last, and newest to oldest.

    With two versions the whole is the one step there is, and is judged once.
    """
    pairs = [
        pair
        for cells in several
        for pair in [*pairwise(cells), *([(cells[0], cells[-1])] if len(cells) > 2 else [])]
    ]
    judged = _judged(record, pairs)
    numbers = {_who(*pair): number for number, pair in enumerate(pairs)}
    for cells in several:
        name, _ = version_of(cells[0].server) or ("", "")
        for at, metric in enumerate(KEPT):

            def step(older: CellRecord, newer: CellRecord, at: int = at) -> Step:
                return _step(judged, (numbers[_who(older, newer)], at), older, newer)

            server = replace(cells[0], server=name)
            yield Lineage(
                run=record,
                key=Key.of(record.machine_class.id, server, metric, reference),
                metric=metric,
                releases=tuple(_releases(record, cells, metric, reference, step)),
                whole=step(cells[0], cells[-1]),
            )


def _judged(record: Record, pairs: Sequence[tuple[CellRecord, CellRecord]]) -> Judgement:
    """One family of comparisons, pairs x KEPT."""
    blocks = sorted({block for pair in pairs for cell in pair for block in cell.blocks})
    return judge([_differences(*pair, blocks) for pair in pairs], KEPT, record.looks)


def _releases(
    record: Record,
    cells: Sequence[CellRecord],
    metric: Metric,
    reference: str,
    step: Callable[[CellRecord, CellRecord], Step],
) -> Iterator[Release]:
    for older, cell in zip([None, *cells], cells, strict=False):
        other = beside(record, cell, reference)
        yield Release(
            version=_version(cell),
            figure=figure(record, cell, metric),
            ratio=ratio(record, cell, other, metric) if other else None,
            step=step(older, cell) if older else None,
        )


def _step(judged: Judgement, at: tuple[int, int], older: CellRecord, newer: CellRecord) -> Step:
    pairs = int(judged.paired.pairs[at])
    middle, low, high = (
        float(np.exp(it[at])) if np.isfinite(it[at]) else None
        for it in (judged.paired.mean, judged.low, judged.high)
    )
    lacking = next((it for it in (newer, older) if not any(_counts(it))), None)
    why = "; ".join([lacking.verdict, *lacking.reasons[:1]]) if lacking else "in no block both"
    p_holm = judged.p_holm[at]
    versions = _version(older), _version(newer)
    own = Subject.of(older).packages(Subject.of(newer))
    return Step(
        older=versions[0],
        newer=versions[1],
        ratio=middle if pairs else None,
        low=low,
        high=high,
        pairs=pairs,
        p_holm=float(p_holm) if np.isfinite(p_holm) else None,
        confidence=judged.confidence,
        verdict=str(judged.verdict[at]),
        packages=tuple(
            it for it in own if not (_is(it.old, versions[0]) and _is(it.new, versions[1]))
        ),
        gap="" if pairs else f"{lacking.server}: {why}" if lacking else why,
    )


def _is(installed: str, asked: str) -> bool:
    """Whether a version is the one asked for, of which `0.50` is any patch."""
    try:
        return Version(installed) in SpecifierSet(f"=={asked}.*", prereleases=True)
    except (InvalidVersion, InvalidSpecifier):
        return installed == asked


def _differences(older: CellRecord, newer: CellRecord, blocks: Sequence[int]) -> Numbers:
    """Metrics x blocks, NaN where a block has not both."""
    return np.stack(
        [it.differences(*(_row(cell, it, blocks) for cell in (older, newer))) for it in KEPT]
    )


def _row(cell: CellRecord, metric: Metric, blocks: Sequence[int]) -> Numbers:
    known = dict(zip(cell.blocks, cell.figures.get(metric.name, ()), strict=False))
    values = [known.get(block) for block in blocks]
    return np.array([np.nan if it is None else it for it in values], dtype=float)


def _counts(cell: CellRecord) -> Iterator[bool]:
    """Whether each of its blocks has a value at all."""
    return (it is not None for it in cell.figures.get("throughput", ()))


def _version(cell: CellRecord) -> str:
    _, version = version_of(cell.server) or ("", "")
    return version


def _who(older: CellRecord, newer: CellRecord) -> tuple[object, ...]:
    return (older.server, newer.server, older.app, older.workers, older.threads)
