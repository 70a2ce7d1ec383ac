"""The report in a terminal."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from harness.analyze import records
from harness.analyze.verdict import FAILED, INVALID, SERVER_LIMITED, VALID
from harness.report import units
from harness.report.evidence import noise_lines
from harness.report.sheet import NONE, Sheet, print_sheet
from harness.report.sittings import sitting_lines
from harness.report.table import (
    Column,
    columns_for,
    legend,
    load_text,
    log_lines,
    ranking,
    remarks,
)
from harness.report.verdicts import sentences, verdicts
from harness.store import StoredRun

STYLES = {VALID: "green", SERVER_LIMITED: "green", FAILED: "red", INVALID: "red"}


def print_report(
    run: StoredRun,
    cells: pd.DataFrame,
    comparisons: pd.DataFrame,
    console: Console,
    sheets: Mapping[str, Sequence[Sheet]] = NONE,
) -> None:
    """Tables by scenario, what stands beside them, then servers and machine.

    `sheets` stand in place of the ranking of their scenario.
    """
    if cells.empty:
        console.print(f"{run.path}: no trial was finished ({run.ended}).", markup=False)
        for line in sitting_lines(run):
            console.print(Text(line), soft_wrap=True)
        return
    for line in verdicts(comparisons):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for scenario in cells["scenario"].unique():
        if scenario in sheets:
            for sheet in sheets[scenario]:
                print_sheet(sheet, console)
            continue
        _scenario(run, cells, comparisons, scenario, console)
    for line in sentences(comparisons):
        console.print(line, markup=False, highlight=False)
    console.print()
    console.print(Text(legend(comparisons), style="dim"))
    _servers(cells, console)
    _run(run, cells, console)


def _scenario(
    run: StoredRun,
    cells: pd.DataFrame,
    comparisons: pd.DataFrame,
    scenario: str,
    console: Console,
) -> None:
    rows = ranking(cells, comparisons, scenario)
    timing = run.facts["timing"]
    first = rows[0]
    felt = ", latency = delivery delay" if first["latency_measure"] == "delay" else ""
    title = (
        f"{scenario} · {load_text(first)} · "
        f"{timing['duration_s']:g} s after {timing['warmup_s']:g} s of warm-up{felt}"
    )
    table = _fitting(title, rows, console)
    console.print(table)
    for line in remarks(rows):
        console.print(Text(f"  ! {line}", style="yellow"))
    for row in rows:
        if row["log"]:
            console.print(Text(f"  last lines of {row['server']}'s log:", style="dim"))
            console.print(Text("\n".join(f"    {line}" for line in log_lines(row)), style="dim"))
    console.print()


def _fitting(title: str, rows: list[dict[str, Any]], console: Console) -> Table:
    """The table without as many of its spare columns as the terminal has no room for."""
    columns = columns_for(rows)
    unbounded = console.options.update(max_width=1000)
    while True:
        table = _table(title, columns, rows)
        spare = max(columns, key=lambda column: column.spare)
        wide = Measurement.get(console, unbounded, table).maximum > console.width
        if not (wide and spare.spare):
            return table
        columns.remove(spare)


def _table(title: str, columns: list[Column], rows: list[dict[str, Any]]) -> Table:
    table = Table(
        title=Text(title), title_justify="left", title_style="bold", header_style="bold",
        box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0),
    )  # fmt: skip
    for column in columns:
        table.add_column(
            column.head,
            justify="right" if column.right else "left",
            overflow="fold",
            no_wrap=column.head != "server",  # a number that is broken is another number
        )
    for row in rows:
        table.add_row(*(_cell(column, row) for column in columns))
    return table


def _cell(column: Column, row: dict[str, Any]) -> Text:
    text = column.show(row)
    return Text(text, style=STYLES.get(text, "yellow") if column.head == "verdict" else "")


def _servers(cells: pd.DataFrame, console: Console) -> None:
    console.print("\nServers", style="bold")
    for line in server_lines(cells):
        console.print(Text(line), soft_wrap=True)


def server_lines(cells: pd.DataFrame) -> list[str]:
    """Each server's versions, exact command line and notes."""
    lines = []
    for row in records(cells.drop_duplicates("server")):
        versions = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
        python = row["python"] or units.NOTHING
        lines.append(f"  {row['server']} · Python {python} · {versions or 'not installed'}")
        if row["argv"]:
            lines.append(f"      {shlex.join(row['argv'])}")
        lines += [f"      note: {note}" for note in row["notes"]]
    return lines


def run_lines(run: StoredRun, cells: pd.DataFrame) -> list[str]:
    """Machine, placement, who took the times, and where the run is."""
    machine, placement = run.facts["machine"], run.facts["placement"]
    clients = ", ".join(sorted({row["client"] for row in records(cells) if row["client"]}))
    shares = [row["sampler_cpu_share"] for row in records(cells)]
    cost = max((share * 100 for share in shares if share is not None), default=None)
    lines = [
        f"machine: {machine['cpu']}, CPUs: {len(machine['cpus_usable'])}, "
        f"{units.size(machine['memory_bytes'])}, {machine['system']}, Linux {machine['kernel']}"
        + (", virtual" if machine["hypervisor"] else ""),
        f"placement: server on CPU {_list(placement['server'])}, "
        f"generator on CPU {_list(placement['generator'])}",
        f"times taken by: {clients or units.NOTHING}",
        *_ceilings(run),
        f"sampling cost at most {units.cpu(cost)} % of one CPU, on the generator's side",
        *noise_lines(run, records(cells)),
        f"seed {run.facts['seed']}, {units.plural(run.facts['blocks'], 'block')}; "
        f"the run is {run.ended}",
        *sitting_lines(run),
        *(f"note: {note}" for note in run.facts["notes"]),
    ]
    if run.facts["blocks"] == 1:
        lines.append("one block: numbers without intervals; --blocks 8 tells small differences")
    return [*lines, f"run: {run.path}"]


def _ceilings(run: StoredRun) -> list[str]:
    """What the generator reached against a server that costs nothing."""
    if not run.ceilings:
        return []
    found = [
        f"{it['scenario']} {it['failure'] or units.rate(it['throughput_per_s']) + '/s'}"
        for it in run.ceilings
    ]
    return [f"the generator alone, against its null responder: {', '.join(found)}"]


def _run(run: StoredRun, cells: pd.DataFrame, console: Console) -> None:
    console.print()
    for line in run_lines(run, cells):
        console.print(Text(line), soft_wrap=True)


def _list(cpus: list[int]) -> str:
    return ", ".join(str(cpu) for cpu in cpus)
