"""Runs on disk: one directory each, written trial by trial (by harness.writer), never edited.

    results/RUN/run.json                what was asked, of what, on which machine
    results/RUN/plan.json               the same as gatebench needs it to go on with the run
    results/RUN/journal.jsonl           what was done, line by line
    results/RUN/ceilings.json           what the generator reached against the null responder
    results/RUN/trials/0001/trial.json  one trial's facts
                          /latency.parquet  ticks.parquet  processes.parquet  noise.parquet
                          /server.log  locust.log, proxy.log and proxy.conf where one stood
    results/RUN/trials/0001-2/          the same place in the order, after the first one failed
    results/RUN/end.json                how the run ended; missing after a crash

A trial is written beside its place and renamed into it, so a crash loses at most the trial
under way. Facts are JSON, series Parquet; `schema` is the format's number.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness.journal import read_journal, sittings
from harness.model import ConfigurationError, GatebenchError

SCHEMA = 1
FEW = 5  # runs that are named where there is not the one that was asked for
SERIES = ("latency", "ticks", "processes", "noise")


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

    def has(self, name: str) -> bool:
        """Whether it has one of SERIES."""
        return (self.path / f"{name}.parquet").exists()

    def series(self, name: str) -> pa.Table | None:
        """One of SERIES; None if the trial failed before it had any."""
        if not self.has(name):
            return None
        file = self.path / f"{name}.parquet"
        try:
            # a fifth of what pq.read_table costs, which is made for whole folders
            parquet = pq.ParquetFile(pa.BufferReader(file.read_bytes()))
            return parquet.read(use_threads=False)
        except (OSError, pa.ArrowException) as error:
            what = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UnreadableRunError(
                f"{file}: is damaged ({what}); delete its folder to read the rest"
            ) from None


@dataclass(frozen=True)
class StoredRun:
    """A run as read back: its facts, its trials in the order of the plan, how it ended.

    `ceilings` are what the generator reached by itself; empty where that was not measured.
    `repeated` are trials that failed and have a later attempt among `trials`; `sittings` the
    journal's lines of who measured when, one unless the run was resumed. `resumable` is whether
    it has a plan that can be gone on with, which a search has not.
    """

    path: Path
    facts: dict[str, Any]
    trials: list[StoredTrial]
    ended: str
    ceilings: list[dict[str, Any]] = field(default_factory=list)
    repeated: list[StoredTrial] = field(default_factory=list)
    sittings: list[dict[str, Any]] = field(default_factory=list)
    resumable: bool = False


def read_run(run: Path) -> StoredRun:
    """Read a run; UnreadableRunError in one clear line if it is damaged or of another schema."""
    return stored(run, read_facts(run))


def read_recipe(run: Path) -> dict[str, Any]:
    """What the run can be resumed from; UnreadableRunError if it was never written."""
    if not (run / "plan.json").exists():
        raise UnreadableRunError(
            f"{run}: cannot be resumed: it has no plan.json, as a search has none, nor runs of "
            "older gatebenches"
        )
    return read_json(run / "plan.json", "plan")


def read_facts(run: Path) -> dict[str, Any]:
    """What run.json holds."""
    if not (run / "run.json").exists():
        raise UnreadableRunError(f"{run}: is not a run (it has no run.json)")
    return read_json(run / "run.json")


def stored(run: Path, facts: dict[str, Any]) -> StoredRun:
    """The rest of a run whose run.json holds `facts`."""
    attempts = [
        StoredTrial(folder, read_json(folder / "trial.json")) for folder in trial_folders(run)
    ]
    last = {_place_of(trial.path)[0]: trial for trial in attempts}
    latest = {trial.path for trial in last.values()}
    repeated = [trial for trial in attempts if trial.path not in latest]
    end = run / "end.json"
    how = read_json(end, "how")["how"] if end.exists() else "unfinished"
    kept = run / "ceilings.json"
    ceilings = read_json(kept, "ceilings")["ceilings"] if kept.exists() else []
    sat = sittings(read_journal(run))
    plan = (run / "plan.json").exists()
    return StoredRun(run, facts, list(last.values()), how, ceilings, repeated, sat, plan)


def trial_folders(run: Path) -> list[Path]:
    """The trials' folders by place in the order, then by attempt."""
    return sorted((run / "trials").glob("[0-9]*"), key=_place_of)


def _place_of(folder: Path) -> tuple[int, int]:
    """The number and the attempt that a folder's name says."""
    number, _, attempt = folder.name.partition("-")
    return int(number), int(attempt or 1)


def runs_in(results: Path) -> list[Path]:
    """The runs in a folder, in the order in which they were begun."""
    return sorted((path.parent for path in results.glob("*/run.json")), key=_by_begin)


def run_folder(run: str | Path, results: Path) -> Path:
    """A run by its folder, or by its name among the results; UnreadableRunError tells of others."""
    for path in (Path(run), results / run):
        if path.is_dir():
            return path
    beside = Path(run).parent if len(Path(run).parts) > 1 else results
    there = runs_in(beside)[::-1]
    few = ", ".join(path.name for path in there[:FEW]) or "none"
    more = f" and {len(there) - FEW} older" if len(there) > FEW else ""
    raise UnreadableRunError(f"{run}: no such run; in {beside} there are: {few}{more}")


def newest_run(results: Path) -> Path:
    """The run that was begun last."""
    runs = runs_in(results)
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
    """Write a text file whole or not at all; what UTF-8 has not is written as an escape."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
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


def read_json(path: Path, *needed: str) -> dict[str, Any]:
    """A document of ours that has these keys, or UnreadableRunError."""
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
