"""What else the machine did during a trial, and in words where that may explain its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.analyze.arrays import Arrays
from harness.analyze.usage import growth
from harness.store import StoredRun

NOISE = (
    *(f"{side}_{name}" for side in ("server", "generator") for name in (
        "full_share", "others_share", "steal_share", "waited_share", "involuntary_per_s",
    )),
    *("pressure_share", "late_p50_s", "late_p90_s", "late_max_s"),
)  # fmt: skip

OTHERS = 0.05
STEAL = 0.01
QUEUED = 0.05
# a quiet machine wakes a sleeping thread within a tenth of a millisecond or two
LATE_P50_S, LATE_P90_S = 0.0005, 0.002

Figures = dict[str, float | None]


def noise(
    logged: Arrays | None,
    used: Mapping[str, Any],
    cpus: Mapping[str, Sequence[int]],
    start_ns: int,
    end_ns: int,
) -> Figures:
    """The figures of NOISE between two instants, from the stored series `noise`; None if unknown.

    `used` is what our own processes used (see usage), `cpus` those of server and generator.
    Shares are of a side's CPUs and the time: `full_share` was not idle; `others_share` was used
    by others at the least, for some kernels count interrupts to whom they hit and some to none;
    `steal_share` was taken by the hypervisor. `waited_share` is the time that the side's threads
    were ready and had no CPU, over the time alone, so that several can exceed 1.
    `pressure_share` is the time in which any process of the machine waited for a CPU (PSI);
    `late_...` how late the sampler was woken up, less what it waited in the run queue: that is
    the host's doing.
    """
    figures: Figures = dict.fromkeys(NOISE)
    span_s = (end_ns - start_ns) / 1e9
    for side in ("server", "generator"):
        waited, stopped = used[f"{side}_waited_s"], used[f"{side}_involuntary"]
        figures[f"{side}_waited_share"] = None if waited is None else waited / span_s
        figures[f"{side}_involuntary_per_s"] = None if stopped is None else stopped / span_s
    if logged is None or not len(logged):
        return figures
    grown = {
        name: growth(logged["at_ns"][known], column[known], start_ns, end_ns)
        for name, column in logged.columns.items()
        if (known := ~np.isnan(column)).any()
    }
    if "pressure_us" in grown:
        figures["pressure_share"] = grown["pressure_us"] / 1e6 / span_s
    for side, own_s in _own(used, cpus, grown).items():
        if f"{side}_busy_s" in grown:
            available_s = len(cpus[side]) * span_s
            others_s = max(0.0, grown[f"{side}_busy_s"] - own_s)
            figures[f"{side}_others_share"] = others_s / available_s
            figures[f"{side}_steal_share"] = grown[f"{side}_steal_s"] / available_s
            not_idle_s = sum(grown[f"{side}_{it}_s"] for it in ("busy", "interrupts", "steal"))
            figures[f"{side}_full_share"] = not_idle_s / available_s
    return figures | _lateness(logged, start_ns, end_ns)


def _own(
    used: Mapping[str, Any], cpus: Mapping[str, Sequence[int]], grown: Mapping[str, float]
) -> dict[str, float]:
    """What we used ourselves of each side's CPUs: gatebench runs on the generator's."""
    server_s = used["server_cpu_s"] + (used["proxy_cpu_s"] or 0.0)
    generator_s = used["generator_cpu_s"] + grown["own_cpu_s"]
    if set(cpus["server"]) & set(cpus["generator"]):
        server_s = generator_s = server_s + generator_s
    return {"server": server_s, "generator": generator_s}


def _lateness(logged: Arrays, start_ns: int, end_ns: int) -> Figures:
    if np.isnan(logged["waited_ns"]).all():
        return {}  # whose doing it was is not known
    queued = np.nan_to_num(np.diff(logged["waited_ns"].astype(float), prepend=np.nan))
    inside = (logged["at_ns"] >= start_ns) & (logged["at_ns"] < end_ns)
    late_s = np.maximum((logged["late_ns"] - queued)[inside], 0) / 1e9
    if not len(late_s):
        return {}
    middle, tenth, most = np.percentile(late_s, [50, 90, 100])
    return {"late_p50_s": float(middle), "late_p90_s": float(tenth), "late_max_s": float(most)}


def disturbances(figures: Figures) -> list[str]:
    """What may explain a figure, each in a line; empty for a quiet machine."""
    said = []
    for side in ("server", "generator"):
        if _above(figures[f"{side}_others_share"], OTHERS):
            said.append(
                f"others used {figures[f'{side}_others_share']:.0%} or more of the {side}'s CPUs"
            )
        if _above(figures[f"{side}_steal_share"], STEAL):
            said.append(
                f"the hypervisor took {figures[f'{side}_steal_share']:.0%} of the {side}'s CPUs"
            )
    if _above(figures["generator_waited_share"], QUEUED):
        said.append(
            f"the generator waited for its CPU {figures['generator_waited_share']:.0%} of the time"
        )
    middle, tenth = figures["late_p50_s"], figures["late_p90_s"]
    if _above(middle, LATE_P50_S) or _above(tenth, LATE_P90_S):
        said.append(
            f"a sleeping process was woken {(middle or 0) * 1e3:.1f} ms late at the median, one "
            f"time in ten by {(tenth or 0) * 1e3:.1f} ms or more: the host was busy"
        )
    return said


def _above(figure: float | None, limit: float) -> bool:
    return figure is not None and figure > limit


def missing_noise(run: StoredRun) -> dict[str, str]:
    """The sources of noise that a run lacks, each with the reason."""
    missing: dict[str, str] = {}
    for trial in run.trials:
        if trial.facts["outcome"] == "measured":
            missing |= trial.facts["sampler"].get("missing", {})
            if not trial.has("noise"):
                missing["all"] = "not recorded by the gatebench that made this run"
    return missing
