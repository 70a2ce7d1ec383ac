"""Runs on disk: one directory each, written trial by trial, never edited.

    results/RUN/run.json                what was asked, of what, on which machine
    results/RUN/ceilings.json           what the generator reached against the null responder
    results/RUN/trials/0001/trial.json  one trial's facts
                          /latency.parquet  ticks.parquet  processes.parquet
                          /server.log  locust.log, proxy.log and proxy.conf where one stood
    results/RUN/end.json                how the run ended; missing after a crash

A trial is written beside its place and renamed into it, so a crash loses at most the trial
under way. Facts are JSON, series Parquet; `schema` is the format's number.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness.model import ConfigurationError, GatebenchError

SCHEMA = 1
SERIES = ("latency", "ticks", "processes")
LOGS = ("server.log", "proxy.log", "proxy.conf", "locust.log")
ENOUGH_BYTES = 8 * 1024 * 1024  # a trial takes about a tenth of this
LOG_KEPT_BYTES = 1024 * 1024


class StorageError(GatebenchError):
    """The disk took no more; what was stored before is whole. Exit code 3."""

    exit_code = 3


class UnreadableRunError(ConfigurationError):
    """A run's directory is missing, damaged, or of another schema. Exit code 2."""


@dataclass(frozen=True)
class StoredTrial:
    """One trial as read back: its facts, and its series on demand."""

    path: Path
    facts: dict[str, Any]

    def series(self, name: str) -> pa.Table | None:
        """One of SERIES; None if the trial failed before it had any."""
        file = self.path / f"{name}.parquet"
        if not file.exists():
            return None
        try:
            return pq.read_table(file)
        except (OSError, pa.ArrowException) as error:
            what = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UnreadableRunError(
                f"{file}: is damaged ({what}); delete its folder to read the rest"
            ) from None


@dataclass(frozen=True)
class StoredRun:
    """A run as read back: its facts, its trials in the order they were made, how it ended.

    `ceilings` are what the generator reached by itself; empty where that was not measured.
    """

    path: Path
    facts: dict[str, Any]
    trials: list[StoredTrial]
    ended: str
    ceilings: list[dict[str, Any]] = field(default_factory=list)


class RunWriter:
    """The one writer of a run's directory."""

    def __init__(self, results: Path, facts: Mapping[str, Any]) -> None:
        created = datetime.now(UTC)
        stamp = created.strftime("%Y%m%dT%H%M%SZ")
        try:
            results.mkdir(parents=True, exist_ok=True)
            self.path = _fresh(results, stamp)
            (self.path / "trials").mkdir()
            _write(
                self.path / "run.json",
                {"schema": SCHEMA, "created": created.isoformat(timespec="seconds"), **facts},
            )
        except OSError as error:
            raise ConfigurationError(
                f"{results}: results cannot be written here: {error.strerror}; "
                "choose another folder with --results DIR"
            ) from None

    def check_space(self) -> None:
        """Raise StorageError while there is still room to say so."""
        if shutil.disk_usage(self.path).free < ENOUGH_BYTES:
            raise self._full()

    def keep_ceilings(self, ceilings: Sequence[Any]) -> None:
        """Write down what the generator reached before the first trial."""
        try:
            _write(self.path / "ceilings.json", {"schema": SCHEMA, "ceilings": ceilings})
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise self._full() from None
            raise StorageError(f"{self.path}: cannot be written: {error.strerror}") from None

    def store(
        self,
        number: int,
        facts: Mapping[str, Any],
        series: Mapping[str, pa.Table],
        logs: Mapping[str, Path],
    ) -> StoredTrial:
        """Put one trial in its place, whole or not at all."""
        place = self.path / "trials" / f"{number:04d}"
        part = place.with_name(f".{number:04d}.part")
        try:
            part.mkdir()
            for name, table in series.items():
                pq.write_table(table, part / f"{name}.parquet", compression="zstd")
            for name, log in logs.items():
                _keep_log(log, part / name)
            _write(part / "trial.json", {"schema": SCHEMA, **facts})
            part.rename(place)
            _sync(place.parent)
        except OSError as error:
            shutil.rmtree(part, ignore_errors=True)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise self._full() from None
            raise StorageError(f"{place}: cannot be written: {error.strerror}") from None
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        return StoredTrial(place, {"schema": SCHEMA, **facts})

    def end(self, how: str) -> None:
        """Note how the run ended: complete, interrupted, or disk-full."""
        try:
            ended = datetime.now(UTC).isoformat(timespec="seconds")
            _write(self.path / "end.json", {"schema": SCHEMA, "how": how, "ended": ended})
        except OSError:
            return  # a missing end.json says that the run did not end well, which is true

    def _full(self) -> StorageError:
        return StorageError(
            f"{self.path}: the disk is full; the trials stored so far are kept, "
            "free some space or choose another folder with --results DIR"
        )


def read_run(path: Path) -> StoredRun:
    """Read a run; UnreadableRunError in one clear line if it is damaged or of another schema."""
    if not (path / "run.json").exists():
        raise UnreadableRunError(f"{path}: is not a run (it has no run.json)")
    facts = _read(path / "run.json")
    trials = [
        StoredTrial(folder, _read(folder / "trial.json"))
        for folder in sorted((path / "trials").glob("[0-9]*"), key=lambda folder: int(folder.name))
    ]
    end = path / "end.json"
    how = _read(end, "how")["how"] if end.exists() else "unfinished"
    kept = path / "ceilings.json"
    ceilings = _read(kept, "ceilings")["ceilings"] if kept.exists() else []
    return StoredRun(path, facts, trials, how, ceilings)


def newest_run(results: Path) -> Path:
    """The run that was begun last."""
    runs = sorted((path.parent for path in results.glob("*/run.json")), key=_by_begin)
    if not runs:
        raise UnreadableRunError(
            f"{results}: holds no run yet; make one with `gatebench run SERVER`"
        )
    return runs[-1]


def plain(value: Any) -> Any:
    """A value as JSON knows it: dataclasses and mappings as objects, paths as text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {name: plain(item) for name, item in _shallow(value).items()}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(scratch, 0o644)
        os.replace(scratch, path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise


def _shallow(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in type(value).__dataclass_fields__}


def _by_begin(run: Path) -> tuple[str, int]:
    """Its name's time, then its number within that second."""
    stamp, _, number = run.name.partition("-")
    return stamp, int(number) if number.isdecimal() else 1


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


def _read(path: Path, *needed: str) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UnreadableRunError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UnreadableRunError(f"{path}: is damaged ({error})") from None
    if not isinstance(document, dict) or not isinstance(document.get("schema"), int):
        raise UnreadableRunError(f"{path}: is not of gatebench (it names no schema)")
    if document["schema"] != SCHEMA:
        raise UnreadableRunError(
            f"{path}: has schema {document['schema']}, and this gatebench reads {SCHEMA}; "
            "use the version that wrote it"
        )
    if missing := [name for name in needed if name not in document]:
        raise UnreadableRunError(f"{path}: is damaged (it has no {', '.join(missing)})")
    return document


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
