"""What the site's graphs are drawn from, as JSON in scripts: pages from a file can load no other.

    data/MACHINE.js          the runs of a class of machines
    data/MACHINE-TOPIC.js    the series that can be laid over each other

Points are short lists, because there are many: the names of their places stand in `POINT`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from harness.history import Point
from harness.history.series import Line
from harness.model import visible
from harness.report.figures.expressions import FORMATS
from harness.report.page.embed import json_of
from harness.site.board import AXES, Board, Entry, Topic
from harness.site.event import events
from harness.site.shift import interval

DIGITS = 7  # of a number: more than it is worth
# of a run its place among the machine's runs, of the receipt that among the topic's
POINT = ("run", "value", "low", "high", "blocks", "gap", "receipt")


def runs_script(board: Board) -> str:
    """The runs of a class of machines."""
    value = [
        {
            "name": visible(run.run), "at": run.created, "ended": run.ended,
            "gatebench": run.gatebench, "command": visible(run.command), "trials": run.trials,
        }
        for run in board.runs
    ]  # fmt: skip
    return _script(board.machine.id, value)


def topic_script(board: Board, topic: Topic) -> str:
    """One topic's series with their points, changes and events."""
    made = _Made(board)
    value = {
        "machine": board.machine.id,
        "scenario": visible(topic.scenario),
        "load": topic.load,
        "metric": topic.metric,
        "axis": AXES[topic.metric].title,
        "format": FORMATS[AXES[topic.metric].unit],
        "unit": AXES[topic.metric].unit,
        "series": [made.series(entry) for entry in topic.entries],
        "receipts": made.receipts,
    }
    return _script(topic.id, value)


class _Made:
    """The series of a topic; the same receipt is told once."""

    def __init__(self, board: Board) -> None:
        self.receipts: list[dict[str, Any]] = []
        self._places: dict[str, int] = {}
        self._runs = {run.id: at for at, run in enumerate(board.runs)}

    def series(self, entry: Entry) -> dict[str, Any]:
        """One series as judged, and as measured."""
        series, key = entry.series, entry.series.key
        at = {point.run_id: place for place, point in enumerate(series.points)}
        valued = [at[point.run_id] for point in series.valued]
        return {
            "id": entry.id,
            "name": visible(entry.name),
            "slug": entry.slug,
            "hue": entry.hue,
            "about": visible(key.text),
            "reference": visible(key.reference),
            "state": series.state,
            "note": visible(series.note),
            "gates": series.gates,
            "points": self._points(series.points),
            "segments": [
                [valued[it.begin], valued[it.end - 1], _short(it.value)] for it in series.segments
            ],
            "changes": [
                {
                    "id": it.id, "point": valued[it.index], "kind": it.kind, "worse": it.worse,
                    "ratio": _short(it.ratio), "before": _short(it.before),
                    "after": _short(it.after), "interval": _interval(entry, number),
                    "settled": it.settled, "stands": it.stands, "text": visible(it.text),
                }
                for number, it in enumerate(series.changes)
            ],
            "events": [[it.at, it.kind, visible(it.text)] for it in events(series.points)],
            "absolute": self._absolute(entry.absolute) if key.reference else None,
        }  # fmt: skip

    def _absolute(self, line: Line) -> dict[str, Any]:
        told = [[it.at, it.kind, visible(it.text)] for it in events(line.points)]
        return {"points": self._points(line.points), "events": told}

    def _points(self, points: Sequence[Point]) -> list[list[Any]]:
        return [
            [
                self._runs[it.run_id], _short(it.value), _short(it.low), _short(it.high),
                it.blocks, visible(it.gap), self._receipt(it),
            ]
            for it in points
        ]  # fmt: skip

    def _receipt(self, point: Point) -> int:
        known = {
            "versions": {visible(k): visible(v) for k, v in point.subject.versions.items()},
            "conditions": {k: visible(v) for k, v in point.conditions.items()},
        }
        place = self._places.setdefault(json.dumps(known), len(self.receipts))
        if place == len(self.receipts):
            self.receipts.append(known)
        return place


def _interval(entry: Entry, number: int) -> list[float | None] | None:
    found = interval(entry.series, number)
    return None if found is None else [_short(it) for it in found]


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{DIGITS}g}")


def _script(name: str, value: Any) -> str:
    """A call with the value; the page has put the function there."""
    return f"gatebench({json_of(name)}, {json_of(value)});\n"
