"""What several commands read from their arguments."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.cells import Budget
from harness.model import Load
from harness.registry import Registry, load_registry
from harness.store import run_folder

CLOSED_USERS, OPEN_USERS = 32, 512


def registry_of(arguments: argparse.Namespace) -> Registry:
    """Our rows, and those of the files that were named."""
    return load_registry(arguments.servers or ())


def run_path(name: str, results: Path) -> Path:
    """A run by its folder, or by its name among the results; UnreadableRunError without it."""
    return run_folder(name, results)


def budget_of(arguments: argparse.Namespace, server_cpus: int) -> Budget:
    """Equal budgets: by default one worker for each CPU that the server gets."""
    workers = arguments.workers or server_cpus
    users, rate = getattr(arguments, "users", None), getattr(arguments, "rate", None)
    if rate is None:
        load = Load(users or CLOSED_USERS)
    else:
        load = Load(users or OPEN_USERS, "open", rate, arguments.arrivals or "constant")
    for name in ("deadline_s", "processes"):
        if hasattr(arguments, name):
            load = replace(load, **{name: getattr(arguments, name)})
    return Budget(workers, arguments.threads, load)


def scenarios_or(arguments: argparse.Namespace, usual: Sequence[str]) -> list[str] | None:
    """The scenarios asked for, or the usual ones; None where a request is asked in their place."""
    own = arguments.app is not None and ":" in arguments.app
    scenarios: list[str] | None = arguments.scenario
    return scenarios or (None if own or arguments.request is not None else list(usual))
