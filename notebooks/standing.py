"""Who stands first by a metric, in a sentence that says no more than the run tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
import show


@dataclass(frozen=True)
class Metric:
    """A figure of the cells: its column, what its best value is called, how it is written."""

    column: str
    best: str
    write: Callable[[float], str]
    more_is_better: bool = False


METRICS = {
    "throughput": Metric("throughput_per_s", "the highest throughput", show.rate, True),
    "p50": Metric("p50_s", "the lowest median latency", show.seconds),
    "cpu": Metric("server_cpu_s_per_1k", "the least CPU per 1,000 answers", show.seconds),
    "memory": Metric("server_pss_bytes", "the least memory", show.memory),
}


def standing(cells: pd.DataFrame, compared: pd.DataFrame, name: str) -> str:
    """A sentence on who is first among the cells of one load (see `show.loads`).

    `compared` are the comparisons of that load. Servers are first together where no difference
    between them was found; without enough pairs there are numbers and no verdict.
    """
    metric = METRICS[name]
    others = cells[cells["twin_of"].isna()]
    if len(others) > 1:  # a placebo is no rival
        cells = others
    known = cells[cells[metric.column].notna()]
    if known.empty and name == "cpu" and (show.numbers(cells["requests"]) > 0).any():
        return f"Who has {metric.best} cannot be told: too little was used to be counted well."
    ranked = known[known["verdict"].isin(show.RANKED)]
    ranked = ranked.sort_values(metric.column, ascending=not metric.more_is_better)
    if ranked.empty:
        return f"Who has {metric.best} cannot be told: no trial of any server may be ranked."
    values = dict(zip(ranked["who"], show.numbers(ranked[metric.column]), strict=True))
    told = {who: f"{show.code(who)} ({metric.write(value)})" for who, value in values.items()}
    first = next(iter(values))
    if len(ranked) == 1 and len(cells) == 1:
        return f"{told[first]} is the only one: {metric.best} of one is no finding."
    if len(ranked) == 1:
        return (
            f"Who has {metric.best} cannot be told: of {len(cells)} servers, only {told[first]} "
            "may be ranked."
        )
    judged = compared[(compared["metric"] == name) & compared["p_holm"].notna()]
    judged = judged[judged["a"].isin(values) & judged["b"].isin(values) & ~_placebo(judged)]
    sentence = _judged(judged, told, metric) if len(judged) else _shown(ranked, told, metric)
    return sentence + _limited(known, values[first], metric)


def unjudged(cells: pd.DataFrame, compared: pd.DataFrame) -> str:
    """The sentence that says that numbers are no verdicts, where they are not; else empty."""
    ranked = cells[cells["verdict"].isin(show.RANKED)]
    if len(ranked) < 2 or compared["p_holm"].notna().any():
        return ""
    return (
        "These are numbers and no verdicts: nothing is judged with fewer than 6 pairs of trials, "
        f"and a server has {_span(ranked['used'])} here. `--blocks 8` gives enough."
    )


def unbeaten(judged: pd.DataFrame) -> list[str]:
    """The servers that no other one was found to be better than."""
    beaten = {
        *judged.loc[judged["verdict"] == "better", "a"],
        *judged.loc[judged["verdict"] == "worse", "b"],
    }
    everyone = dict.fromkeys([*judged["a"], *judged["b"]])
    return [who for who in everyone if who not in beaten]


def _judged(judged: pd.DataFrame, told: dict[str, str], metric: Metric) -> str:
    """What the comparisons found."""
    best = unbeaten(judged)
    first = [text for who, text in told.items() if who in best]
    beyond = [who for who in told if who not in {*judged["a"], *judged["b"]}]
    rest = f" {show.names(beyond)} had too few pairs to be judged." if beyond else ""
    if not first:  # A better than B, B than C, C than A: noise can do that
        return f"Who has {metric.best} cannot be told: each was found worse than another.{rest}"
    if len(first) == 1:
        beats = int(_won(judged, best[0]))
        of = judged["a"].eq(best[0]).sum() + judged["b"].eq(best[0]).sum()
        if beats == of:
            whom = "the other one" if of == 1 else f"each of the {of} others"
            return f"{first[0]} has {metric.best}, better than {whom}.{rest}"
        return (
            f"{first[0]} has {metric.best} as far as this run tells: better than {beats} of {of} "
            f"others, and not told apart from the rest.{rest}"
        )
    return (
        f"{', '.join(first)} share {metric.best}: no difference between them was found, which is "
        f"not to say that there is none.{rest}"
    )


def _won(judged: pd.DataFrame, who: str) -> int:
    """How many others one server was found better than."""
    return int(
        ((judged["a"] == who) & (judged["verdict"] == "worse")).sum()
        + ((judged["b"] == who) & (judged["verdict"] == "better")).sum()
    )


def _shown(ranked: pd.DataFrame, told: dict[str, str], metric: Metric) -> str:
    """Numbers without a verdict."""
    first, second = list(told.values())[:2]
    least, most = sorted(show.numbers(ranked[metric.column])[:2])
    if least <= 0:
        return f"{first} shows {metric.best}, before {second}."
    if (more := most / least - 1) >= 0.1:
        return f"{first} shows {metric.best}, before {second}: {more + 1:.3g} times apart."
    apart = f"{more:.1%}" if more >= 0.001 else "less than 0.1%"
    return f"{first} shows {metric.best}, before {second}: {apart} apart."


def _limited(known: pd.DataFrame, best: float, metric: Metric) -> str:
    """What a generator at its limit leaves open."""
    if not metric.more_is_better:
        return ""
    limited = known[(known["verdict"] == "generator-limited") & (known[metric.column] > best)]
    if limited.empty:
        return ""
    return (
        f" But the generator was the limit of {show.names(limited['who'])}, which reached more: "
        "who is first remains open."
    )


def _placebo(compared: pd.DataFrame) -> pd.Series[bool]:
    return compared["placebo"].astype(bool)


def _span(counts: pd.Series[int]) -> str:
    least, most = int(counts.min()), int(counts.max())
    return f"{least}" if least == most else f"{least} to {most}"
