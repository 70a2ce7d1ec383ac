"""What this machine is, and which of its CPUs the server and the generator get."""

from __future__ import annotations

import itertools
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from harness.model import ConfigurationError, Placement

CPU_INFO = Path("/proc/cpuinfo")
TOPOLOGY = Path("/sys/devices/system/cpu")
IDENTITY = ("cpu", "architecture", "cpus_online", "cpus_usable", "cores", "hypervisor")
SAME_MEMORY = 0.05  # of it


def require_linux() -> None:
    """Raise ConfigurationError where the kernel is not Linux: guardian and sampler need it."""
    if platform.system() != "Linux":
        raise ConfigurationError(
            f"gatebench measures on Linux only (this is {platform.system()}): "
            "its guardian and sampler rest on the Linux kernel; use a virtual machine"
        )


def usable_cpus() -> tuple[int, ...]:
    """The CPUs this process may run on."""
    return tuple(sorted(os.sched_getaffinity(0)))


def place(cpus: Sequence[int]) -> Placement:
    """Split CPUs into the server's, first and no fewer than half, and the generator's.

    Whole cores are given where threads share one, so that server and generator do not
    compete inside a core; the notes say where that is not possible.
    """
    if len(cpus) == 1:
        return Placement(
            (cpus[0],), (cpus[0],), ("one CPU only: server and generator compete for it",)
        )
    cores: dict[str, list[int]] = {}
    for cpu in cpus:
        cores.setdefault(_siblings(cpu), []).append(cpu)
    groups = list(cores.values())
    if len(groups) == 1:
        middle = (len(cpus) + 1) // 2
        return Placement(
            tuple(cpus[:middle]),
            tuple(cpus[middle:]),
            ("server and generator share one physical core (SMT siblings)",),
        )
    middle = (len(groups) + 1) // 2
    return Placement(
        tuple(sorted(itertools.chain(*groups[:middle]))),
        tuple(sorted(itertools.chain(*groups[middle:]))),
    )


def facts(cpus: Sequence[int]) -> dict[str, Any]:
    """What the machine is, as stored with every run. Bytes; a fact not known here is None."""
    uname = platform.uname()
    return {
        "cpu": _cpu_model(),
        "cpus_usable": list(cpus),
        "cpus_online": psutil.cpu_count() or len(cpus),
        "cores": psutil.cpu_count(logical=False),
        "memory_bytes": psutil.virtual_memory().total,
        "hypervisor": "hypervisor" in _cpu_flags(),
        "kernel": uname.release,
        "architecture": uname.machine,
        "system": _os_release(),
        "governor": _read(TOPOLOGY / "cpu0/cpufreq/scaling_governor"),
        "python": platform.python_version(),
        "libc": " ".join(platform.libc_ver()),
        "hostname": uname.node,
    }


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What makes two machines different ones, each in words; none if they are the same.

    An update of its kernel or system does not: it is stored, and changes both servers of a block.
    """
    found = [
        f"{name} was {then.get(name)} and is {now.get(name)}"
        for name in IDENTITY
        if then.get(name) != now.get(name)
    ]
    # a kernel keeps some for itself, and not each the same
    before, after = then["memory_bytes"], now["memory_bytes"]
    if abs(after - before) > SAME_MEMORY * before:
        found.append(f"memory was {before >> 20} MiB and is {after >> 20} MiB")
    return found


def _siblings(cpu: int) -> str:
    return _read(TOPOLOGY / f"cpu{cpu}/topology/thread_siblings_list") or str(cpu)


def _cpu_model() -> str:
    return _cpu_field("model name") or platform.processor() or platform.machine()


def _cpu_flags() -> list[str]:
    return (_cpu_field("flags") or "").split()


def _cpu_field(name: str) -> str | None:
    for line in (_read(CPU_INFO) or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None


def _os_release() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


def _read(path: Path) -> str | None:
    try:
        return path.read_text("utf-8", errors="replace").strip()
    except OSError:
        return None
