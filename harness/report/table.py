"""The columns of the report, the same for terminal and Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.analyze import rankings_frame, records
from harness.analyze.comparison import headline
from harness.analyze.contenders import contenders, load_of
from harness.analyze.decision import METRICS
from harness.analyze.verdict import FAILED, INVALID
from harness.model import visible
from harness.report import units
from harness.report.evidence import advice, beside
from harness.report.verdicts import beside_best

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its head, what it shows of a cell, how readily it is left out (0: never).

    It is shown if any cell has what is named by `only`.
    """

    head: str
    show: Callable[[Row], str]
    right: bool = True
    spare: int = 0
    only: str | None = None


def concurrency(row: Row) -> str:
    """Workers x threads, or workers x what is unbounded."""
    workers, threads = int(row["workers"]), row["threads"]
    if row["concurrency"] == "process":
        return f"{workers}"
    if row["concurrency"] == "thread":
        return (
            f"{workers}×?" if threads is None else f"{workers}×{int(threads)}={int(row['slots'])}"
        )
    return f"{workers}×∞ ({'loop' if row['concurrency'] == 'event-loop' else 'greenlets'})"


def errors(row: Row) -> str:
    """How many requests failed; a dash where nothing was measured."""
    return units.NOTHING if row["verdict"] == FAILED else units.count(row["errors"])


def p99_s(row: Row) -> float | None:
    """A cell's p99; None where fewer than ten answers of a trial lie beyond it: it is chance's."""
    return None if row["p99_by_chance"] else row["p99_s"]


COLUMNS = (
    Column("rank", lambda row: row.get("rank", units.NOTHING), spare=2, only="rank"),
    Column("server", lambda row: row["server"], right=False),
    Column("at once", concurrency, right=False, spare=3),
    Column("req/s", lambda row: interval(row, "throughput_per_s", units.rate)),
    Column("vs best", lambda row: row.get("relative", units.NOTHING), spare=2),
    Column("p50", lambda row: units.seconds(row["p50_s"])),
    Column("p90", lambda row: units.seconds(row["p90_s"]), spare=4),
    Column("p99", lambda row: units.seconds(p99_s(row))),
    Column("errors", errors),
    Column("CPU s/1k", lambda row: units.cpu(row["server_cpu_s_per_1k"])),
    Column("PSS", lambda row: units.size(row["server_pss_bytes"]), spare=5),
    Column("gen. CPU", lambda row: units.share(row["generator_cpu_share"]), spare=1),
    Column("start", lambda row: units.seconds(row["startup_s"]), spare=6),
    Column("verdict", lambda row: row["verdict"], right=False),
)

TWIN = "{} entered twice; how far the two differ is what a difference here must exceed"
BOUNDS = {"": "", "at most": "≤ ", "at least": "≥ ", "unknown": "? "}
METRIC_COLUMNS = {metric.name: metric.column for metric in METRICS}

LEGEND = (
    "at once: requests in service at once (workers x threads; ∞ = bounded by memory only, "
    "? = left to the server). "
    "CPU s/1k: CPU-seconds of the server per 1,000 right answers. PSS: memory of the server's "
    "processes, shared pages divided. gen. CPU: how busy the load generator was; above 80 % "
    "the server may be faster than shown. p99: – where fewer than ten answers of a trial lie "
    "beyond it. start: from launch to the first right answer. Errors "
    "are not in req/s."
)


RANK_LEGEND = (
    "rank: 1 and how many are found to be better; a range where it is not told apart from others."
)


def legend(comparisons: pd.DataFrame) -> str:
    """What the columns say."""
    ranked = not rankings_frame(comparisons).empty
    return f"{LEGEND} {RANK_LEGEND}" if ranked else LEGEND


def columns_for(rows: list[dict[str, Any]]) -> list[Column]:
    """The columns that these cells have something for."""
    return [it for it in COLUMNS if it.only is None or any(it.only in row for row in rows)]


def load_text(row: Row) -> str:
    """The load in words."""
    if row["model"] == "closed":
        return f"{int(row['users'])} users, closed"
    return (
        f"{units.rate(row['rate_per_s'])} requests/s due, {row['arrivals']}, "
        f"{int(row['users'])} in flight at most"
    )


