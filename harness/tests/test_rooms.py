"""Who may import whom: the flow goes one way, and here is where that is written down."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

HARNESS = Path(__file__).parents[1]
ROOT = HARNESS.parent

# A room is a file of harness/, or a folder of it, whose files may import each other. All may
# import the version, from harness itself. Left of the disk, in the order of the flow:
LEFT: dict[str, set[str]] = {
    "model": set(),
    "guardian": set(),  # runs alone, before anything else of ours is there
    "upstream": set(),  # so do the programs that harness starts
    "stub": set(),
    "null_responder": set(),
    "launchers": set(),  # these in a server's own environment
    "inspector": set(),
    "histogram": set(),
    "pace": set(),
    "cache": set(),
    "noise": {"pace"},
    "sample": {"noise", "pace"},
    "machine": {"model"},
    "process": {"model", "guardian"},
    "conversation": {"model"},
    "expectation": {"conversation"},
    "verify": {"model", "conversation", "expectation"},
    "probe": {"model", "ports", "process", "conversation", "expectation", "verify", "launch"},
    "table": {"model"},
    "rows": {"model", "verify", "probe", "front", "table"},
    "registry": {"model", "front", "table", "rows", "verify"},
    "installer": {"model", "process"},
    "index": {"model", "process", "installer"},
    "injection": {"model"},
    "cells": {"model", "registry", "index", "injection"},
    "sweep": {"model"},
    "objective": {"model"},
    "search": set(),
    "debian": {"model"},
    "environment": {"model", "cache", "installer", "debian"},
    "source": {"model", "cache"},
    "ports": {"model"},
    "front": {"model", "ports", "process", "debian"},
    "companion": {"model", "ports", "process"},
    "launch": {"model", "ports", "process", "companion", "conversation", "verify", "front"},
    "application": {
        *("model", "process", "installer", "registry", "cells", "launch", "injection"),
    },
    "drive": {"model", "ports", "process"},
    "page": {"ports", "drive"},
    "load": {"model", "histogram"},
    "plan": {"model"},
    "recipe": {"model", "plan"},
    "journal": {"model"},
    "store": {"model", "journal"},
    "forecast": {"model", "plan", "store"},
    "writer": {"model", "journal", "store"},
    "calibrate": {"model", "ports", "process", "companion", "drive", "histogram"},
    "ceiling": {"model", "ports", "process", "companion", "drive"},
    "run": {
        *("process", "model", "environment", "launch", "verify", "drive", "sample", "store"),
        *("ceiling", "plan", "writer", "forecast"),
    },
}
# Right of it: nothing here starts a process.
RIGHT: dict[str, set[str]] = {
    "analyze": {"model", "histogram", "store", "objective", "search"},
    "results": {"model", "histogram", "analyze", "store"},
    "history": {"model", "analyze", "store", "results"},
    "report": {
        *("model", "cache", "histogram", "objective", "search", "store"),
        *("analyze", "results", "history"),
        "options",  # which of them are secrets
    },
    "export": {"model", "histogram", "analyze", "store", "results", "report"},
    "site": {"model", "store", "history", "report"},
}
# Whom users call.
FRONT: dict[str, set[str]] = {
    "options": {"model"},
    "doctor": {"model", "environment", "machine", "registry", "debian"},
    "notebooks": {"model", "process", "table"},
    "capacity": {
        *("model", "plan", "run", "search", "objective", "store", "writer", "analyze"),
    },
    "commands": {
        *LEFT.keys()
        - {"load", "guardian", "upstream", "stub", "null_responder", "inspector", "launchers"},
        *RIGHT,
        "options",
        "doctor",
        "capacity",
        "notebooks",
    },
    "cli": {"model", "options", "commands"},
}
MAY = LEFT | RIGHT | FRONT


def room_of(path: Path) -> str:
    return path.relative_to(HARNESS).with_suffix("").parts[0]


def sources() -> list[Path]:
    return sorted(
        path
        for path in HARNESS.rglob("*.py")
        if room_of(path) not in ("tests", "data") and path != HARNESS / "__init__.py"
    )


def modules_in(tree: ast.AST, path: Path) -> Iterator[str]:
    """Every module that is imported anywhere in a file, under its whole name."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield module
            # a name that is imported may be a module, too
            yield from (f"{module}.{alias.name}" for alias in node.names)


def imports(path: Path) -> set[str]:
    """The rooms of ours that a file imports, its own aside."""
    found = set()
    for module in modules_in(ast.parse(path.read_text("utf-8")), path):
        first, *rest = module.split(".")
        if first == "harness" and rest:
            place = HARNESS / rest[0]
            if place.is_dir() or place.with_suffix(".py").exists():
                found.add(rest[0])
    return found - {room_of(path)}


def test_every_room_has_its_line_in_the_table_and_every_line_its_room():
    assert {room_of(path) for path in sources()} == set(MAY)
    assert set().union(*MAY.values()) <= set(MAY)


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(HARNESS)))
def test_file_imports_only_what_its_room_may(path):
    room = room_of(path)
    beyond = imports(path) - MAY[room]
    assert not beyond, f"{path.name} imports {', '.join(sorted(beyond))}: see {Path(__file__).name}"


def test_table_has_no_circle():
    """Rooms can be put in an order in which each only imports earlier ones."""
    left = dict(MAY)
    while left:
        free = {room for room, others in left.items() if not others & left.keys()}
        assert free, f"a circle among {sorted(left)}"
        left = {room: others for room, others in left.items() if room not in free}


def test_table_keeps_the_two_sides_of_the_disk_apart():
    assert all(not others & RIGHT.keys() for others in LEFT.values())
    starters = {"process", "environment", "launch", "drive", "run", "load", "sample"}
    assert all(not others & starters for others in RIGHT.values())


def test_table_lets_nobody_import_the_load_engine():
    """It brings Locust, which replaces the standard library's sockets in whoever imports it."""
    assert all("load" not in others for others in MAY.values())


def test_apps_import_nothing_of_ours():
    for path in (ROOT / "apps").glob("*.py"):
        modules = modules_in(ast.parse(path.read_text("utf-8")), path)
        assert not [module for module in modules if module.split(".")[0] == "harness"], path.name


def test_scenarios_import_the_load_engine_and_nothing_else_of_ours():
    for path in (ROOT / "scenarios").glob("*.py"):
        rooms = imports_of_a_scenario(path)
        assert rooms <= {"load"}, path.name


def imports_of_a_scenario(path: Path) -> set[str]:
    modules = modules_in(ast.parse(path.read_text("utf-8")), path)
    parts = [module.split(".") for module in modules]
    return {part[1] for part in parts if part[0] == "harness" and len(part) > 1}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import harness.load.plugin", {"load"}),
        ("import harness.store as s, json", {"store"}),
        ("from harness import histogram, __version__", {"histogram"}),
        ("from harness.analyze.verdict import VALID", {"analyze"}),
        ("from harness import *", set()),
        ("from . import store", {"store"}),
        ("from .report.units import seconds", {"report"}),
        ("def f():\n    from harness.run import Plan", {"run"}),
        (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import harness.drive",
            {"drive"},
        ),
        ("import harnesses.load", set()),
    ],
)
def test_imports_are_seen_wherever_and_however_they_are_written(tmp_path, monkeypatch, text, found):
    for name in ("histogram", "store", "run", "drive", "analyze", "report", "load"):
        (tmp_path / "harness" / name).mkdir(parents=True)
    monkeypatch.setitem(globals(), "HARNESS", tmp_path / "harness")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / "harness" / "new.py"
    path.write_text(text, "utf-8")
    assert imports(path) == found
