"""The one writer of runs: trial by trial, each whole or not at all; see harness.store.

A trial is written beside its place and renamed into it, so a crash loses at most the trial
under way, and a later gatebench can go on.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness.journal import Journal
from harness.model import ConfigurationError
from harness.store import (
    SCHEMA,
    StorageError,
    StoredTrial,
    UnreadableRunError,
    plain,
    read_facts,
    read_json,
    stored,
    trial_folders,
    write_text,
)  # fmt: skip

ENOUGH_BYTES = 8 * 1024 * 1024  # a trial takes about a tenth of this
LOG_KEPT_BYTES = 1024 * 1024


class RunWriter:
    """The one writer of a run's directory, from `begin` or `resume` on.

    `trials` has the last attempt of each place in the order that has one.
    """

    def __init__(self, run: Path, journal: Journal) -> None:
        self.path = run
        self.sitting = 1
        self.trials: dict[int, StoredTrial] = {}
        self._journal = journal

    @classmethod
    def begin(
        cls, results: Path, facts: Mapping[str, Any], recipe: Mapping[str, Any] | None = None
    ) -> RunWriter:
        """Make the directory of a new run; `recipe` is what it can be resumed from."""
        created = datetime.now(UTC)
        stamp = created.strftime("%Y%m%dT%H%M%SZ")
        try:
            results.mkdir(parents=True, exist_ok=True)
            run = _fresh(results, stamp)
            (run / "trials").mkdir()
            if recipe is not None:
                _write(run / "plan.json", {"schema": SCHEMA, **recipe})
            writer = cls(run, Journal(run))
            _write(
                run / "run.json",
                {"schema": SCHEMA, "created": created.isoformat(timespec="seconds"), **facts},
            )
            _sync(run)
            _sync(results)
        except OSError as error:
            raise ConfigurationError(
                f"{results}: results cannot be written here: {error.strerror}; "
                "choose another folder with --results DIR"
            ) from None
        return writer

    @classmethod
    def resume(cls, run: Path) -> tuple[RunWriter, list[str]]:
        """Hold a run again, and tell what was put aside: trials that a crash left damaged.

        UnreadableRunError where there is no run; ConfigurationError while another measures it.
        """
        facts = read_facts(run)
        try:
            writer = cls(run, Journal(run))
            for part in (run / "trials").glob(".*.part"):
                shutil.rmtree(part)
            for scratch in run.glob(".*.json.*"):
                scratch.unlink()
            aside = [line for folder in trial_folders(run) if (line := _put_aside(folder))]
        except OSError as error:
            raise StorageError(f"{run}: cannot be written: {error.strerror}") from None
        read = stored(run, facts)
        writer.sitting = len(read.sittings) + 1
        writer.trials = {trial.facts["number"]: trial for trial in read.trials}
        return writer, aside

    def extend(self, facts: Mapping[str, Any], recipe: Mapping[str, Any]) -> None:
        """Ask for more blocks of the same; what was measured stays."""
        try:
            _write(self.path / "plan.json", {"schema": SCHEMA, **recipe})
            _write(self.path / "run.json", {**read_facts(self.path), **facts})
        except OSError as error:
            raise self._failed(self.path, error) from None
        self._note("extended", {"blocks": facts["blocks"]})

    def sit(self, facts: Mapping[str, Any]) -> None:
        """Begin to measure: with what command, on what. The run has then no end any more."""
        (self.path / "end.json").unlink(missing_ok=True)
        self._note("sitting", {"sitting": self.sitting, "pid": os.getpid(), **facts})

    def check_space(self) -> None:
        """Raise StorageError while there is still room to say so."""
        if shutil.disk_usage(self.path).free < ENOUGH_BYTES:
            raise self._full()

    @property
    def has_ceilings(self) -> bool:
        """Whether an earlier sitting kept what the generator reached."""
        return (self.path / "ceilings.json").exists()

    def keep_ceilings(self, ceilings: Sequence[Any]) -> None:
        """Write down what the generator reached before the first trial."""
        try:
            _write(self.path / "ceilings.json", {"schema": SCHEMA, "ceilings": ceilings})
        except OSError as error:
            raise self._failed(self.path, error) from None

    def attempt(self, number: int, cell: str) -> int:
        """Note that a trial begins; which attempt it is at that place in the order."""
        earlier = self.trials.get(number)
        attempt = 1 if earlier is None else earlier.facts["attempt"] + 1
        self._note("trial", {"number": number, "attempt": attempt, "cell": cell})
        return attempt

    def store(
        self,
        number: int,
        facts: Mapping[str, Any],
        series: Mapping[str, pa.Table],
        logs: Mapping[str, Path],
    ) -> StoredTrial:
        """Put one trial in its place, whole or not at all."""
        attempt = facts.get("attempt", 1)
        place = self.path / "trials" / _folder_name(number, attempt)
        part = place.with_name(f".{place.name}.part")
        held = {"schema": SCHEMA, "attempt": attempt, "sitting": self.sitting, **facts}
        held["series"] = list(series)
        try:
            part.mkdir()
            for name, table in series.items():
                pq.write_table(table, part / f"{name}.parquet", compression="zstd")
            for name, log in logs.items():
                _keep_log(log, part / name)
            _write(part / "trial.json", held)
            for file in (*part.iterdir(), part):
                _sync(file)  # a name must not survive a power cut that its bytes did not
            part.rename(place)
            _sync(place.parent)
        except OSError as error:
            shutil.rmtree(part, ignore_errors=True)
            raise self._failed(place, error) from None
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        self.trials[number] = trial = StoredTrial(place, held)
        self._note(
            "stored", {"number": number, "attempt": attempt, "outcome": facts.get("outcome")}
        )
        return trial

    def end(self, how: str) -> None:
        """Note how the run ended: complete, budget, interrupted, stopped or disk-full."""
        place = self.path / "end.json"
        try:
            if not place.exists() or read_json(place, "how")["how"] != how:
                ended = datetime.now(UTC).isoformat(timespec="seconds")
                _write(place, {"schema": SCHEMA, "how": how, "ended": ended})
                self._journal.note("end", {"how": how})
        except OSError:
            return  # a missing end.json says that the run did not end well, which is true
        finally:
            self.leave()

    def leave(self) -> None:
        """Let another process have the run, whose end is not noted."""
        self._journal.close()

    def _note(self, event: str, facts: Mapping[str, Any]) -> None:
        try:
            self._journal.note(event, plain(facts))
        except OSError as error:
            raise self._failed(self._journal.path, error) from None

    def _failed(self, place: Path, error: OSError) -> StorageError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return self._full()
        return StorageError(f"{place}: cannot be written: {error.strerror}")

    def _full(self) -> StorageError:
        return StorageError(
            f"{self.path}: the disk is full; the trials stored so far are kept, "
            "free some space or choose another folder with --results DIR"
        )


def _put_aside(folder: Path) -> str | None:
    """Hide a trial that cannot be read, and say why; None for one that can."""
    try:
        trial = StoredTrial(folder, read_json(folder / "trial.json", "number", "outcome", "series"))
        lacking = [name for name in trial.facts["series"] if trial.series(name) is None]
        if not lacking:
            return None
        why = f"{folder}: lacks {', '.join(lacking)}"
    except UnreadableRunError as error:
        why = str(error)
    folder.rename(folder.with_name(f".{folder.name}.damaged-{time.time_ns()}"))
    return why


def _folder_name(number: int, attempt: int) -> str:
    return f"{number:04d}" if attempt == 1 else f"{number:04d}-{attempt}"


def _fresh(results: Path, stamp: str) -> Path:
    """A directory of our own, also when two runs begin in the same second."""
    for number in range(1, 1000):
        path = results / (stamp if number == 1 else f"{stamp}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise FileExistsError(errno.EEXIST, "too many runs begun in one second")


def _keep_log(log: Path, place: Path) -> None:
    """The log, or its beginning and end if it is long."""
    if not log.exists():
        return
    size = log.stat().st_size
    with log.open("rb") as source, place.open("wb") as target:
        if size <= LOG_KEPT_BYTES:
            shutil.copyfileobj(source, target)
            return
        half = LOG_KEPT_BYTES // 2
        target.write(source.read(half))
        target.write(f"\n... {size - 2 * half} bytes left out ...\n".encode())
        source.seek(size - half)
        target.write(source.read())


def _write(path: Path, document: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(plain(document), indent=1, allow_nan=False) + "\n")


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