def interval(row: Row, name: str, show: Callable[[float | None], str]) -> str:
    """A median, and its least and greatest trial where there were several."""
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    middle = show(row[name])
    return middle if units.missing(low) else f"{middle} [{show(low)}..{show(high)}]"


def ranking(cells: pd.DataFrame, comparisons: pd.DataFrame, scenario: str) -> list[dict[str, Any]]:
    """The cells of a scenario, best first by what ranks them, failed and invalid ones last.

    Each has its `relative` to the best where it is compared, and its `rank` where that was judged.
    """
    comparisons = comparisons[comparisons["scenario"] == scenario]
    rows = records(cells[cells["scenario"] == scenario])
    relative = _relatives(comparisons)
    ranks = {(load_of(row), row["server"]): row for row in records(rankings_frame(comparisons))}
    for row, key in zip(rows, contenders(rows), strict=True):
        if key in relative:
            row["relative"] = relative[key]
        if key in ranks:
            row["rank"] = _rank(ranks[key])
    return sorted(rows, key=_place)


def _relatives(comparisons: pd.DataFrame) -> dict[Hashable, str]:
    """The column "vs best" by load and contender."""
    shown: dict[Hashable, str] = {}
    for row in records(comparisons[comparisons["headline"] & ~comparisons["placebo"].astype(bool)]):
        if row["best"] in (row["a"], row["b"]):
            other, ratio, bound = beside_best(row)
            shown[load_of(row), row["best"]] = "best"
            shown[load_of(row), other] = BOUNDS[bound] + units.share(ratio)
    return shown


def _rank(row: Row) -> str:
    """The rank, or from which to which one it may be."""
    first, last = row["rank"], row["rank_last"]
    return f"{first}" if first == last else f"{first}–{last}"


def _place(row: Row) -> tuple[bool, bool, float]:
    figure = row[METRIC_COLUMNS[headline(row)]]
    last, behind = row["verdict"] in (FAILED, INVALID), row.get("relative") != "best"
    if units.missing(figure):
        return last, behind, math.inf
    return last, behind, figure if headline(row) == "p50" else -figure


def remarks(rows: list[dict[str, Any]]) -> list[str]:
    """What stands beside the numbers: every reason of a verdict, with what may explain it and
    what to do about it; and what idle users and a proxy cost.
    """
    return [
        *(f"{row['server']}: {reason}" for row in rows for reason in row["reasons"]),
        *(line for row in rows for line in beside(row)),
        *(f"{row['server']}: {TWIN.format(row['twin_of'])}" for row in rows if row["twin_of"]),
        *(f"{row['server']}: {_memory(row)}" for row in rows if row["pause_s"]),
        *(f"{row['server']}: {_proxy(row)}" for row in rows if _measured_front(row)),
        *advice(rows),
    ]


def _measured_front(row: Row) -> bool:
    return bool(row["front"]) and not units.missing(row["proxy_cpu_s_per_1k"])


def _proxy(row: Row) -> str:
    """What the proxy uses beside the server, which is all that the columns tell of."""
    return (
        f"the proxy ({row['front']}) used {units.cpu(row['proxy_cpu_s_per_1k'])} CPU s/1k beside "
        f"the server's {units.cpu(row['server_cpu_s_per_1k'])}, and held "
        f"{units.size(row['proxy_pss_bytes'])}; both run on the server's CPUs"
    )


def _memory(row: Row) -> str:
    """The memory of a server whose connections mostly rest."""
    idle, held, users = row["server_idle_pss_bytes"], row["server_pss_bytes"], row["users"]
    each = None if idle is None or held is None else (held - idle) / users
    return (
        f"{units.size(idle)} without connections, {units.size(held)} with {units.count(users)}: "
        f"{units.kibibytes(each)} for each (the generator: "
        f"{units.kibibytes(row['generator_bytes_per_user'])})"
    )


def log_lines(row: Row) -> list[str]:
    """The last lines of a failed cell's log, whatever is in them made visible."""
    return [visible(line) for line in (row["log"] or "").splitlines()]
