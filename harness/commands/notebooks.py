"""`gatebench notebooks`: questions asked of a run, and the answers as pages."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.commands.arguments import run_path
from harness.commands.console import DONE, OWN_FAULT, complain, print_json, say
from harness.model import ConfigurationError
from harness.notebooks import Notebook, NotebookError, catalogue, execute, require_tools, values
from harness.store import UnreadableRunError, newest_run, read_run
from harness.table import nearest


def do_notebooks(arguments: argparse.Namespace) -> int:
    """`gatebench notebooks`: execute them on a run, one after the other."""
    require_tools()
    known = catalogue()
    chosen, run = _asked(arguments.words, known, arguments.results)
    said = values(arguments.parameter or (), chosen)
    read_run(run)  # damaged, or of another schema: told before anything is started
    folder = arguments.output or run / "notebooks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{folder}: cannot be made: {error.strerror}") from None
    said |= {"run": str(run.resolve()), "results": str(run.resolve().parent)}
    rows = [
        _execute(f"[{number}/{len(chosen)}]", it, said, folder)
        for number, it in enumerate(chosen, 1)
    ]
    if arguments.json:
        print_json({"schema": 1, "run": str(run), "notebooks": rows})
    return OWN_FAULT if any(row["state"] == "failed" for row in rows) else DONE


def _asked(
    words: list[str], known: Mapping[str, Notebook], results: Path
) -> tuple[list[Notebook], Path]:
    """The notebooks that are named, or all, and the run, or the newest."""
    chosen = [known[word] for word in dict.fromkeys(words) if word in known]
    runs = [word for word in words if word not in known]
    if len(runs) > 1:
        for word in runs:
            _found(word, known, results)
        raise ConfigurationError(
            f"one run at a time: {runs[0]} or {runs[1]}; for several: "
            f"`gatebench notebooks regressions -p runs={','.join(runs)}`"
        )
    run = _found(runs[0], known, results) if runs else newest_run(results)
    return chosen or list(known.values()), run


def _found(word: str, known: Mapping[str, Notebook], results: Path) -> Path:
    try:
        return run_path(word, results)
    except UnreadableRunError:
        raise ConfigurationError(
            f"{word}: neither a notebook nor a run{nearest(word, known)}; there are the notebooks "
            f"{', '.join(known)}, and the runs in {results}"
        ) from None


def _execute(
    place: str, notebook: Notebook, said: Mapping[str, Any], folder: Path
) -> dict[str, Any]:
    """One notebook as a row of the document; a failure is told, and the next one goes on."""
    say(f"{place} {notebook.name}: {notebook.title}")
    began = time.monotonic()
    row: dict[str, Any] = {"name": notebook.name, "notebook": None, "page": None, "reason": None}
    try:
        done = execute(notebook, said, folder)
    except NotebookError as error:
        complain(error)
        return row | {"state": "failed", "reason": str(error)}
    say(f"{place} {notebook.name}: {done.page} ({time.monotonic() - began:.0f} s)")
    if done.nothing:
        say(f"{place} {notebook.name} ends early: {done.nothing}")
    state = "nothing to show" if done.nothing else "done"
    found = {"notebook": str(done.notebook), "page": str(done.page), "state": state}
    return row | found | {"reason": done.nothing or None}
