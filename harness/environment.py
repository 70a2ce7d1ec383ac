"""A virtual environment for each requirement set and Python: made by uv, cached, and checked.

An environment is built where it stays, because the scripts in it carry absolute paths. Its
receipt is written last, so a folder without one is half made and is built again. A cached
environment that is whole is used as it is: without a process, and without the network.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from platformdirs import user_cache_path
from uv import find_uv_bin

from harness.model import App, ConfigurationError, Environment, MeasurementError, Server
from harness.process import StartError, Tree, scratch_folder

RECIPE = 1  # raise it when environments are built differently: those made before are then unused
LIMIT_S = 900.0  # the longest that one command, or another process's build, may take
RECEIPT = "receipt.json"

# Asked of a Python that is not ours. abiflags tells a free-threaded or debug build apart.
IDENTIFY = """import json, os, platform, sys
path = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
version = platform.python_version() + getattr(sys, "abiflags", "")
print(json.dumps([path, version, platform.python_implementation()]))"""

# uv's own words, on one line: they hold from 0.5 to 0.13.
OFFLINE = r"network was disabled|UV_OFFLINE|error sending request|network timeout|body error"
UNKNOWN = r"(\S+) was not found in the (?:package registry|provided package locations)"
ABSENT = (  # no other clause may come between: then it is a conflict, or the wrong Python
    r"Because (?:there (?:is|are) no versions? of \S+|only ((?:(?!depends on|cannot be).)*?))"
    r" and you require (\S+), "
)
UNBUILT = r"[Ff]ailed to (?:download and )?build `([^`]+)`"
NO_HELP = r"hint: .*(?:the build environment|--prerelease=allow)"


@dataclass(frozen=True, slots=True)
class Completed:
    """A program that ended, and everything that it wrote, in the order it came."""

    returncode: int
    log: str


# Runs an argument list with exactly this environment and waits for its end.
# Raises TimeoutError after LIMIT_S seconds, having ended all that it started.
Runner = Callable[[Sequence[str], Mapping[str, str]], Completed]


def run_guarded(argv: Sequence[str], environment: Mapping[str, str]) -> Completed:
    """Run `argv` under a guardian, so that neither uv nor a compiler outlives gatebench."""
    with scratch_folder() as folder:
        log = folder / "log"
        try:
            with Tree(argv, cwd=folder, env=environment, log=log) as tree:
                code = tree.wait(LIMIT_S)
        except StartError as error:
            raise OSError(str(error)) from None
        text = log.read_text("utf-8", errors="replace")
    if code is None:
        raise TimeoutError(text)
    return Completed(code, text)


def requirements(server: Server, app: App) -> tuple[str, ...]:
    """What to install for `app` on `server`; `server.version` pins the row's first package.

    `0.30` means any 0.30.x, `0.30.1` and `1.0rc1` mean that very release. Raises
    ConfigurationError for a version or requirement that cannot be read.
    """
    parsed = [_parse(text, server.origin) for text in server.packages]
    own = parsed[0].name if parsed else None
    parsed += [_parse(text, app.origin) for text in app.packages]
    if server.version is not None:
        if own is None:
            what = f"{server.label} ({server.origin}) has no package whose version can be chosen"
            raise ConfigurationError(f"{what}: leave the version out")
        pin = _pin(server, server.version)
        for requirement in parsed:
            if canonicalize_name(requirement.name) == canonicalize_name(own):
                requirement.specifier, requirement.url = pin, None
    return tuple(str(requirement) for requirement in parsed)


def _parse(text: str, origin: str) -> Requirement:
    try:
        return Requirement(text)
    except InvalidRequirement as error:
        why = " ".join(str(error).split())
        raise ConfigurationError(f"{origin}: {text!r} is not a requirement: {why}") from None


def _pin(server: Server, text: str) -> SpecifierSet:
    try:
        version = Version(text)
    except InvalidVersion:
        what = f"{server.name} ({server.origin}): {text!r} is not a version"
        raise ConfigurationError(f"{what}: write it like {server.name}@1.2 or @1.2.3") from None
    exact = version.is_prerelease or version.is_postrelease or version.local is not None
    return SpecifierSet(f"=={version}" + ("" if exact or len(version.release) > 2 else ".*"))


def prepare(
    server: Server,
    app: App,
    *,
    refresh: bool = False,
    python: str | None = None,
    run: Runner = run_guarded,
) -> Environment:
    """The environment that `server` and `app` run in: from the cache, repaired, or built.

    `python` is a version or a path; without it, `server.python`, else the Python that runs
    gatebench. `refresh` resolves the newest versions again, which replaces the environment
    under anything that still runs from it; if that fails, the one made before stays.

    Raises MeasurementError when the environment cannot be had, ConfigurationError when the
    request is wrong or the cache cannot be written.
    """
    maker = _Maker(server, app, requirements(server, app), run)
    root = cache_folder()
    try:
        root.mkdir(parents=True, exist_ok=True)
        interpreter = maker.find(python or server.python)
        path = root / _fingerprint(maker.wanted, interpreter)
        if not refresh and (environment := _ready(path)):
            return environment
        with FileLock(f"{path}.lock", timeout=LIMIT_S):
            _settle(path)
            if not refresh and (environment := _ready(path)):
                return environment  # another process made it while we waited
            return maker.build(path, interpreter, refresh)
    except TimeoutError:  # the lock's; it is an OSError too
        what = f"another gatebench has been making it for {LIMIT_S / 60:.0f} minutes"
        raise maker.error(f"{what}: wait for that one, or end it") from None
    except OSError as error:
        what = f"cannot write the cache {root} ({error.strerror or error})"
        raise ConfigurationError(f"{what}: set GATEBENCH_CACHE to a folder you own") from error


def cached() -> list[Environment]:
    """Every environment that is ready for use, by its hash (the name of its folder)."""
    found = (_ready(receipt.parent) for receipt in sorted(cache_folder().glob(f"*/{RECEIPT}")))
    return [environment for environment in found if environment is not None]


def cache_folder() -> Path:
    """The folder of all environments; GATEBENCH_CACHE moves it."""
    chosen = os.environ.get("GATEBENCH_CACHE")
    base = Path(chosen).expanduser() if chosen else user_cache_path("gatebench")
    return base.resolve() / "environments"  # one spelling: it is written into every script


class _Interpreter(NamedTuple):
    """A Python that is no virtual environment's: its real path and what it is."""

    path: str
    version: str
    implementation: str


