"""What a run did, line by line, as it did it: RUN/journal.jsonl.

Each start of gatebench that measures for the run is a sitting. Whoever writes the journal holds
the kernel's lock on it, which ends with the process however that ends: a run has one writer.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.model import ConfigurationError

NAME = "journal.jsonl"


class Journal:
    """The open journal of a run, held by this process alone.

    ConfigurationError, naming the process, if another one holds it.
    """

    def __init__(self, run: Path) -> None:
        self.path = run / NAME
        self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            pid = sittings(read_journal(run))[-1:]
            who = f" (pid {pid[0]['pid']})" if pid else ""
            raise ConfigurationError(
                f"{run}: another gatebench{who} is measuring it; wait for its end"
            ) from None
        end = os.lseek(self._file, 0, os.SEEK_END)
        if end and os.pread(self._file, 1, end - 1) != b"\n":
            os.write(self._file, b"\n")  # a line that a crash cut; the next begins afresh

    def note(self, event: str, facts: Mapping[str, Any]) -> None:
        """Add a line, on the disk when this returns. OSError where the disk takes no more."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"at": now, "event": event, **facts}, allow_nan=False) + "\n"
        os.write(self._file, line.encode())
        os.fsync(self._file)

    def close(self) -> None:
        """Let another process have it."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1  # the number may be another file's by the next time


def read_journal(run: Path) -> list[dict[str, Any]]:
    """The journal's lines, without such as a crash cut; none for a run that has no journal."""
    try:
        text = (run / NAME).read_text("utf-8", errors="replace")
    except OSError:
        return []
    return [line for line in map(_line, text.splitlines()) if line is not None]


def sittings(journal: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines that begin a sitting."""
    return [line for line in journal if line["event"] == "sitting"]


def _line(text: str) -> dict[str, Any] | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) and {"at", "event"} <= line.keys() else None
