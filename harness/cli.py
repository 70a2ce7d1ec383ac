"""The command line: parse, call, print. Exit codes are part of the contract.

0 done; 1 gatebench's own fault; 2 usage or configuration; 3 could not measure;
130 interrupted, and what was measured is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness import calibrate, environment, probe
from harness.analyze import cells_frame, comparisons_frame, trials_frame
from harness.analyze.verdict import FAILED, INVALID
from harness.application import asked_of, inspect, own_registry, what_is_held
from harness.cells import Budget, cell_of, make_cells, select, server_words, split_words
from harness.doctor import examine
from harness.launch import launch, upstream
from harness.machine import facts, place, require_linux, usable_cpus
from harness.model import (
    Cell,
    ConfigurationError,
    Environment,
    GatebenchError,
    Load,
    MeasurementError,
    Timing,
)
from harness.options import parser, without_secrets
from harness.process import last_lines, scratch_folder
from harness.registry import Registry, load_registry
from harness.report.calibration import line, print_calibration
from harness.report.document import document
from harness.report.hdr import write_logs
from harness.report.markdown import markdown
from harness.report.matrix import finding_line, matrix_markdown, print_matrix
from harness.report.progress import Watcher
from harness.report.terminal import print_report
from harness.report.units import clock
from harness.run import Crew, Plan, conduct
from harness.sample import pin
from harness.store import (
    RunWriter,
    StorageError,
    StoredRun,
    UnreadableRunError,
    newest_run,
    plain,
    read_run,
    write_text,
)

DONE, OWN_FAULT, USAGE, NOT_MEASURED, INTERRUPTED = 0, 1, 2, 3, 130
RUN_FACTS = ("command", "machine", "placement", "timing", "blocks", "seed", "notes")
TRIAL_FACTS = ("number", "block", "cell", "placement", "outcome", "failure")
CLOSED_USERS, OPEN_USERS = 32, 512
OVERHEAD_S = 4.0  # of a trial, beside warm-up and window, until the run has taught better

# a report that goes to a file or a pipe is not cut to 80 columns
WIDTH = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 140
out = Console(highlight=False, width=WIDTH)
err = Console(stderr=True, highlight=False)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """The command `gatebench`; never returns, and never shows a traceback for a known fault."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        arguments = parser(COMMANDS).parse_args(argv)
        code = int(arguments.do(arguments) or DONE)
    except KeyboardInterrupt:
        _say("interrupted")
        code = INTERRUPTED
    except GatebenchError as error:
        _complain(error)
        code = error.exit_code
    except BrokenPipeError:
        code = DONE  # whoever read our output has seen enough
        with contextlib.suppress(OSError):
            sys.stdout.close()
    sys.exit(code)


def _interrupt(_number: int, _frame: object) -> NoReturn:
    """TERM and HUP end a run as Ctrl-C does: what was measured is kept."""
    raise KeyboardInterrupt


def do_list(arguments: argparse.Namespace) -> int:
    """`gatebench list`: the rows of a table, or of all four."""
    registry = _registry(arguments)
    tables: dict[str, list[dict[str, Any]]] = {
        "servers": [
            {
                "name": name, "speaks": row.speaks, "concurrency": row.concurrency,
                "websocket": row.websocket, "packages": row.packages, "command": row.command,
                "notes": row.notes, "cannot": row.cannot,
            }
            for name, row in registry.shown().items()
        ],
        "fronts": [
            {
                "name": row.name, "about": row.about, "command": row.command,
                "reaches": row.reaches, "notes": row.notes, "cannot": row.cannot,
            }
            for row in registry.fronts.values()
        ],
        "apps": [
            {"name": row.name, "speaks": row.speaks, "target": row.target, "packages": row.packages}
            for row in registry.apps.values()
        ],
        "scenarios": [
            {"name": row.name, "about": row.about, "needs": row.needs, "checks": row.checks}
            for row in registry.scenarios.values()
        ],
    }  # fmt: skip
    chosen = {arguments.what: tables[arguments.what]} if arguments.what else tables
    if arguments.json:
        _print_json({"schema": 1, **chosen})
        return DONE
    for title, rows in chosen.items():
        table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
        shown = [name for name in rows[0] if name not in ("command", "cannot", "checks")]
        for name in shown:
            table.add_column(name, overflow="fold", no_wrap=name == "name")
        for row in rows:
            table.add_row(*(Text(_cell_text(row[name])) for name in shown))
        out.print(table)
    return DONE


