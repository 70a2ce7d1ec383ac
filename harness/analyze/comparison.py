"""How the servers of one scenario and load compare, pair by pair and figure by figure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.analyze.cells import records, used_of
from harness.analyze.columns import frame
from harness.analyze.contenders import LOAD, named, who
from harness.analyze.decision import FEWEST, METRICS, Judgement, Metric, judge, widened
from harness.analyze.pairs import Numbers, Paired, sign_flip_p
from harness.analyze.verdict import GENERATOR_LIMITED, RANKED
from harness.store import StoredRun

# by whether a, and whether b, was never measured but by a generator at its limit
BOUNDS = {
    (False, False): "unknown",
    (True, False): "at most",
    (False, True): "at least",
    (True, True): "unknown",
}
Pair = tuple[int, int]
Cell = tuple[int, int]  # of a judgement's arrays
Mask = npt.NDArray[np.bool_]


def headline(row: Mapping[str, Any]) -> str:
    """The metric that the servers of a load are ranked by.

    A closed load finds the throughput. Under an open one that was ours to choose, and where
    events set the pace it is theirs: there it is the median response or delay.
    """
    fastest = row["model"] == "closed" and row["latency_measure"] == "response"
    return "throughput" if fastest else "p50"


def comparisons_frame(run: StoredRun, trials: pd.DataFrame) -> pd.DataFrame:
    """A row for each pair of servers (b against a, as they were asked for) and metric.

    `ratio` is b/a, with `low` and `high` its interval at `confidence`, from blocks in which both
    trials are valid or server-limited: their number is `pairs`. A cell whose faster trials the
    generator held back (`cells.used_of`) has no such trial. Of errors, which are compared as
    shares, `difference` and its ends are b - a, and `ratio` is that of the mean shares, missing
    where only a has none. `verdict` is of b: see `decision.judge`; all pairs of a scenario and
    load are one family. `smallest_effect` is what this run would have found, 0.03 for 3 %.
    `fragile` marks a result that rests on the t test's assumptions: the sign-flip test does not
    say the same. `placebo` marks a server that is compared with itself beside others, a family of
    its own. `headline` marks the metric that the servers are ranked by, `best` names the first.

    Where no pair is to be judged the best alone is compared with each, and where the generator
    was the limit so is the headline's metric: `bound` is "at most" if a may be better still,
    "at least" if b may, "unknown" if both may, or if it bounds nothing.
    """
    looks = int(run.facts.get("looks", 1))
    metrics = widened(run.facts.get("deltas", {}))
    asked = [who(cell) for cell in run.facts.get("cells", [])]
    rows: list[dict[str, Any]] = []
    for key, group in trials.groupby(list(LOAD), sort=False, dropna=False):
        load = {"run": run.path.name, **dict(zip(LOAD, key, strict=True))}
        rows += [load | row for row in _Group.of(group, asked).rows(metrics, looks)]
    return frame("comparisons", rows)


@dataclass(frozen=True)
class _Group:
    """The trials of one scenario and load, as arrays.

    `values` are contenders x metrics x blocks; `ranked` and `limited` contenders x blocks.
    `twins` are pairs of a server's first entry and another one.
    """

    names: list[str]
    twins: list[Pair]
    values: Numbers
    ranked: Mask
    limited: Mask
    headline: int

    @classmethod
    def of(cls, group: pd.DataFrame, asked: Sequence[Any]) -> _Group:
        rows = records(group)
        present = dict.fromkeys(who(row) for row in rows)
        order = sorted(present, key=lambda it: asked.index(it) if it in asked else len(asked))
        names = named(order)
        place = {it: number for number, it in enumerate(order)}
        blocks = {block: number for number, block in enumerate(group["block"].unique())}
        values = np.full((len(order), len(METRICS), len(blocks)), np.nan)
        ranked = np.zeros((len(order), len(blocks)), dtype=bool)
        limited = ranked.copy()
        twins: set[Pair] = set()
        for row, figures in zip(rows, figures_of(group), strict=True):
            at, block = place[who(row)], blocks[row["block"]]
            if (first := place.get((row["twin_of"], *who(row)[1:]))) is not None:
                twins.add((first, at))
            if row["verdict"] in RANKED or row["verdict"] == GENERATOR_LIMITED:
                values[at, :, block] = figures
                ranked[at, block] = row["verdict"] in RANKED
                limited[at, block] = row["verdict"] == GENERATOR_LIMITED
        for it, at in place.items():
            own = [row for row in rows if who(row) == it]
            if used_of(own)[0]["verdict"] == GENERATOR_LIMITED:
                # what is left to rank are the slow ones: no pair is fair
                limited[at] |= ranked[at]
                ranked[at] = False
        chief = [metric.name for metric in METRICS].index(headline(rows[0]))
        named_so = [names[it] for it in order]
        return cls(named_so, sorted(twins), values, ranked, limited, chief)

    def rows(self, metrics: tuple[Metric, ...], looks: int) -> Iterator[dict[str, Any]]:
        """All comparisons: of different servers, then of each with its twin."""
        entered_again = {again for _, again in self.twins}
        own = [number for number in range(len(self.names)) if number not in entered_again]
        twins = self.twins
        if len(own) == 1:  # with nobody but itself: then that is what was asked for
            own, twins = list(range(len(self.names))), []
        best = self._best(own)
        pairs = list(itertools.combinations(own, 2))
        if self.ranked.shape[1] < FEWEST:
            pairs = [pair for pair in pairs if best in pair]
        chief = None if best is None else self.names[best]
        for placebo, family in ((False, pairs), (True, twins)):
            for row in self._compared(family, metrics, looks):
                yield row | {"placebo": placebo, "best": chief}

    def _best(self, own: list[int]) -> int | None:
        """Who does better than most, by the ratios that are shown; None where none is measured."""
        known = [number for number in own if np.isfinite(self.values[number, self.headline]).any()]
        wins = dict.fromkeys(known, 0)
        for a, b in itertools.combinations(known, 2):
            d = self._mean_difference(a, b)
            if np.isfinite(d):
                wins[b if (d > 0) == METRICS[self.headline].more_is_better else a] += 1
        return max(known, key=wins.__getitem__, default=None)

    def _mean_difference(self, a: int, b: int) -> float:
        """Of the headline's metric, from limited trials too if no pair is without."""
        shared = (self.ranked[a] & self.ranked[b]).any()
        usable = self.ranked if shared else self.ranked | self.limited
        found = self._differences([(a, b)], usable)[0, self.headline]
        return float(Paired.of(found).mean)

    def _compared(
        self, pairs: list[Pair], metrics: tuple[Metric, ...], looks: int
    ) -> Iterator[dict[str, Any]]:
        if not pairs:
            return
        found = self._differences(pairs, self.ranked)
        judged = judge(found, metrics, looks)
        flipped = sign_flip_p(np.where(np.isfinite(judged.p_holm)[..., None], found, np.nan))
        smallest, fragile = judged.smallest(metrics), judged.fragile(flipped)
        for number, (a, b) in enumerate(pairs):
            if not (self._there(a) and self._there(b)):
                continue
            for at, metric in enumerate(metrics):
                cell = (number, at)
                yield {
                    "a": self.names[a], "b": self.names[b], "metric": metric.name, "bound": "",
                    "delta": metric.delta, "gates": metric.gates,
                    "headline": at == self.headline,
                    **_numbers(judged, cell, metric),
                    "p_sign_flip": flipped[cell],
                    "fragile": bool(fragile[cell]),
                    "smallest_effect": _relative(smallest[cell], metric),
                    **self._beyond_pairs(a, b, at),
                }  # fmt: skip

    def _there(self, number: int) -> bool:
        return bool((self.ranked[number] | self.limited[number]).any())

    def _differences(self, pairs: list[Pair], usable: Mask) -> Numbers:
        """Pairs x metrics x blocks."""
        values = np.where(usable[:, None, :], self.values, np.nan)
        first, second = (values[[pair[side] for pair in pairs]] for side in (0, 1))
        each = [it.differences(first[:, at], second[:, at]) for at, it in enumerate(METRICS)]
        return np.stack(each, axis=1)

    def _beyond_pairs(self, a: int, b: int, at: int) -> dict[str, Any]:
        """What is no mean of differences: the ratio of two shares, and that of limited trials."""
        shared = self.ranked[a] & self.ranked[b]
        if METRICS[at].share:
            return {"ratio": _of_shares(self.values[a, at, shared], self.values[b, at, shared])}
        if at != self.headline or shared.any():
            return {}
        limited = (not self.ranked[a].any(), not self.ranked[b].any())
        return {"ratio": float(np.exp(self._mean_difference(a, b))), "bound": BOUNDS[limited]}


