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
KINDS = {"cpu_core": "performance", "cpu_atom": "efficient"}  # of Intel's mixed processors


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
        "smt": _smt(),
        "caches": _caches(cpus[0]),
        "layout": _layout(cpus),
        "clock_mhz": _clock_mhz(),
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


def _smt() -> bool | None:
    """Whether cores run several threads at once."""
    return {"0": False, "1": True}.get(_read(TOPOLOGY / "smt/active") or "")


def _caches(cpu: int) -> str | None:
    """The caches that a CPU reaches, each with how many of the CPUs share it: `L2 2048K/2`."""
    found = []
    for place in sorted((TOPOLOGY / f"cpu{cpu}/cache").glob("index[0-9]*")):
        kind, number, size = (_read(place / name) for name in ("type", "level", "size"))
        if kind != "Instruction" and size:
            sharing = len(_listed(_read(place / "shared_cpu_list") or ""))
            found.append(f"L{number} {size}/{sharing}")
    return ", ".join(found) or None


def _layout(cpus: Sequence[int]) -> str | None:
    """How the CPUs lie: sockets, NUMA nodes, cores, and of mixed processors how many of a kind."""
    places = [
        tuple(
            _read(TOPOLOGY / f"cpu{cpu}/topology/{name}")
            for name in ("physical_package_id", "core_id")
        )
        for cpu in cpus
    ]
    if any(None in place for place in places):
        return None
    nodes = {node.name for cpu in cpus for node in (TOPOLOGY / f"cpu{cpu}").glob("node[0-9]*")}
    counts = {
        "socket": len({socket for socket, _ in places}),
        "node": len(nodes) or 1,
        "core": len(set(places)),
    }
    kinds = {
        name: len(set(cpus) & set(_listed(_read(Path("/sys/devices") / kind / "cpus") or "")))
        for kind, name in KINDS.items()
    }
    words = [f"{count} {name}{'s' * (count != 1)}" for name, count in counts.items()]
    return ", ".join([*words, *(f"{count} {name}" for name, count in kinds.items() if count)])


def _listed(text: str) -> list[int]:
    """The CPUs that the kernel lists: `0-3,8`."""
    ends = [part.partition("-")[::2] for part in text.split(",") if part]
    return [cpu for low, high in ends for cpu in range(int(low), int(high or low) + 1)]


def _clock_mhz() -> float | None:
    """The greatest clock speed; None where, as in most virtual machines, it is not told."""
    greatest = _read(TOPOLOGY / "cpu0/cpufreq/cpuinfo_max_freq")
    return int(greatest) / 1000 if greatest else None


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
