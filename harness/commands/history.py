"""`gatebench history`: keep runs over time, and see what became of them."""

from __future__ import annotations

import argparse

from rich.table import Table
from rich.text import Text

from harness.commands.arguments import run_path
from harness.commands.console import (
    DONE,
    GATE_FAILED,
    NOT_MEASURED,
    UNDECIDED,
    out,
    print_json,
    say,
)
from harness.history import Archive, Decision, History, MachineClass, Series, State, record_of
from harness.history.archive import now
from harness.machine import facts, usable_cpus
from harness.model import ConfigurationError, RefusedError, visible
from harness.report.history import (
    history_document,
    sorted_by_state,
    summary,
    tally,
    telling,
    title,
    unmeasured,
)
from harness.report.readme import RELEASES, splice
from harness.report.releases import LEGEND, release_block, release_sheets, releases_document
from harness.report.sheet import print_sheet
from harness.results import load_run
from harness.store import StorageError, plain, write_text


def do_history(arguments: argparse.Namespace) -> int:
    """`gatebench history`: what its next word says."""
    own = {"add": _add, "list": _list, "check": _check, "site": _site, "releases": _releases}
    return own.get(arguments.what, _decide)(arguments)


def _add(arguments: argparse.Namespace) -> int:
    archive = Archive(arguments.history)
    # all are read before one is kept: a mistake in the third leaves nothing half done
    records = [record_of(load_run(run_path(it, arguments.results))) for it in arguments.run]
    said = [archive.add(record) for record in records]
    if arguments.json:
        print_json({"schema": 1, "history": arguments.history, "runs": said})
    else:
        for line in said:
            _line(line)
    return DONE


def _list(arguments: argparse.Namespace) -> int:
    history = _loaded(arguments)
    machine = _machine(history, arguments) or history.machines[0]
    series = history.series(machine.id, arguments.reference)
    if arguments.json:
        print_json(history_document(history, series, machine.id))
        return DONE
    for known in history.machines:
        shown = " (shown below)" if known == machine and len(history.machines) > 1 else ""
        _line(f"{known.id}: {len(history.runs(known.id))} runs on {known.text}{shown}")
    table = Table(header_style="bold")
    for name in ("series", "runs", "newest", "state"):
        table.add_column(name, overflow="fold")
    for each in series:
        newest = each.points[-1]
        value = newest.gap if newest.value is None else f"{newest.value:.4g}"
        cells = (title(each), str(len(each.valued)), value, str(each.state))
        table.add_row(*(Text(visible(each)) for each in cells))
    out.print(table)
    return DONE


def _check(arguments: argparse.Namespace) -> int:
    history = _loaded(arguments)
    if (machine := _machine(history, arguments)) is None:
        others = "; ".join(f"--machine {each.id}: {each.text}" for each in history.machines)
        raise RefusedError(
            f"{arguments.history}: has no run of this class of machine, and others say nothing "
            f"about it ({others})"
        )
    series = sorted_by_state(history.series(machine.id, arguments.reference))
    failed = unmeasured(series, history.runs(machine.id)[-1])
    code = _code(series, failed, strict=arguments.strict)
    if arguments.summary:
        text = summary(series, machine, len(history.runs(machine.id)), failed)
        try:
            write_text(arguments.summary, text)
        except OSError as error:
            raise StorageError(
                f"{arguments.summary}: cannot be written: {error.strerror}"
            ) from None
    if arguments.json:
        print_json({**history_document(history, series, machine.id), "exit_code": code})
    else:
        _print(series, machine)
        for each in failed:
            _line(f"not measured in the newest run: {title(each)}", style="bold")
            _line(f"    {each.points[-1].gap}")
    return code


def _site(arguments: argparse.Namespace) -> int:
    from harness.site import write_site  # noqa: PLC0415 - brings matplotlib, which takes a second

    history = _loaded(arguments)
    folder = arguments.output or arguments.history.parent / "site"
    site = write_site(history, folder, arguments.reference, arguments.url or "")
    if arguments.json:
        print_json({"schema": 1, "page": site.page, "series": site.series, "drawn": site.drawn})
    else:
        _line(f"{site.page}: {site.series} series; {site.drawn} of their graphs drawn anew")
    return DONE


def _releases(arguments: argparse.Namespace) -> int:
    history = _loaded(arguments)
    machine = _machine(history, arguments) or history.machines[0]
    lineages = history.lineages(machine.id, arguments.reference)
    if not lineages:
        raise ConfigurationError(
            f"{arguments.history}: no run has two versions of a server; one that has: "
            "`gatebench run uvicorn@0.50,0.51 --blocks 8`"
        )
    if arguments.splice is not None:
        splice(arguments.splice, release_block(lineages), RELEASES)
        say(f"spliced into {arguments.splice}")
    if arguments.json:
        print_json(releases_document(lineages))
    else:
        _line(f"{machine.id}: {machine.text}")
        for sheet in release_sheets(lineages):
            print_sheet(sheet, out)
        _line(LEGEND)
    return DONE


def _code(series: list[Series], failed: list[Series], *, strict: bool) -> int:
    """Only what gates counts; nothing but series that are too short is nothing measured, and a
    server that has no figures in the newest run was not.
    """
    states = {each.state for each in series if each.gates}
    if State.REGRESSION in states:
        return GATE_FAILED
    if failed or not states - {State.COLLECTING}:
        return NOT_MEASURED
    return UNDECIDED if strict and State.SUSPECT in states else DONE


def _print(series: list[Series], machine: MachineClass) -> None:
    _line(f"{machine.id}: {machine.text}")
    for each in series:
        if not each.note or each.state == State.COLLECTING:
            continue
        shown = "" if each.gates else " (does not gate)"
        _line(f"{each.state}{shown}: {title(each)}", style="bold")
        _line(f"    {each.note}")
        for change in telling(each):
            _line(f"    change {change.id}")
    _line(tally(series))


def _decide(arguments: argparse.Namespace) -> int:
    if not arguments.why.strip():
        raise ConfigurationError("--why: say why, for whoever reads it in a year")
    history = _loaded(arguments)
    machines = history.machines
    if arguments.machine:
        machines = (history.machine(arguments.machine),)
    series = [it for each in machines for it in history.series(each.id, arguments.reference)]
    changes = [history.change(begin, series) for begin in arguments.change]
    decisions = [
        Decision(arguments.what, arguments.why, now(), change.id, change.series, change.run_id)
        for change in changes
    ]
    archive = Archive(arguments.history)
    for decision in decisions:
        archive.decide(decision)
    if arguments.json:
        print_json({"schema": 1, "decisions": plain(decisions)})
    else:
        for change in changes:
            say(visible(f"{change.id}: {arguments.what} ({change.text})"))
    return DONE


def _line(text: str, style: str = "") -> None:
    """Names in it come from outside."""
    out.print(Text(visible(text), style=style), soft_wrap=True)


def _loaded(arguments: argparse.Namespace) -> History:
    history = History.load(arguments.history)
    if not history.records:
        raise ConfigurationError(
            f"{arguments.history}: holds no run yet; keep one with `gatebench history add RUN`"
        )
    return history


def _machine(history: History, arguments: argparse.Namespace) -> MachineClass | None:
    """The class that was asked for, or this machine's; None if the history has none of it."""
    if arguments.machine:
        return history.machine(arguments.machine)
    own = MachineClass.of(facts(usable_cpus()))
    return own if own in history.machines else None
