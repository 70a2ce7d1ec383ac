"""A gate's word as Markdown, for a pull request: the verdict first, then what it rests on."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from html import escape
from typing import Any

import pandas as pd

from harness.analyze import records
from harness.analyze.decision import METRICS, Metric
from harness.analyze.gate import Check, Gate
from harness.model import visible
from harness.report import units
from harness.report.escape import safe
from harness.report.table import load_text, log_lines, p99_s, ranking, remarks
from harness.report.terminal import run_lines
from harness.report.verdicts import FIGURES, effect_text, sentences, size_text
from harness.store import StoredRun

# by which a program finds the comment that it wrote before, to write it anew
MARKER = "<!-- gatebench gate -->"
WORDS = {
    "passed": ("✅", "passed"),
    "worse": ("❌", "failed"),
    "inconclusive": ("✅", "passed"),
    "not measured": ("⚠️", "without a result"),
}
STRICTLY = WORDS | {"inconclusive": ("⚠️", "inconclusive")}
HEADS = ("figure", "base", "head", "head / base", "verdict", "could have found")
SHOWN: dict[str, Callable[[float | None], str]] = {
    "throughput": lambda value: f"{units.rate(value)}/s",
    "p50": units.seconds,
    "p90": units.seconds,
    "cpu": lambda value: f"{units.cpu(value)} s/1k",
    "memory": units.size,
    "p99": units.seconds,
    "max": units.seconds,
}
Row = Mapping[str, Any]


def headline(gate: Gate, *, strict: bool = False) -> str:
    """The verdict in one line."""
    _, word = (STRICTLY if strict else WORDS)[gate.outcome]
    return f"gate {word}: {'; '.join(_says(gate))}"


def findable(gate: Gate) -> str:
    """What the gate could have found of each figure, in the scenario that tells least; or ""."""
    least: dict[str, Row] = {}
    for check in gate.checks:
        row, effect = check.row, check.row["smallest_effect"]
        if effect is not None:
            kept = least.setdefault(row["metric"], row)
            least[row["metric"]] = row if effect > kept["smallest_effect"] else kept
    found = [f"{_figure(row)} {effect_text(row, row['smallest_effect'])}" for row in least.values()]
    return ", ".join(found)


def summary(
    run: StoredRun,
    cells: pd.DataFrame,
    comparisons: pd.DataFrame,
    gate: Gate,
    *,
    strict: bool = False,
) -> str:
    """The whole of it; every text that came from outside is escaped."""
    rows = {
        side: {row["scenario"]: row for row in records(cells[cells["server"] == label])}
        for side, label in (("base", gate.base), ("head", gate.head))
    }
    sign, _ = (STRICTLY if strict else WORDS)[gate.outcome]
    parts = [MARKER, f"### {sign} {safe(headline(gate, strict=strict))}"]
    parts.append(f"{safe(gate.head)} beside {safe(gate.base)}.")
    if least := findable(gate):
        parts.append(f"The smallest differences that it could have found: {safe(least)}.")
    parts += _tables(gate, rows)
    if placebo := sentences(comparisons):
        parts.append(_list(placebo))
    for scenario in cells["scenario"].unique():
        ranked = ranking(cells, comparisons, scenario)
        if found := remarks(ranked):
            parts.append(_details(f"Findings: {scenario}", _list(found)))
        parts += [
            _details(f"The end of {row['server']}'s log", "\n".join(_log(row)))
            for row in ranked
            if row["log"]
        ]
    parts.append(_versions(rows))
    parts.append(_details("Machine, noise and placement", _list(run_lines(run, cells))))
    command = "".join(it if it.isprintable() else "?" for it in shlex.join(run.facts["command"]))
    fence = "~~~~" if "~~~" in command else "~~~"
    parts.append(f"To measure it again:\n\n{fence}sh\n{command}\n{fence}")
    return "\n\n".join(parts) + "\n"


def _says(gate: Gate) -> Iterator[str]:
    yield from gate.gaps
    yield from (f"{_name(it)}: {it.why}" for it in gate.of("not measured") if it.why)
    for check in gate.of("worse"):
        yield f"{_name(check)} is worse, {size_text(check.row)}"
    if gate.outcome in ("passed", "inconclusive"):
        yield f"head is not found worse than base in any of {len(gate.checks)} figures"
    if found := gate.of("inconclusive"):
        yield f"inconclusive: {', '.join(map(_name, found))}"


def _name(check: Check) -> str:
    return f"{check.row['scenario']} {_figure(check.row)}"


def _tables(gate: Gate, rows: Mapping[str, Mapping[str, Row]]) -> Iterator[str]:
    every: dict[str, list[tuple[Row, Check | None]]] = {}
    for check in gate.checks:
        every.setdefault(check.row["scenario"], []).append((check.row, check))
    for row in gate.shown:
        every.setdefault(row["scenario"], []).append((row, None))
    for scenario, compared in every.items():
        cells = rows["base"].get(scenario), rows["head"].get(scenario)
        lines = [_line(HEADS), _line(("---", *["---:"] * 3, "---", "---:"))]
        lines += [_line((*_numbers(row, *cells), *_word(row, check))) for row, check in compared]
        load = next((load_text(cell) for cell in cells if cell), "")
        pairs = max(row["pairs"] for row, _ in compared)
        asked = f"{load}; {pairs} pairs of trials, in brackets the "
        asked += f"{compared[0][0]['confidence'] * 100:.3g} % interval"
        yield f"**{safe(scenario)}** ({safe(asked)})\n\n" + "\n".join(lines)


def _word(row: Row, check: Check | None) -> tuple[str, str]:
    """The verdict on a figure, and what else it could have been."""
    if check is None:
        return "shown, not judged", units.NOTHING
    words = {"worse": "**worse**", "not measured": f"no result {safe(check.why)}".strip()}
    word: str = words.get(check.outcome) or row["verdict"]
    effect = row["smallest_effect"]
    least = units.NOTHING if effect is None else effect_text(row, effect)
    return f"{word} (fragile)" if row["fragile"] else word, least


def _numbers(row: Row, base: Row | None, head: Row | None) -> tuple[str, ...]:
    metric = next(it for it in METRICS if it.name == row["metric"])
    size = safe(size_text(row)) if row["pairs"] else units.NOTHING
    return (_figure(row), _value(metric, base), _value(metric, head), size)


def _value(metric: Metric, cell: Row | None) -> str:
    """A side's own figure, the median of its trials."""
    if cell is None:
        return units.NOTHING
    if metric.share:
        failed, right = cell["errors"], cell["requests"]
        if failed is None or right is None:
            return units.NOTHING
        return f"{failed / (failed + right):.3%}" if failed else "none"
    value: float | None = p99_s(cell) if metric.name == "p99" else cell[metric.column]
    if value is None:
        return units.NOTHING
    if cell["front"] and metric.column.startswith("server_"):  # as in the comparison
        value += cell[metric.column.replace("server_", "proxy_")] or 0.0
    return SHOWN[metric.name](value)


