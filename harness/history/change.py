"""What became of a series: its changes, what each of them is, and the state it is in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from itertools import pairwise

import numpy as np

from harness.analyze.decision import Metric
from harness.history.archive import Decision
from harness.history.segmentation import (
    FEWEST,
    FLOOR,
    LEAST,
    level,
    segment,
    spread,
)
from harness.history.series import Key, Line, Point
from harness.history.subject import PackageChange, conditions_changed

BEFORE, AFTER = 5, 3  # points about a run, of which a move is told
FIRST = 5  # points after a change, of which its size is told: most are before any next change
TOGETHER = 3  # servers at the least that a host event moves
SUSPICIOUS = 3.5  # standard deviations
NEAR = 2  # points that a young change may be moved by
CONFIRMED = 3  # runs after something was called fixed, in which that must show
DIGITS = 8  # of a change's id


class State(StrEnum):
    """What a series is in, and what a change is. The first two say that nothing happened."""

    OK = "ok"
    COLLECTING = "collecting"
    SUSPECT = "suspect"
    REGRESSION = "regression"
    IMPROVEMENT = "improvement"
    ENVIRONMENT = "environment change"
    HOST = "host event"


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of one level, from the valued point `begin` to before `end`.

    `value` is its median, in the series' unit. It is `finished` once the change that ends it is
    settled: then nothing about it changes any more.
    """

    begin: int
    end: int
    value: float
    finished: bool


@dataclass(frozen=True, slots=True)
class Change:
    """A step between two segments: it begins with the valued point `index`, of the run `run`.

    `before` and `after` are the levels, `ratio` the second by the first; `after` is that of the
    first FIRST points. `kind` is a regression or an improvement if the subject is not the same
    before and after, which `packages` and `causes` tell; a host event if `moved` of the `servers`
    measured in that run moved with it; else an environment change, for which `causes` names the
    conditions and what became of the reference. While it is not `settled`, more runs may move or
    remove it. It `stands` while it is a regression that nobody has decided about, and the level
    is not back; of one called fixed, it stands again if later runs are not.
    """

    id: str
    series: str
    index: int
    run: str
    run_id: str
    at: str
    before: float
    after: float
    ratio: float
    worse: bool
    kind: State
    settled: bool
    stands: bool
    packages: tuple[PackageChange, ...]
    causes: tuple[str, ...]
    moved: int
    servers: int
    decision: Decision | None

    @property
    def text(self) -> str:
        """What happened in one line, for people, without the series' name."""
        why = ", ".join([*map(str, self.packages), *self.causes]) or "nothing that is recorded"
        parts = [f"{abs(self.ratio - 1):.1%} {_way(self.ratio)} since {self.run}"]
        if self.kind == State.HOST:
            parts.append(f"{self.moved} of {self.servers} servers moved together")
        parts.append(f"changed: {why}")
        if not self.settled:
            parts.append("provisional")
        if self.decision:
            parts.append(f"{self.decision.choice}: {self.decision.why}")
        return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class Series:
    """A line of points with what was found in it.

    `segments` and `changes` count by `valued` points; below FEWEST of these there is one segment
    and no change. `gates` is whether its regressions fail a check: the worst percentiles are
    shown, and do not. `note` says in one line why it is in its state.
    """

    key: Key
    metric: Metric
    points: tuple[Point, ...]
    segments: tuple[Segment, ...]
    changes: tuple[Change, ...]
    state: State
    note: str

    @property
    def valued(self) -> tuple[Point, ...]:
        """The points that have a value."""
        return tuple(point for point in self.points if point.value is not None)

    @property
    def gates(self) -> bool:
        """Whether a regression of it fails a check."""
        return self.metric.gates


def judge(lines: Sequence[Line], decisions: Iterable[Decision] = ()) -> list[Series]:
    """Each line with its segments, changes and state, in the same order.

    All lines of a machine class belong together: what moves most of them is the host's.
    """
    known = list(decisions)
    drawn = [_Drawn(line) for line in lines]
    crowds: dict[tuple[str, bool], list[_Drawn]] = {}
    for each in drawn:
        crowds.setdefault(each.crowd, []).append(each)
    return [
        _Judged(each, _Crowd(crowds[each.crowd]), _of(known, each.line.key.id)).series()
        for each in drawn
    ]


