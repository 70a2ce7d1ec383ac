"""What a run will do: every cell once per block, in an order drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from harness import __version__
from harness.model import Cell, Placement, Timing


class Slot(NamedTuple):
    """One place in the order of a run: its number from 1 on, the block, and the cell."""

    number: int
    block: int
    cell: Cell


@dataclass(frozen=True)
class Plan:
    """What a run will do, and what it rests on: enough to do the rest of it elsewhere in time.

    `looks` is 2 where it may be extended once, after a look at what it found. `deltas` are the
    differences that matter, by metric, where they are wider than the usual ones.
    """

    cells: tuple[Cell, ...]
    blocks: int
    seed: int
    timing: Timing
    placement: Placement
    machine: Mapping[str, Any]
    command: tuple[str, ...]
    notes: tuple[str, ...] = ()
    looks: int = 1
    deltas: Mapping[str, float] = field(default_factory=dict)

    def order(self) -> list[tuple[int, Cell]]:
        """(block, cell) in the order they are measured: odd blocks permuted, even reversed."""
        return [(block, self.cells[index]) for block, index in self._places()]

    def slots(self) -> list[Slot]:
        """The same, numbered."""
        return [Slot(number, *it) for number, it in enumerate(self.order(), start=1)]

    def facts(self) -> dict[str, Any]:
        """What run.json holds."""
        return {
            "gatebench": __version__,
            "command": self.command,
            "machine": self.machine,
            "placement": {
                "server": self.placement.server,
                "generator": self.placement.generator,
                "disjoint": self.placement.disjoint,
            },
            "timing": self.timing,
            "blocks": self.blocks,
            "looks": self.looks,
            "deltas": self.deltas,
            "seed": self.seed,
            "cells": [describe(cell) for cell in self.cells],
            "order": self._places(),
            "notes": [*self.placement.notes, *self.notes],
        }

    def _places(self) -> list[tuple[int, int]]:
        """(block, index of the cell); more blocks begin as fewer do."""
        draw = random.Random(self.seed)
        places: list[tuple[int, int]] = []
        indices = list(range(len(self.cells)))
        for block in range(1, self.blocks + 1):
            if block % 2:
                draw.shuffle(indices)
            else:
                indices.reverse()
            places += [(block, index) for index in indices]
        return places


def describe(cell: Cell) -> dict[str, Any]:
    """A cell as stored: names, budget, load, and what its server's row says of it."""
    server = cell.server
    return {
        "server": server.label,
        "row": server.name,
        "twin_of": server.twin_of,
        "side": server.side,
        "version": server.version,
        "packages": server.packages,
        "speaks": server.speaks,
        "concurrency": cell.concurrency,
        "front": None if server.front is None else server.front.name,
        "notes": (*(server.front.notes if server.front else ()), *server.notes),
        "app": cell.app.name,
        "scenario": cell.scenario.name,
        "wait_s": cell.scenario.wait_s,
        "pause_s": cell.scenario.pause_s,
        "keeps_connections": cell.scenario.keeps_connections,
        "latency": cell.scenario.latency,
        "workers": cell.workers,
        "threads": cell.threads,
        "slots": cell.slots,
        "load": cell.load,
    }