def do_run(arguments: argparse.Namespace) -> int:
    """`gatebench run`: measure, store, report."""
    require_linux()
    if arguments.processes > (arguments.users or CLOSED_USERS):
        raise ConfigurationError("--processes share the users: give at least as many --users")
    if arguments.arrivals is not None and arguments.rate is None:
        raise ConfigurationError("--arrivals goes with --rate: a closed load has no arrivals")
    registry, words = _registry(arguments), server_words(arguments.server)
    pythons, scenarios = (split_words(it or []) for it in (arguments.python, arguments.scenario))
    held = []
    if asked := asked_of(arguments, registry):
        if scenarios:
            raise ConfigurationError("--scenario is for apps of ours; your own goes with --request")
        registry, words = own_registry(registry, asked, words)
        scenarios = list(registry.scenarios)
        held = [what_is_held(registry)]
    placement = place(usable_cpus())
    cells, notes = make_cells(
        registry, words, scenarios, _budget(arguments, len(placement.server)),
        app=arguments.app, pythons=pythons,
    )  # fmt: skip
    notes += held
    for note in notes:
        _say(note)
    plan = Plan(
        tuple(cells),
        arguments.blocks,
        arguments.seed if arguments.seed is not None else secrets.randbelow(2**31),
        Timing(arguments.warmup, arguments.duration),
        placement,
        facts(usable_cpus()),
        ("gatebench", *without_secrets(sys.argv[1:])),
        tuple(notes),
    )
    writer = RunWriter(arguments.results, plan.facts())
    pin(placement.generator)
    how, stopped = _measure(plan, arguments, writer)
    writer.end(how)
    run, frames = _frames(writer.path)
    _publish(run, frames, arguments.json)
    if stopped is not None:
        _complain(stopped)
        return stopped.exit_code
    if how == "interrupted":
        _say(f"interrupted: {len(run.trials)} of {len(plan.order())} trials are kept in {run.path}")
        return INTERRUPTED
    if any((trial.facts["failure"] or {}).get("own_fault") for trial in run.trials):
        return OWN_FAULT
    return NOT_MEASURED if frames[0]["verdict"].isin((FAILED, INVALID)).any() else DONE


def _measure(
    plan: Plan, arguments: argparse.Namespace, writer: RunWriter
) -> tuple[str, GatebenchError | None]:
    """Conduct the plan; how it ended, and the error that stopped it if one did."""
    trials = len(plan.order())
    estimate = trials * (plan.timing.warmup_s + plan.timing.duration_s + OVERHEAD_S)
    _say(
        f"{len(plan.cells)} cells x {plan.blocks} block(s), about {max(1, round(estimate / 60))} "
        f"min and what installing takes; results in {writer.path}"
    )
    crew = Crew(environment=_Environments(arguments.refresh).of)
    try:
        with Watcher(err, estimate) as watch:
            for _ in conduct(plan, crew, writer, watch):
                pass
    except KeyboardInterrupt:
        return "interrupted", None
    except StorageError as error:
        return "disk-full", error
    except GatebenchError as error:
        return "stopped", error
    return "complete", None


