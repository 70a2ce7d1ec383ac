"""A host that drifts, and two servers that a run measures on it: what its blocks would say.

Every figure's logarithm walks at random from one trial to the next, by `drift`, and each trial
adds `noise` of its own. The order of the trials is a run's own, from `Plan`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from harness.analyze.decision import METRICS, Metric
from harness.model import Placement, Timing
from harness.plan import Plan
from harness.tests.builders import cell

Numbers = npt.NDArray[np.float64]

# as many figures as a run shows; no server of these fails a request
FIGURES = (*METRICS, *(Metric(f"shown {n}", "", 0.05, gates=False) for n in range(4)))
ERRORS = [metric.share for metric in FIGURES].index(True)


def balanced(seed: int, blocks: int) -> npt.NDArray[np.int64]:
    """Where each of two servers stands in the order of a run: servers x blocks."""
    plan = Plan(
        (cell("a"), cell("b")), blocks, seed, Timing(), Placement((0,), (1,)), {}, ("gatebench",)
    )
    order = [it.server.name for _, it in plan.order()]
    return np.array([[at for at, name in enumerate(order) if name == who] for who in "ab"])


def one_after_the_other(_seed: int, blocks: int) -> npt.NDArray[np.int64]:
    """A...AB...B."""
    return np.arange(2 * blocks).reshape(2, blocks)


def differences(
    runs: int, blocks: int = 8, *, effect: float = 0.0, drift: float = 0.015, noise: float = 0.02,
    order=balanced, seed: int = 1,
) -> Numbers:  # fmt: skip
    """ln(b/a) in runs x figures x blocks; `effect` is its true mean."""
    random = np.random.default_rng(seed)
    shape = (runs, len(FIGURES), 2 * blocks)
    host = np.cumsum(random.normal(0, drift, shape), axis=-1) + random.normal(0, noise, shape)
    places = np.array([order(run, blocks) for run in range(runs)])
    a, b = (np.take_along_axis(host, places[:, None, side], axis=-1) for side in (0, 1))
    d = b - a + effect
    d[:, ERRORS] = 0.0
    return d
