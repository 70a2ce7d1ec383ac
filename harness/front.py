"""A proxy before a server: its configuration made, then its life from start to stop.

The proxy has the clients' port and asks the server behind it, at a port of the server's own or
at a unix socket. Everything that it writes lies in a folder of its own; nothing of the system's
configuration is read or touched.
"""

from __future__ import annotations

import os
import re
import resource
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, StrictUndefined, TemplateError, TemplateSyntaxError, meta

from harness.debian import PROGRAMS, require
from harness.model import Cell, ConfigurationError, Front, MeasurementError, Server
from harness.ports import HOST, free_port, listeners
from harness.process import Ending, StartError, Tree, last_lines, scratch_folder

VARIABLES = (
    "listen", "server", "socket", "reaches", "processes", "users", "open_files", "root", "folder",
)  # fmt: skip
STOP_WITHIN_S = 10.0
RECEIPT_WITHIN_S = 10.0
OPEN_FILES = 65536
TEMPLATES = Environment(
    undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    autoescape=False,  # noqa: S701 - a configuration is not a web page
)  # fmt: skip
# becomes another user and keeps only root's right to files, so that all that root has made for
# the proxy, and the server's socket, can be used by it
NOT_ROOT = (
    "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--inh-caps=+dac_override",
    "--ambient-caps=+dac_override", "--securebits=+no_setuid_fixup",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Behind:
    """Where the server behind a proxy listens: a port of its own, or a socket's file."""

    port: int
    socket: Path | None

    def there(self) -> bool:
        """Whether somebody listens: a proxy that is asked before writes it into its log."""
        return bool(listeners(self.port)) if self.socket is None else self.socket.exists()

    def __str__(self) -> str:
        return f"{HOST}:{self.port}" if self.socket is None else str(self.socket)


@dataclass
class RunningFront:
    """A proxy that was started: where clients find it, where it looks for its server.

    `version` is what its receipt says; `ending` how it stopped, once it has.
    """

    front: Front
    port: int
    behind: Behind
    argv: tuple[str, ...]
    log: Path
    tree: Tree
    version: str
    ending: Ending | None = None

    def hold(self, when: str) -> None:
        """That it still runs; MeasurementError with its log if not."""
        if (code := self.tree.poll()) is not None:
            raise self.failed(f"ended with exit code {code} {when}")

    def stop(self) -> Ending:
        """Stop it by its row's signal; the whole tree is gone when this returns."""
        self.ending = self.tree.stop(self.front.stop, grace_s=STOP_WITHIN_S)
        if not self.ending.gone:
            raise self.failed("left processes that even KILL did not end")
        return self.ending

    def failed(self, what: str) -> MeasurementError:
        """What happened to the proxy, with the end of its log, to be raised."""
        return MeasurementError(f"proxy {self.front.name} {what}", log=last_lines(self.log))


@contextmanager
def stand(
    cell: Cell, *, log: Path, cpus: Sequence[int] = (), port: int
) -> Iterator[RunningFront | None]:
    """Start the cell's proxy on `port`, for a server that is about to start; None without one.

    The proxy is gone on exit. Its configuration is kept beside the log. MeasurementError where
    its program is missing.
    """
    front = cell.front
    if front is None:
        yield None
        return
    require(front)
    with scratch_folder() as folder:
        socket = None if front.reaches == "http" else folder / "s"
        behind = Behind(_another_port(port), socket)
        config = folder / "config"
        config.write_text(_configuration(front, cell, port, behind, folder, len(cpus)), "utf-8")
        shutil.copyfile(config, log.with_suffix(".conf"))
        argv = _command(front, config, folder)
        env = {"PATH": PROGRAMS, "LANG": "C.UTF-8", "TMPDIR": str(folder), "HOME": str(folder)}
        version = receipt(front)
        try:
            tree = Tree(argv, cwd=folder, env=env, log=log, cpus=cpus)
        except StartError as error:
            raise StartError(f"{front.origin}: {error}") from None
        with tree:
            yield RunningFront(front, port, behind, argv, log, tree, version)


def receipt(front: Front) -> str:
    """The version that the proxy's program says it is; empty if it says none."""
    words = shlex.split(front.receipt)
    words[0] = _program(words[0])
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=RECEIPT_WITHIN_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return found[0] if found else ""


def command_behind(server: Server) -> str:
    """The server's command as it has to listen for its front; as ever without one."""
    reaches = "http" if server.front is None else server.front.reaches
    return server.command if reaches == "http" else server.command_with(getattr(server, reaches))


def unfit(front: Front, server: Server) -> str | None:
    """Why `front` cannot stand before `server`, in one line; None if it can."""
    if front.reaches == "http" or getattr(server, front.reaches):
        return None
    how = {"unix": "on a unix socket", "uwsgi": "for the uwsgi protocol"}[front.reaches]
    return (
        f"front {front.name} cannot stand before server {server.name}, whose row has no "
        f"`{front.reaches}`: how it listens {how}"
    )


def check_template(front: Front) -> None:
    """Raise ConfigurationError for a template that is missing, wrong, or asks for the unknown."""
    where = f"{front.origin}: template: {front.template}"
    try:
        known = TEMPLATES.parse(front.template.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{where}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{where}: is not UTF-8 text") from None
    except TemplateSyntaxError as error:
        raise ConfigurationError(f"{where}, line {error.lineno}: {error.message}") from None
    if unknown := sorted(meta.find_undeclared_variables(known) - set(VARIABLES)):
        raise ConfigurationError(
            f"{where}: unknown placeholder {{{{ {unknown[0]} }}}}; there are {', '.join(VARIABLES)}"
        )


def _another_port(port: int) -> int:
    """A free port that is not the one meant for the clients, where nobody listens yet either."""
    while (another := free_port()) == port:
        continue
    return another


def _configuration(
    front: Front, cell: Cell, port: int, behind: Behind, folder: Path, cpus: int
) -> str:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    template = front.template
    try:
        return TEMPLATES.from_string(template.read_text("utf-8")).render(
            listen=f"{HOST}:{port}",
            server=str(behind),
            socket=behind.socket is not None,
            reaches=front.reaches,
            processes=max(1, cpus),
            users=cell.load.users,
            open_files=OPEN_FILES if limit == resource.RLIM_INFINITY else min(limit, OPEN_FILES),
            root=os.geteuid() == 0,
            folder=str(folder),
        )
    except TemplateError as error:
        raise MeasurementError(f"{front.origin}: template: {template}: {error}") from None


def _command(front: Front, config: Path, folder: Path) -> tuple[str, ...]:
    words = [word.format(config=config, folder=folder) for word in shlex.split(front.command)]
    words[0] = _program(words[0])
    became = NOT_ROOT if front.refuses_root and os.geteuid() == 0 else ()
    return (*became, *words)


def _program(name: str) -> str:
    return shutil.which(name, path=PROGRAMS) or name
