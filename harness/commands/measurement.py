"""From what is asked for to a run on disk: what `run` and the commands like it share."""

from __future__ import annotations

import argparse
import math
import secrets
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.analyze import trials_frame
from harness.analyze.decision import FEWEST
from harness.analyze.detection import detectable, noise
from harness.analyze.verdict import FAILED, INVALID
from harness.application import asked_of, asked_request, held_to, own_registry, what_is_held
from harness.ceiling import comparable
from harness.cells import make_cells, server_words, split_words
from harness.commands.arguments import CLOSED_USERS, budget_of, registry_of
from harness.commands.console import (
    DONE,
    INTERRUPTED,
    NOT_MEASURED,
    OWN_FAULT,
    complain,
    err,
    say,
)
from harness.commands.environments import Environments
from harness.commands.publication import Frames
from harness.forecast import CEILING_S, Forecast, blocks_within, run_s
from harness.machine import facts, place, usable_cpus
from harness.model import Cell, ConfigurationError, GatebenchError, RefusedError, Timing
from harness.options import without_secrets
from harness.page import NOTE, Page
from harness.plan import Plan, Slot
from harness.recipe import recipe
from harness.registry import Registry
from harness.report.progress import Watcher
from harness.report.units import clock, plural, share
from harness.run import Crew, conduct, unmeasured
from harness.sample import pin
from harness.store import StorageError, StoredRun, read_run
from harness.sweep import hold_choices, parse_sweeps, swept
from harness.writer import RunWriter

ENOUGH_BLOCKS = 3  # after which a run's own noise says what it will detect


@dataclass(frozen=True)
class Ending:
    """How measuring ended: complete, budget, interrupted, disk-full or stopped, and by what."""

    how: str
    error: GatebenchError | None = None

    def code(self, run: StoredRun, frames: Frames) -> int:
        """The exit code, and on standard error why it is not 0 and how to go on."""
        order = run.facts["order"]
        if self.error is not None:
            complain(self.error)
        if self.how in ("interrupted", "budget"):
            what = "interrupted" if self.how == "interrupted" else "the budget is spent"
            say(f"{what}: {len(run.trials)} of {len(order)} trials are kept in {run.path}")
        if self.how != "complete" and not isinstance(self.error, RefusedError):
            say(f"to go on: {resume_command(run.path)}")
        if self.error is not None:
            return self.error.exit_code
        if self.how == "interrupted":
            return INTERRUPTED
        if any((trial.facts["failure"] or {}).get("own_fault") for trial in run.trials):
            return OWN_FAULT
        return NOT_MEASURED if frames[0]["verdict"].isin((FAILED, INVALID)).any() else DONE


def resume_command(run: Path) -> str:
    """The command that goes on with a run."""
    return shlex.join(["gatebench", "run", "--resume", str(run)])


def plan_of(arguments: argparse.Namespace) -> Plan:
    """What is asked for, as a plan; ConfigurationError where it cannot be done."""
    return plan_with(arguments, *cells_of(arguments, registry_of(arguments)))


def cells_of(
    arguments: argparse.Namespace, registry: Registry
) -> tuple[tuple[Cell, ...], tuple[str, ...]]:
    """The cells that are asked for, and notes on them; ConfigurationError where they cannot be."""
    sweeps = parse_sweeps(arguments.sweep or ())
    points = swept(arguments, sweeps)
    for point in points:
        if point.processes > (point.users or CLOSED_USERS):
            raise ConfigurationError("--processes share the users: give at least as many --users")
        if point.arrivals is not None and point.rate is None:
            raise ConfigurationError("--arrivals goes with --rate: a closed load has no arrivals")
    if arguments.blocks is not None and arguments.budget is not None:
        raise ConfigurationError("--budget finds the number of blocks: leave --blocks out")
    words = server_words(arguments.server)
    pythons, scenarios = (split_words(it or []) for it in (arguments.python, arguments.scenario))
    held = []
    if asked := asked_of(arguments, registry):
        if scenarios:
            raise ConfigurationError("--scenario is for apps of ours; your own goes with --request")
        registry, words = own_registry(registry, asked, words)
        scenarios = list(registry.scenarios)
        held = [what_is_held(registry)]
    elif work := asked_request(arguments):
        if scenarios:
            raise ConfigurationError("--request and --scenario both say what is asked: drop one")
        registry, scenarios = replace(registry, scenarios={work.name: work}), [work.name]
        held = [held_to(work.request)] if work.request else []
    placement = place(usable_cpus())
    cells: list[Cell] = []
    notes: list[str] = []
    for point in points:
        more, left_out = make_cells(
            registry, words, scenarios, budget_of(point, len(placement.server)),
            app=arguments.app, pythons=pythons, placebo=arguments.placebo,
        )  # fmt: skip
        cells += more
        notes += [note for note in left_out if note not in notes]
    hold_choices(sweeps, cells)
    return tuple(cells), (*notes, *held)


def plan_with(
    arguments: argparse.Namespace, cells: tuple[Cell, ...], notes: tuple[str, ...]
) -> Plan:
    """A plan of these cells, with the blocks, times and seed that are asked for."""
    notes = (*notes, *([NOTE] if arguments.live else []))
    for note in notes:
        say(note)
    plan = Plan(
        cells,
        arguments.blocks or arguments.usual_blocks,
        arguments.seed if arguments.seed is not None else secrets.randbelow(2**31),
        Timing(arguments.warmup, arguments.duration),
        place(usable_cpus()),
        facts(usable_cpus()),
        command(),
        notes,
    )
    return plan if arguments.budget is None else fitted(plan, arguments.budget)


