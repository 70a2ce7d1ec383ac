"""Who is compared with whom: servers with their budgets, under the same scenario and load."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

LOAD = ("scenario", "model", "users", "rate_per_s", "arrivals")
WHO = ("server", "app", "workers", "threads")

Key = tuple[Any, ...]


def who(row: Mapping[str, Any]) -> Key:
    """The contender of a record: server, app, workers and threads, None for no threads."""
    return tuple(row[name] for name in WHO)


def named(contenders: Iterable[Key]) -> dict[Key, str]:
    """Each contender's name: its server, and what else it takes to tell it from the others."""
    several = list(dict.fromkeys(contenders))
    servers = Counter(server for server, *_ in several)
    return {it: str(it[0]) if servers[it[0]] == 1 else _in_full(it, several) for it in several}


def load_of(row: Mapping[str, Any]) -> Key:
    """The scenario and load of a record."""
    return tuple(row[name] for name in LOAD)


def contenders(rows: Sequence[Mapping[str, Any]]) -> list[tuple[Key, str]]:
    """Each record's load, and its contender's name among those under the same load."""
    loads = {
        load: named(who(row) for row in rows if load_of(row) == load) for load in map(load_of, rows)
    }
    return [(load_of(row), loads[load_of(row)][who(row)]) for row in rows]


def _in_full(it: Key, several: list[Key]) -> str:
    server, app, workers, threads = it
    parts = {1: app, 2: _count(workers, "worker"), 3: _count(threads or 0, "thread")}
    rivals = [other for other in several if other[0] == server]
    told = [text for at, text in parts.items() if len({other[at] for other in rivals}) > 1]
    return f"{server} ({', '.join(told)})"


def _count(number: float, what: str) -> str:
    return f"{number:g} {what}" + "s" * (number != 1)
