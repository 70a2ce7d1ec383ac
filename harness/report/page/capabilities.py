"""What the probes found of a run's servers: a matrix for each group, and the evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.analyze import records

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answers:
    """A server's answers to the probes of a group, in their order; None where it was not asked."""

    server: str
    answers: tuple[Row | None, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Probes that belong together (`probe` and `question` of each), and each server's answers."""

    name: str
    probes: tuple[Row, ...]
    rows: tuple[Answers, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of one server, probe by probe."""

    server: str
    seen: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The whole matrix; `run` is the folder that it was read from."""

    run: str
    groups: tuple[Group, ...]
    evidence: tuple[Seen, ...]


def capabilities(probes: pd.DataFrame, servers: set[str]) -> Capabilities | None:
    """The matrix of the servers that were measured; None where none of them was probed."""
    rows = [
        row
        for row in records(probes)
        if row["server"] in servers and row["probe"] is not None  # it could not be asked
    ]
    if not rows:
        return None
    names = list(dict.fromkeys(row["server"] for row in rows))
    groups = []
    for group in dict.fromkeys(row["group"] for row in rows):
        its = [row for row in rows if row["group"] == group]
        asked = {row["probe"]: {"name": row["probe"], "question": row["question"]} for row in its}
        found = {(row["server"], row["probe"]): row for row in its}
        answers = tuple(
            Answers(name, tuple(found.get((name, probe)) for probe in asked)) for name in names
        )
        groups.append(Group(group, tuple(asked.values()), answers))
    evidence = tuple(Seen(it, tuple(r for r in rows if r["server"] == it)) for it in names)
    return Capabilities(str(rows[0]["run"]), tuple(groups), evidence)