class _Environments:
    """Each server's environment, made once per run, its failure remembered as well."""

    def __init__(self, refresh: bool) -> None:
        self._refresh = refresh
        self._made: dict[tuple[str, str], Environment | MeasurementError] = {}

    def of(self, cell: Cell) -> Environment:
        """The environment, or the same MeasurementError as at the first try."""
        # by name, though servers may share one: a failure names the row it befell
        key = (cell.server.label, cell.app.name)
        if key not in self._made:
            try:
                self._made[key] = _prepare(cell, refresh=self._refresh)
            except MeasurementError as error:
                self._made[key] = error
        made = self._made[key]
        if isinstance(made, MeasurementError):
            raise made
        return made


def _prepare(cell: Cell, *, refresh: bool = False) -> Environment:
    """The server's environment, in which an application of the user's own can be imported."""
    made = environment.prepare(cell.server, cell.app, refresh=refresh)
    if cell.app.own:
        inspect(cell.server, cell.app, made)
    return made


def do_serve(arguments: argparse.Namespace) -> int:
    """`gatebench serve`: start a server for a look, until Ctrl-C."""
    require_linux()
    registry, words = _registry(arguments), server_words([arguments.server])
    if asked := asked_of(arguments, registry):
        registry, words = own_registry(registry, asked, words)
    servers = select(registry, words)
    if len(servers) != 1:
        raise ConfigurationError(
            f"serve starts one server; {arguments.server} names {len(servers)}"
        )
    placement = place(usable_cpus())
    scenario = next(iter(registry.scenarios.values()))
    cell = cell_of(
        servers[0], scenario, _budget(arguments, len(placement.server)), registry, arguments.app
    )
    made = _prepare(cell)
    with (
        scratch_folder() as work,
        upstream(work / "upstream.log", placement.generator) as slow,
        launch(
            cell, made, log=work / "server.log", cpus=placement.server, port=arguments.port,
            extra_env={"GATEBENCH_UPSTREAM": slow},
        ) as server,
    ):  # fmt: skip
        server.wait_ready()
        document = {
            "schema": 1, "server": cell.server.label, "app": cell.app.name, "url": server.url,
            "pid": server.tree.pid, "log": str(server.log), "command": server.argv,
            "versions": made.receipt,
        }  # fmt: skip
        try:  # whoever reads what is printed may end it at once
            if arguments.json:
                _print_json(document)
            else:
                out.print(
                    f"{cell.server.label} serves app {cell.app.name} at {server.url}", markup=False
                )
                out.print(
                    f"  {' '.join(server.argv)}\n  log: {server.log}", markup=False, soft_wrap=True
                )
                out.print("Ctrl-C ends it.")
            while server.tree.wait(0.5) is None:
                continue
        except KeyboardInterrupt:
            server.stop()
            _say("stopped")
            return DONE
        raise MeasurementError(
            f"{cell.server.label} ended by itself with exit code {server.tree.poll()}",
            log=last_lines(server.log),
        )


def do_report(arguments: argparse.Namespace) -> int:
    """`gatebench report`: the tables again, and report.md beside each run."""
    paths = [_run_path(name, arguments.results) for name in arguments.run]
    documents = []
    for path in paths or [newest_run(arguments.results)]:
        run, frames = _frames(path)
        documents.append(document(run, *frames[1:]))
        if not arguments.json:
            _publish(run, frames, as_json=False)
        if arguments.hdr:
            logs = write_logs(run)
            _say(f"{len(logs)} HdrHistogram logs of {len(run.trials)} trials: {run.path / 'hdr'}")
    if arguments.json:
        _print_json(documents[0] if len(documents) == 1 else {"schema": 1, "runs": documents})
    return DONE


