"""`gatebench serve`: a server, just started, for a look."""

from __future__ import annotations

import argparse

from harness.application import asked_of, asked_request, own_registry
from harness.cells import cell_of, select, server_words
from harness.commands.arguments import budget_of, registry_of
from harness.commands.console import DONE, out, print_json, say
from harness.commands.environments import prepare
from harness.launch import launch, upstream
from harness.machine import place, require_linux, usable_cpus
from harness.model import ConfigurationError, MeasurementError
from harness.process import last_lines, scratch_folder


def do_serve(arguments: argparse.Namespace) -> int:
    """`gatebench serve`: start a server for a look, until Ctrl-C."""
    require_linux()
    registry, words = registry_of(arguments), server_words([arguments.server])
    if asked := asked_of(arguments, registry):
        registry, words = own_registry(registry, asked, words)
    elif asked_request(arguments):
        raise ConfigurationError("--request: serve asks nothing of our apps; leave it out")
    servers = select(registry, words)
    if len(servers) != 1:
        raise ConfigurationError(
            f"serve starts one server; {arguments.server} names {len(servers)}"
        )
    placement = place(usable_cpus())
    scenario = next(iter(registry.scenarios.values()))
    cell = cell_of(
        servers[0], scenario, budget_of(arguments, len(placement.server)), registry, arguments.app
    )
    made = prepare(cell)
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
                print_json(document)
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
            say("stopped")
            return DONE
        raise MeasurementError(
            f"{cell.server.label} ended by itself with exit code {server.tree.poll()}",
            log=last_lines(server.log),
        )
