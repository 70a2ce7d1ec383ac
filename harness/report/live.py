"""What a terminal shows of a run while it goes: a few lines, drawn anew from where the run stands.

The figures are of the last second or so. They are to be looked at, and are no results.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.text import Text

from harness.model import Cell, Placement, Progress, visible
from harness.report import units

SPAN_S = 1.0  # over which rates and shares are taken
LABEL = 6
WIDEST = 78  # a window that is made narrower than a line wraps what stands there already
BAR = 20
DONE, LEFT = "━", "─"


class Seen(NamedTuple):
    """What was told of a drive at one instant; `usage` is of the sampler's latest tick."""

    progress: Progress
    usage: Mapping[str, float]


@dataclass
class Standing:
    """Where a run stands. Instants are seconds of one monotonic clock.

    It is drawn by a thread of its own: what it holds is replaced, and never changed in its place.
    `of` is None where nobody knows how many trials there will be, and `left_s` how long they
    take. `spent_s` and `left_s` are as known at `known_s`, without the making of environments.
    """

    placement: Placement
    blocks: int
    left_s: float | None
    known_s: float
    spent_s: float = 0.0
    head: str = ""
    number: int = 0
    of: int | None = None
    cell: Cell | None = None
    phase: str = ""
    phase_since_s: float = 0.0
    page: str = ""
    seen: tuple[Seen, ...] = ()

    def begin(self, number: int, of: int | None, cell: Cell) -> None:
        """A trial begins."""
        self.number, self.of, self.cell = number, of, cell
        self.head = visible(cell.name)
        self.seen = ()

    def enter(self, phase: str, now_s: float) -> None:
        """A phase begins. What it took to install was not part of the estimate."""
        if self.phase == "environment":
            self.known_s += now_s - self.phase_since_s
        self.phase, self.phase_since_s = phase, now_s

    def look(self, progress: Progress, usage: Mapping[str, float]) -> None:
        """Take in how a drive goes; a progress that is known already tells nothing."""
        if self.seen and progress.at_ns <= self.seen[-1].progress.at_ns:
            return
        before = self.seen
        while len(before) > 1 and progress.at_ns - before[1].progress.at_ns >= SPAN_S * 1e9:
            before = before[1:]
        self.seen = (*before, Seen(progress, usage))

    def expect(self, left_s: float, now_s: float) -> None:
        """So many seconds are left from now on; of a search nobody knows."""
        if self.left_s is not None:
            self.spent_s += now_s - self.known_s
            self.left_s, self.known_s = left_s, now_s

    def since_s(self, now_s: float) -> float:
        """Seconds since the estimate was known; the clock stands while an environment is made."""
        return (self.phase_since_s if self.phase == "environment" else now_s) - self.known_s


def lines(standing: Standing, now_s: float, width: int) -> list[Text]:
    """The view, on lines that are no wider than `width` columns, and than WIDEST."""
    rows = [("run", _run(standing, now_s)), ("now", _now(standing, now_s))]
    if standing.cell is not None:
        rows += [("live", _load(standing, standing.cell)), ("uses", _use(standing, standing.cell))]
    if standing.page:
        rows += [("page", [Text(standing.page)])]
    width = min(width, WIDEST)
    return [line for label, parts in rows for line in _flow(label, parts, width)]


def _run(standing: Standing, now_s: float) -> list[Text]:
    """How far the run is."""
    parts = []
    since_s, left_s = standing.since_s(now_s), None
    if standing.left_s is not None:
        left_s = max(0.0, standing.left_s - since_s)
        parts.append(_bar(standing.spent_s + since_s, left_s))
    if standing.number:
        of = "" if standing.of is None else f" of {standing.of}"
        parts.append(Text(f"trial {standing.number}{of}"))
    if standing.number and standing.of and standing.blocks > 1:
        block = (standing.number - 1) * standing.blocks // standing.of + 1
        parts.append(Text(f"block {block} of {standing.blocks}"))
    if left_s is not None:
        parts.append(Text(f"{units.clock(left_s)} left"))
    return parts