def _fingerprint(wanted: tuple[str, ...], interpreter: _Interpreter) -> str:
    names = set()
    for requirement in map(Requirement, wanted):
        requirement.name = canonicalize_name(requirement.name)
        names.add(str(requirement))
    made_of = json.dumps([RECIPE, sorted(names), interpreter])
    return hashlib.sha256(made_of.encode()).hexdigest()[:16]


def _receipt(path: Path) -> dict[str, Any]:
    """The receipt of the environment at `path`; empty unless it is one that we wrote there."""
    try:
        receipt = json.loads((path / RECEIPT).read_text(encoding="utf-8"))
        # A cache that was moved has scripts that start the Python of its old place.
        return dict(receipt) if (receipt["schema"], receipt["path"]) == (1, str(path)) else {}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def _ready(path: Path) -> Environment | None:
    """The environment at `path`, if what is there now is what its receipt says."""
    receipt = _receipt(path)
    if not receipt or not os.access(path / "bin" / "python", os.X_OK):
        return None  # os.access follows the link: False when the interpreter has gone
    if receipt["distributions"] != _installed(path):
        return None  # something was lost, or came in behind our back
    version, kind = receipt["python"], receipt["implementation"]
    python = version if kind == "CPython" else f"{kind} {version}"
    return Environment(path, python, receipt["distributions"])


def _installed(path: Path) -> dict[str, str]:
    """Normalised name -> version of every distribution, from the names of their folders."""
    found = {}
    for metadata in sorted(path.glob("lib/*/site-packages/*.dist-info/METADATA")):
        name, _, version = metadata.parent.stem.rpartition("-")
        found[str(canonicalize_name(name))] = version
    return found


def _remove(path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)


def _settle(path: Path) -> None:
    """End an interrupted refresh: keep the new environment if it is whole, else the old."""
    kept = path.with_suffix(".old")
    if kept.exists() and not _ready(path):
        _remove(path)
        kept.rename(path)
    _remove(kept)


