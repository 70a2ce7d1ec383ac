"""What this machine has and lacks, and the command that mends each."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from uv import find_uv_bin

from harness import debian
from harness.environment import cache_folder, cached
from harness.machine import place, usable_cpus
from harness.model import Front, Server
from harness.registry import load_registry

PR_GET_CHILD_SUBREAPER = 37


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: `state` is ok, missing (it is needed) or optional (it would help)."""

    name: str
    state: str
    found: str
    mend: str = ""


def examine(results: Path) -> list[Check]:
    """Look at everything; never raises for what is missing."""
    return [*_needed(results), *_helpful()]


def _needed(results: Path) -> Iterator[Check]:
    linux = platform.system() == "Linux"
    yield _check(
        "Linux", linux, platform.platform(), "measure on Linux, in a virtual machine for example"
    )
    new_enough = sys.version_info >= (3, 11)
    yield _check(
        "Python 3.11 or newer", new_enough, platform.python_version(), "apt-get install python3.11"
    )
    try:
        uv = find_uv_bin()
    except FileNotFoundError:
        uv = ""
    yield _check("uv", bool(uv), uv, "pip install uv")
    yield _check(
        "child subreaper",
        linux and _subreaper(),
        "the kernel can hold a server's tree together",
        "a Linux kernel of 3.4 or newer, without a sandbox that forbids prctl",
    )
    for name, folder, mend in (
        ("results folder", results, "choose another with --results DIR"),
        ("environment cache", cache_folder(), "choose another with GATEBENCH_CACHE=DIR"),
    ):
        yield _check(f"{name} can be written", _writable(folder), str(folder), mend)


def _helpful() -> Iterator[Check]:
    cpus = usable_cpus()
    placement = place(cpus)
    yield _optional(
        "CPUs for server and generator apart",
        placement.disjoint,
        f"{len(cpus)} usable; server {placement.server}, generator {placement.generator}",
        "give this machine two CPUs or more: on one, server and generator compete",
    )
    for note in placement.notes if placement.disjoint else ():
        yield _optional(
            "whole cores apart", False, note, "give this machine two physical cores or more"
        )
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield _optional(
        "open files", soft >= 4096, f"{soft} (at most {hard})", "ulimit -n 65536, before gatebench"
    )
    yield _optional(
        "proportional memory (PSS)",
        Path("/proc/self/smaps_rollup").exists(),
        "/proc/PID/smaps_rollup",
        "a Linux kernel of 4.14 or newer; RSS is shown instead",
    )
    load = os.getloadavg()[0]
    yield _optional(
        "quiet machine",
        load < 0.5 * len(cpus),
        f"load {load:.2f} in the last minute",
        "wait until other work is done, or do not trust small differences",
    )
    free = psutil.disk_usage(str(_existing(cache_folder()))).free
    yield _optional(
        "disk for environments",
        free > 2**30,
        f"{free / 2**30:.1f} GiB free",
        "free 1 GiB: ten environments take about 500 MiB",
    )
    yield _optional(
        "cached environments",
        bool(cached()),
        f"{len(cached())} in {cache_folder()}",
        "connect once: the first run of a server installs it",
    )
    for program, use, package in (
        ("make", "the short commands", "make"),
        ("wrk", "a second opinion on the generator", "wrk"),
    ):
        found = shutil.which(program)
        yield _optional(
            f"{program} ({use})",
            found is not None,
            found or "not found",
            f"apt-get install {package}",
        )
    yield _servers()


def _servers() -> Check:
    """What the shipped rows need of the system, and the one command for all that is missing."""
    registry = load_registry()
    rows: list[Server | Front] = [*registry.servers.values(), *registry.fronts.values()]
    lacking = {row.name: packages for row in rows if (packages := debian.missing(row))}
    return _optional(
        "what servers and proxies need of the system",
        not lacking,
        "; ".join(f"{name} lacks {', '.join(it)}" for name, it in lacking.items())
        or "all is there",
        debian.install(dict.fromkeys(package for it in lacking.values() for package in it)),
    )


def _check(name: str, good: bool, found: str, mend: str) -> Check:
    return Check(name, "ok" if good else "missing", found, "" if good else mend)


def _optional(name: str, good: bool, found: str, mend: str) -> Check:
    return Check(name, "ok" if good else "optional", found, "" if good else mend)


def _subreaper() -> bool:
    answer = ctypes.c_int()
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(answer), 0, 0, 0) == 0)


def _existing(folder: Path) -> Path:
    """The nearest folder above (or itself) that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.is_dir())


def _writable(folder: Path) -> bool:
    if folder.exists() and not folder.is_dir():
        return False
    try:
        return os.access(_existing(folder), os.W_OK | os.X_OK)
    except OSError:
        return False
