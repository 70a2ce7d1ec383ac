"""`gatebench report`: a run's tables again, and the run for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.commands.arguments import run_path
from harness.commands.console import DONE, print_json, say
from harness.commands.publication import publish, whole_document
from harness.export.formats import Format, export, formats_of
from harness.model import ConfigurationError
from harness.report.readme import block, splice
from harness.results import Results, load_run, load_runs
from harness.store import newest_run


def do_report(arguments: argparse.Namespace) -> int:
    """`gatebench report`: the tables again, report.md beside each run, and what --export names."""
    paths = [run_path(name, arguments.results) for name in arguments.run]
    formats = _formats(arguments, len(paths))
    if arguments.splice is not None and len(paths) > 1:
        raise ConfigurationError("--splice puts one run into a file: name one")
    documents = []
    loaded = [load_run(path) for path in paths or [newest_run(arguments.results)]]
    for results in loaded:
        frames = (results.trials, results.cells, results.comparisons)
        documents.append(whole_document(results.run, frames))
        if not arguments.json:
            publish(results.run, frames, as_json=False)
    if formats:
        whole = loaded[0] if len(loaded) == 1 else load_runs(paths)
        _export(whole, formats, arguments.export_dir or whole.run.path / "export")
    if arguments.splice is not None:
        splice(arguments.splice, block(loaded[0]))
        say(f"spliced into {arguments.splice}")
    if arguments.json:
        print_json(documents[0] if len(documents) == 1 else {"schema": 1, "runs": documents})
    return DONE


def _formats(arguments: argparse.Namespace, runs: int) -> list[Format]:
    if not arguments.export:
        if arguments.export_dir is not None:
            raise ConfigurationError("--export-dir goes with --export FORMAT,...")
        return []
    formats = formats_of(arguments.export, runs)
    if runs > 1 and arguments.export_dir is None:
        raise ConfigurationError("--export of several runs: say where to, with --export-dir DIR")
    return formats


def _export(results: Results, formats: list[Format], folder: Path) -> None:
    """Write them, and say which files there are and what is not in them."""
    written = export(results, formats, folder)
    for it in formats:
        files = written[it.name]
        what = files[0] if len(files) == 1 else f"{len(files)} files in {folder}"
        missing = it.left_out(results)
        say(f"{it.name}: {what}" + (f" (left out: {missing})" if missing else ""))
