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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from harness import debian
from harness.cache import cache_root
from harness.installer import (
    ABSENT,
    LIMIT_S,
    UNBUILT,
    UNKNOWN,
    UNMET,
    UNREAD,
    Installer,
    Runner,
    brief,
    last_word,
    run_guarded,
    unreachable,
)
from harness.model import App, ConfigurationError, Environment, GatebenchError, Server

RECIPE = 1  # raise it when environments are built differently: those made before are then unused
RECEIPT = "receipt.json"

# Asked of a Python that is not ours. abiflags tells a free-threaded or debug build apart.
IDENTIFY = """import json, os, platform, sys
path = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
version = platform.python_version() + getattr(sys, "abiflags", "")
print(json.dumps([path, version, platform.python_implementation()]))"""

# A requirement that begins with a dot or has a slash may be a path: then the place counts.
LOCAL = re.compile(r"^(?:[^#\n]*\s)?[^#\s]*/|^(?:[^#\n]*\s)?\.", re.MULTILINE)
INCLUDE = re.compile(r"^\s*(?:-r|-c|--requirements?|--constraints?)[ =]*(\S+)", re.MULTILINE)


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


def _included(path: Path, above: tuple[Path, ...] = ()) -> list[tuple[str, str]]:
    """A requirements file and those that it includes, each as where it is and its text.

    Where it is counts only if it may name something beside it.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigurationError(f"{path}: requirements cannot be read: {why}") from None
    found = [(str(path) if LOCAL.search(text) else "", text)]
    for match in INCLUDE.finditer(text):
        below = path.parent / match[1]
        if "://" not in match[1] and below not in (*above, path):
            found += _included(below, (*above, path))
    return found


def prepare(
    server: Server,
    app: App,
    *,
    refresh: bool = False,
    python: str | None = None,
    run: Runner = run_guarded,
) -> Environment:
    """The environment that `server` and `app` run in: from the cache, repaired, or built.

    The text of the app's requirements file, and of those that it includes, is part of what
    makes it another.

    `python` is a version or a path; without it, `server.python`, else the Python that runs
    gatebench. `refresh` resolves the newest versions again, which replaces the environment
    under anything that still runs from it; if that fails, the one made before stays.

    Raises MeasurementError when the environment cannot be had, or what the server needs of the
    system is missing; ConfigurationError when the request is wrong or the cache cannot be written.
    """
    debian.require(server)
    maker = _Maker(server=server, app=app, wanted=requirements(server, app), run=run)
    root = cache_folder()
    try:
        root.mkdir(parents=True, exist_ok=True)
        interpreter, path = maker.place(python or server.python)
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


def missing(server: Server, app: App) -> Path | None:
    """Where `prepare` would have to build an environment; None if it is ready, or cannot be had."""
    try:
        maker = _Maker(server=server, app=app, wanted=requirements(server, app), run=run_guarded)
        cache_folder().mkdir(parents=True, exist_ok=True)
        _, path = maker.place(server.python)
    except (GatebenchError, OSError):
        return None  # `prepare` says what is wrong
    return path if _ready(path) is None else None


def cached() -> list[Environment]:
    """Every environment that is ready for use, by its hash (the name of its folder)."""
    found = (_ready(receipt.parent) for receipt in sorted(cache_folder().glob(f"*/{RECEIPT}")))
    return [environment for environment in found if environment is not None]


def cache_folder() -> Path:
    """The folder of all environments; GATEBENCH_CACHE moves it."""
    return cache_root() / "environments"


class _Interpreter(NamedTuple):
    """A Python that is no virtual environment's: its real path and what it is."""

    path: str
    version: str
    implementation: str


def _fingerprint(
    wanted: tuple[str, ...], interpreter: _Interpreter, files: list[tuple[str, str]]
) -> str:
    names = set()
    for requirement in map(Requirement, wanted):
        requirement.name = canonicalize_name(requirement.name)
        names.add(str(requirement))
    made_of = json.dumps([RECIPE, sorted(names), interpreter, *files])
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Maker(Installer):
    """One request for an environment, and the words for what may go wrong with it."""

    app: App
    wanted: tuple[str, ...]

    def find(self, python: str | None) -> _Interpreter:
        """The base interpreter that `python` asks for; the one that runs us needs no search."""
        if python is None:
            own = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
            version = platform.python_version() + sys.abiflags
            return _Interpreter(own, version, platform.python_implementation())
        if os.sep in python:  # uv runs in another folder
            python = os.path.abspath(os.path.expanduser(python))
        found = self.uv("python", "find", "--system", python, folder=cache_folder())
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

    def place(self, python: str | None) -> tuple[_Interpreter, Path]:
        """The base interpreter, and where the environment is or would be."""
        interpreter = self.find(python)
        files = _included(self.app.requirements) if self.app.requirements else []
        return interpreter, cache_folder() / _fingerprint(self.wanted, interpreter, files)

    def build(self, path: Path, interpreter: _Interpreter, refresh: bool) -> Environment:
        """Make the environment at `path`; what was whole there before survives a failure."""
        if again := _ready(path):
            path.rename(path.with_suffix(".old"))
        _remove(path)
        install = ["pip", "install", "--python", str(path / "bin" / "python")]
        install += ["--compile-bytecode", *(["--refresh"] if refresh else []), *self.wanted]
        folder = cache_folder()  # no project of the user's, unless its requirements are asked for
        if theirs := self.app.requirements:
            folder = theirs.parent
            install += ["--requirements", str(theirs)]
        steps = [["venv", "--python", interpreter.path, str(path)]]
        steps += [install] if self.wanted else []  # uv refuses to install nothing
        try:
            for step in steps:
                done = self.uv(*step, folder=folder)
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

    def explain(self, log: str, kept: bool) -> str:
        """What uv's `log` means for the user, and what to do about it."""
        text = " ".join(log.split())
        if why := unreachable(log):
            return why + self.known(kept)
        if unknown := re.search(UNKNOWN, text):
            theirs = self.app.requirements or (self.app.origin if self.app.packages else None)
            rows = f" here and in {theirs}" if theirs else ""
            return f"the package index has no package {unknown[1]}: check the spelling{rows}"
        if absent := re.search(ABSENT, text):
            there = f" (only {absent[1]})" if absent[1] else ""
            return f"{absent[2]} does not exist{there}: ask for another version"
        if unbuilt := re.search(UNBUILT, text):
            what = f"{unbuilt[1]} could not be built ({last_word(log)})"
            return f"{what}: install what it needs, or choose a version with a ready-made wheel"
        if unmet := re.search(UNMET, text):
            return f"the requirements cannot be met: choose other versions. {brief(unmet[0])}"
        unread = re.search(UNREAD, text)
        return brief(unread[0]) if unread else f"uv failed ({last_word(log)}): its log says more"

    def known(self, kept: bool) -> str:
        """What can be measured without a network."""
        if kept:
            return ": connect to refresh; the environment made before is kept"
        others = ", ".join(sorted({_receipt(ready.path)["made_for"] for ready in cached()}))
        instead = f", or use a server that is cached: {others}" if others else ""
        needs = ", ".join(self.wanted)
        return f" and no cached environment for it ({needs}) exists: connect once{instead}"
