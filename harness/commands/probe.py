"""`gatebench probe`: what each server can really do, by trying it."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from harness import probe
from harness.cells import Budget, cell_of, select, server_words, split_words
from harness.commands.arguments import registry_of
from harness.commands.console import DONE, INTERRUPTED, NOT_MEASURED, out, print_json, say
from harness.commands.environments import Environments
from harness.machine import facts, place, require_linux, usable_cpus
from harness.model import Cell, Load
from harness.report.matrix import finding_line, matrix_markdown, print_matrix
from harness.sample import pin
from harness.store import plain, write_text


def do_probe(arguments: argparse.Namespace) -> int:
    """`gatebench probe`: what each server can really do, by trying it."""
    require_linux()
    probes = probe.select(split_words(arguments.only or []))
    registry = registry_of(arguments)
    placement = place(usable_cpus())
    scenario = next(iter(registry.scenarios.values()))
    budget = Budget(arguments.workers, arguments.threads, Load(1))
    chosen = select(registry, server_words(arguments.server))
    cells = [cell_of(it, scenario, budget, registry) for it in chosen]
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
        print_json(found)
    else:
        print_matrix(found, out)
    folder = arguments.results / f"probe-{began.strftime('%Y%m%dT%H%M%S%fZ')}"
    try:
        folder.mkdir(parents=True)
        write_text(folder / "probe.json", json.dumps(found, indent=1, allow_nan=False) + "\n")
        write_text(folder / "matrix.md", matrix_markdown(found))
        say(f"probe.json and matrix.md: {folder}")
    except OSError as error:
        say(f"{folder} cannot be written: {error.strerror}; choose another with --results DIR")
    if ended == "interrupted":
        say(f"interrupted: {len(servers)} of {len(cells)} servers were reached")
        return INTERRUPTED
    return NOT_MEASURED if any(it.failure for it in servers) else DONE


def _probe(
    cells: Sequence[Cell],
    probes: Sequence[probe.Probe],
    servers: list[probe.Findings],
    cpus: Sequence[int],
) -> str:
    """Put the probes to each server, filling `servers`; how it ended."""
    environments = Environments(refresh=False).of
    try:
        with contextlib.closing(probe.survey(cells, environments, probes, servers, cpus)) as steps:
            for findings, finding in steps:
                label = findings.cell.server.label
                if finding is None:
                    say(f"{label}: FAILED: {findings.failure}")
                else:
                    answer = finding.answer
                    say(finding_line(label, finding.name, answer.word, answer.evidence))
    except KeyboardInterrupt:
        return "interrupted"
    return "complete"
