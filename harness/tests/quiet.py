"""Tests that hold only on a machine that wakes up in time.

A virtual machine whose host is busy sleeps on for milliseconds after it should have been woken.
No tool on it can then tell times below that, and a test of such times says nothing. While such
a test runs, a witness on each CPU writes down how late it is woken, before all other work: it
is late if the machine is, and not because the test keeps the machine busy. Where the witnesses
were late the failing test is skipped with what they saw, never passed; else it has to hold.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

TRIES = 5
# what is too late for times of a millisecond: this share of all wake-ups, by so much
TOO_LATE = {0.5: 0.0002, 0.9: 0.0005, 0.99: 0.001, 0.998: 0.002}
AFTERWARDS_S = 2.0
# one wake-up in each millisecond; those that a stall has swallowed were late, too
WITNESS = """
import os, sys, time
from array import array
os.sched_setaffinity(0, {int(sys.argv[1])})
try:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    first = True
except OSError:
    first = False
print(first, flush=True)
parent, kept, due = os.getppid(), array("d"), time.monotonic()
while os.getppid() == parent:
    due += 0.001
    time.sleep(max(due - time.monotonic(), 0))
    kept.extend((due, time.monotonic() - due))
    if len(kept) >= 100:
        os.write(2, kept)
        del kept[:]
"""


class Witness:
    """Processes that write down how late they are woken, one on each of two CPUs."""

    def __init__(self, folder: Path) -> None:
        self._files = [folder / str(cpu) for cpu in sorted(os.sched_getaffinity(0))[:2]]
        self._processes = [_witness(file) for file in self._files]
        firsts = [it.stdout.readline() == "True\n" for it in self._processes if it.stdout]
        self._first = all(firsts)
        self.since = time.monotonic()

    def testimony(self) -> str | None:
        """Why times cannot be told, if they could not since `since`; None if they could."""
        if not self._first:  # then it waits behind the test itself, and can speak only of now
            self.since = time.monotonic()
        time.sleep(0.1 if self._first else AFTERWARDS_S)
        seen = [self._lateness(file) for file in self._files]
        if not all(seen):
            return "this machine did not wake the witness once; it cannot tell such times"
        worst = {share: max(it[int(len(it) * share)] for it in seen) for share in TOO_LATE}
        if all(worst[share] < limit for share, limit in TOO_LATE.items()):
            return None
        figures = ", ".join(f"{1 - share:.1%} {late * 1e3:.2f}" for share, late in worst.items())
        return f"this machine woke up late, share and ms: {figures}; it cannot tell such times"

    def dismiss(self) -> None:
        """End the witnesses."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.communicate()

    def _lateness(self, file: Path) -> list[float]:
        whole = array("d", file.read_bytes())
        return sorted(
            late for due, late in zip(whole[::2], whole[1::2], strict=True) if due >= self.since
        )


def _witness(file: Path) -> subprocess.Popen[str]:
    argv = [sys.executable, "-I", "-S", "-c", WITNESS, file.name]
    with file.open("wb") as out:
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=out, text=True)


@contextmanager
def witnessed() -> Iterator[Witness]:
    """With witnesses, from now to its end."""
    with tempfile.TemporaryDirectory() as folder:
        witness = Witness(Path(folder))
        _present.append(witness)
        try:
            yield witness
        finally:
            _present.remove(witness)
            witness.dismiss()


_present: list[Witness] = []


def noisy() -> str | None:
    """What the witness of this test has seen since the last try began; None if all was well."""
    return _present[-1].testimony()


def needs_quiet(test: Callable[..., None]) -> Callable[..., None]:
    """A test whose failure counts only if the machine was in time."""

    @functools.wraps(test)
    def wrapped(*values: Any, **named: Any) -> None:
        with witnessed() as witness:
            try:
                test(*values, **named)
            except AssertionError:
                if why := witness.testimony():
                    pytest.skip(why)
                raise

    return wrapped


def quietest(measure: Callable[[], Any], good: Callable[[Any], bool]) -> Any:
    """The first result that is good, of a few tries; or the last, or the one made in noise.

    Noise of the machine only adds time, so an upper bound may be reached in any try.
    """
    for _ in range(TRIES):
        _present[-1].since = time.monotonic()
        result = measure()
        if good(result) or noisy():
            break
    return result
