"""What a server costs: CPU and memory, memory for each connection, and what it has in service."""

from __future__ import annotations

from typing import Any

import pandas as pd

from harness.report import units
from harness.report.figures.figure import SOLID, Axis, Figure, Mark
from harness.report.figures.style import Style
from harness.report.figures.subject import (
    TIPS,
    VERDICTS,
    Row,
    Subject,
    caveats,
    frame,
    listed,
    point,
    ranked,
)

CPU = Axis("server_cpu_s_per_1k", "CPU-seconds per 1,000 requests")
MEMORY = Axis("server_pss_bytes", "memory (PSS)", "bytes")
EACH = Axis("bytes_per_connection", "memory for each connection", "bytes")
IN_SERVICE = Axis("in_service", "requests in service at once")
WIDE = 20.0  # between the least and the greatest: then an axis is logarithmic


def cost(subject: Subject, styles: dict[str, Style]) -> Figure | None:
    """CPU against memory: near the lower left corner is cheap."""
    points = frame(
        (
            {**point(row), **{it.column: row[it.column] for it in (CPU, MEMORY)}}
            for row in subject.rows
        ),
        CPU.column,
        MEMORY.column,
    )
    if len(points) < 2:
        return None
    proxies = any(row["front"] for row in subject.rows)
    return Figure(
        name=f"cost-{subject.slug}",
        title=subject.title("CPU and memory"),
        scenario=subject.scenario,
        kind="scatter",
        frame=points,
        x=_wide(CPU, points),
        y=_wide(MEMORY, points),
        group="name",
        styles=styles,
        shown="shown",
        tips=TIPS,
        about=f"{subject.load}. What 1,000 right answers cost in CPU time, and the memory of all "
        "the server's processes, shared pages divided: the lower left is cheap."
        f"{' A proxy in front is not in it.' * proxies} {VERDICTS}",
        says=_cheapest(subject.rows) + caveats(subject.rows),
    )


def connections(subject: Subject, styles: dict[str, Style]) -> Figure | None:
    """Memory for each connection, where the connections mostly rest."""
    if not subject.first["pause_s"]:
        return None
    points: list[dict[str, Any]] = []
    trials: list[dict[str, Any]] = []
    for row in subject.rows:
        each = [_per_connection(trial) for trial in subject.used(row)]
        known = sorted(it for it in each if it is not None)
        if known:
            middle = (known[(len(known) - 1) // 2] + known[len(known) // 2]) / 2
            ends = {"low": known[0], "high": known[-1]} if len(known) > 1 else {}
            held = {it: row[it] for it in ("server_idle_pss_bytes", "server_pss_bytes")}
            points.append({**point(row), **held, EACH.column: middle, **ends})
            trials += [{**point(row), EACH.column: it} for it in known if len(known) > 1]
    if not points:
        return None
    points.sort(key=lambda it: it[EACH.column])
    whole = frame(points, EACH.column)
    several = "low" in whole
    able = [it for it in points if it["shown"] == SOLID]
    said = "".join(
        f"{it['name']} takes {units.kibibytes(it[EACH.column])} for each connection, {which}. "
        for it, which in zip((able or points)[:: max(1, len(able or points) - 1)],
                             ("the least", "the most"), strict=False)
    )  # fmt: skip
    return Figure(
        name=f"connections-{subject.slug}",
        title=subject.title("Memory for each connection"),
        scenario=subject.scenario,
        kind="dots",
        frame=whole,
        x=EACH,
        y=Axis("name", "server"),
        group="name",
        styles=styles,
        low="low" if several else None,
        high="high" if several else None,
        shown="shown",
        faint=frame(trials, EACH.column) if trials else None,
        tips=(
            Axis("server_idle_pss_bytes", "without connections", "bytes"),
            Axis("server_pss_bytes", "with them", "bytes"),
            *TIPS,
        ),
        about=f"{subject.load}; the connections mostly rest. Memory (PSS) with the connections "
        f"less that without, for each of them. {VERDICTS}",
        says=said.strip() + caveats(subject.rows),
    )


def concurrency(subject: Subject, styles: dict[str, Style]) -> Figure | None:
    """How many requests really are in their wait at once, beside how many were promised."""
    wait_s = subject.first["wait_s"]
    if not wait_s:
        return None
    points = frame(
        (
            {**point(row), "throughput_per_s": row["throughput_per_s"], "slots": row["slots"]}
            | {
                f"in_service{end}": None if value is None else value * wait_s
                for end in ("", "_low", "_high")
                for value in [row[f"throughput_per_s{end}"]]
            }
            for row in subject.rows
        ),
        IN_SERVICE.column,
    )
    if points.empty:
        return None
    points = points.sort_values(IN_SERVICE.column, ascending=False, ignore_index=True)
    closed = subject.first["model"] == "closed"
    users = int(subject.first["users"])
    axis = _wide(IN_SERVICE, points)
    return Figure(
        name=f"concurrency-{subject.slug}",
        title=subject.title("Effective concurrency"),
        scenario=subject.scenario,
        kind="dots",
        frame=points,
        x=axis,
        y=Axis("name", "server"),
        group="name",
        styles=styles,
        low="in_service_low",
        high="in_service_high",
        shown="shown",
        against="slots" if points["slots"].notna().any() else None,
        marks=(Mark("x", users, f"{users} users"),) if closed else (),
        tips=(Axis("slots", "promised at once"), Axis("throughput_per_s", "req/s", "/s"), *TIPS),
        about=f"{subject.load}. Each request waits {units.seconds(wait_s)}, so by Little's law "
        "requests per second times that are in service at once. The bar across is what workers "
        "and threads promise; none means that only memory bounds it."
        f"{' No more than the users can be.' * closed} {VERDICTS}",
        says=_occupied(points) + caveats(subject.rows),
    )


def _wide(axis: Axis, points: pd.DataFrame) -> Axis:
    """The axis, logarithmic if its values go far."""
    values = points[axis.column]
    far = bool(values.min() > 0 and values.max() > WIDE * values.min())
    return Axis(axis.column, axis.title, axis.unit, log=far)


def _per_connection(trial: Row) -> float | None:
    held, idle = trial["server_pss_bytes"], trial["server_idle_pss_bytes"]
    if held is None or idle is None or not trial["users"]:
        return None
    return float(held - idle) / float(trial["users"])


def _cheapest(rows: tuple[Row, ...]) -> str:
    able = [row for row in ranked(rows) if None not in (row[CPU.column], row[MEMORY.column])]
    if not able:
        return "Nothing can be ranked."
    cpu = min(able, key=lambda row: float(row[CPU.column]))
    memory = min(able, key=lambda row: float(row[MEMORY.column]))
    return (
        f"{cpu['name']} uses the least CPU, {units.cpu(cpu[CPU.column])} s for 1,000 requests; "
        f"{memory['name']} holds the least memory, {units.size(memory[MEMORY.column])}."
    )


def _occupied(points: pd.DataFrame) -> str:
    """Who fills what it promises, and who does not."""
    rows = points.to_dict("records")
    able = [row for row in rows if row["shown"] == SOLID] or rows
    most = able[0]
    said = f"{most['name']} has the most in service, {units.significant(most['in_service'])}."
    short = [row["name"] for row in able if row["slots"] and row["in_service"] < 0.5 * row["slots"]]
    return f"{said} Less than half of what they promise: {listed(short)}." if short else said
