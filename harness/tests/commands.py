"""gatebench's command line for tests: run to its end, or started and always ended."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main

GATEBENCH = [sys.executable, "-m", "harness.cli"]


@dataclass(frozen=True)
class Finished:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    @property
    def complaint(self) -> str:
        """The one line of the mistake; what else there is would be a traceback or noise."""
        lines = [line for line in self.err.splitlines() if line.startswith("gatebench: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]


def called(*arguments: str, cwd: Path) -> Finished:
    """The command in this process, for what starts none: it need not import everything again."""
    out, err = io.StringIO(), io.StringIO()
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        with (
            contextlib.chdir(cwd),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as ended,
        ):
            main(arguments)
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
    assert isinstance(ended.value.code, int)
    return Finished(ended.value.code, out.getvalue(), err.getvalue())


def gatebench(*arguments: str, cwd: Path, timeout: float = 150) -> Finished:
    with started(*arguments, cwd=cwd) as process:
        out, err = process.communicate(timeout=timeout)
    return Finished(process.returncode, out, err)


@contextlib.contextmanager
def started(*arguments: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*GATEBENCH, *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell gives background jobs an ignored SIGINT; a person in a terminal does not
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def served(process: subprocess.Popen[str]) -> Any:
    """What `serve --json` printed, once it serves."""
    assert process.stdout is not None
    assert process.stderr is not None
    text = "".join(iter(process.stdout.readline, "}\n"))
    return json.loads(text + "}")