@dataclass(frozen=True, slots=True)
class _Maker:
    """One request for an environment, and the words for what may go wrong with it."""

    server: Server
    app: App
    wanted: tuple[str, ...]
    run: Runner

    def find(self, python: str | None) -> _Interpreter:
        """The base interpreter that `python` asks for; the one that runs us needs no search."""
        if python is None:
            own = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
            version = platform.python_version() + sys.abiflags
            return _Interpreter(own, version, platform.python_implementation())
        if os.sep in python:  # uv runs in another folder
            python = os.path.abspath(os.path.expanduser(python))
        found = self.uv("python", "find", "--system", python)
        if found.returncode:
            if os.sep in python:
                raise self.error(f"there is no usable Python {python}: check the path", found.log)
            what = f"no usable Python {python} was found, neither uv's own nor the system's"
            how = f"`uv python install {python}` or your system's packages, or give another's path"
            raise self.error(f"{what}: install it with {how}", found.log)
        # warnings come on the same log, before or after
        program = [line for line in found.log.splitlines() if line.startswith(os.sep)][-1]
        answer = self.execute(program, "-I", "-c", IDENTIFY)
        if answer.returncode:
            raise self.error(f"{program} does not run: give another Python", answer.log)
        return _Interpreter(*json.loads(answer.log.strip().splitlines()[-1]))

    def build(self, path: Path, interpreter: _Interpreter, refresh: bool) -> Environment:
        """Make the environment at `path`; what was whole there before survives a failure."""
        if again := _ready(path):
            path.rename(path.with_suffix(".old"))
        _remove(path)
        install = ["pip", "install", "--python", str(path / "bin" / "python")]
        install += ["--compile-bytecode", *(["--refresh"] if refresh else []), *self.wanted]
        steps = [["venv", "--python", interpreter.path, str(path)]]
        steps += [install] if self.wanted else []  # uv refuses to install nothing
        try:
            for step in steps:
                done = self.uv(*step)
                if done.returncode:
                    raise self.error(self.explain(done.log, again is not None), done.log)
            self.sign(path, interpreter)
        finally:
            if (environment := _ready(path)) is None:
                _remove(path)
            _settle(path)
        if environment is None:
            raise self.error("uv ended well, but what it made is not whole: try again")
        return environment

    def sign(self, path: Path, interpreter: _Interpreter) -> None:
        """Write the receipt, in one step that cannot be half done."""
        receipt = {
            "schema": 1,
            "made_for": f"{self.server.label} with {self.app.name}",
            "path": str(path),
            "requirements": self.wanted,
            "python": interpreter.version,
            "implementation": interpreter.implementation,
            "distributions": _installed(path),
        }
        draft = path / f"{RECEIPT}.part"
        draft.write_text(json.dumps(receipt, indent=1) + "\n", encoding="utf-8")
        draft.replace(path / RECEIPT)

    def uv(self, *arguments: str) -> Completed:
        """Run uv, deaf to the settings of the project that the user happens to stand in."""
        common = ("--color", "never", "--no-python-downloads", "--directory", str(cache_folder()))
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

    def explain(self, log: str, kept: bool) -> str:
        """What uv's `log` means for the user, and what to do about it."""
        text = " ".join(log.split())
        if offline := re.search(OFFLINE, text):
            told = offline[0] in ("network was disabled", "UV_OFFLINE")
            return self.unreachable("uv is set offline" if told else _last(log), kept)
        if unknown := re.search(UNKNOWN, text):
            rows = f" here and in {self.app.origin}" if self.app.packages else ""
            return f"the package index has no package {unknown[1]}: check the spelling{rows}"
        if absent := re.search(ABSENT, text):
            there = f" (only {absent[1]})" if absent[1] else ""
            return f"{absent[2]} does not exist{there}: ask for another version"
        if unbuilt := re.search(UNBUILT, text):
            what = f"{unbuilt[1]} could not be built ({_last(log)})"
            return f"{what}: install what it needs, or choose a version with a ready-made wheel"
        if unmet := re.search(r"Because .*", text):
            return f"the requirements cannot be met: choose other versions. {_brief(unmet[0])}"
        return f"uv failed ({_last(log)}): its log says more"

    def unreachable(self, why: str, kept: bool) -> str:
        """That there is no network, and what can be measured without one."""
        what = f"cannot reach the package index ({why})"
        if kept:
            return f"{what}: connect to refresh; the environment made before is kept"
        others = ", ".join(sorted({_receipt(ready.path)["made_for"] for ready in cached()}))
        instead = f", or use a server that is cached: {others}" if others else ""
        needs = ", ".join(self.wanted)
        return f"{what} and no cached environment for it ({needs}) exists: connect once{instead}"


def _last(log: str) -> str:
    """The last line that means something: uv closes with hints that fit any failure."""
    for block in reversed(re.split(r"\n\s*\n", log.strip())):
        whole = " ".join(block.split())
        if whole and not re.match(NO_HELP, whole):
            line = whole if whole.startswith("hint:") else block.splitlines()[-1]
            return _brief(re.sub(r"^\s*(cause|Caused by|error|hint): ", "", line))
    return "it said nothing"


def _brief(text: str) -> str:
    return textwrap.shorten(text, 300, placeholder=" ...")
