"""What was measured in a run, and under which conditions: what may explain a change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.history.record import CellRecord, Record

NONE = "none"
APP, COMMAND = "the app's sources", "the server's command"
WORK = "the scenario's sources"


@dataclass(frozen=True, slots=True)
class PackageChange:
    """A distribution that another version of was installed; NONE where it was not."""

    name: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.name} {self.old} → {self.new}"


@dataclass(frozen=True, slots=True)
class Subject:
    """What a server is: its receipt, and the digests of its app and command; empty if not known."""

    versions: Mapping[str, str]
    app: str
    command: str

    @classmethod
    def of(cls, cell: CellRecord) -> Subject:
        """The subject of a cell."""
        return cls(cell.versions, cell.app_digest, cell.command_digest)

    def packages(self, later: Subject) -> tuple[PackageChange, ...]:
        """The distributions that are not the same later; none where a receipt is missing."""
        if not (self.versions and later.versions):
            return ()
        names = sorted({*self.versions, *later.versions})
        pairs = [(it, self.versions.get(it, NONE), later.versions.get(it, NONE)) for it in names]
        return tuple(PackageChange(*it) for it in pairs if it[1] != it[2])

    def sources(self, later: Subject) -> tuple[str, ...]:
        """Which of app and command are not the same later, of those that are known."""
        pairs = ((APP, self.app, later.app), (COMMAND, self.command, later.command))
        return tuple(name for name, old, new in pairs if old and new and old != new)


def conditions(record: Record, cell: CellRecord) -> dict[str, str]:
    """What annotates a series and does not split it, by name; what is not known is left out."""
    machine = record.machine
    placement = [len(record.placement.get(side, ())) for side in ("server", "generator")]
    timing = [record.timing.get(name, 0.0) for name in ("warmup_s", "duration_s")]
    known = {
        "kernel": machine.get("kernel"),
        "system": machine.get("system"),
        "governor": machine.get("governor"),
        "Python": cell.python,
        "gatebench": record.gatebench,
        WORK: cell.work_digest,
        "CPUs of server and generator": " + ".join(map(str, placement)),
        "warm-up and window": " + ".join(f"{seconds:g} s" for seconds in timing),
    }
    return {name: str(value) for name, value in known.items() if value}


def conditions_changed(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[str, ...]:
    """In words, those that both know and that differ; of sources there is only their name."""
    shared = [name for name in old if name in new and old[name] != new[name]]
    return tuple(name if name == WORK else f"{name} {old[name]} → {new[name]}" for name in shared)
