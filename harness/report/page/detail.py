"""One cell in detail: what was found, each trial, the machine meanwhile, and how to repeat it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.report import units
from harness.report.page.charts import Chart
from harness.report.page.ranked import Entry
from harness.report.reproduce import Reproduction, reproduction
from harness.report.table import TWIN, log_lines
from harness.results import Results
from harness.store import StoredRun, StoredTrial

Row = Mapping[str, Any]

SIDES = ("server", "generator")
NOISE_TEXTS = {
    "full_share": ("not idle", units.cpu_share),
    "others_share": ("used by others, at least", units.cpu_share),
    "steal_share": ("taken by the hypervisor", units.cpu_share),
    "waited_share": ("ready, and had no CPU", units.cpu_share),
    "involuntary_per_s": ("involuntary switches per second", units.rate),
}
MACHINE_TEXTS = {
    "pressure_share": ("time in which any process waited for a CPU", units.cpu_share),
    "late_p50_s": ("a sleeper woken late, at the median", units.seconds),
    "late_p90_s": ("one time in ten, at least", units.seconds),
    "late_max_s": ("at worst", units.seconds),
}


@dataclass(frozen=True)
class Detail:
    """What the page tells of a cell beyond its row in the table."""

    entry: Entry
    trials: tuple[Row, ...]
    noise: tuple[tuple[str, str, str], ...]
    machine: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str], ...]
    command: str
    log: tuple[str, ...]
    notes: tuple[str, ...]
    charts: tuple[Chart, ...]
    again: Reproduction

    @property
    def findings(self) -> Sequence[Row]:
        """What was found on its trials, see `harness.analyze.cells`."""
        found: Sequence[Row] = self.entry.row["findings"]
        return found


def details(
    results: Results,
    entries: Sequence[Entry],
    charts: Callable[[Results, Entry], Sequence[Chart]],
) -> list[Detail]:
    """The details of these cells; `charts` draws one over time."""
    stored = {trial.facts["number"]: trial for trial in results.run.trials}
    return [
        _detail(results.run, it, results.trials_of(it.row), stored, charts(results, it))
        for it in entries
    ]


def _detail(
    run: StoredRun,
    entry: Entry,
    trials: Sequence[Row],
    stored: Mapping[int, StoredTrial],
    charts: Sequence[Chart],
) -> Detail:
    row, last = entry.row, stored[int(trials[-1]["number"])]
    noise, notes = row["noise"], list(row["notes"])
    if row["twin_of"]:
        notes.append(TWIN.format(row["twin_of"]))
    return Detail(
        entry=entry,
        trials=tuple(trials),
        noise=tuple(
            (text, show(noise[f"server_{name}"]), show(noise[f"generator_{name}"]))
            for name, (text, show) in NOISE_TEXTS.items()
        ),
        machine=tuple((text, show(noise[name])) for name, (text, show) in MACHINE_TEXTS.items()),
        facts=tuple(_facts(row, last)),
        command=shlex.join(row["argv"]),
        log=tuple(log_lines(row)),
        notes=tuple(notes),
        charts=tuple(charts),
        again=reproduction(run, last),
    )


def _facts(row: Row, trial: StoredTrial) -> list[tuple[str, str]]:
    """What it was: load, budget, versions, who measured."""
    versions = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
    placement = trial.facts["placement"]
    cpus = {side: ", ".join(map(str, placement[side])) for side in SIDES}
    facts = [
        ("load", row["load"]),
        ("right answers", units.count(row["requests"])),
        ("Python", row["python"] or units.NOTHING),
        ("versions", versions or "not installed"),
        ("CPUs", f"server {cpus['server']}; generator {cpus['generator']}"),
        ("times taken by", row["client"] or units.NOTHING),
        ("memory without connections", units.size(row["server_idle_pss_bytes"])),
    ]
    if row["front"]:
        proxy = f"{units.cpu(row['proxy_cpu_s_per_1k'])} CPU s/1k, "
        facts.append((f"proxy ({row['front']})", proxy + units.size(row["proxy_pss_bytes"])))
    return facts
