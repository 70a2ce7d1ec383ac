"""History on disk: many small files that are written once, so that two histories merge as sets.

    results/history/runs/20260301T120000Z-1a2b3c4d5e.json      a run, see harness.history.record
    results/history/triage/20260302T080000Z-5e4d3c2b1a.json    what was decided about a change

A name is a time and the digest of what the file holds: no file is ever changed, and the same
content has the same name wherever it was written. A folder like this can be kept as a CI
artefact or on a branch of its own; to merge two, copy the files of both into one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from cattrs.errors import BaseValidationError
from cattrs.preconf.json import make_converter

from harness.history.record import Record
from harness.store import StorageError, UnreadableRunError, plain, write_text

SCHEMA = 1
DIGEST = 10  # hexadecimal digits of a name
USUAL = Path("results/history")
CONVERTER = make_converter(forbid_extra_keys=True)
Choice = Literal["acknowledge", "ignore", "fixed"]
Kept = TypeVar("Kept")


@dataclass(frozen=True, slots=True)
class Decision:
    """What somebody decided about a change: `choice`, and `why`.

    The change is found again by its `series` and the `run` that it begins with, or one close to
    it: while a change is young, more runs may place it one or two runs off. `when` is ISO 8601
    in UTC; of several decisions about a change, the last one holds.
    """

    choice: Choice
    why: str
    when: str
    change: str
    series: str
    run: str


class Archive:
    """A history's folder. Reading one that is not there finds an empty history."""

    def __init__(self, folder: Path = USUAL) -> None:
        self.folder = folder

    def add(self, record: Record) -> str:
        """Keep a run, and say in one line what that did; a run that is kept stays as it is.

        StorageError where it cannot be written.
        """
        earlier = [each for each in self.readings() if each.id == record.id]
        if not self._keep("runs", _stamp(record.created), record):
            return f"{record.run}: is there already, nothing is changed"
        reading = f"{record.run}: added, {_trials(record)}"
        if not record.complete:
            reading += f" ({record.ended}: kept without its figures)"
        if earlier:
            reading += "; it was there with " + " and ".join(map(_trials, earlier))
            if _best([*earlier, record]) != record:
                reading += ", and that reading stays the one in use"
        return reading

    def decide(self, decision: Decision) -> None:
        """Keep a decision; StorageError where it cannot be written."""
        self._keep("triage", _stamp(decision.when), decision)

    def readings(self) -> list[Record]:
        """Every file of `runs`; a run that was resumed after it was added has several."""
        return [self._read(path, Record) for path in self._files("runs")]

    def records(self) -> list[Record]:
        """The runs, oldest first, each as it was when most of it was measured."""
        runs: dict[str, list[Record]] = {}
        for reading in self.readings():
            runs.setdefault(reading.id, []).append(reading)
        return sorted(map(_best, runs.values()), key=lambda it: (_stamp(it.created), it.id))

    def decisions(self) -> list[Decision]:
        """What was decided, oldest first."""
        found = [self._read(path, Decision) for path in self._files("triage")]
        return sorted(found, key=lambda it: it.when)

    def _files(self, kind: str) -> list[Path]:
        return sorted((self.folder / kind).glob("*.json"))

    def _keep(self, kind: str, stamp: str, value: Record | Decision) -> bool:
        """Write it down; False if it is there."""
        text = _text(value)
        path = self.folder / kind / f"{stamp}-{_digest(text)}.json"
        if path.exists():
            return False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, text)
        except OSError as error:
            raise StorageError(f"{path}: cannot be written: {error.strerror}") from None
        return True

    def _read(self, path: Path, kind: type[Kept]) -> Kept:
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UnreadableRunError(f"{path}: cannot be read: {error}") from None
        if _digest(text) != path.stem.rpartition("-")[2]:
            raise UnreadableRunError(
                f"{path}: was changed after it was written; take it from where it was copied, "
                "or delete it and add its run again"
            )
        try:
            document = json.loads(text)
            schema = document.pop("schema")
            if schema == SCHEMA:
                return CONVERTER.structure(document, kind)
        except (BaseValidationError, LookupError, TypeError, ValueError, AttributeError) as error:
            what = f"{type(error).__name__}: {error}"
            raise UnreadableRunError(f"{path}: is not a file of a history ({what})") from None
        raise UnreadableRunError(
            f"{path}: has schema {schema}, and this gatebench reads {SCHEMA}; "
            "use the version that wrote it"
        )


def now() -> str:
    """This moment, as decisions have it."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _best(readings: Iterable[Record]) -> Record:
    """Of one run's readings that of most trials, then that of the newest gatebench."""
    return max(readings, key=lambda it: (it.complete, it.trials, it.read_by, _digest(_text(it))))


def _trials(record: Record) -> str:
    return f"{record.trials} trial{'s' * (record.trials != 1)} of {len(record.cells)} cells"


def _text(value: Record | Decision) -> str:
    document: dict[str, Any] = {"schema": SCHEMA, **plain(value)}
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False) + "\n"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST]


def _stamp(moment: str) -> str:
    return datetime.fromisoformat(moment).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
