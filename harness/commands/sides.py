"""The two sides of a gate, as the cells of one run.

Each side is planned as `gatebench run` would plan it, from its own words, and then the two are put
into one plan, which measures them in turns.
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from packaging.requirements import Requirement

from harness.analyze.decision import METRICS, widened
from harness.cells import DEFAULT_SCENARIOS
from harness.commands.arguments import registry_of, scenarios_or
from harness.commands.measurement import cells_of, plan_with
from harness.model import Cell, ConfigurationError, Server, Side
from harness.plan import Plan
from harness.registry import Registry
from harness.rows import check_server
from harness.source import Package, is_address, package_of, state_of, with_package

SIDES: tuple[Side, Side] = ("base", "head")


def plan_of_sides(arguments: argparse.Namespace) -> Plan:
    """Base, head and, with --placebo, base again; ConfigurationError where they cannot be."""
    arguments.scenario = scenarios_or(arguments, DEFAULT_SCENARIOS)
    if arguments.sweep:
        raise ConfigurationError("--sweep: a gate holds one load; name it with --users or --rate")
    own = arguments.app is not None and ":" in arguments.app
    for name in (f"{side}_{what}" for side in SIDES for what in ("dir", "requirements")):
        if getattr(arguments, name) is not None and not own:
            option = name.replace("_", "-")
            raise ConfigurationError(f"--{option} goes with --app package.module:app")
    (base, notes), (head, more) = (_planned(side, arguments, own) for side in SIDES)
    cells = (*base, *head)
    if arguments.placebo:
        cells += tuple(replace(it, server=replace(it.server, entry=2)) for it in base)
    plan = plan_with(arguments, cells, tuple(dict.fromkeys((*notes, *more))))
    return replace(plan, deltas=deltas_of(arguments.threshold))


def deltas_of(threshold: dict[str, float]) -> dict[str, float]:
    """What --threshold says, by metric; what it says of all counts where it is wider than usual."""
    named = {name: delta for name, delta in threshold.items() if name}
    of_all = threshold.get("", 0.0)
    ratios = {metric.name: metric.delta for metric in METRICS if metric.gates and not metric.share}
    wider = {name: of_all for name, delta in ratios.items() if of_all > delta}
    if of_all and not wider:
        raise ConfigurationError(
            f"--threshold {of_all:.3g} is not above what matters anyway: "
            + ", ".join(f"{name} {delta:.0%}" for name, delta in ratios.items())
        )
    deltas = wider | named
    widened(deltas)
    return deltas


def _planned(
    side: Side, arguments: argparse.Namespace, own: bool
) -> tuple[tuple[Cell, ...], tuple[str, ...]]:
    """The cells of one side, and notes on them."""
    asked = _asked(side, arguments, own)
    (word,) = asked.server
    texts = [*(arguments.package or ()), *(getattr(arguments, f"{side}_package") or ())]
    packages = [package_of(text) for text in texts]
    registry = registry_of(arguments)
    if is_command(word):
        registry, word = _with_command(side, word, arguments.interface, packages, registry)
        packages = []  # they are the row's
    else:
        word, built = _split_address(word, registry)
        packages = [*built, *packages]
    asked.server = [word]
    cells, notes = cells_of(asked, registry)
    server = replace(_only(side, cells), side=side)
    for package in packages:
        server = with_package(server, package)
    if (folder := getattr(arguments, f"{side}_dir")) is not None:
        state = state_of(folder)
        told = f"application from {folder}" + (f", {state}" if state else "")
        server = replace(server, notes=(*server.notes, told))
    return tuple(replace(cell, server=server) for cell in cells), notes


def _asked(side: Side, arguments: argparse.Namespace, own: bool) -> argparse.Namespace:
    """What `gatebench run` would be asked for one side."""
    asked = argparse.Namespace(**vars(arguments))
    words = {it: getattr(arguments, it) or arguments.server for it in SIDES}
    if words[side] is None:
        raise ConfigurationError(
            f"--{side} is missing: give --base A --head B, or SERVER and what they differ in"
        )
    asked.server, asked.placebo = [words[side]], False
    asked.app_dir = getattr(arguments, f"{side}_dir") or arguments.app_dir
    asked.requirements = getattr(arguments, f"{side}_requirements") or arguments.requirements
    if not own and any(is_command(word or "") for word in words.values()):
        asked.interface = None  # it is the command's, and our apps have theirs
    return asked


def _only(side: Side, cells: Sequence[Cell]) -> Server:
    servers = {cell.server.label: cell.server for cell in cells}
    if len(servers) != 1:
        raise ConfigurationError(f"--{side} names {len(servers)} servers: {', '.join(servers)}")
    (server,) = servers.values()
    if server.entry != 1:
        raise ConfigurationError(f"--{side} {server.label}: leave the # out; sides are told apart")
    return server


def _split_address(word: str, registry: Registry) -> tuple[str, list[Package]]:
    """A server's word without the place that its own package comes from, and that."""
    name, at, address = word.partition("@")
    if not (at and is_address(address)):
        return word, []
    rows = registry.select_servers([name])
    if len(rows) != 1:
        raise ConfigurationError(f"{word} names {len(rows)} servers; give one")
    return name, [package_of(address, Requirement(rows[0].packages[0]).name)]


def is_command(word: str) -> bool:
    """Whether a side is a command line, which has several words."""
    return len(word.split()) > 1


def _with_command(
    side: Side,
    command: str,
    interface: str | None,
    packages: Sequence[Package],
    registry: Registry,
) -> tuple[Registry, str]:
    """The rows with one that is made from a command line, and its name."""
    if interface not in ("wsgi", "asgi"):
        raise ConfigurationError(
            f"--{side} is a command line: say what it speaks, --interface wsgi or --interface asgi"
        )
    if not packages:
        raise ConfigurationError(
            f"--{side} is a command line: say what is installed for it, with --{side}-package "
            "NAME for each package, or --package NAME for both sides"
        )
    try:
        program = Path(shlex.split(command)[0]).name
    except ValueError as error:
        raise ConfigurationError(f"--{side} {command!r}: {error}") from None
    name = re.sub(r"[^\w.-]", "-", program)
    row = Server(
        name=name,
        speaks="wsgi" if interface == "wsgi" else "asgi",
        packages=tuple(package.requirement for package in packages),
        command=command,
        # what serves a request of WSGI is not known of a command: then no slots are guessed
        concurrency="thread" if interface == "wsgi" else "event-loop",
        origin=f"--{side}",
        websocket=interface == "asgi",
        notes=tuple(package.note for package in packages),
    )
    check_server(row)
    return replace(registry, servers={**registry.servers, name: row}), name