def _bar(spent_s: float, left_s: float) -> Text:
    share = spent_s / (spent_s + left_s) if spent_s + left_s > 0 else 0.0
    filled = round(share * BAR)
    bar = Text(DONE * filled, "green").append(LEFT * (BAR - filled), "dim")
    return bar.append(f" {share:.0%}", "default")


def _now(standing: Standing, now_s: float) -> list[Text]:
    """What is being done, for how long, and of how much where that is known."""
    parts, seen = [Text(standing.head, "bold")], standing.seen
    if seen and standing.phase in ("warm up", "measure"):
        it = seen[-1].progress
        if standing.phase == "warm up":
            parts.append(Text(f"warm up, {max(0.0, (it.start_ns - it.at_ns) / 1e9):.0f} s left"))
        else:
            whole_s, gone_s = (it.end_ns - it.start_ns) / 1e9, (it.at_ns - it.start_ns) / 1e9
            parts.append(Text(f"measure, {min(gone_s, whole_s):.0f} of {whole_s:.0f} s"))
    elif standing.phase:
        parts.append(Text(f"{standing.phase}, {units.clock(now_s - standing.phase_since_s)}"))
    return parts


def _load(standing: Standing, cell: Cell) -> list[Text]:
    """What comes back: rate, times, errors."""
    seen = standing.seen
    it = seen[-1].progress if seen else None
    per_s = _per_second([(at.progress.at_ns / 1e9, at.progress.done) for at in seen])
    delay = "delay " if cell.scenario.latency == "delay" else ""
    failed = it.failed if it else 0
    return [
        Text(f"{units.rate(per_s)} req/s"),
        Text(f"{delay}p50 {units.seconds(it.p50_s if it else None)}"),
        Text(f"{delay}p99 {units.seconds(it.p99_s if it else None)}"),
        Text(f"{failed:,} error{'' if failed == 1 else 's'}", "red" if failed else ""),
    ]


def _use(standing: Standing, cell: Cell) -> list[Text]:
    """CPU and memory of each side."""
    server, generator = standing.placement.server, standing.placement.generator
    sides = [("server", server), *([("proxy", server)] if cell.front else [])]
    seen = standing.seen
    parts = []
    for side, cpus in (*sides, ("generator", generator)):
        name = f"{side}_cpu_s"
        told = [it.usage for it in seen if {"at_s", name} <= it.usage.keys()]
        busy = _per_second([(usage["at_s"], usage[name]) for usage in told])
        share = units.share(None if busy is None else busy / max(1, len(cpus)))
        text = f"{side} {share} of {len(cpus)} CPU{'' if len(cpus) == 1 else 's'}"
        if side != "generator":
            rss_bytes = seen[-1].usage.get(f"{side}_rss_bytes") if seen else None
            text += f", {units.size(rss_bytes)}"
        parts.append(Text(text))
    return parts


def _per_second(readings: Sequence[tuple[float, float]]) -> float | None:
    """How much a sum grows in a second, by its first and last reading; None if it does not tell."""
    if len(readings) < 2:
        return None
    (began_s, before), (ended_s, after) = readings[0], readings[-1]
    # the sum of a tree shrinks when one of its processes ends
    return (after - before) / (ended_s - began_s) if ended_s > began_s and after >= before else None


def _flow(label: str, parts: Iterable[Text], width: int) -> Iterator[Text]:
    """The parts one after the other, on as many lines as they take."""
    line, fresh = Text().append(f"{label:<{LABEL}}", "cyan"), True
    for part in parts:
        if not fresh and line.cell_len + 3 + part.cell_len > width:
            yield _cut(line, width)
            line, fresh = Text(" " * LABEL), True
        line = line.append("" if fresh else " · ").append_text(part)
        fresh = False
    yield _cut(line, width)


def _cut(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    return line