def do_calibrate(arguments: argparse.Namespace) -> int:
    """`gatebench calibrate`: the load generator itself, beside others."""
    require_linux()
    names = split_words(arguments.only or []) or list(calibrate.PARTS)
    if unknown := [name for name in names if name not in calibrate.PARTS]:
        there = ", ".join(calibrate.PARTS)
        raise ConfigurationError(f"unknown part {unknown[0]!r}; there are {there}")
    placement, machine = place(usable_cpus()), facts(usable_cpus())
    seed = arguments.seed if arguments.seed is not None else secrets.randbelow(2**31)
    parts = tuple(part for name, part in calibrate.PARTS.items() if name in names)
    plan = calibrate.Plan(parts, arguments.pairs, arguments.duration, seed, calibrate.missing())
    bench = calibrate.Bench(load_registry().scenarios, placement, arguments.duration)
    known = {
        "command": ["gatebench", *sys.argv[1:]], "machine": machine, "placement": placement,
        "versions": calibrate.versions(), "load_before": os.getloadavg()[0],
    }  # fmt: skip
    pin(placement.generator)
    done, ended, stopped = _calibrate(plan, bench)
    known |= {"ended": ended, "load_after": os.getloadavg()[0]}
    found = calibrate.document(plan, done, known)
    if arguments.json:
        _print_json(found)
    else:
        print_calibration(plain(found), out)
    if stopped is not None:
        _complain(stopped)
        return stopped.exit_code
    if ended == "interrupted":
        _say(f"interrupted: {len(done)} of {len(plan.order())} measurements are shown")
        return INTERRUPTED
    return NOT_MEASURED if any(it.failure for it in done) else DONE


def _calibrate(
    plan: calibrate.Plan, bench: calibrate.Bench
) -> tuple[list[calibrate.Measurement], str, GatebenchError | None]:
    """What was measured, how it ended, and the error that stopped it if one did."""
    steps = plan.order()
    _say(f"{len(steps)} measurements, about {clock(plan.estimate_s(steps))}")
    done: list[calibrate.Measurement] = []
    try:
        for measurement in calibrate.conduct(plan, bench):
            done.append(measurement)
            left = plan.estimate_s(steps[len(done) :])
            _say(f"[{len(done)}/{len(steps)}] {line(measurement)} · {clock(left)} left")
    except KeyboardInterrupt:
        return done, "interrupted", None
    except GatebenchError as error:
        return done, "stopped", error
    return done, "complete", None


def do_probe(arguments: argparse.Namespace) -> int:
    """`gatebench probe`: what each server can really do, by trying it."""
    require_linux()
    probes = probe.select(split_words(arguments.only or []))
    registry = _registry(arguments)
    placement = place(usable_cpus())
    scenario = next(iter(registry.scenarios.values()))
    budget = Budget(arguments.workers, arguments.threads, Load(1))
    chosen = select(registry, server_words(arguments.server))
    cells = [cell_of(it, scenario, budget, registry) for it in chosen if it.front is None]
    if chosen and not cells:
        raise ConfigurationError("probe asks the servers themselves: name them without a front")
    began = datetime.now(UTC)
    pin(placement.generator)
    servers: list[probe.Findings] = []
    ended = _probe(cells, probes, servers, placement.server)
    known = {
        "created": began.isoformat(timespec="seconds"), "command": ("gatebench", *sys.argv[1:]),
        "machine": facts(usable_cpus()), "ended": ended,
    }  # fmt: skip
    found = plain(probe.document(probes, servers, known))
    if arguments.json:
        _print_json(found)
    else:
        print_matrix(found, out)
    folder = arguments.results / f"probe-{began.strftime('%Y%m%dT%H%M%S%fZ')}"
    try:
        folder.mkdir(parents=True)
        write_text(folder / "probe.json", json.dumps(found, indent=1, allow_nan=False) + "\n")
        write_text(folder / "matrix.md", matrix_markdown(found))
        _say(f"probe.json and matrix.md: {folder}")
    except OSError as error:
        _say(f"{folder} cannot be written: {error.strerror}; choose another with --results DIR")
    if ended == "interrupted":
        _say(f"interrupted: {len(servers)} of {len(cells)} servers were reached")
        return INTERRUPTED
    return NOT_MEASURED if any(it.failure for it in servers) else DONE