def _numbers(judged: Judgement, cell: Cell, metric: Metric) -> dict[str, Any]:
    middle, low, high = judged.paired.mean[cell], judged.low[cell], judged.high[cell]
    numbers = {
        "verdict": str(judged.verdict[cell]),
        "confidence": judged.confidence,
        "pairs": int(judged.paired.pairs[cell]),
        "p": judged.p[cell],
        "p_holm": judged.p_holm[cell],
    }
    if metric.share:
        return numbers | {"difference": middle, "difference_low": low, "difference_high": high}
    return numbers | {"ratio": np.exp(middle), "low": np.exp(low), "high": np.exp(high)}


def _relative(effect: float, metric: Metric) -> float:
    """A difference as people say it: 0.03 for 3 %, of a figure or of all requests."""
    return effect if metric.share else float(np.expm1(effect))


def _of_shares(a: Numbers, b: Numbers) -> float:
    """b/a of the mean shares: 1 where neither has any, missing where only a has none."""
    if not len(a):
        return float("nan")
    if not a.mean():
        return float("nan") if b.mean() else 1.0
    return float(b.mean() / a.mean())


def figures_of(group: pd.DataFrame) -> Numbers:
    """Trials x metrics. A proxy's CPU and memory are its server's: it would not need them alone."""
    failed, right = (pd.to_numeric(group[name]).astype(float) for name in ("errors", "requests"))
    known = group.assign(error_share=failed / (failed + right))
    for cost in ("cpu_s_per_1k", "pss_bytes"):
        beside = pd.to_numeric(group[f"proxy_{cost}"]).where(group["front"].notna(), 0.0)
        known[f"server_{cost}"] = pd.to_numeric(group[f"server_{cost}"]) + beside
    figures = known[[metric.column for metric in METRICS]].apply(pd.to_numeric)
    return np.asarray(figures, dtype=float)
