"""The ranked table: every cell of a run, each figure as people read it and as it is."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.analyze import records
from harness.analyze.cells import KEYS
from harness.analyze.comparison import headline
from harness.analyze.contenders import contenders, load_of
from harness.analyze.histograms import told_s
from harness.analyze.verdict import FAILED
from harness.report import units
from harness.report.page.crowding import crowded
from harness.report.table import concurrency, errors, load_text, p99_s, ranking
from harness.report.verdicts import beside_best
from harness.results import Results

Row = Mapping[str, Any]
Key = tuple[Any, ...]
Who = tuple[Key, str]  # a scenario and load, and a contender's name


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its head, its name in the CSV, what it shows of a cell, and what is sorted by.

    `spread` is whether its least and greatest trial stand beneath it; `about` explains the head.
    """

    head: str
    name: str
    show: Callable[[Row], str]
    about: str = ""
    right: bool = True
    spread: bool = False

    def value(self, row: Row) -> Any:
        """The figure itself, in the unit that its name ends in; None if there is none."""
        found = row.get(self.name)
        return None if isinstance(found, float) and units.missing(found) else found

    def range(self, row: Row) -> tuple[float, float] | None:
        """The least and the greatest trial; None for a single one."""
        low, high = row.get(f"{self.name}_low"), row.get(f"{self.name}_high")
        return None if not self.spread or low is None or high is None else (low, high)

    def range_text(self, row: Row) -> str:
        """The same as people read it."""
        return "" if (ends := self.range(row)) is None else "–".join(map(SHOWN[self.name], ends))


SHOWN: dict[str, Callable[[Any], str]] = {"throughput_per_s": units.rate}


def _time(head: str, name: str, about: str) -> Column:
    return Column(head, name, lambda row: units.seconds(row.get(name)), about)


COLUMNS = (
    Column("rank", "rank", lambda row: row["rank_text"],
           "1 and how many are found to be better; a range where it is not told apart"),
    Column("server", "server", lambda row: row["server"], right=False),
    Column("load", "load", lambda row: row["load"], right=False),
    Column("req/s", "throughput_per_s", lambda row: units.rate(row["throughput_per_s"]),
           "right answers per second: the median trial, beneath it the least and the greatest",
           spread=True),
    Column("vs best", "relative_share", lambda row: row.get("relative", units.NOTHING),
           "share of the best of its scenario; ≤, ≥ or ? where the generator was the limit"),
    Column("verdict", "verdict", lambda row: row["verdict"], "what the figures are worth",
           right=False),
    _time("p50", "p50_s", "half of the responses took no longer"),
    _time("p90", "p90_s", "nine in ten took no longer"),
    _time("p99", "p99_s", "all but one in a hundred took no longer"),
    _time("p99.9", "p99_9_s", "all but one in a thousand; shown where there are enough responses"),
    Column("errors", "errors", errors, "requests that failed; they are not in req/s"),
    Column("CPU s/1k", "server_cpu_s_per_1k", lambda row: units.cpu(row["server_cpu_s_per_1k"]),
           "CPU-seconds of the server per 1,000 right answers"),
    Column("PSS", "server_pss_bytes", lambda row: units.size(row["server_pss_bytes"]),
           "memory of all the server's processes, shared pages divided among those that share"),
    Column("gen. CPU", "generator_cpu_share", lambda row: units.share(row["generator_cpu_share"]),
           "how busy the load generator was; above 80 % the server may be faster than shown"),
    _time("start", "startup_s", "from launch to the first right answer"),
    Column("at once", "slots", concurrency,
           "requests in service at once: workers × threads; ∞ where only memory bounds it",
           right=False),
    Column("app", "app", lambda row: row["app"], right=False),
    Column("interface", "speaks", lambda row: row["speaks"].upper(), right=False),
)  # fmt: skip
FILTERS = (
    ("App", "app"),
    ("Scenario", "scenario"),
    ("Interface", "speaks"),
    ("Verdict", "verdict"),
)
NEEDED = ("server", "slots", "throughput_per_s", "verdict")  # shown even where no cell has one


@dataclass(frozen=True)
class Entry:
    """One cell in the table: `id` names it in links, `contender` in comparisons and figures."""

    id: str
    key: Key
    contender: str
    row: Row


