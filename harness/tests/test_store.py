"""Runs on disk: whole or not at all, and never a traceback for a damaged one."""

from __future__ import annotations

import ctypes
import errno
import json
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness import writer as writing
from harness.model import ConfigurationError, Timing
from harness.store import (
    SCHEMA,
    StorageError,
    UnreadableRunError,
    newest_run,
    plain,
    read_run,
    write_text,
)
from harness.writer import LOG_KEPT_BYTES, RunWriter

FACTS = {"number": 1, "outcome": "measured", "failure": None, "load": {"ok": 3}}
ADDED = {"schema": SCHEMA, "attempt": 1, "sitting": 1}
LATENCY = pa.table(
    {
        "second": pa.array([0, 0, 1], pa.int32()),
        "name": pa.array(["a", "b", "a"]).dictionary_encode(),
        "bucket": pa.array([10, 20, 30], pa.int32()),
        "count": pa.array([1, None, 3], pa.int64()),
    }
)


@pytest.fixture
def writer(tmp_path):
    return RunWriter.begin(tmp_path / "results", {"seed": 7, "timing": Timing(2.0, 5.0)})


@pytest.fixture
def stored(writer):
    writer.store(1, FACTS, {"latency": LATENCY}, {})
    return writer


def unreadable(action) -> str:
    """The one line that says why."""
    with pytest.raises(UnreadableRunError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_run_is_read_back_as_it_was_written(writer):
    writer.store(1, FACTS, {"latency": LATENCY, "ticks": LATENCY.slice(1)}, {})
    writer.store(2, {"number": 2, "outcome": "failed"}, {}, {})
    writer.end("complete")
    run = read_run(writer.path)
    assert run.path == writer.path
    assert run.ended == "complete"
    assert run.facts["schema"] == SCHEMA
    assert run.facts["seed"] == 7
    assert run.facts["timing"] == {"warmup_s": 2.0, "duration_s": 5.0}
    assert datetime.fromisoformat(run.facts["created"]).tzinfo is not None
    assert [trial.facts for trial in run.trials] == [
        {**ADDED, **FACTS, "series": ["latency", "ticks"]},
        {**ADDED, "number": 2, "outcome": "failed", "series": []},
    ]
    assert run.trials[0].series("latency") == LATENCY
    assert run.trials[0].series("ticks") == LATENCY.slice(1)


def test_series_that_a_failed_trial_never_had_is_none(stored):
    assert read_run(stored.path).trials[0].series("processes") is None


def test_store_gives_the_trial_as_the_reader_does(writer):
    trial = writer.store(1, FACTS, {"latency": LATENCY}, {})
    read = read_run(writer.path).trials[0]
    assert (trial.path, trial.facts) == (read.path, read.facts)


def test_trials_are_read_in_the_order_they_were_made(writer):
    for number in (1, 2, 10, 9):
        writer.store(number, {"number": number}, {}, {})
    assert [trial.facts["number"] for trial in read_run(writer.path).trials] == [1, 2, 9, 10]


def test_run_without_an_end_is_unfinished(stored):
    assert read_run(stored.path).ended == "unfinished"


def test_run_knows_how_it_ended(stored):
    stored.end("interrupted")
    assert read_run(stored.path).ended == "interrupted"


def test_crash_while_a_trial_is_stored_leaves_only_what_the_reader_ignores(stored, monkeypatch):
    class Crash(BaseException):
        pass

    def crash(*_: object) -> None:
        raise Crash

    monkeypatch.setattr(writing, "_write", crash)
    with pytest.raises(Crash):
        stored.store(2, FACTS, {"latency": LATENCY}, {})
    assert [path.name for path in (stored.path / "trials").iterdir()] == ["0001"]
    (stored.path / "trials" / ".0003.part").mkdir()  # as `kill -9` leaves it
    assert [trial.facts["number"] for trial in read_run(stored.path).trials] == [1]


def test_run_json_that_is_missing_is_no_run(tmp_path, stored):
    (stored.path / "run.json").unlink()
    for path in (stored.path, tmp_path / "nowhere", tmp_path):
        assert unreadable(lambda path=path: read_run(path)) == (
            f"{path}: is not a run (it has no run.json)"
        )


@pytest.mark.parametrize("name", ["run.json", "trials/0001/trial.json", "end.json"])
@pytest.mark.parametrize("content", [b"", b'{"schema": 1', b"\xff\xfe\x00", b"[1,]"])
def test_damaged_json_is_named(stored, name, content):
    stored.end("complete")
    (stored.path / name).write_bytes(content)
    assert unreadable(lambda: read_run(stored.path)).startswith(
        f"{stored.path / name}: is damaged ("
    )


@pytest.mark.parametrize("content", ["[]", "3", "{}", '{"schema": "1"}', '{"schema": null}'])
def test_json_without_a_schema_is_not_ours(stored, content):
    (stored.path / "run.json").write_text(content, "utf-8")
    assert unreadable(lambda: read_run(stored.path)).endswith(
        "run.json: is not of gatebench (it names no schema)"
    )


@pytest.mark.parametrize("name", ["run.json", "trials/0001/trial.json"])
def test_unknown_schema_says_both_numbers(stored, name):
    place = stored.path / name
    place.write_text(json.dumps(json.loads(place.read_text("utf-8")) | {"schema": 99}), "utf-8")
    assert unreadable(lambda: read_run(stored.path)) == (
        f"{place}: has schema 99, and this gatebench reads {SCHEMA}; use the version that wrote it"
    )


def test_trial_folder_without_its_facts_is_named(stored):
    (stored.path / "trials" / "0001" / "trial.json").unlink()
    assert "trial.json: cannot be read: " in unreadable(lambda: read_run(stored.path))


def test_end_without_how_is_named_as_damaged(stored):
    (stored.path / "end.json").write_text('{"schema": 1}', "utf-8")
    unreadable(lambda: read_run(stored.path))


@pytest.mark.parametrize("damage", ["empty", "cut", "garbage", "folder"])
def test_damaged_parquet_is_named(stored, damage):
    place = stored.path / "trials" / "0001" / "latency.parquet"
    whole = place.read_bytes()
    if damage == "folder":
        place.unlink()
        place.mkdir()
        (place / "x.parquet").write_bytes(b"no")
    else:
        content = {"empty": b"", "cut": whole[: len(whole) // 2], "garbage": bytes(len(whole))}
        place.write_bytes(content[damage])
    line = unreadable(lambda: read_run(stored.path).trials[0].series("latency"))
    assert line.startswith(f"{place}: is damaged (")
    assert line.endswith("delete its folder to read the rest")


def test_two_runs_of_one_second_get_two_folders(tmp_path, monkeypatch):
    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2025, 1, 2, 3, 4, 5, tzinfo=tz)

    monkeypatch.setattr(writing, "datetime", Clock)
    paths = [RunWriter.begin(tmp_path, {"which": number}).path for number in range(3)]
    assert [path.name for path in paths] == [
        "20250102T030405Z",
        "20250102T030405Z-2",
        "20250102T030405Z-3",
    ]
    assert [read_run(path).facts["which"] for path in paths] == [0, 1, 2]
    assert newest_run(tmp_path) == paths[-1]


def test_newest_run_is_the_one_begun_last(tmp_path):
    for name in ("20250102T000000Z", "20250301T000000Z", "20241231T235959Z"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").touch()
    (tmp_path / "20990101T000000Z").mkdir()  # not a run
    assert newest_run(tmp_path).name == "20250301T000000Z"


def test_without_a_run_there_is_no_newest(tmp_path):
    for place in (tmp_path, tmp_path / "nowhere"):
        assert unreadable(lambda place=place: newest_run(place)) == (
            f"{place}: holds no run yet; make one with `gatebench run SERVER`"
        )


def test_short_log_is_kept_whole(writer, tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"x" * LOG_KEPT_BYTES)
    trial = writer.store(1, FACTS, {}, {"server.log": log, "locust.log": tmp_path / "nowhere"})
    assert (trial.path / "server.log").read_bytes() == log.read_bytes()
    assert not (trial.path / "locust.log").exists()


def test_long_log_keeps_its_head_and_its_tail(writer, tmp_path):
    lines = [f"line {number:07d}\n".encode() for number in range(200_000)]
    log = tmp_path / "log"
    log.write_bytes(b"".join(lines))
    size = log.stat().st_size
    kept = (writer.store(1, FACTS, {}, {"server.log": log}).path / "server.log").read_bytes()
    assert len(kept) < LOG_KEPT_BYTES + 100 < size
    assert kept.startswith(lines[0])
    assert kept.endswith(lines[-1])
    assert f"\n... {size - LOG_KEPT_BYTES} bytes left out ...\n".encode() in kept


def test_results_that_cannot_be_created_are_the_users_to_mend(tmp_path):
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "results"
    with pytest.raises(ConfigurationError) as caught:
        RunWriter.begin(place, {})
    assert str(caught.value) == (
        f"{place}: results cannot be written here: Not a directory; "
        "choose another folder with --results DIR"
    )


def assert_only_the_first_trial_is_there(path: Path) -> None:
    assert [entry.name for entry in (path / "trials").iterdir()] == ["0001"]
    assert [trial.facts["number"] for trial in read_run(path).trials] == [1]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_keeps_what_was_stored_and_leaves_no_part(stored, monkeypatch, number):
    def full(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(StorageError, match="the disk is full; the trials stored so far are kept"):
        stored.store(2, FACTS, {"latency": LATENCY}, {})
    monkeypatch.undo()
    assert_only_the_first_trial_is_there(stored.path)


def test_disk_that_fails_otherwise_says_how(stored, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(pq, "write_table", broken)
    with pytest.raises(StorageError, match=r"0002: cannot be written: Input/output error$"):
        stored.store(2, FACTS, {"latency": LATENCY}, {})
    monkeypatch.undo()
    assert_only_the_first_trial_is_there(stored.path)


def test_full_disk_at_the_end_of_a_run_does_not_hide_its_trials(stored, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(writing, "_write", full)
    stored.end("disk-full")
    monkeypatch.undo()
    assert read_run(stored.path).ended == "unfinished"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, of 1 MiB, where this test may make one."""
    place = tmp_path / "small"
    place.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", bytes(place), b"tmpfs", 0, b"size=1m") != 0:
        pytest.skip(f"cannot mount here: {os.strerror(ctypes.get_errno())}")
    yield place
    libc.umount2(bytes(place), 2)  # MNT_DETACH


def test_really_full_disk_keeps_what_was_stored_and_leaves_no_part(small_disk):
    writer = RunWriter.begin(small_disk, {})
    writer.store(1, FACTS, {"latency": LATENCY}, {})
    noise = np.random.default_rng(1).integers(0, 2**62, 400_000)
    with pytest.raises(StorageError, match="the disk is full"):
        writer.store(2, FACTS, {"latency": pa.table({"noise": noise})}, {})
    assert_only_the_first_trial_is_there(writer.path)
    writer.store(2, FACTS, {"latency": LATENCY}, {})  # there is room again


def test_log_that_fills_the_disk_leaves_no_part(small_disk, tmp_path):
    writer = RunWriter.begin(small_disk, {})
    writer.store(1, FACTS, {}, {})
    log = tmp_path / "log"
    log.write_bytes(os.urandom(LOG_KEPT_BYTES))
    with pytest.raises(StorageError, match="the disk is full"):
        writer.store(2, FACTS, {}, {"server.log": log})
    assert_only_the_first_trial_is_there(writer.path)


def test_run_stops_while_there_is_still_room_to_say_so(small_disk, writer):
    writer.check_space()
    with pytest.raises(StorageError, match="the disk is full"):
        RunWriter.begin(small_disk, {}).check_space()


@dataclass(frozen=True)
class Thing:
    place: Path
    parts: tuple[object, ...]


def test_plain_turns_everything_into_what_json_knows():
    thing = Thing(Path("a/b"), ({1: Path("c")}, frozenset({2}), Timing(1.0, 2.0), None, "x"))
    assert plain(thing) == {
        "place": "a/b",
        "parts": [{"1": "c"}, [2], {"warmup_s": 1.0, "duration_s": 2.0}, None, "x"],
    }
    json.dumps(plain(thing), allow_nan=False)


def test_number_that_is_not_one_is_never_stored(writer):
    with pytest.raises(ValueError, match="JSON compliant"):
        writer.store(1, FACTS | {"share": float("nan")}, {}, {})
    assert read_run(writer.path).trials == []


def test_text_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    place = tmp_path / "report.md"
    write_text(place, "old")
    write_text(place, "new ✓")
    assert place.read_text("utf-8") == "new ✓"

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_text(place, "newer")
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.md"]
    assert place.read_text("utf-8") == "new ✓"
