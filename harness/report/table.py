"""The columns of the report, the same for terminal and Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.analyze import records
from harness.analyze.verdict import FAILED, INVALID
from harness.model import visible
from harness.report import units

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its head, what it shows of a cell, how readily it is left out (0: never)."""

    head: str
    show: Callable[[Row], str]
    right: bool = True
    spare: int = 0


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


COLUMNS = (
    Column("server", lambda row: row["server"], right=False),
    Column("at once", concurrency, right=False, spare=3),
    Column("req/s", lambda row: interval(row, "throughput_per_s", units.rate)),
    Column("vs best", lambda row: row.get("relative", units.NOTHING), spare=2),
    Column("p50", lambda row: units.seconds(row["p50_s"])),
    Column("p90", lambda row: units.seconds(row["p90_s"]), spare=4),
    Column("p99", lambda row: units.seconds(row["p99_s"])),
    Column("errors", errors),
    Column("CPU s/1k", lambda row: units.cpu(row["server_cpu_s_per_1k"])),
    Column("PSS", lambda row: units.size(row["server_pss_bytes"]), spare=5),
    Column("gen. CPU", lambda row: units.share(row["generator_cpu_share"]), spare=1),
    Column("verdict", lambda row: row["verdict"], right=False),
)

LEGEND = (
    "at once: requests in service at once (workers x threads; ∞ = bounded by memory only, "
    "? = left to the server). "
    "CPU s/1k: CPU-seconds of the server per 1,000 right answers. PSS: memory of the server's "
    "processes, shared pages divided. gen. CPU: how busy the load generator was; above 80 % "
    "the server may be faster than shown. Errors are not in req/s."
)


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
    """The cells of a scenario, best first by verdict and throughput, each with `relative`."""
    rows = records(cells[cells["scenario"] == scenario])
    for compared in records(comparisons[comparisons["scenario"] == scenario]):
        for row in rows:
            if row["server"] == compared["b"]:
                row["relative"] = _relative(compared["ratio"], compared["bound"])
            elif row["server"] == compared["a"]:
                row["relative"] = "best"
    shown_last = (FAILED, INVALID)
    return sorted(
        rows,
        key=lambda row: (
            row["verdict"] in shown_last,
            0.0 if units.missing(row["throughput_per_s"]) else -row["throughput_per_s"],
        ),
    )


def sentences(comparisons: pd.DataFrame) -> list[str]:
    """Each comparison in words."""
    return [f"{row['scenario']}: {_sentence(row)}" for row in records(comparisons)]


def _sentence(row: Row) -> str:
    a, b = row["a"], row["b"]
    if row["metric"] == "p50":
        if row["bound"]:
            return f"{a} and {b}: the generator was late, so their latencies are not compared"
        return f"the median response of {b} took {row['ratio']:.2f} times that of {a}"
    times = f"{1 / row['ratio']:.2f}" if row["ratio"] else "∞"
    return {
        "": f"{a} answered {times} times as many requests as {b}",
        "at most": f"{a} answered at least {times} times as many requests as {b} "
        f"({a} was generator-limited)",
        "at least": f"{a} answered at most {times} times as many requests as {b} "
        f"({b} was generator-limited)",
        "unknown": f"{a} and {b} were both generator-limited: "
        f"their ratio ({times} measured) is the generator's, not theirs",
    }[row["bound"]]


def remarks(rows: list[dict[str, Any]]) -> list[str]:
    """What stands beside the numbers: every reason of a verdict, and what idle users cost."""
    return [
        *(f"{row['server']}: {reason}" for row in rows for reason in row["reasons"]),
        *(f"{row['server']}: {_memory(row)}" for row in rows if row["pause_s"]),
        *(f"{row['server']}: {_proxy(row)}" for row in rows if _measured_front(row)),
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


def _relative(ratio: float, bound: str) -> str:
    sign = {"": "", "at most": "≤ ", "at least": "≥ ", "unknown": "? "}[bound]
    return f"{sign}{units.share(ratio)}"
