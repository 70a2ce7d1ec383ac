"""The words of gatebench as frozen dataclasses. No input or output happens here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

Interface = Literal["wsgi", "asgi"]
Concurrency = Literal["process", "thread", "greenlet", "event-loop"]
Measure = Literal["response", "delay"]
Outcome = Literal["measured", "failed"]
Reach = Literal["http", "unix", "uwsgi"]
Arrivals = Literal["constant", "poisson"]
Side = Literal["", "base", "head"]

NOTHING: Mapping[str, str] = MappingProxyType({})


def visible(text: str) -> str:
    """A text from outside on one line, with its control characters made visible."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


class GatebenchError(Exception):
    """Something the user can act on: one line that says what, where and what to do.

    `exit_code` is what the command line exits with when the error reaches it.
    """

    exit_code = 1

    def __init__(self, message: str) -> None:
        # names and texts from outside may hold anything; the promise is one line
        super().__init__(visible(message))


class ConfigurationError(GatebenchError):
    """The request or a table is wrong; nothing was started. Exit code 2."""

    exit_code = 2


class RefusedError(GatebenchError):
    """Could be done, and would not be honest: results of unlike things in one run. Exit code 4."""

    exit_code = 4


class MeasurementError(GatebenchError):
    """A cell could not be measured; the run goes on without it. Exit code 3.

    `log` holds the last lines of the log that explain it, or nothing.
    """

    exit_code = 3

    def __init__(self, message: str, *, log: str = "") -> None:
        super().__init__(message)
        self.log = log


@dataclass(frozen=True, slots=True)
class Front:
    """A proxy that stands before a server: a row of fronts.toml.

    `reaches` is how it asks the server: HTTP over TCP, HTTP over a unix socket, or the uwsgi
    protocol. `template` becomes the {config} of its `command`. `receipt` is the command that
    says its version; `before` names the servers it is shown with; `refuses_root` whether it
    cannot serve as root. The others are as a Server's.
    """

    name: str
    about: str
    command: str
    template: Path
    reaches: Reach
    receipt: str
    origin: str
    stop: str = "TERM"
    refuses_root: bool = False
    before: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    cannot: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    debian: Mapping[str, str] = field(default_factory=lambda: NOTHING)

    @property
    def label(self) -> str:
        """The name, as a server has one."""
        return self.name

    @property
    def program(self) -> str:
        """The program that its command starts."""
        return self.command.split()[0]


@dataclass(frozen=True, slots=True)
class Injection:
    """CPU that a raw app burns for each request, beside its work: a known regression.

    `share` of what its process spends on each request otherwise, or `seconds`; the other is 0.
    `text` is how it is written: `cpu=5%`.
    """

    text: str
    share: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Server:
    """One named server/worker configuration: a row of servers.toml.

    `concurrency` says what serves one request at a time: a worker process, a thread, a
    greenlet, or a task of an event loop. `cannot` maps a check of the app contract to the
    reason why this server fails it. `debian` maps each Debian package that it needs of the
    system to what shows that it is there: a program, or a header of C. `origin` is the file
    and row, for messages.

    `unix` and `uwsgi` say how it listens on a unix socket, {socket}, for HTTP and for the uwsgi
    protocol; `tls` and `http3` likewise, for `gatebench probe`: see `command_with`. `expects`
    maps a probe to the answer that is known.

    `version`, `python`, the `front` before it and the `injection` into its app are not the
    row's: they are asked for. So is `entry`, 2 for the second time that the same stands in a run,
    and the `side` of a gate that it is, by which two that are called alike are told apart.
    """

    name: str
    speaks: Interface
    packages: tuple[str, ...]
    command: str
    concurrency: Concurrency
    origin: str
    websocket: bool = False
    stop: str = "TERM"
    notes: tuple[str, ...] = ()
    cannot: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    debian: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    tls: str = ""
    http3: str = ""
    unix: str = ""
    uwsgi: str = ""
    expects: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    version: str | None = None
    python: str | None = None
    front: Front | None = None
    injection: Injection | None = None
    entry: int = 1
    side: Side = ""

    @property
    def label(self) -> str:
        """The name as the user asked for it, with all that is not the row's."""
        label = self.name if self.version is None else f"{self.name}@{self.version}"
        label = label if self.front is None else f"{self.front.name}+{label}"
        label = label if self.injection is None else f"{label}+{self.injection.text}"
        label = label if self.python is None else f"{label} (Python {self.python})"
        label = f"{self.side} {label}" if self.side else label
        return label if self.entry == 1 else f"{label}#{self.entry}"

    @property
    def twin_of(self) -> str | None:
        """The label of the same server's first entry; None for that one."""
        return None if self.entry == 1 else replace(self, entry=1).label

    def command_with(self, more: str) -> str:
        """The command with `more` of the row: options are added, `-x {socket}`; an address stands
        in the place of {host}:{port}; and what has {app} in it in that of the whole command.
        """
        if "{app}" in more:
            return more
        if more.startswith("-"):
            return f"{self.command} {more}"
        return self.command.replace("{host}:{port}", more)

    @property
    def takes_workers(self) -> bool:
        """Whether the number of worker processes can be chosen."""
        return "{workers}" in self.command

    @property
    def takes_threads(self) -> bool:
        """Whether the number of threads per worker can be chosen."""
        return "{threads}" in self.command


