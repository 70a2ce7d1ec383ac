"""`gatebench report`: a run's tables again."""

from __future__ import annotations

import argparse

from harness.commands.arguments import run_path
from harness.commands.console import DONE, print_json, say
from harness.commands.publication import frames_of, publish, whole_document
from harness.report.hdr import write_logs
from harness.store import newest_run


def do_report(arguments: argparse.Namespace) -> int:
    """`gatebench report`: the tables again, and report.md beside each run."""
    paths = [run_path(name, arguments.results) for name in arguments.run]
    documents = []
    for path in paths or [newest_run(arguments.results)]:
        run, frames = frames_of(path)
        documents.append(whole_document(run, frames))
        if not arguments.json:
            publish(run, frames, as_json=False)
        if arguments.hdr:
            logs = write_logs(run)
            say(f"{len(logs)} HdrHistogram logs of {len(run.trials)} trials: {run.path / 'hdr'}")
    if arguments.json:
        print_json(documents[0] if len(documents) == 1 else {"schema": 1, "runs": documents})
    return DONE
