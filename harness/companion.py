"""A small server of our own beside a measurement: the null responder, the stub, the slow upstream.

Each is one file of the standard library alone, called with a port of loopback and its knobs, and
prints `ready` once it listens there.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.model import MeasurementError
from harness.ports import free_port
from harness.process import Tree, last_lines

HERE = Path(__file__).parent
NULL_RESPONDER = HERE / "null_responder.py"
STUB = HERE / "stub.py"
UPSTREAM = HERE / "upstream.py"
READY_WITHIN_S = 30.0


@contextmanager
def companion(
    program: Path,
    *knobs: str,
    log: Path,
    cpus: Sequence[int] = (),
    variables: Mapping[str, str] | None = None,
) -> Iterator[tuple[int, Tree]]:
    """Start `program`; its port and tree once it is ready. It is gone on exit.

    Raises MeasurementError with its log if it does not start.
    """
    port = free_port()
    argv = [sys.executable, "-I", "-S", str(program), str(port), *knobs]
    env = {"PATH": os.defpath} | dict(variables or {})
    with Tree(argv, cwd=log.parent, env=env, log=log, cpus=cpus) as tree:
        deadline = time.monotonic() + READY_WITHIN_S
        while "ready" not in last_lines(log):
            if tree.wait(0.01) is not None or time.monotonic() > deadline:
                raise MeasurementError(f"{program.stem} did not start", log=last_lines(log))
        yield port, tree
