"""What a server is asked to keep: `p99<100ms,errors<0.1%`.

An objective is terms with commas between, each a metric, a sign and a limit:

    p50 p90 p99 p99.9 (any pNN)   response time, `<` or `<=` of us, ms or s
    mean max                      the same
    errors                        share of the requests that failed, `<` or `<=` of %
    throughput                    right answers per second, `>` or `>=`

A request that was missed (it failed, had no answer in time, or could not be sent because too many
were in flight) took longer than any limit: it is in each percentile, and in the maximum.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.model import ConfigurationError

TERM = re.compile(
    r"(?P<metric>p\d+(?:\.\d+)?|[a-z]+)\s*(?P<sign><=|>=|<|>)\s*"
    r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>us|µs|ms|s|%|/s|)"
)
TIMES = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
SIGNS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
EXAMPLE = "p99<100ms,errors<0.1%"


@dataclass(frozen=True, slots=True)
class Term:
    """One limit: in seconds for a response time, a share for errors, per second for throughput.

    `quantile` is 0..100 for a percentile, else None; `text` is how it was written.
    """

    metric: str
    sign: str
    limit: float
    text: str
    quantile: float | None = None

    def met(self, value: float) -> bool:
        """Whether a value keeps to it; infinity is a request that was missed."""
        return SIGNS[self.sign](value, self.limit)

    @property
    def is_time(self) -> bool:
        """Whether it limits a response time."""
        return self.metric not in ("errors", "throughput")


@dataclass(frozen=True, slots=True)
class Objective:
    """All of its terms have to be met."""

    terms: tuple[Term, ...]
    text: str

    def missed(self, figures: Mapping[str, float]) -> list[Term]:
        """The terms that the figures, by metric, do not keep to."""
        return [term for term in self.terms if not term.met(figures[term.metric])]

    @property
    def longest_s(self) -> float | None:
        """The greatest limit of a response time, in seconds; None without one."""
        return max((term.limit for term in self.terms if term.is_time), default=None)

    @property
    def requests(self) -> int:
        """How many requests it takes to tell: 10 beyond each percentile, and of errors as many as
        would show the share with 95 % if it were there (the rule of three).
        """
        needed = [100.0]
        for term in self.terms:
            if term.quantile is not None and term.quantile < 100:
                needed.append(10 / (1 - term.quantile / 100))
            if term.metric == "errors" and term.limit:
                needed.append(3 / term.limit)
        return math.ceil(max(needed))


def parse_objective(text: str) -> Objective:
    """Read `p99<100ms,errors<0.1%`; ConfigurationError in one line if it makes no sense."""
    terms = tuple(_term(part.strip()) for part in text.split(","))
    metrics = [(term.metric, term.sign[0]) for term in terms]
    if twice := next((name for name, _ in metrics if metrics.count((name, _)) > 1), None):
        raise ConfigurationError(f"--slo {text!r}: {twice} is limited twice")
    return Objective(terms, ",".join(term.text for term in terms))


def _term(text: str) -> Term:
    match = TERM.fullmatch(text)
    if match is None:
        raise ConfigurationError(f"--slo: {text!r} is not written like {EXAMPLE}")
    metric, sign, number, unit = (
        match["metric"],
        match["sign"],
        float(match["number"]),
        match["unit"],
    )
    quantile = None
    if metric[0] == "p" and metric[1:2].isdigit():
        quantile = float(metric[1:])
        if not 0 < quantile <= 100:
            raise ConfigurationError(f"--slo {text}: a percentile is above 0 and at most 100")
    if metric == "throughput":
        _hold(text, unit in ("", "/s"), sign[0] == ">", "a rate and a lower bound: throughput>500")
        return Term(metric, sign, number, text)
    if metric == "errors":
        _hold(text, unit == "%", sign[0] == "<", "a share and an upper bound: errors<0.1%")
        return Term(metric, sign, number / 100, text)
    if quantile is None and metric not in ("mean", "max"):
        raise ConfigurationError(
            f"--slo: unknown metric {metric!r}; there are p50, p90, p99, p99.9 and any other pNN, "
            "mean, max, errors and throughput"
        )
    _hold(text, unit in TIMES, sign[0] == "<", f"a time and an upper bound: {metric}<100ms")
    if not number:
        raise ConfigurationError(f"--slo {text}: no request takes no time")
    return Term(metric, sign, number * TIMES[unit], text, quantile)


def _hold(text: str, unit: bool, sign: bool, wanted: str) -> None:
    if not (unit and sign):
        raise ConfigurationError(f"--slo {text}: write {wanted}")
