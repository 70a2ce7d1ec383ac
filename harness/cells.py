"""What was asked for, as cells: servers x scenarios, with equal budgets, or the refusal."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from harness.index import feature_versions
from harness.injection import inject, split_injection
from harness.model import Cell, ConfigurationError, Load, Scenario, Server
from harness.registry import Registry, unmet_need

DEFAULT_SERVERS = (
    "gunicorn-sync",
    "gunicorn-gthread",
    "gunicorn-uvicorn",
    "uvicorn",
    "hypercorn",
    "waitress",
)
DEFAULT_SCENARIOS = ("hello", "blocking-io")

# what a named server is measured by when no scenario is named; all there are is '*'
USUAL_SCENARIOS = ("hello", "echo", "blocking-io", "websocket-echo", "long-poll")


@dataclass(frozen=True, slots=True)
class Budget:
    """What every server gets alike: worker processes, threads in each, and the load."""

    workers: int
    threads: int
    load: Load


# What stands after the @ for each release in a range, given as server, range and Python.
Releases = Callable[[Server, str, str | None], list[str]]


def split_words(items: Iterable[str]) -> list[str]:
    """Lists by spaces, commas, or both."""
    return [word for item in items for word in item.split(",") if word]


def server_words(items: Iterable[str]) -> list[str]:
    """The same for servers, where commas also stand between versions: `uvicorn@0.30,0.40`."""
    words: list[str] = []
    for part in split_words(items):
        name, at, _ = words[-1].partition("@") if words else ("", "", "")
        words.append(f"{name}@{part}" if at and part[0].isdigit() else part)
    return words


def split_entry(word: str) -> tuple[str, int]:
    """A server's word without its `#2`, which enters the same server a second time."""
    said, mark, entry = word.partition("#")
    if not mark:
        return word, 1
    if not entry.isdecimal() or int(entry) < 2:
        raise ConfigurationError(f"{word}: write {said}#2 for the same server a second time")
    return said, int(entry)


def select(
    registry: Registry,
    words: Sequence[str],
    pythons: Sequence[str] = (),
    releases: Releases = feature_versions,
) -> list[Server]:
    """The servers that are named, each once, a row for each version and each Python."""
    chosen: dict[str, Server] = {}
    for python in pythons or (None,):
        for whole in words:
            said, entry = split_entry(whole)
            word, injection = split_injection(said)
            name, _, versions = word.partition("@")
            names = [word]
            if ".." in versions:
                names = [
                    f"{server.label}@{version}"
                    for server in registry.select_servers([name])
                    for version in releases(server, versions, python)
                ]
            for server in registry.select_servers(names):
                row = replace(server, python=python, injection=injection, entry=entry)
                chosen.setdefault(row.label, row)
    return list(chosen.values())


def make_cells(
    registry: Registry,
    servers: Sequence[str],
    scenarios: Sequence[str],
    budget: Budget,
    *,
    app: str | None = None,
    pythons: Sequence[str] = (),
    placebo: bool = False,
    releases: Releases = feature_versions,
) -> tuple[list[Cell], list[str]]:
    """The cells asked for, and notes on what was left out.

    Scenarios that were named must be met by every server, else ConfigurationError names each
    that cannot, before anything starts. Without names, each server gets the usual ones it can
    do, and with a glob those of it. Without servers, a default set for a first look. With `placebo`
    the first one is entered twice, if none is.
    """
    chosen = select(registry, servers or DEFAULT_SERVERS, pythons, releases)
    if placebo and not any(server.twin_of for server in chosen):
        chosen.append(replace(chosen[0], entry=2))
    usual = [it for it in USUAL_SCENARIOS if it in registry.scenarios] or ["*"]
    works = registry.select_scenarios(scenarios or (usual if servers else DEFAULT_SCENARIOS))
    cells: list[Cell] = []
    refused: list[str] = []
    left_out: list[str] = []
    for server, scenario in itertools.product(chosen, works):
        implementation = registry.app_for(server, app)
        why = unmet_need(server, implementation, scenario)
        if why is None and budget.load.model == "open" and scenario.latency == "delay":
            why = f"scenario {scenario.name} is asked by events, not at a rate: no --rate"
        if why is None:
            cells.append(cell_of(server, scenario, budget, registry, app))
        else:
            named = scenario.name in scenarios or not servers
            (refused if named else left_out).append(why)
    if refused or not cells:
        raise ConfigurationError("; ".join(refused + left_out))
    return cells, [f"left out: {why}" for why in left_out]


def cell_of(
    server: Server, scenario: Scenario, budget: Budget, registry: Registry, app: str | None = None
) -> Cell:
    """One cell, with the part of the budget that its server can take."""
    return Cell(
        server,
        inject(server.injection, registry.app_for(server, app)),
        scenario,
        budget.load,
        workers=budget.workers if server.takes_workers else 1,
        threads=budget.threads if server.takes_threads else None,
    )