def _versions(rows: Mapping[str, Mapping[str, Row]]) -> str:
    """What is installed on either side, the differences first."""
    cells = {
        side: cell
        for side, found in rows.items()
        if (cell := next((it for it in found.values() if it["versions"]), None))
    }
    if missing := [side for side in rows if side not in cells]:
        return f"Nothing is known of what is installed for {' and '.join(missing)}."
    installed = [{"Python": cell["python"] or "", **cell["versions"]} for cell in cells.values()]
    base, head = installed
    lines = [
        _line([safe(name), safe(base.get(name, "–")), safe(head.get(name, "–"))])
        for name in dict.fromkeys((*base, *head))
        if base.get(name) != head.get(name)
    ]
    other = list(reversed(cells.values()))
    notes = [
        f"{side}: {note}"
        for (side, cell), beside in zip(cells.items(), other, strict=True)
        for note in cell["notes"]
        if note not in beside["notes"]
    ]
    parts = []
    if lines:
        parts.append("\n".join([_line(["package", "base", "head"]), _line(["---"] * 3), *lines]))
    if notes:
        parts.append(_list(notes))
    if not parts:
        parts = ["Both sides have the same packages in the same versions."]
    same = [f"{name} {version}" for name, version in base.items() if head.get(name) == version]
    told = [f"on both sides: {', '.join(same)}"] if same else []
    commands = {side: shlex.join(cell["argv"]) for side, cell in cells.items()}
    told += [f"{side}: {command}" for side, command in commands.items() if command]
    return "\n\n".join([*parts, _details("Versions and commands", _list(told))])


def _figure(row: Row) -> str:
    name: str = row["metric"]
    return FIGURES.get(name, name)


def _line(texts: Iterable[str]) -> str:
    return "| " + " | ".join(texts) + " |"


def _list(lines: list[str]) -> str:
    return "\n".join(f"- {safe(line)}" for line in lines)


def _log(row: Row) -> list[str]:
    return [f"    {line}" for line in log_lines(row)]


def _details(title: str, text: str) -> str:
    return f"<details><summary>{escape(visible(title))}</summary>\n\n{text}\n\n</details>"
