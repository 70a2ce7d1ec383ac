"""Packages that are not the package index's: a checkout, an archive, or a commit of git.

What is installed must be what the receipt says, and a cache must not give yesterday's checkout
for today's. So each becomes an address that names its content: a branch or tag of git becomes the
commit that it is at now, and a path becomes a copy under the digest of what lies there. The
environment is then another one whenever the content is, and what is edited while a run goes on
changes nothing of it.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from configparser import ConfigParser
from configparser import Error as IniError
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)

from harness.cache import cache_root
from harness.model import ConfigurationError, MeasurementError, Server

NAMED = re.compile(r"([A-Za-z0-9][\w.-]*(?:\[[\w,. -]*\])?)\s*@\s*(\S.*)")
COMMIT = re.compile(r"[0-9a-f]{40}")
MARKS = ("git+", "file:", ".", "/", "~")  # what an address begins with, and a version does not
# never a part of what is installed, and large
LEFT_OUT = {
    ".git", ".hg", ".svn", ".venv", "venv", ".tox", ".nox", "node_modules", "__pycache__",
    ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis",
}  # fmt: skip
GIT_WITHIN_S = 120.0


@dataclass(frozen=True, slots=True)
class Package:
    """What to install: a requirement, and in words where it comes from."""

    requirement: str
    note: str


def is_address(text: str) -> bool:
    """Whether this names a place, where a version might stand."""
    return text.startswith(MARKS)


def package_of(text: str, name: str | None = None) -> Package:
    """The package that is asked for: `h11==0.14`, `./h11`, `h11@./h11`, `h11@git+https://...@main`.

    `name` is the package's where the text is its address alone. Raises ConfigurationError for what
    cannot be read or is not there, MeasurementError where git cannot be asked.
    """
    if name is None and not is_address(text) and (match := NAMED.fullmatch(text)):
        name, text = match[1], match[2]
    if text.startswith("git+"):
        if name is None:
            raise ConfigurationError(f"{text}: say which package it is: NAME@{text}")
        return _commit(name, text)
    if is_address(text):
        path = Path(text.removeprefix("file://")).expanduser()
        return _copy(name or _name_of(path), path, text)
    if name is not None:
        raise ConfigurationError(
            f"{name}@{text}: give a path, ./{name}, or git+https://...@BRANCH; what an address of "
            "the web holds may change unseen"
        )
    try:
        return Package(str(Requirement(text)), f"with {text}")
    except InvalidRequirement as error:
        why = str(error).splitlines()[0]
        raise ConfigurationError(f"{text!r} is no package: {why}") from None


def state_of(folder: Path) -> str:
    """What git calls the checkout in a folder: tag or commit, and -dirty; empty if it is none."""
    return (_git("describe", "--tags", "--always", "--dirty", folder=folder) or "").strip()


def with_package(server: Server, package: Package) -> Server:
    """The server with this package in place of the one of that name, or beside the others."""
    new = Requirement(package.requirement)
    packages, replaced = [], False
    for at, text in enumerate(server.packages):
        old = Requirement(text)
        if canonicalize_name(old.name) != canonicalize_name(new.name):
            packages.append(text)
            continue
        if at == 0 and server.version is not None:
            raise ConfigurationError(f"{server.label}: {package.note} says the version, too")
        new.extras = new.extras or old.extras
        packages.append(str(new))
        replaced = True
    if not replaced:
        packages.append(str(new))
    return replace(server, packages=tuple(packages), notes=(*server.notes, package.note))


def _commit(name: str, text: str) -> Package:
    """The commit that a branch, a tag or the HEAD of a repository is at now."""
    address, hash_mark, fragment = text.removeprefix("git+").partition("#")
    if urlsplit(address).password or (urlsplit(address).username and "http" in address[:5]):
        raise ConfigurationError(
            f"{name}: an address with a password would be stored: let git know it by a credential "
            "helper"
        )
    place, at, asked = address.rpartition("@")
    if not at or "/" not in place.partition("://")[2]:  # the @ was that of git@host
        place, asked = address, ""
    commit = asked if COMMIT.fullmatch(asked) else _head_of(name, place, asked)
    whole = f"{name} @ git+{place}@{commit}" + (f"#{fragment}" if hash_mark else "")
    told = f"{place} at {asked}" if asked and asked != commit else place
    return Package(whole, f"{name} from {told}, commit {commit}")


def _head_of(name: str, place: str, asked: str) -> str:
    wanted = [asked, f"{asked}^{{}}"] if asked else ["HEAD"]
    said = _git("ls-remote", place, *wanted)
    if said is None:
        raise MeasurementError(f"{name}: git cannot read {place}: check address and network")
    lines = (line.partition("\t") for line in said.splitlines())
    found = {ref: commit for commit, _, ref in lines}
    # the commit of an annotated tag is what ^{} shows
    short = (f"refs/{ref}" for ref in (f"heads/{asked}", f"tags/{asked}^{{}}", f"tags/{asked}"))
    for ref in (f"{asked}^{{}}", asked, *short, f"refs/{asked}") if asked else ():
        if commit := found.get(ref):
            return commit
    if not asked and "HEAD" in found:
        return found["HEAD"]
    raise ConfigurationError(
        f"{name}: {place} has no branch or tag {asked!r}; a commit is given in full, 40 digits"
    )


def _copy(name: str, path: Path, text: str) -> Package:
    """A copy of what lies at a path, under its digest.

    The copy is what is digested, for the original may change in the meantime.
    """
    described = state_of(path) if path.is_dir() else ""
    shelf = cache_root() / "sources"
    try:
        shelf.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=shelf) as scratch:
            copy = Path(scratch) / "copy"
            # all are listed before any is copied: the cache may lie in the folder itself
            found = list(_files(path)) if path.is_dir() else [path]
            _fill(copy, path, [file for file in found if shelf not in file.resolve().parents])
            digest = _digest(copy, described)[:16]
            place = shelf / digest
            if not place.exists():
                _keep_history(path, copy)
                copy.rename(place)
    except OSError as error:
        raise ConfigurationError(
            f"{name}: {error.filename or path} cannot be read or copied: {error.strerror}"
        ) from None
    address = place if path.is_dir() else place / path.name
    state = f", {described}" if described else ""
    return Package(f"{name} @ {address.as_uri()}", f"{name} from {text}{state}, sha256 {digest}")


def _files(folder: Path) -> Iterator[Path]:
    """What git would keep of a checkout, with what is new in it; of another folder all but caches.

    Files that git ignores are mostly what a build or a test left there.
    """
    listed = _git("ls-files", "-z", "--cached", "--others", "--exclude-standard", folder=folder)
    if not listed:  # no checkout, or one that ignores the folder as a whole
        yield from _walk(folder)
        return
    for name in set(listed.split("\0")) - {""}:
        path = folder / name
        if path.is_dir() and not path.is_symlink():  # a submodule
            yield from _walk(path)
        elif path.is_symlink() or path.exists():  # git knows those that were deleted, too
            yield path


def _walk(folder: Path) -> Iterator[Path]:
    for at, below, names in os.walk(folder):
        below[:] = [name for name in below if name not in LEFT_OUT]
        links = [name for name in below if (Path(at) / name).is_symlink()]
        yield from (Path(at) / name for name in (*names, *links) if name not in LEFT_OUT)


def _fill(copy: Path, path: Path, files: Iterable[Path]) -> None:
    """Copy a file, or these files of a folder, into the folder `copy`."""
    copy.mkdir()
    for file in files:
        into = copy / (os.path.relpath(file, path) if path.is_dir() else path.name)
        into.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, into, follow_symlinks=False)


def _digest(folder: Path, described: str) -> str:
    """SHA-256 of names, modes and contents, and of what git calls it: a version may come of it."""
    digest = hashlib.sha256(described.encode())
    # all of it: what git tracks may lie where _walk does not look
    for file in sorted(it for it in folder.rglob("*") if it.is_symlink() or not it.is_dir()):
        link = file.is_symlink()
        content = os.fsencode(file.readlink()) if link else file.read_bytes()
        mode = "link" if link else str(os.access(file, os.X_OK))
        name = os.fsencode(file.relative_to(folder))
        digest.update(b"\0".join((name, mode.encode(), str(len(content)).encode(), content)))
    return digest.hexdigest()


def _keep_history(path: Path, copy: Path) -> None:
    """Give the copy git's own folder, or the file that points there, for versions out of tags."""
    own = path / ".git"
    if own.is_dir():
        shutil.copytree(own, copy / ".git", symlinks=True)
    elif own.exists():
        shutil.copy2(own, copy / ".git")


