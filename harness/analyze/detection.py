"""What difference a run could find: before it, from usual noise; in it, from its own."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd

from harness.analyze.contenders import LOAD, WHO
from harness.analyze.decision import ALPHA, FEWEST, METRICS, POWER
from harness.analyze.pairs import Paired, smallest_effect
from harness.analyze.verdict import RANKED

THROUGHPUT = next(metric for metric in METRICS if metric.name == "throughput")
USUAL_NOISE = 0.02  # of a trial's throughput on a machine that does nothing else, as a share


def detectable(blocks: int, servers: int, deviation: float | None = None) -> float | None:
    """The smallest difference of throughput that so many blocks find, 0.05 for 5 %.

    With the level and power of `decision`, all pairs of `servers` being one family. `deviation`
    is that of ln(b/a) between blocks; without it, that of trials with USUAL_NOISE. None where
    no verdict would be given: below FEWEST blocks, or of one server.
    """
    if blocks < FEWEST or servers < 2:
        return None
    family = math.comb(servers, 2) * sum(metric.gates for metric in METRICS)
    effect = smallest_effect(
        math.sqrt(2) * USUAL_NOISE if deviation is None else deviation,
        blocks,
        least=THROUGHPUT.least,
        alpha=ALPHA / family,
        power=POWER,
    )
    return float(np.expm1(effect))


def noise(trials: pd.DataFrame) -> float | None:
    """The deviation of ln(b/a) of throughput between the blocks so far, the median of all pairs.

    None as long as no two servers of one load have three blocks with ranked trials.
    """
    ranked = trials[trials["verdict"].isin(RANKED)]
    found: list[float] = []
    for _, group in ranked.groupby(list(LOAD), dropna=False):
        table = group.pivot_table("throughput_per_s", "block", list(WHO), dropna=False)
        logs = np.log(table.to_numpy(dtype=float)).T
        for a, b in itertools.combinations(logs, 2):
            paired = Paired.of(b - a)
            if paired.pairs > 2:
                found.append(float(paired.deviation))
    return float(np.median(found)) if found else None
