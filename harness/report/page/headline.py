"""What a run was asked, in one line, and the answer to it, a sentence for each scenario."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.analyze import records
from harness.analyze.comparison import headline
from harness.analyze.contenders import contenders, load_of
from harness.analyze.decision import (
    BETTER,
    EQUIVALENT,
    FEWEST,
    INCONCLUSIVE,
    WORSE,
)
from harness.analyze.verdict import (
    FAILED,
    GENERATOR_LIMITED,
    INVALID,
    NO_STEADY_STATE,
    RANKED,
)
from harness.report import units
from harness.report.sheet import Sheet
from harness.report.table import load_text, p99_s, ranking
from harness.report.verdicts import FIGURES
from harness.results import Results

Row = Mapping[str, Any]
Sheets = Mapping[str, Sequence[Sheet]]

NAMED = 3  # servers that a sentence names; of more it says how many
VERDICT_WORDS = {
    BETTER: "better in", WORSE: "worse in", EQUIVALENT: "equivalent in",
    INCONCLUSIVE: "not told apart in",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """Of one scenario, and load if it has several: the answer, and what cannot be said and why."""

    scenario: str
    load: str
    text: str
    beside: tuple[str, ...] = ()


def question(results: Results) -> str:
    """What was asked, as a question."""
    facts, rows = results.run.facts, [it for it in records(results.cells) if not it["twin_of"]]
    servers = list(dict.fromkeys(row["server"] for row in rows))
    works = list(dict.fromkeys(row["scenario"] for row in rows))
    work = works[0] if len(works) == 1 else f"{len(works)} kinds of work"
    if not servers:
        return "Nothing was measured"
    if "capacity" in facts:
        return f"Which rate keeps {facts['capacity']['slo']}, with {_list(servers)}?"
    if "tune" in facts:
        return f"How many workers and threads should {_list(servers)} have?"
    if asked := duel(results.comparisons):
        return f"Is {asked[1]} better or worse than {asked[0]}?"
    if len(servers) == 1:
        return f"What does {servers[0]} do under {work}?"
    return f"Which of {len(servers)} servers does best under {work}?"


def circumstances(results: Results) -> list[str]:
    """In which conditions it was asked, in a few words each."""
    run, cells = results.run, results.cells
    timing, machine, blocks = run.facts["timing"], run.facts["machine"], run.facts["blocks"]
    rows = records(cells)
    loads = list(dict.fromkeys(load_text(row) for row in rows))
    return [
        *(
            [f"{len(rows)} cell{'s' * (len(rows) != 1)} in {blocks} block{'s' * (blocks != 1)}"]
            if rows
            else []
        ),
        *([loads[0] if len(loads) == 1 else f"{len(loads)} loads"] if loads else []),
        f"{timing['duration_s']:g} s each after {timing['warmup_s']:g} s of warm-up",
        f"{machine['cpu']}, {len(machine['cpus_usable'])} CPUs",
        *([str(run.facts["created"])[:10]] if "created" in run.facts else []),
    ]


def answers(results: Results, sheets: Sheets) -> list[Answer]:
    """The answer for each scenario and load; of what was searched or swept see its sheets."""
    cells, comparisons = results.cells, results.comparisons
    ranks = {(load_of(row), row["server"]): row for row in records(results.rankings)}
    found = []
    for scenario in cells["scenario"].unique():
        if scenario in sheets:
            lines = [line for sheet in sheets[scenario] for line in sheet.findings]
            found += [Answer(scenario, "", line) for line in lines]
            continue
        rows = ranking(cells, comparisons, scenario)
        loads = dict.fromkeys(map(load_of, rows))
        for load in loads:
            group = _own([row for row in rows if load_of(row) == load])
            told = comparisons[comparisons["scenario"] == scenario]
            asked = duel(told)
            said = [it for it in records(told) if load_of(it) == load and not it["placebo"]]
            if asked and said and said[0]["pairs"] >= FEWEST:
                text = _beside(asked, said)
            else:
                text = _ranked(group, load, ranks, said)
            which = load_text(group[0]) if len(loads) > 1 else ""
            told_beside = (*_quickest(group), *_untold(group))
            found.append(Answer(scenario, which, text, told_beside))
    return found


def caution(results: Results) -> str:
    """What to think of differences where there are too few blocks for verdicts; else empty."""
    told = results.comparisons
    if told.empty or int(told["pairs"].max()) >= FEWEST:
        return ""
    return (
        f"Differences are numbers here, not verdicts: it takes {FEWEST} blocks of valid trials to "
        "tell a difference from the machine's noise (--blocks 8)."
    )


def duel(comparisons: pd.DataFrame) -> tuple[str, str] | None:
    """The two servers of a comparison; None if there are more of them, or fewer."""
    own = comparisons[~comparisons["placebo"].astype(bool)]
    pairs = list(dict.fromkeys(zip(own["a"], own["b"], strict=True)))
    return (str(pairs[0][0]), str(pairs[0][1])) if len(pairs) == 1 else None


def _own(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The servers without second entries, unless there is nobody else to stand beside."""
    own = [row for row in rows if not row["twin_of"]]
    return own if len(own) > 1 else rows


def _beside(asked: tuple[str, str], rows: Sequence[Row]) -> str:
    """B beside A, by verdict; what is shown and not judged stays out."""
    a, b = asked
    parts = []
    for verdict, words in VERDICT_WORDS.items():
        such = [row for row in rows if row["gates"] and row["verdict"] == verdict]
        names = [_metric(row) for row in such]
        if names:
            parts.append(f"{words} {_list(names, len(names))}")
    return f"{b} beside {a}: {'; '.join(parts)}" if parts else f"{b} and {a} cannot be compared"


