"""uv, run for one row: under a guardian, and deaf to the environment that gatebench is in."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

from harness.model import MeasurementError, Server
from harness.process import StartError, Tree, scratch_folder

LIMIT_S = 900.0  # the longest that one command, or another process's build, may take

# uv's own words, on one line: they hold from 0.5 to 0.13.
OFFLINE = r"network was disabled|UV_OFFLINE|error sending request|network timeout|body error"
UNKNOWN = r"(\S+) was not found in the (?:package registry|provided package locations)"
ABSENT = (  # no other clause may come between: then it is a conflict, or the wrong Python
    r"Because (?:there (?:is|are) no versions? of \S+|only ((?:(?!depends on|cannot be).)*?))"
    r" and you require (\S+), "
)
UNBUILT = r"[Ff]ailed to (?:download and )?build `([^`]+)`"
UNREAD = r"Couldn't parse requirement in \S+ .*"
UNMET = r"(?:Because|you require) .*"
NO_HELP = r"hint: .*(?:the build environment|--prerelease=allow)"


@dataclass(frozen=True, slots=True)
class Completed:
    """A program that ended, and everything that it wrote, in the order it came."""

    returncode: int
    log: str


# Runs an argument list with exactly this environment and waits for its end.
# Raises TimeoutError after LIMIT_S seconds, having ended all that it started.
Runner = Callable[[Sequence[str], Mapping[str, str]], Completed]


def run_guarded(
    argv: Sequence[str], environment: Mapping[str, str], limit_s: float | None = None
) -> Completed:
    """Run `argv` under a guardian, so that neither uv nor a compiler outlives gatebench."""
    with scratch_folder() as folder:
        log = folder / "log"
        try:
            with Tree(argv, cwd=folder, env=environment, log=log) as tree:
                code = tree.wait(LIMIT_S if limit_s is None else limit_s)
        except StartError as error:
            raise OSError(str(error)) from None
        text = log.read_text("utf-8", errors="replace")
    if code is None:
        raise TimeoutError(text)
    return Completed(code, text)


@dataclass(frozen=True, slots=True)
class Installer:
    """uv at work for `server`; whatever goes wrong is a MeasurementError that names the row."""

    server: Server
    run: Runner = run_guarded

    def uv(self, *arguments: str, folder: Path) -> Completed:
        """Run uv in `folder`: it heeds the settings of a project that it stands in."""
        common = ("--color", "never", "--no-python-downloads", "--directory", str(folder))
        try:
            program = find_uv_bin()
        except FileNotFoundError:
            raise self.error("uv is missing: `python -m pip install uv`") from None
        return self.execute(program, *common, *arguments)

    def execute(self, *argv: str) -> Completed:
        """Run a program without the variables that would make it look into our environment."""
        dropped = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"}
        clean = {name: value for name, value in os.environ.items() if name not in dropped}
        try:
            return self.run(argv, clean)
        except TimeoutError as error:
            what = f"{argv[0]} took over {LIMIT_S / 60:.0f} minutes and was ended"
            raise self.error(f"{what}: try again, or another version", str(error)) from None
        except OSError as error:
            what = f"{argv[0]} cannot be started ({error.strerror or error})"
            raise self.error(f"{what}: install it again") from None

    def error(self, what: str, log: str = "") -> MeasurementError:
        """`what` on one line with the row it befell, and the last lines of the log."""
        tail = "\n".join(log.rstrip().splitlines()[-20:])
        return MeasurementError(f"{self.server.label} ({self.server.origin}): {what}", log=tail)


def unreachable(log: str) -> str | None:
    """Why the package index cannot be reached, if that is what uv's log says."""
    offline = re.search(OFFLINE, " ".join(log.split()))
    if offline is None:
        return None
    told = offline[0] in ("network was disabled", "UV_OFFLINE")
    return f"cannot reach the package index ({'uv is set offline' if told else last_word(log)})"


def last_word(log: str) -> str:
    """The last line that means something: uv closes with hints that fit any failure."""
    for block in reversed(re.split(r"\n\s*\n", log.strip())):
        whole = " ".join(block.split())
        if whole and not re.match(NO_HELP, whole):
            line = whole if whole.startswith("hint:") else block.splitlines()[-1]
            return brief(re.sub(r"^\s*(cause|Caused by|error|hint): ", "", line))
    return "it said nothing"


def brief(text: str) -> str:
    """As much of a text as a line holds."""
    return textwrap.shorten(text, 300, placeholder=" ...")