class _Drawn:
    """A line with its logarithms and where they change."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.points = line.valued
        self.x = line.logarithms
        self.found = segment(self.x)
        self.at = {point.run_id: number for number, point in enumerate(self.points)}

    @property
    def crowd(self) -> tuple[str, bool]:
        """Series that one event of the host moves alike: ratios apart from figures."""
        return self.line.key.metric, bool(self.line.key.reference)

    def runs(self, index: int) -> list[str]:
        """The runs that tell of a move there; more runs that follow do not change it."""
        return [point.run_id for point in self.points[index : index + AFTER]]

    def move(self, runs: Sequence[str]) -> float | None:
        """How far it moved in these runs from those before; None if it cannot be told."""
        at = self.at.get(runs[0])
        if not at:  # not measured, or nothing before
            return None
        after = [self.x[self.at[run]] for run in runs if run in self.at]
        return level(np.array(after)) - level(self.x[max(0, at - BEFORE) : at])

    def sides(self, index: int) -> tuple[Point, Point]:
        """A point before and one after a change, far enough off if it is misplaced by one."""
        last = len(self.points) - 1
        return self.points[max(0, index - 2)], self.points[min(last, index + 1)]

    def packages(self, index: int) -> tuple[PackageChange, ...]:
        """What was installed anew there."""
        before, after = self.sides(index)
        return before.subject.packages(after.subject)


class _Crowd:
    """All lines of one metric, of which a host event moves half or more."""

    def __init__(self, drawn: Sequence[_Drawn]) -> None:
        self.drawn = drawn

    def together(self, runs: Sequence[str], sign: float) -> tuple[int, int, bool]:
        """Servers that moved by the floor and to this side, servers measured, and whether the
        host did it: half of the series or more moved, TOGETHER servers or more, and no package
        that all of them had installed anew explains it.
        """
        told = [(each, each.move(runs)) for each in self.drawn]
        there = [each for each, move in told if move is not None]
        moved = [each for each, move in told if move is not None and sign * move >= FLOOR]
        servers = [len({each.line.key.server for each in part}) for part in (moved, there)]
        many = 2 * len(moved) >= len(there) and servers[0] >= TOGETHER
        return servers[0], servers[1], many and not _shared(moved, runs[0])


def _shared(moved: Sequence[_Drawn], run: str) -> set[PackageChange]:
    return set.intersection(*(set(each.packages(each.at[run])) for each in moved))


@dataclass(frozen=True)
class _Judged:
    """One line among its crowd, and what was decided about it."""

    drawn: _Drawn
    crowd: _Crowd
    decisions: Sequence[Decision]

    @cached_property
    def edges(self) -> list[int]:
        return [0, *self.drawn.found.changes, len(self.drawn.x)]

    @cached_property
    def changes(self) -> tuple[Change, ...]:
        decided = self._decided()
        return tuple(
            self._change(number, decided.get(at))
            for number, at in enumerate(self.drawn.found.changes)
        )

    def series(self) -> Series:
        line = self.drawn.line
        state, note = self._state()
        finished = len(self.drawn.found.settled)
        segments = tuple(
            Segment(begin, end, float(np.exp(level(self.drawn.x[begin:end]))), number < finished)
            for number, (begin, end) in enumerate(pairwise(self.edges))
            if end > begin
        )
        return Series(line.key, line.metric, line.points, segments, self.changes, state, note)

    def _change(self, number: int, decision: Decision | None) -> Change:
        begin, at = self.edges[number : number + 2]
        x, point = self.drawn.x, self.drawn.points[at]
        before, after = level(x[begin:at]), level(x[at : at + FIRST])
        sign = float(np.sign(after - before))
        moved, servers, host = self.crowd.together(self.drawn.runs(at), sign)
        worse = self._worse(sign)
        packages, causes, own = self._explained(at)
        if host:
            kind = State.HOST
        elif not own:
            kind = State.ENVIRONMENT
        else:
            kind = State.REGRESSION if worse else State.IMPROVEMENT
        back = sign * (level(x[self.edges[-2] :]) - before) < FLOOR
        return Change(
            id=_id(self.drawn.line.key.id, point.run_id), series=self.drawn.line.key.id,
            index=at, run=point.run, run_id=point.run_id, at=point.at,
            before=float(np.exp(before)), after=float(np.exp(after)),
            ratio=float(np.exp(after - before)), worse=worse, kind=kind,
            settled=number < len(self.drawn.found.settled),
            stands=kind == State.REGRESSION and not back and not self._rests(decision),
            packages=packages, causes=causes, moved=moved, servers=servers, decision=decision,
        )  # fmt: skip

    def _explained(self, at: int) -> tuple[tuple[PackageChange, ...], tuple[str, ...], bool]:
        """Packages and other causes of a change, and whether the subject itself is another."""
        before, after = self.drawn.sides(at)
        packages = before.subject.packages(after.subject)
        sources = before.subject.sources(after.subject)
        others: list[str] = []
        if before.beside and after.beside:
            renewed = before.beside.packages(after.beside)
            differing = [*map(str, renewed), *before.beside.sources(after.beside)]
            others = [f"the reference: {it}" for it in differing]
        conditions = conditions_changed(before.conditions, after.conditions)
        return packages, (*sources, *others, *conditions), bool(packages or sources)

    def _rests(self, decision: Decision | None) -> bool:
        """Whether it was decided about, and what was called fixed has still time to show it."""
        if decision is None:
            return False
        later = [point for point in self.drawn.points if _later(point, decision)]
        return decision.choice != "fixed" or len(later) < CONFIRMED

    def _state(self) -> tuple[State, str]:
        x = self.drawn.x
        if len(x) < FEWEST:
            return State.COLLECTING, f"{len(x)} of {FEWEST} runs"
        standing = [change for change in self.changes if change.stands]
        if standing:
            return State.REGRESSION, standing[-1].text
        if (last := self._last()) is not None:
            return last
        newest = self.changes[-1] if self.changes else None
        if newest and len(x) - newest.index < FEWEST and not newest.decision:
            if newest.kind != State.REGRESSION:
                return newest.kind, newest.text
            return State.OK, f"back again: {newest.text}"
        return State.OK, ""

    def _last(self) -> tuple[State, str] | None:
        """What the newest run alone says, which is never more than a suspicion."""
        begin = self.edges[-2]
        usual, newest = self.drawn.x[begin:-1], float(self.drawn.x[-1])
        point = self.drawn.points[-1]
        if len(usual) < LEAST or point is not self.drawn.line.points[-1]:
            return None
        step = newest - level(usual)
        if not self._worse(step) or abs(step) < max(FLOOR, SUSPICIOUS * spread(usual)):
            return None
        moved, servers, host = self.crowd.together([point.run_id], float(np.sign(step)))
        size = f"{abs(np.expm1(step)):.1%} {_way(float(np.exp(step)))}"
        if host:
            return State.HOST, f"{moved} of {servers} servers moved with it in {point.run}: {size}"
        return State.SUSPECT, f"{point.run} is {size} than before; measure again to confirm it"

    def _worse(self, step: float) -> bool:
        return bool(step < 0) if self.drawn.line.metric.more_is_better else bool(step > 0)

    def _decided(self) -> Mapping[int, Decision]:
        """The last decision about each change; they were made of changes at or close to these."""
        found: dict[int, Decision] = {}
        for decision in self.decisions:
            at = self.drawn.at.get(decision.run)
            if at is None:
                continue
            places = [it for it in self.drawn.found.changes if abs(it - at) <= NEAR]
            if places:
                found[min(places, key=lambda it: abs(it - at))] = decision
        return found


def _of(decisions: Iterable[Decision], series: str) -> list[Decision]:
    return [decision for decision in decisions if decision.series == series]


def _later(point: Point, decision: Decision) -> bool:
    return datetime.fromisoformat(point.at) > datetime.fromisoformat(decision.when)


def _id(series: str, run: str) -> str:
    return hashlib.sha256(f"{series} {run}".encode()).hexdigest()[:DIGITS]


def _way(ratio: float) -> str:
    return "less" if ratio < 1 else "more"