def _metric(row: Row) -> str:
    name = FIGURES.get(row["metric"]) or str(row["metric"])
    differs = row["verdict"] in (BETTER, WORSE)
    if not differs or row["ratio"] is None:
        return name
    return f"{name} ({units.significant(row['ratio'])} times)"


def _ranked(
    rows: Sequence[Row], load: tuple[Any, ...], ranks: Mapping[Any, Row], compared: Sequence[Row]
) -> str:
    """Who is first, or who are not told apart, or what one server does."""
    ranked = [row for row in rows if row["verdict"] in RANKED]
    if not ranked:
        return "no server can be ranked"
    names = dict(zip(map(id, rows), (name for _, name in contenders(rows)), strict=True))
    places = {id(row): ranks.get((load, names[id(row)])) for row in ranked}
    if len(rows) == 1:
        return f"{names[id(rows[0])]}: {_figures(rows[0])}"
    judged = [row for row in ranked if places[id(row)]]
    first = [row for row in judged if (places[id(row)] or {})["rank"] == 1]
    if len(first) > 1:
        behind = len(judged) - len(first)
        others = f"; {behind} other{' does' if behind == 1 else 's do'} worse" if behind else ""
        told = _alike({names[id(row)] for row in first}, headline(first[0]), compared)
        return (
            f"{_list([names[id(row)] for row in first])} share the first rank: "
            f"{told or 'this run does not tell which is best'} ({_range(first)}){others}"
        )
    leader, *rest = ranked if not first else [*first, *(it for it in ranked if it is not first[0])]
    how = "is first" if first else "measured best"
    among = " of those that can be ranked" if len(ranked) < len(rows) else ""
    following = ", ".join(f"{names[id(row)]} ({_figure(row)})" for row in rest[:NAMED])
    more = f" and {len(rest) - NAMED} more" if len(rest) > NAMED else ""
    then = f"; then {following}{more}" if following else ""
    return f"{names[id(leader)]} {how}{among}: {_figure(leader)}{then}"


def _alike(names: set[str], metric: str, compared: Sequence[Row]) -> str:
    """That what ranks them is equivalent, if it is so of each two; else empty."""
    pairs = [it for it in compared if it["metric"] == metric and {it["a"], it["b"]} <= names]
    whole = len(names) * (len(names) - 1) // 2
    if len(pairs) < whole or any(it["verdict"] != EQUIVALENT for it in pairs):
        return ""
    delta = max(it["delta"] for it in pairs)
    return f"their {metric} is equivalent, less than {delta:.0%} apart"


def _figures(row: Row) -> str:
    p99 = units.seconds(p99_s(row))
    return f"{_rate(row)}, p50 {units.seconds(row['p50_s'])}, p99 {p99} ({row['verdict']})"


def _figure(row: Row) -> str:
    """What ranks it, with its range over the trials."""
    return f"p50 {units.seconds(row['p50_s'])}" if headline(row) == "p50" else _rate(row)


def _rate(row: Row) -> str:
    return f"{units.rate(row['throughput_per_s'])} requests/s"


def _range(rows: Sequence[Row]) -> str:
    """From the least to the greatest of what ranks them."""
    median = headline(rows[0]) == "p50"
    values = [row["p50_s"] if median else row["throughput_per_s"] for row in rows]
    show = units.seconds if median else units.rate
    ends = " to ".join(dict.fromkeys(show(end(values)) for end in (min, max)))
    return f"p50 {ends}" if median else f"{ends} requests/s"


def _quickest(rows: Sequence[Row]) -> Iterator[str]:
    """Whose p99 is the lowest, of those that have answers enough to tell."""
    ranked = [row for row in rows if row["verdict"] in RANKED]
    able = [row for row in ranked if p99_s(row) is not None]
    if len(able) < 2:
        return
    best = units.seconds(min(row["p99_s"] for row in able))
    names = dict(zip(map(id, rows), (name for _, name in contenders(rows)), strict=True))
    first = [names[id(row)] for row in able if units.seconds(row["p99_s"]) == best]
    few = len(able) < len(ranked)
    among = f" among the {len(able)} of {len(ranked)} that have answers enough" if few else ""
    yield f"Lowest p99{among}: {best}, {_list(first)} (shown, not judged)."


def _untold(rows: Sequence[Row]) -> Iterator[str]:
    """Which servers are not ranked, by why."""
    why: dict[str, list[str]] = {}
    for row in rows:
        if row["verdict"] == GENERATOR_LIMITED:
            why.setdefault(row["verdict"], []).append(f"{row['server']} ({_figure(row)} at least)")
        elif row["verdict"] not in RANKED:
            why.setdefault(row["verdict"], []).append(row["server"])
    words = {
        FAILED: "could not be measured",
        INVALID: "its numbers contradict physics or each other",
        GENERATOR_LIMITED: "the generator was the limit, it may be faster than shown",
        NO_STEADY_STATE: "no steady state was found, an average says little",
    }
    for verdict, servers in why.items():
        yield f"Not ranked, {words[verdict]}: {_list(servers)}."


def _list(names: Sequence[str], most: int = NAMED + 1) -> str:
    """Names as a sentence has them; of many the first, and how many more."""
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
