"""A process tree under a guardian: nothing of it outlives gatebench, however that dies."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from select import select
from types import TracebackType
from typing import Any, Self

from harness.guardian import descendants
from harness.model import MeasurementError, visible

GUARDIAN = Path(__file__).with_name("guardian.py")
MARK = "GATEBENCH_TREE"  # in the environment of all we start, so that leftovers can be told
NUMBERS = itertools.count(1)
LOG_LINES = 12
STALE_S = 3600.0
SCRATCH = "gatebench"  # short: a unix socket's path holds 107 characters


class StartError(MeasurementError):
    """The program could not be executed at all."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a tree ended: the signal that did it, the program's exit code, the seconds it took.

    `how` is `exited` (by itself), the name of the stop signal, or `KILL`; `gone` is the
    kernel's word that no process of the tree is left; `killed` counts the processes that
    were still there when the tree was killed.
    """

    how: str
    code: int | None
    seconds: float
    gone: bool
    killed: int = 0


class Tree:
    """One program and everything it starts, as a context manager.

    `pid` is the program's own (it leads a session of its own); `guardian` the process above
    it. Leaving the context kills whatever is left.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        log: Path,
        cpus: Sequence[int] = (),
    ) -> None:
        self._mark = f"{os.getpid()}-{next(NUMBERS)}"
        self._exit_code: int | None = None
        self._gone = False
        self._lines = b""
        order_end, self._orders = os.pipe()
        self._messages, message_end = os.pipe()
        self._guardian = subprocess.Popen(
            [sys.executable, "-I", "-S", str(GUARDIAN)],
            stdin=order_end,
            stdout=message_end,
            start_new_session=True,  # Ctrl-C in the terminal is gatebench's to handle
        )
        os.close(order_end)
        os.close(message_end)
        self._tell(
            {
                "argv": list(argv),
                "cwd": str(cwd),
                "env": {**env, MARK: self._mark},
                "log": str(log),
                "cpus": list(cpus),
            }
        )
        first = self._next(10.0)
        if first is None or "started" not in first:
            self._guardian.kill()
            self._close()
            why = (first or {}).get("failed", "its guardian did not start")
            raise StartError(f"{argv[0]} cannot be started: {why}")
        self.pid: int = first["started"]

    @property
    def guardian(self) -> int:
        """The guardian's pid; it is above the tree, not in it."""
        return self._guardian.pid

    def pids(self) -> list[int]:
        """Every process of the tree that lives now, the program first."""
        return descendants(self.guardian)

    def poll(self) -> int | None:
        """The program's exit code (negative: the signal that killed it); None while it runs."""
        return self.wait(0.0)

    def wait(self, timeout_s: float) -> int | None:
        """Wait for the program itself to end; its exit code, or None if it still runs."""
        deadline = time.monotonic() + timeout_s
        while self._exit_code is None and self._listen(deadline):
            pass
        return self._exit_code

    def signal(self, name: str) -> None:
        """Send the program a signal by its short name, such as TERM."""
        if self._exit_code is None:
            self._tell({"do": "signal", "signal": int(signal.Signals[f"SIG{name}"])})

    def stop(self, name: str = "TERM", *, grace_s: float = 10.0) -> Ending:
        """Ask the program to end, wait up to `grace_s` seconds for the tree, then kill it."""
        begin = time.monotonic()
        how = "exited" if self.poll() is not None else name
        self.signal(name)
        deadline = begin + grace_s
        while not self._gone and self._listen(deadline):
            if self._exit_code is not None:
                # the program is done; what it left behind gets a moment, not the whole grace
                deadline = min(deadline, time.monotonic() + 1.0)
        killed = 0
        if not self._gone:
            killed = len(self.pids())
            if self._exit_code is None:
                how = "KILL"
            self._end()
        return Ending(how, self._exit_code, time.monotonic() - begin, self._gone, killed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._gone:
            self._end()
        self._close()

    def _end(self) -> None:
        self._tell({"do": "end"})
        deadline = time.monotonic() + 15.0
        while not self._gone and self._listen(deadline):
            pass
        if not self._gone:  # the guardian was killed: find the tree by its mark
            for pid in marked(self._mark):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _close(self) -> None:
        os.close(self._orders)
        os.close(self._messages)
        self._guardian.wait()

    def _tell(self, order: Mapping[str, Any]) -> None:
        data = (json.dumps(order) + "\n").encode()
        with suppress(
            BrokenPipeError
        ):  # the guardian is done: the tree is gone, or _end sees to it
            while data:
                data = data[os.write(self._orders, data) :]

    def _next(self, timeout_s: float) -> dict[str, Any] | None:
        """The guardian's next message; None at the timeout or when it has ended."""
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._lines:
            ready, _, _ = select([self._messages], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return None
            data = os.read(self._messages, 65536)
            if not data:
                return None
            self._lines += data
        line, _, self._lines = self._lines.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def _listen(self, deadline: float) -> bool:
        """Take one message in before `deadline`; False if there was none."""
        message = self._next(max(0.0, deadline - time.monotonic()))
        if message is None:
            return False
        self._exit_code = message.get("exited", self._exit_code)
        self._gone = message.get("gone", self._gone)
        return True


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A private folder, gone afterwards; what a gatebench that was killed left goes first."""
    for left in Path(tempfile.gettempdir()).glob(f"{SCRATCH}-*-*"):
        owner = left.name.split("-")[1]
        with suppress(OSError):
            # old, too: another container may share the folder, and not our process numbers
            old = time.time() - left.stat().st_mtime > STALE_S
            if old and owner.isdecimal() and not Path("/proc", owner).exists():
                shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{SCRATCH}-{os.getpid()}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def marked(mark: str) -> list[int]:
    """The processes of this machine that carry a tree's mark in their environment."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def last_lines(log: Path, count: int = LOG_LINES) -> str:
    """The last lines of a log, control characters made visible; empty if it has none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 64 * 1024))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n".join(visible(line) for line in lines[-count:])
