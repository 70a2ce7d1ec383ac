"""The command that measures one stored cell again: the same server, versions, work and load."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from packaging.utils import canonicalize_name

from harness.options.secrets import SECRETS
from harness.store import StoredRun, StoredTrial, read_json

# what no fact of a cell tells: it is taken from the command line that the run was begun with
CARRIED = (
    "--servers", "--app-dir", "--requirements", "--interface", "--request", "--expect-status",
    "--expect-body", *SECRETS,
)  # fmt: skip
PATHS = ("--servers", "--app-dir", "--requirements")
ASKED = re.compile(r"(\+[^ #]+)?(?: \(Python (.+)\))?(?:#\d+)?")  # what a label ends in

Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reproduction:
    """A command line, and what its reader has to know: one sentence each."""

    words: tuple[str, ...]
    remarks: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The command as a shell takes it."""
        return shlex.join(self.words)


def reproduction(run: StoredRun, trial: StoredTrial) -> Reproduction:
    """How to measure the cell of `trial` again, on the machine that it was measured on.

    The version is the one that was installed, of the package that a version after @ chooses;
    a second entry of a server (`uvicorn#2`) is that server.
    """
    cell, carried = trial.facts["cell"], list(_carried(run.facts["command"]))
    if cell.get("side"):  # a side of a gate means nothing without the other
        return Reproduction(tuple(run.facts["command"]), tuple(_remarks(carried, True)))
    word, python, pinned = _server(run, trial)
    words = ["gatebench", "run", word, "--app", cell["app"]]
    if not any(option == "--request" for option, _ in carried) and ":" not in cell["app"]:
        words += ["--scenario", cell["scenario"]]
    words += _load(cell["load"])
    words += ["--workers", str(cell["workers"])]
    words += [] if cell["threads"] is None else ["--threads", str(cell["threads"])]
    timing = trial.facts["timing"]
    words += ["--duration", f"{timing['duration_s']:g}s", "--warmup", f"{timing['warmup_s']:g}s"]
    words += ["--blocks", str(run.facts["blocks"]), "--seed", str(run.facts["seed"])]
    words += [] if python is None else ["--python", python]
    # --option=value, for a value may begin with a dash
    words += [f"{option}={value}" for option, value in carried]
    return Reproduction(tuple(words), tuple(_remarks(carried, pinned)))


def _server(run: StoredRun, trial: StoredTrial) -> tuple[str, str | None, bool]:
    """The word that names the server, the Python that was asked for, and whether it is pinned."""
    cell = trial.facts["cell"]
    row, front = cell.get("row", cell["server"]), cell.get("front")
    asked = row if cell.get("version") is None else f"{row}@{cell['version']}"
    asked = asked if front is None else f"{front}+{asked}"
    tail = ASKED.fullmatch(cell["server"].removeprefix(asked))
    injection, python = (tail[1] or "", tail[2]) if tail else ("", None)
    version = _installed(run, trial) or cell.get("version")
    word = row if version is None else f"{row}@{version}"
    return f"{front}+{word}{injection}" if front else f"{word}{injection}", python, bool(version)


def _installed(run: StoredRun, trial: StoredTrial) -> str | None:
    """The version of the package that a version after @ is of, if both are known."""
    packages = _packages(run, trial.facts["cell"])
    told = trial.facts.get("versions", {}).items()
    versions = {canonicalize_name(name): version for name, version in told}
    return versions.get(canonicalize_name(packages[0])) if packages else None


def _packages(run: StoredRun, cell: Facts) -> Sequence[str]:
    """The names of the packages that the server's row lists; none for runs that did not keep it."""
    packages = cell.get("packages")
    if packages is None and (run.path / "plan.json").exists():
        cells = read_json(run.path / "plan.json", "plan")["plan"]["cells"]
        servers = {it["server"]["name"]: it["server"] for it in cells}
        packages = servers.get(cell.get("row"), {}).get("packages")
    return [re.split(r"[\[<>=!~; ]", it)[0] for it in packages or ()]


def _load(load: Facts) -> list[str]:
    if load["model"] == "closed":
        words = ["--users", str(load["users"])]
    else:
        words = ["--rate", f"{load['rate_per_s']!r}", "--arrivals", load["arrivals"]]
        words += ["--users", str(load["users"])]
    words += ["--deadline", f"{load.get('deadline_s', 60.0):g}s"]
    return [*words, "--processes", str(load.get("processes", 1))]


def _carried(command: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The options of CARRIED in a command line, with their values as they are stored."""
    words = iter(command)
    for word in words:
        option, equals, value = word.partition("=")
        if option in CARRIED:
            value = value if equals else next(words, "")
            # a header's name is stored as a variable's, and is written otherwise
            yield option, value.replace("=...", ": ...") if "header" in option else value


def _remarks(carried: Sequence[tuple[str, str]], pinned: bool) -> Iterator[str]:
    if not pinned:
        yield "It installs the newest version, for the run does not say which package has which."
    if untold := [f"{option} {value}" for option, value in carried if option in SECRETS]:
        yield f"Values are not stored: write them in place of the dots of {', '.join(untold)}."
    if paths := [value for option, value in carried if option in PATHS]:
        yield f"Paths are as they were given, from where the run was begun: {', '.join(paths)}."
