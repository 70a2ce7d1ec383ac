"""What releases changed, as tables for a terminal, a block for Markdown, and a document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.analyze.decision import EQUIVALENT, FEWEST
from harness.history import Key, Lineage, Record, Release, Step, placebos
from harness.report import units
from harness.report.escape import code, safe
from harness.report.readme import origin
from harness.report.sheet import Head, Sheet, sheet_table
from harness.report.verdicts import FIGURES
from harness.store import plain

SAME, UNKNOWN = "=", "~"
LEGEND = (
    "In brackets the interval of the newer over the older, in the same blocks: 99 %, or 99.5 % "
    "where a run could be extended. "
    f"{SAME} is equivalent within what matters, {UNKNOWN} not told apart; better and worse hold "
    "for all steps of a run's scenario and load together at 1 % (Holm)."
)
SHOWN: Mapping[str, Any] = {
    "throughput": units.rate,
    "p50": units.seconds,
    "p90": units.seconds,
    "cpu": units.cpu,
    "memory": units.size,
}
Lineages = Sequence[Lineage]


def release_sheets(lineages: Lineages) -> list[Sheet]:
    """A table for each server and load: every release, and what it is beside the one before."""
    return [_sheet(group) for group in _groups(lineages)]


def release_block(lineages: Lineages) -> str:
    """In Markdown: how it was measured, every step that told anything, and what did not."""
    heads = ("server", "work", "release", "after", *map(_name, SHOWN))
    rows: list[tuple[str, ...]] = []
    quiet: list[str] = []
    for group in _groups(lineages):
        told = [row for row in _steps(group) if any(step.tells for step in row.values())]
        name, scenario = group[0].key.server, group[0].key.scenario
        rows += [
            (name, scenario, first.newer, first.older, *(_step(row[it]) for it in SHOWN))
            for row in told
            for first in [next(iter(row.values()))]
        ]
        if not told:
            quiet.append(f"{name} on {scenario}")
    sheet = Sheet("", tuple(Head(it, right=False) for it in heads), tuple(rows))
    lines = [safe(line) for line in dict.fromkeys(_notes(lineages))]
    if quiet:
        lines.insert(0, safe(f"No release was told from another: {', '.join(quiet)}."))
    runs = {it.run.id: it.run for it in lineages}.values()
    lines += _itself(runs)
    for made in dict.fromkeys(map(_origin, runs)):
        commands = [f"`{code(it.command)}`" for it in runs if _origin(it) == made and it.command]
        lines.append("\n  - ".join([made, *commands]))
    return "\n\n".join([sheet_table(sheet), LEGEND, "\n".join(f"- {line}" for line in lines)])


def releases_document(lineages: Lineages) -> dict[str, Any]:
    """As JSON: every figure of every release, with its steps."""
    return {
        "schema": 1,
        "lineages": [
            {
                "run": it.run.run,
                "key": plain(it.key),
                "more_is_better": it.metric.more_is_better,
                "gates": it.metric.gates,
                "releases": plain(it.releases),
                "whole": plain(it.whole),
            }
            for it in lineages
        ],
    }


def _groups(lineages: Lineages) -> list[list[Lineage]]:
    """Those of one server and load together: they differ in the metric."""
    groups: dict[Key, list[Lineage]] = {}
    for it in lineages:
        key = it.key
        groups.setdefault(replace(key, metric="", reference=""), []).append(it)
    return list(groups.values())


def _sheet(group: Sequence[Lineage]) -> Sheet:
    known = {it.key.metric: it for it in group}
    shown = [known[name] for name in SHOWN]
    heads = [Head("release", right=False)]
    heads += [Head(text) for name in SHOWN for text in (_name(name), "after the last")]
    rows = []
    for releases in zip(*(it.releases for it in shown), strict=True):
        row = [releases[0].version]
        for name, release in zip(SHOWN, releases, strict=True):
            row += [_figure(name, release), _step(release.step, interval=False)]
        rows.append(tuple(row))
    return Sheet(
        title=group[0].key.text,
        heads=tuple(heads),
        rows=tuple(rows),
        findings=tuple(
            line for steps in _steps(group) if (line := _sentence(steps, group[0].key)) is not None
        ),
        notes=tuple(dict.fromkeys(_notes(group))),
    )


def _steps(group: Sequence[Lineage]) -> Iterator[dict[str, Step]]:
    """By metric, each release beside the one before, then the newest beside the oldest."""
    for number in range(1, len(group[0].releases)):
        steps = {it.key.metric: it.releases[number].step for it in group}
        yield {name: step for name, step in steps.items() if step is not None}
    if len(group[0].releases) > 2:
        yield {it.key.metric: it.whole for it in group}


def _sentence(steps: Mapping[str, Step], key: Key) -> str | None:
    told = {name: step for name, step in steps.items() if step.tells}
    if not told:
        return None
    first = next(iter(told.values()))
    what = "; ".join(f"{_name(name)} {_step(step)}" for name, step in told.items())
    return f"{key.server} {first.newer} after {first.older}: {what}"


def _figure(name: str, release: Release) -> str:
    value = release.figure.value
    return units.NOTHING if value is None else str(SHOWN[name](value))


def _step(step: Step | None, *, interval: bool = True) -> str:
    """How a figure changed; a dash where it was not compared, and a sign where nothing is told."""
    if step is None or step.ratio is None:
        return units.NOTHING
    ratio = f"{step.ratio:.3g}×"
    if step.p_holm is None:
        return f"{ratio} (no verdict)"
    if not step.tells:
        return f"{SAME if step.verdict == EQUIVALENT else UNKNOWN} {ratio}"
    ends = f" [{step.low:.3g}..{step.high:.3g}]" if interval else ""
    return f"{step.verdict} {ratio}{ends}"


def _notes(lineages: Lineages) -> Iterator[str]:
    """What has to be known beside the numbers."""
    for it in lineages:
        for release in it.releases:
            step = release.step
            if release.figure.value is None and it.key.metric == "throughput":
                who = f"{it.key.server} {release.version} on {it.key.scenario}"
                yield f"{who}: {release.figure.gap}"
            if step is None:
                continue
            if step.packages:
                others = ", ".join(map(str, step.packages))
                yield f"{it.key.server} {step.newer} came with other packages, too: {others}"
            if it.metric.gates and 0 < step.pairs < FEWEST:
                yield (
                    f"{it.key.server} {step.newer} on {it.key.scenario}: {step.pairs} pairs, "
                    f"{FEWEST} are needed for a verdict"
                )


def _itself(runs: Iterable[Record]) -> Iterator[str]:
    """What the runs found between a server and itself."""
    compared = [steps for run in runs for steps in placebos(run)]
    # with too few pairs nothing is judged
    steps = [step for each in compared for step in each.values() if step.p_holm is not None]
    if not steps:
        return
    ratios = [step.ratio for step in steps if step.ratio is not None]
    told = sum(step.tells for step in steps)
    yield (
        f"A server that was entered twice was compared with itself {len(steps)} times, figure by "
        f"figure: {told} of these were told apart, at {min(ratios):.3g} to {max(ratios):.3g} times "
        "its own."
    )


def _origin(run: Record) -> str:
    return origin(run.created, run.machine, run.timing, run.blocks)


def _name(metric: str) -> str:
    return FIGURES.get(metric, metric)
