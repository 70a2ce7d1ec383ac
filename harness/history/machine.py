"""Which machines are alike enough for their runs to stand in one series."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

GIB = 2**30


@dataclass(frozen=True, slots=True)
class MachineClass:
    """What splits the series: runs of two classes are never compared, nor scaled to each other.

    `cpus` counts those that were usable; `memory_gib` is rounded up to an eighth of a power of
    two, because each kernel keeps a little of it for itself; None and empty are not known.
    Host name, clock speed, kernel, governor and system are facts of a run and not in it: hosts
    of one kind share a class, and an update starts no new one.
    """

    cpu: str
    architecture: str
    cpus: int
    smt: bool | None
    caches: str
    memory_gib: float
    hypervisor: bool | None
    layout: str

    @classmethod
    def of(cls, machine: Mapping[str, Any]) -> MachineClass:
        """From the facts of `harness.machine`; KeyError if they are not such."""
        return cls(
            cpu=machine["cpu"],
            architecture=machine["architecture"],
            cpus=len(machine["cpus_usable"]),
            smt=machine.get("smt"),
            caches=machine.get("caches") or "",
            memory_gib=_rounded_up(machine["memory_bytes"] / GIB),
            hypervisor=machine.get("hypervisor"),
            layout=machine.get("layout") or "",
        )

    @property
    def id(self) -> str:
        """Eight hexadecimal digits, the same wherever the facts are."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    @property
    def text(self) -> str:
        """The class in one line, for people."""
        parts = [
            f"{self.cpus} × {self.cpu} ({self.architecture})",
            {True: "SMT", False: "no SMT", None: ""}[self.smt],
            self.caches,
            f"{self.memory_gib:g} GiB",
            {True: "virtual", False: "bare metal", None: ""}[self.hypervisor],
            self.layout,
        ]
        return ", ".join(part for part in parts if part)


def _rounded_up(gib: float) -> float:
    step = 2.0 ** (math.frexp(gib)[1] - 1) / 8
    return math.ceil(gib / step) * step
