"""A history as a whole: its runs, the series they make up, and what is decided about changes.

from harness.history import History

history = History.load("results/history")
for series in history.series(history.machines[0].id):
    print(series.key.text, series.metric.name, series.state, series.note)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from harness.history.archive import USUAL, Archive, Decision
from harness.history.change import Change, Series, judge
from harness.history.machine import MachineClass
from harness.history.record import Record, record_of
from harness.history.release import Lineage, newest
from harness.history.series import lines
from harness.model import ConfigurationError
from harness.results import Results

Found = TypeVar("Found")


@dataclass(frozen=True)
class History:
    """Runs, oldest first, and decisions. Series are made and judged when they are asked for."""

    records: tuple[Record, ...]
    decisions: tuple[Decision, ...]

    @classmethod
    def load(cls, folder: str | Path = USUAL) -> History:
        """What a folder holds, nothing if it is not there.

        UnreadableRunError in one clear line for a file that is damaged or of another schema.
        """
        archive = Archive(Path(folder))
        return cls(tuple(archive.records()), tuple(archive.decisions()))

    @classmethod
    def of(cls, several: Iterable[Results]) -> History:
        """Of stored runs, oldest first, without decisions.

        UnreadableRunError for one that is a search.
        """
        records = sorted(map(record_of, several), key=lambda it: it.created)
        return cls(tuple(records), ())

    @cached_property
    def machines(self) -> tuple[MachineClass, ...]:
        """The machine classes, that of the newest run first."""
        newest = reversed(self.records)
        return tuple(dict.fromkeys(record.machine_class for record in newest))

    def machine(self, begin: str) -> MachineClass:
        """The class whose id begins so; ConfigurationError if none or several do."""
        return _one(begin, {each.id: each for each in self.machines}, "machine class")

    def runs(self, machine: str) -> list[Record]:
        """The runs of a machine class, by its whole id."""
        return [record for record in self.records if record.machine_class.id == machine]

    def series(self, machine: str, reference: str | None = None) -> list[Series]:
        """All series of a machine class, by its whole id; `reference` as in `series.lines`."""
        return judge(lines(self.records, machine, reference), self.decisions)

    def lineages(self, machine: str, reference: str | None = None) -> list[Lineage]:
        """What releases changed on a machine class, as far as runs measured several versions.

        Of several runs of the same versions' server and load the last one's.
        """
        return newest(self.runs(machine), reference)

    def change(self, begin: str, series: Sequence[Series]) -> Change:
        """The change of these series whose id begins so; ConfigurationError if none or several."""
        found = {change.id: change for each in series for change in each.changes}
        return _one(begin, found, "change")


def _one(begin: str, known: Mapping[str, Found], what: str) -> Found:
    found = [key for key in known if key.startswith(begin)]
    if len(found) == 1:
        return known[found[0]]
    if found:
        raise ConfigurationError(f"{what} {begin!r} is one of {', '.join(found)}; give more of it")
    there = ", ".join(sorted(known)[:8]) or "none"
    raise ConfigurationError(f"there is no {what} {begin!r}; known: {there}")