def _probe(
    cells: Sequence[Cell],
    probes: Sequence[probe.Probe],
    servers: list[probe.Findings],
    cpus: Sequence[int],
) -> str:
    """Put the probes to each server, filling `servers`; how it ended."""
    environments = _Environments(refresh=False).of
    try:
        with contextlib.closing(probe.survey(cells, environments, probes, servers, cpus)) as steps:
            for findings, finding in steps:
                label = findings.cell.server.label
                if finding is None:
                    _say(f"{label}: FAILED: {findings.failure}")
                else:
                    answer = finding.answer
                    _say(finding_line(label, finding.name, answer.word, answer.evidence))
    except KeyboardInterrupt:
        return "interrupted"
    return "complete"


def do_doctor(arguments: argparse.Namespace) -> int:
    """`gatebench doctor`: what is missing here, and the command that installs it."""
    checks = examine(arguments.results)
    needed = any(check.state == "missing" for check in checks)
    if arguments.json:
        _print_json({"schema": 1, "ok": not needed, "checks": plain(checks)})
    else:
        signs = {"ok": ("✓", "green"), "missing": ("✗", "red"), "optional": ("-", "yellow")}
        for check in checks:
            sign, style = signs[check.state]
            out.print(Text(f"{sign} {check.name}: {check.found}", style=style), soft_wrap=True)
            if check.mend:
                out.print(Text(f"    {check.mend}"), soft_wrap=True)
    return NOT_MEASURED if needed else DONE


COMMANDS = {
    "list": do_list,
    "run": do_run,
    "serve": do_serve,
    "report": do_report,
    "calibrate": do_calibrate,
    "probe": do_probe,
    "doctor": do_doctor,
}

Frames = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]


def _frames(path: Path) -> tuple[StoredRun, Frames]:
    run = read_run(path)
    for held, needed in [(run.facts, RUN_FACTS), *((it.facts, TRIAL_FACTS) for it in run.trials)]:
        if missing := [name for name in needed if name not in held]:
            raise UnreadableRunError(f"{path}: is damaged (it lacks {', '.join(missing)})")
    trials = trials_frame(run)
    cells = cells_frame(trials)
    return run, (trials, cells, comparisons_frame(cells))


def _publish(run: StoredRun, frames: Frames, as_json: bool) -> None:
    """Print the report, and write report.md; a disk that is full does not hide the first."""
    if as_json:
        _print_json(document(run, *frames[1:]))
    else:
        print_report(run, *frames[1:], out)
    try:
        write_text(run.path / "report.md", markdown(run, *frames[1:]))
    except OSError as error:
        _say(f"{run.path / 'report.md'} cannot be written: {error.strerror}")


def _run_path(name: str, results: Path) -> Path:
    return Path(name) if Path(name).exists() else results / name


def _registry(arguments: argparse.Namespace) -> Registry:
    return load_registry(arguments.servers or ())


def _budget(arguments: argparse.Namespace, server_cpus: int) -> Budget:
    """Equal budgets: by default one worker for each CPU that the server gets."""
    workers = arguments.workers or server_cpus
    users, rate = getattr(arguments, "users", None), getattr(arguments, "rate", None)
    if rate is None:
        load = Load(users or CLOSED_USERS)
    else:
        load = Load(users or OPEN_USERS, "open", rate, arguments.arrivals or "constant")
    for name in ("deadline_s", "processes"):
        if hasattr(arguments, name):
            load = replace(load, **{name: getattr(arguments, name)})
    return Budget(workers, arguments.threads, load)


def _cell_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(plain(value), indent=1, allow_nan=False) + "\n")
    sys.stdout.flush()


def _say(line: str) -> None:
    err.print(Text(line), soft_wrap=True)


def _complain(error: GatebenchError) -> None:
    err.print(Text(f"gatebench: {error}", style="red"), soft_wrap=True)
    if isinstance(error, MeasurementError) and error.log:
        err.print(Text("  " + error.log.replace("\n", "\n  ")), soft_wrap=True)


if __name__ == "__main__":
    main()