@dataclass(frozen=True, slots=True)
class App:
    """One implementation of the app contract: a row of apps.toml.

    `target` is what a server imports (`module:object`) with `folder` on its path;
    `packages` are the framework's requirements, added to the server's, and so are those of
    the file `requirements`. `cannot` maps a check of the app contract to the reason why this
    app may fail it, whatever serves it. `env` are variables that it is given; `own` marks a
    user's own application, which answers its scenario's request and not the app contract.
    `burns` says that it can burn CPU for each request on purpose (see Injection).
    """

    name: str
    speaks: Interface
    folder: Path
    target: str
    origin: str
    packages: tuple[str, ...] = ()
    websocket: bool = False
    cannot: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    requirements: Path | None = None
    variables: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    own: bool = False
    burns: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """What a user's own application is asked, and what its right answer is.

    `status` None is any 2xx or 3xx; `expect` is the whole body, None where it may be any.
    """

    method: str = "GET"
    path: str = "/"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    status: int | None = None
    expect: bytes | None = None

    @property
    def name(self) -> str:
        """The request in one line, for people."""
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of work: a Locust file and what must hold for it. A row of scenarios.toml.

    `checks` are the parts of the app contract proved on the live server before load;
    `needs` what a server must offer (`websocket`); `wait_s` the wait that the app is asked
    for, in seconds: no honest answer is faster; `latency` the measure that its users feel;
    `pause_s` how long each user rests after an answer, in seconds; `keeps_connections` whether
    a connection serves more than one request. `concurrency` says what serves one request at a
    time where that is not what the server's row says. `request` is the one that a user's own
    application is asked, in place of the contract.
    """

    name: str
    file: Path
    about: str
    checks: tuple[str, ...]
    origin: str
    needs: tuple[str, ...] = ()
    wait_s: float = 0.0
    latency: Measure = "response"
    pause_s: float = 0.0
    keeps_connections: bool = True
    concurrency: Concurrency | None = None
    request: Request | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """How much, and by which model.

    closed: `users` that each send when their last answer came. open: requests that are due at
    `rate_per_s`, spaced by `arrivals`, whatever the server does; `users` bounds how many are
    in flight, and those beyond it are not sent, and counted. A request that has no answer
    `deadline_s` after it was due is ended, and counted as a timeout. `processes` of Locust share
    the users and the rate.
    """

    users: int
    model: Literal["closed", "open"] = "closed"
    rate_per_s: float | None = None
    arrivals: Arrivals | None = None
    deadline_s: float = 60.0
    processes: int = 1


@dataclass(frozen=True, slots=True)
class Cell:
    """Server x app x scenario x load, with the budget it is given.

    `workers` and `threads` are what the server really gets: 1 worker where it has no
    workers to choose, no threads (None) where a thread is not what serves a request.
    """

    server: Server
    app: App
    scenario: Scenario
    load: Load
    workers: int
    threads: int | None

    @property
    def front(self) -> Front | None:
        """The proxy before its server; None without."""
        return self.server.front

    @property
    def name(self) -> str:
        """The cell in one line, for people."""
        return f"{self.server.label} · {self.app.name} · {self.scenario.name}"

    @property
    def concurrency(self) -> Concurrency:
        """What serves one request at a time, in this scenario."""
        return self.scenario.concurrency or self.server.concurrency

    @property
    def slots(self) -> int | None:
        """Requests that can be in service at once: workers x threads.

        None if unbounded, or not known because the threads are left to the server or the app.
        """
        if self.concurrency == "process":
            return self.workers
        if self.concurrency == "thread" and self.threads is not None:
            return self.workers * self.threads
        return None


@dataclass(frozen=True, slots=True)
class Environment:
    """A server's own virtual environment and its receipt: every distribution's version."""

    path: Path
    python: str
    receipt: Mapping[str, str]

    @property
    def bin(self) -> Path:
        """The folder of the environment's programs."""
        return self.path / "bin"


@dataclass(frozen=True, slots=True)
class Placement:
    """Which CPUs the server and the generator run on, and whether the sets are disjoint."""

    server: tuple[int, ...]
    generator: tuple[int, ...]
    notes: tuple[str, ...] = ()

    @property
    def sides(self) -> dict[str, tuple[int, ...]]:
        """The CPUs of each side by its name."""
        return {"server": self.server, "generator": self.generator}

    @property
    def disjoint(self) -> bool:
        """Whether no CPU is shared."""
        return not set(self.server) & set(self.generator)


@dataclass(frozen=True, slots=True)
class Timing:
    """The seconds of a trial: warm-up that is discarded, then what is measured."""

    warmup_s: float = 2.0
    duration_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a drive stands: monotonic nanoseconds, and requests done and failed so far.

    `p50_s` and `p99_s` are of what the scenario's users feel, in the last second or so, to 3 %:
    to be looked at, and no results. None where no answer was counted lately.
    """

    at_ns: int
    start_ns: int
    end_ns: int
    done: int
    failed: int
    p50_s: float | None = None
    p99_s: float | None = None
