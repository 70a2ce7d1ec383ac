"""A calibration's document as tables in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.report import units

Show = Callable[[float | None], str]
Row = Mapping[str, Any]


class Column(NamedTuple):
    """Its head, which group of a row it is of, which figure, how that reads; left out if narrow."""

    head: str
    group: str
    figure: str
    show: Show
    spare: bool = False
    ranges: bool = True


COLUMNS: dict[str, tuple[Column, ...]] = {
    "throughput": (
        Column("{counts}\nper second", "figures", "requests_per_s", units.rate),
        Column("per\nCPU-second", "figures", "requests_per_cpu_s", units.rate),
        Column("ours/it\nper second", "ratios", "requests_per_s", units.times, spare=True),
        Column("ours/it\nper CPU-second", "ratios", "requests_per_cpu_s", units.times),
        Column("CPU", "figures", "cpu_share", units.share, spare=True, ranges=False),
        Column("server\nCPU", "figures", "server_cpu_share", units.share, spare=True, ranges=False),
    ),
    "latency": (
        Column("{counts}\nper second", "figures", "requests_per_s", units.rate, ranges=False),
        Column("p50", "figures", "p50_s", units.seconds, ranges=False),
        Column("p90", "figures", "p90_s", units.seconds, spare=True, ranges=False),
        Column("p99", "figures", "p99_s", units.seconds, ranges=False),
        Column("ours - it\np50", "differences", "p50_s", units.difference),
        Column("ours - it\np90", "differences", "p90_s", units.difference, spare=True),
        Column("ours - it\np99", "differences", "p99_s", units.difference),
    ),
    "idle": (
        Column("connections", "figures", "connections", units.count, ranges=False),
        Column("each costs", "figures", "bytes_per_connection", units.kibibytes),
        Column("ours/it", "ratios", "bytes_per_connection", units.times),
        Column("CPU while idle", "figures", "cpu_share", units.cpu_share, ranges=False),
    ),
}
NARROW = 100  # characters; below that the spare columns would break the numbers of the others


def print_calibration(document: Mapping[str, Any], console: Console) -> None:
    """A table for each part, then what has to be said beside them."""
    for part in document["parts"]:
        title = f"{part['part']} · {part['about']} · {part['pairs']} pair(s)"
        console.print(Text(title, style="bold"), soft_wrap=True)
        console.print(_table(part, narrow=console.width < NARROW))
        console.print()
    for line in document["notes"]:
        console.print(Text(f"  ! {line}", style="yellow"), soft_wrap=True)
    for line in footnotes(document):
        console.print(Text(line), soft_wrap=True)


def line(measurement: Any) -> str:
    """One measurement in one line, when it is done."""
    step, figures = measurement.step, measurement.figures
    pair = f"pair {step.pair}" if step.pair else "for its rate"
    head = f"{step.part.name}, {pair}, {step.generator}: "
    if measurement.failure:
        return f"{head}FAILED: {measurement.failure}"
    if step.part.kind == "idle":
        return f"{head}{units.kibibytes(figures['bytes_per_connection'])} for each connection"
    rate = f"{head}{units.rate(figures['requests_per_s'])} {step.part.counts}/s"
    if step.part.kind == "throughput":
        return f"{rate}, {units.rate(figures['requests_per_cpu_s'])} per CPU-second"
    return f"{rate}, p50 {units.seconds(figures['p50_s'])}, p99 {units.seconds(figures['p99_s'])}"


def footnotes(document: Mapping[str, Any]) -> list[str]:
    """What each generator checks, what was measured how, versions and machine."""
    machine, placement = document["machine"], document["placement"]
    versions = ", ".join(f"{name} {it}" for name, it in document["versions"].items() if it)
    rows = {
        row["generator"]
        for part in document["parts"]
        for row in part["generators"]
        if not row["missing"]
    }
    checks = [f"{name} {text}" for name, text in document["checks"].items() if name in rows]
    return [
        "Median, and beneath it low..high over pairs. ours/it, ours - it: gatebench's figure and "
        "that generator's, within each pair.",
        *(f"{check}." for check in checks),
        *document["method"],
        f"machine: {machine['cpu']}, CPUs: {len(machine['cpus_usable'])}, {machine['system']}, "
        f"Linux {machine['kernel']}{', virtual' if machine['hypervisor'] else ''}",
        f"placement: server on CPU {_list(placement['server'])}, "
        f"generator on CPU {_list(placement['generator'])}",
        *(f"note: {note}" for note in placement["notes"]),
        f"load of the machine (1 min): {document['load_before']:.2f} before, "
        f"{document['load_after']:.2f} after",
        f"versions: {versions}",
        f"seed {document['seed']}, {document['pairs']} pair(s) of {document['duration_s']:g} s; "
        f"the calibration is {document['ended']}",
    ]


def _table(part: Mapping[str, Any], *, narrow: bool) -> Table:
    table = Table(header_style="bold", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    columns = [column for column in COLUMNS[part["kind"]] if not (narrow and column.spare)]
    table.add_column("generator", no_wrap=True)
    for column in columns:
        head = column.head.format(counts=part["counts"])
        table.add_column(head, justify="right", vertical="top", overflow="fold")
    for row in part["generators"]:
        if not row["missing"]:
            table.add_row(row["generator"], *(_cell(row, column) for column in columns))
    return table


def _cell(row: Row, column: Column) -> Text:
    """The median, and beneath it the range."""
    found = row.get(column.group, {}).get(column.figure)
    if found is None:
        return Text(units.NOTHING)
    cell = Text(column.show(found["median"]))
    if column.ranges and found["low"] != found["high"]:
        cell.append(f"\n{column.show(found['low'])}..{column.show(found['high'])}", "dim")
    return cell


def _list(cpus: list[int]) -> str:
    return ", ".join(str(cpu) for cpu in cpus)
