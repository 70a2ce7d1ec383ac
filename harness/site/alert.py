"""The changes of a class of machines as a list: what nobody has decided about comes first."""

from __future__ import annotations

from dataclasses import dataclass

from harness.history import Change, State
from harness.site.board import Board, Entry, Topic
from harness.site.shift import interval

DECIDED = {"acknowledge": "acknowledged", "ignore": "ignored", "fixed": "called fixed"}


@dataclass(frozen=True)
class Alert:
    """A change, where it belongs, and the interval of its ratio."""

    topic: Topic
    entry: Entry
    change: Change
    interval: tuple[float, float] | None

    @property
    def open(self) -> bool:
        """Whether it waits for somebody to decide about it."""
        return self.change.stands and self.entry.series.gates

    @property
    def triage(self) -> str:
        """What was decided about it, or whether that is needed, in words."""
        if (decision := self.change.decision) is not None:
            again = " and stands again" if self.change.stands else ""
            return f"{DECIDED[decision.choice]}{again}: {decision.why}"
        if self.open:
            return "open"
        if self.change.kind == State.REGRESSION:
            return "shown alone" if not self.entry.series.gates else "back since"
        return "nothing to decide"


def alerts(board: Board) -> list[Alert]:
    """The changes of all series: open ones, then others without a decision, then the rest; the
    newest of each first.
    """
    found = [
        Alert(topic, entry, change, interval(entry.series, number))
        for topic, entry in board.entries
        for number, change in enumerate(entry.series.changes)
    ]
    newest = sorted(found, key=lambda it: (it.change.at, it.entry.id), reverse=True)
    return sorted(newest, key=lambda it: (not it.open, it.change.decision is not None))
