"""`gatebench tune`: how many workers and threads one server should have, for one kind of work."""

from __future__ import annotations

import argparse

from harness.cells import DEFAULT_SCENARIOS, select, server_words
from harness.commands.arguments import registry_of, scenarios_or
from harness.commands.capacity import hold_requests
from harness.commands.environments import Environments
from harness.commands.measurement import measure, page_of, plan_of
from harness.commands.publication import frames_of, publish
from harness.machine import place, require_linux, usable_cpus
from harness.model import ConfigurationError, Server
from harness.recipe import recipe
from harness.writer import RunWriter

THREADS = (1, 4, 16)
# workers that wait take no CPU, and where each has but one request there must be many
PROCESSES_PER_CPU = (4, 8, 16)


def do_tune(arguments: argparse.Namespace) -> int:
    """`gatebench tune`: measure configurations in blocks, store them, advise."""
    require_linux()
    servers = select(registry_of(arguments), server_words(arguments.server))
    if len(servers) != 1:
        raise ConfigurationError(
            f"tune advises on one server; {', '.join(arguments.server)} names {len(servers)}"
        )
    arguments.scenario = scenarios_or(arguments, DEFAULT_SCENARIOS)
    arguments.sweep = arguments.sweep or grid(servers[0], len(place(usable_cpus()).server))
    if any(not text.startswith(("workers=", "threads=")) for text in arguments.sweep):
        raise ConfigurationError("tune sweeps workers and threads; --users is the load")
    plan = plan_of(arguments)
    hold_requests(plan)
    writer = RunWriter.begin(arguments.results, plan.facts() | {"tune": {}}, recipe(plan))
    environments = Environments(arguments.refresh)
    ending = measure(plan, writer, environments, arguments.budget, page_of(arguments))
    run, frames = frames_of(writer.path)
    publish(run, frames, arguments.json)
    return ending.code(run, frames)


def grid(server: Server, cpus: int) -> list[str]:
    """The sweeps that are tried where none is said; ConfigurationError if nothing can be chosen.

    Workers: one, as many as CPUs, the folklore's 2 x CPUs + 1, and where a worker serves one
    request at a time many more.
    """
    sweeps = []
    if server.takes_workers:
        several = {1, cpus, 2 * cpus + 1}
        if server.concurrency == "process":
            several |= {times * cpus for times in PROCESSES_PER_CPU}
        sweeps.append(_sweep("workers", several))
    if server.takes_threads and server.concurrency == "thread":
        sweeps.append(_sweep("threads", THREADS))
    if not sweeps:
        raise ConfigurationError(
            f"{server.label} has no number of workers or threads to choose: nothing to tune"
        )
    return sweeps


def _sweep(along: str, values: set[int] | tuple[int, ...]) -> str:
    return f"{along}={','.join(str(value) for value in sorted(values))}"
