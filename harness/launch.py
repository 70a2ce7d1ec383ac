"""One server on a free port of loopback, from start to the last process gone.

Ready means that it answered a whole request of ours, right, from a process of our own tree:
many servers share their port without an error, so a stranger might have answered instead.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness.conversation import ContractError
from harness.model import App, Cell, ConfigurationError, Environment, MeasurementError
from harness.ports import HOST, free_port, listener
from harness.process import Ending, StartError, Tree, last_lines, scratch_folder
from harness.verify import answers_hello, whoami

UPSTREAM = Path(__file__).with_name("upstream.py")
READY_WITHIN_S = 30.0
WORKERS_WITHIN_S = 10.0
STOP_WITHIN_S = 10.0


@dataclass
class RunningServer:
    """A server that was started: where it listens, how it was called, and its process tree.

    `startup_s` is launch to first right answer, in seconds; `workers_seen` the processes that
    answered while it was made ready; `ending` how it stopped, once it has.
    """

    cell: Cell
    host: str
    port: int
    argv: tuple[str, ...]
    log: Path
    tree: Tree
    began: float
    startup_s: float | None = None
    workers_seen: tuple[int, ...] = ()
    ending: Ending | None = field(default=None)

    @property
    def url(self) -> str:
        """Where a client finds it."""
        return f"http://{self.host}:{self.port}"

    def wait_ready(self, within_s: float = READY_WITHIN_S) -> None:
        """Return when it answers right from its own tree; MeasurementError with its log if not."""
        while not answers_hello(self.host, self.port, timeout_s=2.0):
            if self.tree.poll() is not None:
                raise self.failed(f"ended with exit code {self.tree.poll()} before it was ready")
            if time.monotonic() - self.began > within_s:
                raise self.failed(f"did not answer GET / right within {within_s:.0f} s")
            time.sleep(0.01)  # the pace of asking; readiness is the answer
        self.startup_s = time.monotonic() - self.began
        self._see_workers()

    def stop(self) -> Ending:
        """Stop it by its row's signal; the whole tree is gone when this returns."""
        self.ending = self.tree.stop(self.cell.server.stop, grace_s=STOP_WITHIN_S)
        if not self.ending.gone:
            raise self.failed("left processes that even KILL did not end")
        return self.ending

    def _see_workers(self) -> None:
        """Ask who answers until every worker has, or the seconds for it are over."""
        expected = self.cell.workers
        seen: set[int] = set()
        deadline = time.monotonic() + WORKERS_WITHIN_S
        while len(seen) < expected and time.monotonic() < deadline:
            try:
                pid = whoami(self.host, self.port, timeout_s=2.0)["pid"]
            except ContractError as error:
                raise self.failed(f"cannot say which process answers: {error}") from None
            if pid not in self.tree.pids():
                raise self.failed(
                    f"port {self.port} is answered by process {pid}, which is not its own"
                )
            seen.add(pid)
        self.workers_seen = tuple(sorted(seen))

    def failed(self, what: str) -> MeasurementError:
        """What happened to this server, with the end of its log, to be raised."""
        return MeasurementError(f"server {self.cell.server.label} {what}", log=last_lines(self.log))


@contextmanager
def launch(
    cell: Cell,
    environment: Environment,
    *,
    log: Path,
    cpus: Sequence[int] = (),
    port: int | None = None,
    extra_env: Mapping[str, str] | None = None,
) -> Iterator[RunningServer]:
    """Start the cell's server with its app; everything it started is gone on exit.

    Raises ConfigurationError where the forced `port` is busy, StartError where the program
    cannot be executed.
    """
    if port is None:
        port = free_port()
    elif (owner := listener(port)) is not None:
        raise ConfigurationError(f"port {port} is in use by {owner}; stop it or choose another")
    argv = command_line(cell, environment, port)
    # servers read settings from the working directory and HOME, so they get empty ones
    with scratch_folder() as home:
        env = clean_environment(environment, cell.app, home) | dict(extra_env or {})
        began = time.monotonic()
        try:
            tree = Tree(argv, cwd=home, env=env, log=log, cpus=cpus)
        except StartError as error:
            raise StartError(f"{cell.server.origin}: {error}") from None
        with tree:
            yield RunningServer(cell, HOST, port, argv, log, tree, began)


@contextmanager
def upstream(log: Path, cpus: Sequence[int] = ()) -> Iterator[str]:
    """The slow upstream that apps ask for `/upstream/<ms>`; yields its `host:port`."""
    port = free_port()
    argv = [sys.executable, "-I", "-S", str(UPSTREAM), str(port)]
    env = {"PATH": os.defpath}
    with Tree(argv, cwd=log.parent, env=env, log=log, cpus=cpus) as tree:
        deadline = time.monotonic() + READY_WITHIN_S
        while "ready" not in last_lines(log):
            if tree.wait(0.01) is not None or time.monotonic() > deadline:
                raise MeasurementError("the slow upstream did not start", log=last_lines(log))
        yield f"{HOST}:{port}"


def command_line(cell: Cell, environment: Environment, port: int) -> tuple[str, ...]:
    """The row's command as an argument list, its program taken from the environment."""
    values = {
        "app": cell.app.target,
        "host": HOST,
        "port": port,
        "workers": cell.workers,
        "threads": cell.threads,
    }
    words = [word.format(**values) for word in shlex.split(cell.server.command)]
    program = environment.bin / words[0]
    return (str(program) if program.exists() else words[0], *words[1:])


def clean_environment(environment: Environment, app: App, home: Path) -> dict[str, str]:
    """The variables a server gets: none of the user's, so that none can change a result."""
    return {
        "PATH": f"{environment.bin}{os.pathsep}{os.defpath}",
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(app.folder),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