def _name_of(path: Path) -> str:
    """What the package at a path is called, by its own files."""
    if path.is_file():
        for read in (parse_wheel_filename, parse_sdist_filename):
            try:
                return str(read(path.name)[0])
            except (InvalidWheelFilename, InvalidSdistFilename):
                continue
        raise ConfigurationError(f"{path}: is neither a wheel nor a source distribution")
    if not path.is_dir():
        raise ConfigurationError(f"{path}: does not exist; give the folder of a package")
    try:
        name = _in_pyproject(path) or _in_setup_cfg(path) or _in_setup_py(path)
    except (OSError, ValueError, SyntaxError, IniError, AttributeError) as error:
        what = str(error).splitlines()[0]
        raise ConfigurationError(f"{path}: its name cannot be read: {what}") from None
    if not name:
        raise ConfigurationError(f"{path}: does not say its name; write NAME@{path}")
    return name


def _in_pyproject(path: Path) -> str:
    if not (file := path / "pyproject.toml").exists():
        return ""
    said = tomllib.loads(file.read_text("utf-8"))
    for table in (said.get("project", {}), said.get("tool", {}).get("poetry", {})):
        if name := table.get("name"):
            return str(name)
    return ""


def _in_setup_cfg(path: Path) -> str:
    ini = ConfigParser(interpolation=None)
    ini.read(path / "setup.cfg", "utf-8")
    return ini.get("metadata", "name", fallback="")


def _in_setup_py(path: Path) -> str:
    """The name that setup() is called with, if it is written there. Nothing is run."""
    if not (file := path / "setup.py").exists():
        return ""
    calls = (it for it in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(it, ast.Call))
    return next(
        (
            str(word.value.value)
            for call in calls
            if ast.unparse(call.func).endswith("setup")
            for word in call.keywords
            if word.arg == "name" and isinstance(word.value, ast.Constant)
        ),
        "",
    )


def _git(*arguments: str, folder: Path | None = None) -> str | None:
    """What git says; None where there is none, or it has nothing to say of that folder."""
    where = [] if folder is None else ["-C", str(folder)]
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            ["git", *where, *arguments], env=environment, capture_output=True, check=False,
            timeout=GIT_WITHIN_S, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="surrogateescape") if done.returncode == 0 else None