@dataclass(frozen=True)
class Group:
    """The cells of one scenario, best first, and the load if they share it."""

    scenario: str
    load: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Ranked:
    """The whole table: `columns` are those that some cell has something for."""

    groups: tuple[Group, ...]
    columns: tuple[Column, ...]

    @property
    def entries(self) -> list[Entry]:
        """All cells, in the table's order."""
        return [entry for group in self.groups for entry in group.entries]

    def filters(self) -> list[tuple[str, str]]:
        """The heads and names of the columns that can be filtered by, as their cells differ."""
        alike = all(entry.row["speaks"] == entry.row["app"] for entry in self.entries)
        return [
            (head, name)
            for head, name in FILTERS
            if len(self.choices(name)) > 1 and not (name == "speaks" and alike)
        ]

    def choices(self, name: str) -> list[str]:
        """What can be chosen of a column, in the table's order."""
        return list(dict.fromkeys(str(entry.row[name]) for entry in self.entries))


def ranked(results: Results) -> Ranked:
    """The table of a run."""
    shares, places, tails = _shares(results), _places(results), _tails(results)
    taken: set[str] = set()
    groups = []
    for scenario in results.cells["scenario"].unique():
        rows = ranking(results.cells, results.comparisons, scenario)
        loads = list(dict.fromkeys(map(load_text, rows)))
        entries = []
        for row, who in zip(rows, contenders(rows), strict=True):
            key = tuple(row[name] for name in KEYS)
            told = row | {
                "rank": places.get(who),
                "rank_text": row.get("rank", units.NOTHING),
                "relative_share": shares.get(who),
                "load": _load(row),
                "more_is_better": headline(row) == "throughput",
                "p99_s": p99_s(row),
                "p99_9_s": tails.get(key),
                "errors": None if row["verdict"] == FAILED else row["errors"],
                "crowded": crowded(row),
            }
            entries.append(Entry(_id(row, taken), key, who[1], told))
        groups.append(Group(scenario, loads[0] if len(loads) == 1 else "", tuple(entries)))
    shown = [entry.row for group in groups for entry in group.entries]
    return Ranked(tuple(groups), tuple(it for it in COLUMNS if _wanted(it, shown, groups)))


def _load(row: Row) -> str:
    if row["model"] == "closed":
        return f"{int(row['users'])} users"
    return f"{units.rate(row['rate_per_s'])}/s {row['arrivals']}"


def _shares(results: Results) -> dict[Who, float]:
    """Each contender's figure over the best one's, in what ranks them, by load and name."""
    found: dict[Who, float] = {}
    for row in records(results.comparisons):
        if row["headline"] and not row["placebo"] and row["best"] in (row["a"], row["b"]):
            other, ratio, _ = beside_best(row)
            found[load_of(row), row["best"]] = 1.0
            if ratio is not None:
                found[load_of(row), other] = ratio
    return found


def _places(results: Results) -> dict[Who, int]:
    """The first rank that each contender may have, by load and name."""
    return {(load_of(row), row["server"]): int(row["rank"]) for row in records(results.rankings)}


def _tails(results: Results) -> dict[Key, float | None]:
    """The 99.9th percentile of each cell that has responses enough to defend one, in seconds."""
    return {
        tuple(row[name] for name in KEYS): told_s(results.latencies_of(row), 0.999)
        for row in records(results.cells)
    }


def _wanted(column: Column, rows: list[Row], groups: list[Group]) -> bool:
    if column.name == "load":
        return any(not group.load for group in groups)
    if column.name == "speaks":
        return any(row["speaks"] != row["app"] for row in rows)
    return column.name in NEEDED or any(column.value(row) is not None for row in rows)


def _id(row: Row, taken: set[str]) -> str:
    """A name for links: what tells the cell, in letters, digits and dashes."""
    threads = f"{int(row['threads'])}t" if row["threads"] else ""
    load = f"{int(row['users'])}u"
    if row["rate_per_s"] is not None:
        load += f"-{row['rate_per_s']:g}-{row['arrivals']}"
    parts = (row["scenario"], row["server"], row["app"], f"{int(row['workers'])}w", threads, load)
    plain = "-".join(re.sub(r"[^a-z0-9.@]+", "-", str(it).lower()).strip("-") for it in parts if it)
    several = itertools.chain([plain], (f"{plain}-{number}" for number in itertools.count(2)))
    name = next(it for it in several if it not in taken)
    taken.add(name)
    return name
