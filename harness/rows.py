"""What a row must say beyond its types, each mistake named with its file and row."""

from __future__ import annotations

import ast
import shlex
import signal
import string
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from harness.front import check_template, unfit
from harness.model import App, ConfigurationError, Front, Scenario, Server
from harness.probe.table import PROBES
from harness.table import nearest
from harness.verify import CHECKS

NEEDS = ("websocket",)
PLACEHOLDERS = ("app", "host", "port", "workers", "threads", "launchers")
NEEDED_PLACEHOLDERS = ("app", "port")


def _check_command(text: str, where: str, known: Iterable[str], needed: Iterable[str]) -> None:
    """Hold that a command, or a part of one, has the placeholders that it should."""
    try:
        words = shlex.split(text)
        parts = [part for part in string.Formatter().parse(text) if part[1] is not None]
    except ValueError as error:
        raise ConfigurationError(f"{where}: {error}") from None
    if not words:
        raise ConfigurationError(f"{where}: has no words")
    used = [name or "" for _, name, _, _ in parts]
    if any(spec or conversion for _, _, spec, conversion in parts):
        raise ConfigurationError(f"{where}: placeholders are written plainly, like {{port}}")
    for name in used:
        if name not in known:
            raise ConfigurationError(
                f"{where}: unknown placeholder {{{name}}}" + nearest(name, known, "{%s}")
            )
    for name in needed:
        if name not in used:
            raise ConfigurationError(f"{where}: the placeholder {{{name}}} is missing")


def _check_stop(row: Server | Front) -> None:
    if f"SIG{row.stop}" not in signal.Signals.__members__:
        raise ConfigurationError(
            f'{row.origin}: stop = {row.stop!r} is not a signal; write it like "TERM"'
        )


def _check_sockets(server: Server) -> None:
    for key in ("unix", "uwsgi"):
        if not (text := getattr(server, key)):
            continue
        where = f"{server.origin}: {key}"
        _check_command(text, where, (*PLACEHOLDERS, "socket"), ["socket"])
        if server.command_with(text) == server.command:
            raise ConfigurationError(
                f"{where} = {text!r} is an address and stands for {{host}}:{{port}}, which the "
                "command does not have; write options, -x {socket}, or the whole command"
            )


def _check_tls(server: Server) -> None:
    for key, needed in (("tls", ("cert", "key")), ("http3", ("cert", "key", "quic"))):
        if text := getattr(server, key):
            _check_command(text, f"{server.origin}: {key}", (*PLACEHOLDERS, *needed), needed)


def check_front(front: Front) -> None:
    """Hold a front's row. ConfigurationError if not."""
    _check_command(front.command, f"{front.origin}: command", ("config", "folder"), ["config"])
    _check_command(front.receipt, f"{front.origin}: receipt", (), ())
    check_template(front)
    _check_stop(front)
    _check_names(front.cannot, front.origin, "cannot")


def check_before(front: Front, servers: Mapping[str, Server]) -> None:
    """Hold that the servers which a front is shown with fit it. ConfigurationError if not."""
    for name in front.before:
        if name not in servers:
            raise ConfigurationError(
                f"{front.origin}: before: unknown server {name!r}" + nearest(name, servers)
            )
        if why := unfit(front, servers[name]):
            raise ConfigurationError(f"{front.origin}: before: {why}")


def check_server(server: Server) -> None:
    """Hold a server's row. ConfigurationError if not."""
    _check_command(server.command, f"{server.origin}: command", PLACEHOLDERS, NEEDED_PLACEHOLDERS)
    _check_sockets(server)
    _check_tls(server)
    if not server.packages:
        raise ConfigurationError(
            f"{server.origin}: packages: name at least the server's own package"
        )
    _check_requirements(server.packages, server.origin)
    _check_stop(server)
    _check_names(server.cannot, server.origin, "cannot")
    for probe, word in server.expects.items():
        if probe not in PROBES:
            raise ConfigurationError(
                f"{server.origin}: expects: unknown probe {probe!r}" + nearest(probe, PROBES)
            )
        if word not in ("yes", "no", "partial"):
            raise ConfigurationError(
                f'{server.origin}: expects: {probe} = {word!r} must be "yes", "no" or "partial"'
            )


def check_app(app: App) -> None:
    """Hold an app's row. ConfigurationError if not."""
    module, colon, name = app.target.partition(":")
    if not (colon and module and name):
        raise ConfigurationError(f'{app.origin}: target = {app.target!r} must be "module:object"')
    _check_requirements(app.packages, app.origin)
    _check_names(app.cannot, app.origin, "cannot")


def check_scenario(scenario: Scenario) -> None:
    """Hold a scenario's row, and that its Locust file says the same. ConfigurationError if not."""
    if not scenario.file.is_file():
        raise ConfigurationError(f"{scenario.origin}: file: {scenario.file} does not exist")
    for need in scenario.needs:
        if need not in NEEDS:
            raise ConfigurationError(
                f"{scenario.origin}: needs: unknown need {need!r}" + nearest(need, NEEDS)
            )
    _check_names(scenario.checks, scenario.origin, "checks")
    _check_agrees(scenario)


def _check_agrees(scenario: Scenario) -> None:
    """Hold that the row and its Locust file, which runs alone as well, say the same.

    The file is read, not run. What it computes instead of writing it down is not seen.
    """
    said = dict(_constants(scenario.file))
    pause = said.get("pause_s", 0.0)
    if pause != scenario.pause_s:
        raise ConfigurationError(
            f"{scenario.origin}: pause_s = {scenario.pause_s:g}, but {scenario.file.name} says "
            f"{pause!r}"
        )
    requests = said.get("requests_per_connection")
    if (requests is None) != scenario.keeps_connections:
        raise ConfigurationError(
            f"{scenario.origin}: keeps_connections = {str(scenario.keeps_connections).lower()}, "
            f"but {scenario.file.name} has requests_per_connection = {requests!r}"
        )


def _constants(file: Path) -> Iterator[tuple[str, Any]]:
    """What the classes of a Python file set to a constant."""
    try:
        tree = ast.parse(file.read_text("utf-8"))
    except (SyntaxError, ValueError):
        return  # Locust will say so
    for node in ast.walk(tree):
        for line in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(line, ast.Assign | ast.AnnAssign) and isinstance(
                line.value, ast.Constant
            ):
                names = line.targets if isinstance(line, ast.Assign) else [line.target]
                yield from ((ast.unparse(name), line.value.value) for name in names)


def _check_names(names: Iterable[str], origin: str, key: str) -> None:
    for name in names:
        if name not in CHECKS:
            raise ConfigurationError(
                f"{origin}: {key}: unknown check {name!r}" + nearest(name, CHECKS)
            )


def _check_requirements(packages: Iterable[str], origin: str) -> None:
    for package in packages:
        try:
            Requirement(package)
        except InvalidRequirement as error:
            what = str(error).splitlines()[0]
            raise ConfigurationError(f"{origin}: packages: {package!r}: {what}") from None
