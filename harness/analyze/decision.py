"""Better, worse, equivalent or inconclusive: the rule, whatever the numbers are of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.analyze.pairs import Numbers, Paired, least_sign_flip_p, smallest_effect
from harness.model import ConfigurationError

BETTER = "better"
WORSE = "worse"
EQUIVALENT = "equivalent"
INCONCLUSIVE = "inconclusive"

FEWEST = 6  # pairs; with less there are numbers, and no verdict
ALPHA = 0.01  # of all the false alarms that a family may raise
EQUIVALENCE = 0.05  # of each of the two one-sided tests
POWER = 0.9


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure that servers are compared by.

    `column` is its column of the trials; `delta` what difference matters: 0.03 is 3 % of a
    figure that is compared as a ratio, and 3 percentage points of a share, of which the
    difference is taken because it may well be 0. Those that do not gate are shown alone.
    """

    name: str
    column: str
    delta: float
    more_is_better: bool = False
    gates: bool = True
    share: bool = False

    @property
    def least(self) -> float:
        """`delta` on the scale of the differences; +delta and -delta are mirror images there."""
        return self.delta if self.share else float(np.log1p(self.delta))

    def differences(self, a: Numbers, b: Numbers) -> Numbers:
        """b against a: ln(b/a), or b - a of a share; NaN where there is no such number."""
        if self.share:
            return b - a
        with np.errstate(divide="ignore", invalid="ignore"):
            d: Numbers = np.where((a > 0) & (b > 0), np.log(b / a), np.nan)
        return d


# Errors are few and mostly none, so their share of all requests is compared as it is: a ratio of
# two of them says nothing at 0, and a correction for 0 would find a difference between servers
# without errors of which one answered more. A tenth of a percent is what people put into
# objectives ("errors < 0.1 %").
# The worst percentiles are shown and not judged: single events of the machine make them.
METRICS = (
    Metric("throughput", "throughput_per_s", 0.03, more_is_better=True),
    Metric("p50", "p50_s", 0.05),
    Metric("p90", "p90_s", 0.05),
    Metric("cpu", "server_cpu_s_per_1k", 0.03),
    Metric("memory", "server_pss_bytes", 0.05),
    Metric("errors", "error_share", 0.001, share=True),
    Metric("p99", "p99_s", 0.05, gates=False),
    Metric("max", "max_s", 0.05, gates=False),
)


def widened(deltas: Mapping[str, float]) -> tuple[Metric, ...]:
    """METRICS, those that `deltas` names with that difference in place of the usual one.

    ConfigurationError for a name that does not gate, and for a difference below the usual one:
    what is smaller than that is not believed, however significant it is.
    """
    gating = {metric.name: metric for metric in METRICS if metric.gates}
    for name, delta in deltas.items():
        if name not in gating:
            raise ConfigurationError(
                f"--threshold: {name!r} is not a metric that gates: {', '.join(gating)}"
            )
        if delta < gating[name].delta:
            raise ConfigurationError(
                f"--threshold: {name} can be widened, and not be narrower than "
                f"{gating[name].delta:.1%}: a smaller difference may be of the machine's making"
            )
    return tuple(replace(it, delta=deltas.get(it.name, it.delta)) for it in METRICS)


@dataclass(frozen=True)
class Judgement:
    """What a family of comparisons found; every array is pairs of servers x metrics.

    `p_holm` is p after Holm's correction over the family, NaN where nothing is judged. `low`
    and `high` are the interval of the mean difference at `confidence`, the one that a verdict
    of better or worse rests on. `smallest` is the smallest difference that would have been
    found, with POWER, in this family as it stands.
    """

    paired: Paired
    p: Numbers
    p_holm: Numbers
    low: Numbers
    high: Numbers
    verdict: npt.NDArray[Any]
    confidence: float
    family: int
    alpha: float

    def smallest(self, metrics: tuple[Metric, ...]) -> Numbers:
        """The smallest difference of each that a run like this one finds; NaN below FEWEST.

        It is that of Holm's first step, alpha over the whole family: what is found whatever the
        other figures do.
        """
        found = smallest_effect(
            self.paired.deviation,
            self.paired.pairs,
            least=[metric.least for metric in metrics],
            alpha=self.alpha / max(1, self.family),
            power=POWER,
        )
        return np.where(np.isfinite(self.p_holm), found, np.nan)

    def fragile(self, sign_flip: Numbers) -> npt.NDArray[np.bool_]:
        """Whether the t test and the sign-flip test differ, at a level that both can reach."""
        level = np.maximum(self.alpha, least_sign_flip_p(self.paired.pairs))
        differ: npt.NDArray[np.bool_] = (self.p <= level) != (sign_flip <= level)
        return differ & np.isfinite(sign_flip)


def judge(differences: npt.ArrayLike, metrics: tuple[Metric, ...], looks: int = 1) -> Judgement:
    """Judge one family: `differences` of pairs of servers x metrics x blocks, NaN for no pair.

    Better and worse: the paired t test is significant at ALPHA after Holm's correction over all
    that gates and has FEWEST pairs, and the estimate is `delta` or more. (The t interval at
    1 - ALPHA then lies on one side.) Equivalent: the interval at 1 - 2 * EQUIVALENCE lies within
    +-delta, which is two one-sided tests (Schuirmann 1987). Otherwise inconclusive.

    A run that may be extended once looks at its numbers twice, and each of the two `looks` has
    half of both levels (Bonferroni), so that the second chance costs no false alarms.
    """
    paired = Paired.of(differences)
    alpha = ALPHA / looks
    judged = np.array([metric.gates for metric in metrics]) & (paired.pairs >= FEWEST)
    p = paired.p()
    p_holm = holm(np.where(judged, p, np.nan))
    low, high = paired.interval(1 - alpha)
    narrow_low, narrow_high = paired.interval(1 - 2 * EQUIVALENCE / looks)
    least = np.array([metric.least for metric in metrics])
    gain = paired.mean * [1 if metric.more_is_better else -1 for metric in metrics]
    with np.errstate(invalid="ignore"):
        differs = (p_holm <= alpha) & (np.abs(paired.mean) >= least)
        same = judged & (narrow_low >= -least) & (narrow_high <= least)
    verdict = np.select(
        [differs & (gain > 0), differs, same], [BETTER, WORSE, EQUIVALENT], INCONCLUSIVE
    )
    family = int(np.isfinite(p_holm).sum())
    return Judgement(paired, p, p_holm, low, high, verdict, 1 - alpha, family, alpha)


def holm(p: Numbers) -> Numbers:
    """Adjusted p of a family of tests (Holm 1979), in the shape of `p`; NaN is no test."""
    flat = p.ravel()
    order = np.argsort(flat)[: np.isfinite(flat).sum()]
    steps = flat[order] * np.arange(len(order), 0, -1)
    adjusted = np.full(flat.shape, np.nan)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps))
    return adjusted.reshape(p.shape)
