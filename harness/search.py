"""The search for a capacity: the highest rate at which an objective is still met.

Pure: it yields the rates to be tried and is sent what each came to. It doubles the rate until it
breaks (and halves it where it breaks at once), then bisects on a logarithmic scale until a rate
that was met and one that was missed lie `precision` apart. What short tries near the limit come to
is partly luck, so from there on all tries are long: first until both ends lie so again, then
until each has held in CONFIRMED of them in a row; an end that does not hold moves outwards. In
4,000 simulated searches the interval holds the true rate in 98 % where a long try errs by 1 % of
the rate (standard deviation, and a short one by twice that), in 95 % at 3 % and in 93 % at 5 %;
ends that held once would in 85, 57 and 43 %. (nighthawk's adaptive load controller searches
likewise: exponential, binary, testing.)
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal

Stage = Literal["search", "confirm"]
# met, missed; held back: the generator was not in order, and nothing is said of the server;
# failed: no measurement at all
Outcome = Literal["met", "missed", "held back", "failed"]
Conclusion = Literal["found", "at least", "below", "unsettled", "failed"]

PRECISION = 0.05
CONFIRMED = 3
DOUBLINGS, HALVINGS = 20, 6  # of the first rate, at most
MOST_TRIES = 60


@dataclass(frozen=True, slots=True)
class Try:
    """A rate to be tried, per second; `confirm` asks for a long run."""

    rate_per_s: float
    stage: Stage


@dataclass(frozen=True, slots=True)
class Found:
    """What a search came to, in requests per second.

    found: `low` met the objective and `high` missed it, each in CONFIRMED long tries. at least:
    `low` was met, and above it the generator was the limit, so that nothing is known of the
    server. below: no rate met it; `high` is the lowest that was tried. unsettled: there were too
    many tries; failed: one could not be measured; of both, `low` and `high` are what was last seen.
    """

    conclusion: Conclusion
    low: float | None
    high: float | None


Search = Generator[Try, Outcome, Found]
Tries = Generator[Try, Outcome, None]


def seek(first_per_s: float, precision: float = PRECISION) -> Search:
    """Search from a first rate, above 0; the generator's value is what was found."""
    state = _State(precision)
    try:
        short = yield from state.close(first_per_s, "search", 2.0)
        state.low = state.high = None
        yield from state.close(short, "confirm", 1 + precision)
        yield from state.hold()
    except _EndError as end:
        return Found(end.conclusion, state.low, state.high)
    return Found("at least" if state.held_back else "found", state.low, state.high)


class _EndError(Exception):
    """The search cannot go on."""

    def __init__(self, conclusion: Conclusion) -> None:
        self.conclusion = conclusion


@dataclass
class _State:
    """The highest rate that is known to meet the objective, and the lowest that does not."""

    precision: float
    low: float | None = None
    high: float | None = None
    held_back: bool = False  # what is above `low` is the generator's limit, and not the server's
    tries: int = 0

    def ask(self, rate: float, stage: Stage) -> Generator[Try, Outcome, bool]:
        """Try a rate; whether it was met."""
        self.tries += 1
        if self.tries > MOST_TRIES:
            raise _EndError("unsettled")
        outcome = yield Try(rate, stage)
        if outcome == "failed":
            raise _EndError("failed")
        if outcome != "met":
            self.held_back = outcome == "held back"
        return outcome == "met"

    def close(self, rate: float, stage: Stage, step: float) -> Generator[Try, Outcome, float]:
        """Try rates, from a first one, until the two are `precision` apart; the lower one."""
        rate = begin = _round(rate)
        while True:
            if (yield from self.ask(rate, stage)):
                self.low = rate
            else:
                self.high = rate
            if self.high is None:
                rate *= step
            elif self.low is None:
                rate /= step
            elif self.high > self.low * (1.001 + self.precision):
                rate = (self.low * self.high) ** 0.5
            else:
                return self.low
            rate = _round(rate)
            if rate > begin * 2.0**DOUBLINGS:
                raise _EndError("at least")
            if rate < 0.99 * begin / 2.0**HALVINGS:
                raise _EndError("below")
            if stage == "confirm":
                step = min(step * step, 2.0)  # far off: the short tries were all lucky

    def hold(self) -> Tries:
        """Try each end until it has held in a row; one that does not moves outwards."""
        step, held = 1 + self.precision, 1
        while held < CONFIRMED and self.low is not None:
            if (yield from self.ask(self.low, "confirm")):
                held += 1
            else:
                self.low, held = _round(self.low / step), 0
        held = 1
        while held < CONFIRMED and self.high is not None and not self.held_back:
            if (yield from self.ask(self.high, "confirm")):
                self.high, held = _round(self.high * step), 0
            else:
                held += 1


def _round(rate: float) -> float:
    """Four digits, as people write a rate."""
    return float(f"{rate:.4g}")
