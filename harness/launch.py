"""One server on a free port of loopback, from start to the last process gone.

Ready means that it answered a whole request of ours, right, and that only processes of our own
tree listen on its port: many servers share their port without an error, so a stranger might
have answered instead.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.companion import UPSTREAM, companion
from harness.conversation import ContractError
from harness.front import Behind, RunningFront, command_behind, stand
from harness.model import (
    App,
    Cell,
    ConfigurationError,
    Environment,
    MeasurementError,
    Request,
)
from harness.ports import HOST, free_port, listener, listeners, told
from harness.process import Ending, StartError, Tree, last_lines, scratch_folder
from harness.verify import answer_to, answers_hello, expect_own, whoami

LAUNCHERS = Path(__file__).with_name("launchers")
READY_WITHIN_S = 30.0
WORKERS_WITHIN_S = 10.0
STOP_WITHIN_S = 10.0


@dataclass
class RunningServer:
    """A server that was started: where it listens, how it was called, and its process tree.

    `startup_s` is launch to first right answer, in seconds; `workers_seen` the processes that
    answered while it was made ready, None where the app cannot tell; `request` what a user's
    own application is asked, with the status of its first answer once it has answered;
    `front` the proxy before it, whose port is then `port`; `ending` how it stopped, once it has.
    """

    cell: Cell
    host: str
    port: int
    argv: tuple[str, ...]
    log: Path
    tree: Tree
    began: float
    startup_s: float | None = None
    workers_seen: tuple[int, ...] | None = None
    request: Request | None = None
    front: RunningFront | None = None
    ending: Ending | None = field(default=None)

    @property
    def url(self) -> str:
        """Where a client finds it."""
        return f"http://{self.host}:{self.port}"

    def wait_ready(self, within_s: float = READY_WITHIN_S) -> None:
        """Return when it answers right from its own tree; MeasurementError with its log if not."""
        own = self.cell.scenario.request
        asked = "GET /" if own is None else own.name
        while not (self._answers_own(own, within_s) if own else self._answers()):
            self.hold("before it was ready")
            if time.monotonic() - self.began > within_s:
                raise self.failed(
                    f"did not answer {asked} right within {within_s:.0f} s{self._through()}"
                )
            time.sleep(0.01)  # the pace of asking; readiness is the answer
        if own is None:
            self._see_workers()

    def hold(self, when: str) -> None:
        """That it still runs, and its proxy; MeasurementError with the log if not."""
        if self.front is not None:
            self.front.hold(when)
        if (code := self.tree.poll()) is not None:
            raise self.failed(f"ended with exit code {code} {when}")

    def _there(self) -> bool:
        """Whether its proxy has somebody to ask."""
        return self.front is None or self.front.behind.there()

    def _through(self) -> str:
        """What a proxy answers in its server's place."""
        if self.front is None:
            return ""
        try:
            answer = answer_to(Request(), self.host, self.port, timeout_s=2.0)
        except ContractError as error:
            return f": {self.front.front.name} gives no answer ({error})"
        return f": {self.front.front.name} answers {answer.status}"

    def _answers(self) -> bool:
        if not (self._there() and answers_hello(self.host, self.port, timeout_s=2.0)):
            return False
        self.startup_s = time.monotonic() - self.began
        self._hold_port()
        return True

    def _answers_own(self, request: Request, within_s: float) -> bool:
        """Whether a user's own application answers; a wrong answer will not become right."""
        if not self._there():
            return False
        try:
            # it may take long by right, and a server that does not listen yet refuses at once
            answer = answer_to(request, self.host, self.port, timeout_s=within_s)
        except ContractError:
            return False
        # which says: not yet; a proxy says it in other words, too
        not_yet = (503,) if self.front is None else (502, 503, 504)
        if answer.status in not_yet and answer.status != request.status:
            return False
        self.startup_s = time.monotonic() - self.began
        self._hold_port()
        try:
            expect_own(request, answer)
        except ContractError as error:
            raise self.failed(f"did not answer {request.name} right: {error}") from None
        self.request = replace(request, status=answer.status)
        return True

    def _hold_port(self) -> None:
        """That nobody else listens on its port, nor on the one that its proxy asks."""
        if self.front is None:
            self._hold_listeners(self.port, self.tree)
        else:
            self._hold_listeners(self.port, self.front.tree)
            self._hold_listeners(self.front.behind.port, self.tree)

    def _hold_listeners(self, port: int, tree: Tree) -> None:
        for _ in range(2):  # a worker may end between the two looks
            others = set(listeners(port)) - set(tree.pids())
            if not others:
                return
        who = ", ".join(sorted(told(pid) for pid in others))
        raise self.failed(f"port {port} is also listened on by {who}, which is not its own")

    def stop(self) -> Ending:
        """Stop its proxy, then it, each by its row's signal; all of both is gone on return."""
        if self.front is not None:
            self.front.stop()
        self.ending = self.tree.stop(self.cell.server.stop, grace_s=STOP_WITHIN_S)
        if not self.ending.gone:
            raise self.failed("left processes that even KILL did not end")
        return self.ending

    def _see_workers(self) -> None:
        """Ask who answers until every worker has, or the seconds for it are over."""
        expected = self.cell.workers
        seen: set[int] = set()
        deadline = time.monotonic() + WORKERS_WITHIN_S
        # a proxy asks on the connection to its server that it has, and so the same worker, but
        # for requests that come at once
        at_once = 1 if self.front is None else 8 * expected
        with ThreadPoolExecutor(at_once) as threads:
            while len(seen) < expected and time.monotonic() < deadline:
                for asked in [threads.submit(self._who) for _ in range(at_once)]:
                    seen.add(asked.result())
        self.workers_seen = tuple(sorted(seen))

    def _who(self) -> int:
        """The process that answers, which is of its own tree."""
        try:
            pid: int = whoami(self.host, self.port, timeout_s=2.0)["pid"]
        except ContractError as error:
            raise self.failed(f"cannot say which process answers: {error}") from None
        if pid not in self.tree.pids():
            raise self.failed(
                f"port {self.port} is answered by process {pid}, which is not its own"
            )
        return pid

    def failed(self, what: str) -> MeasurementError:
        """What happened to this server, with the end of its log, to be raised."""
        log = last_lines(self.log)
        if self.front is not None and (said := last_lines(self.front.log)):
            log = f"{log}\n{self.front.front.name} says:\n{said}".lstrip()
        return MeasurementError(f"server {self.cell.server.label} {what}", log=log)


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
    # servers read settings from the working directory and HOME, so they get empty ones
    with (
        scratch_folder() as home,
        stand(cell, log=log.with_name("proxy.log"), cpus=cpus, port=port) as front,
        _asked(cell, log.with_name("upstream.log")) as variables,
    ):
        behind = Behind(port, None) if front is None else front.behind
        argv = command_line(cell, environment, behind)
        env = clean_environment(environment, cell.app, home) | variables | dict(extra_env or {})
        began = time.monotonic()
        try:
            tree = Tree(argv, cwd=home, env=env, log=log, cpus=cpus)
        except StartError as error:
            raise StartError(f"{cell.server.origin}: {error}") from None
        with tree:
            yield RunningServer(cell, HOST, port, argv, log, tree, began, front=front)


@contextmanager
def upstream(log: Path, cpus: Sequence[int] = ()) -> Iterator[str]:
    """The slow upstream that apps ask for `/upstream/<ms>`; yields its `host:port`."""
    with companion(UPSTREAM, log=log, cpus=cpus) as (port, _):
        yield f"{HOST}:{port}"


@contextmanager
def _asked(cell: Cell, log: Path) -> Iterator[dict[str, str]]:
    """The variables that say where the upstream is, where the scenario asks it; else none."""
    if "upstream" not in cell.scenario.checks:
        yield {}
        return
    with upstream(log) as at:  # on gatebench's own CPUs, which are not the server's
        yield {"GATEBENCH_UPSTREAM": at}


def command_line(cell: Cell, environment: Environment, behind: Behind) -> tuple[str, ...]:
    """The row's command as an argument list, its program taken from the environment."""
    values = {
        "app": cell.app.target,
        "host": HOST,
        "port": behind.port,
        "socket": behind.socket,
        "workers": cell.workers,
        "threads": cell.threads,
        "launchers": LAUNCHERS,
    }
    words = [word.format(**values) for word in shlex.split(command_behind(cell.server))]
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
        **app.variables,
    }