def command() -> tuple[str, ...]:
    """The command line as it is stored."""
    return ("gatebench", *without_secrets(sys.argv[1:]))


def fitted(plan: Plan, budget_s: float) -> Plan:
    """The plan with as many blocks as the budget has room for; ConfigurationError for none."""
    ceilings = len(comparable(plan.cells))
    blocks = blocks_within(plan, ceilings, budget_s)
    if blocks:
        return replace(plan, blocks=blocks)
    least_s = math.ceil(run_s(replace(plan, blocks=1), ceilings))
    raise ConfigurationError(
        f"--budget: one block of {len(plan.cells)} cells takes about {clock(least_s)}; give "
        f"--budget {least_s}s, or fewer servers and scenarios, or less than --duration "
        f"{plan.timing.duration_s:g}s"
    )


def begin(plan: Plan, results: Path) -> RunWriter:
    """A new run of the plan, which can be resumed."""
    return RunWriter.begin(results, plan.facts(), recipe(plan))


def page_of(arguments: argparse.Namespace) -> Page | None:
    """Locust's page, if it was asked for."""
    return Page(say) if arguments.live else None


def watcher(plan: Plan, left_s: float | None, page: Page | None) -> Watcher:
    """Who shows how the plan goes, and that it takes `left_s` seconds."""
    url = (lambda: page.url) if page else str
    return Watcher(err, left_s, placement=plan.placement, blocks=plan.blocks, url=url)


def crew_of(environments: Environments, page: Page | None) -> Crew:
    """Those who do the work, with Locust's page beside it or without."""
    return Crew(environments.of) if page is None else Crew(environments.of, drive=page.drive)


def measure(
    plan: Plan,
    writer: RunWriter,
    environments: Environments,
    budget_s: float | None = None,
    page: Page | None = None,
) -> Ending:
    """Measure what the run lacks, and end it on disk; what stopped it is in what is returned."""
    if rest := unmeasured(plan, writer):
        ending = sit(
            plan, writer, lambda: _conduct(plan, writer, environments, rest, budget_s, page)
        )
    else:
        say(f"{writer.path} is complete: nothing is left to measure")
        ending = Ending("complete")
    writer.end(ending.how)
    return ending


def sit(plan: Plan, writer: RunWriter, work: Callable[[], str]) -> Ending:
    """Do some of a run's work from the generator's CPUs; how it ended, which `work` says of its own
    end.
    """
    cpus = usable_cpus()
    writer.sit({"command": command(), "machine": facts(cpus)})
    pin(plan.placement.generator)
    try:
        return Ending(work())
    except KeyboardInterrupt:
        return Ending("interrupted")
    except StorageError as error:
        return Ending("disk-full", error)
    except GatebenchError as error:
        return Ending("stopped", error)
    finally:
        pin(cpus)  # a run that follows is placed by what it finds


def _conduct(
    plan: Plan,
    writer: RunWriter,
    environments: Environments,
    rest: Sequence[Slot],
    budget_s: float | None,
    page: Page | None,
) -> str:
    crew = crew_of(environments, page)
    estimate_s = _announce(plan, writer, environments, rest)
    if budget_s is not None:
        _promise(plan, None, "if trials vary by 2 %")
    with watcher(plan, estimate_s, page) as watch:
        for trial in conduct(plan, crew, writer, watch, budget_s=budget_s):
            known = trial.facts["number"] == ENOUGH_BLOCKS * len(plan.cells)
            if budget_s is not None and known and plan.blocks > ENOUGH_BLOCKS:
                deviation = noise(trials_frame(read_run(writer.path)))
                if deviation is not None:
                    _promise(plan, deviation, "by the noise of the blocks so far")
    return "complete" if len(writer.trials) == len(plan.order()) else "budget"


def _announce(
    plan: Plan, writer: RunWriter, environments: Environments, rest: Sequence[Slot]
) -> float:
    """Say what is about to be done and how long it takes, in seconds without installing."""
    forecast = Forecast(plan.timing, (trial.facts for trial in writer.trials.values()))
    ceilings = 0 if writer.has_ceilings else len(comparable(plan.cells))
    estimate_s = forecast.left_s(slot.cell for slot in rest) + ceilings * CEILING_S
    missing = environments.missing(slot.cell for slot in rest)
    what = f"{plural(len(plan.cells), 'cell')} x {plural(plan.blocks, 'block')}"
    if writer.sitting > 1:
        what = f"{len(rest)} of {len(plan.order())} trials are left of {what}"
    install = f" and what installing {plural(missing, 'environment')} takes" if missing else ""
    say(f"{what}, about {clock(estimate_s)}{install}; results in {writer.path}")
    return estimate_s


def max_servers(plan: Plan) -> int:
    """How many contenders the largest family of a plan has: those of one scenario and load."""
    most = 0
    # a placebo is a family of its own, unless nothing else is compared
    for cells in ([it for it in plan.cells if not it.server.twin_of], plan.cells):
        families = [(cell.scenario.name, cell.load) for cell in cells]
        most = max((families.count(family) for family in families), default=0)
        if most > 1:
            break
    return most


def _promise(plan: Plan, deviation: float | None, on: str) -> None:
    """Say what difference the plan's blocks can find."""
    servers = max_servers(plan)
    effect = detectable(plan.blocks, servers, deviation)
    if effect is not None:
        least = share(effect)
        say(f"{plan.blocks} blocks find a difference of {least} or more in throughput, {on}")
    elif servers > 1:
        blocks = plural(plan.blocks, "block")
        say(f"{blocks}: numbers, and no verdict on differences ({FEWEST} are needed)")
