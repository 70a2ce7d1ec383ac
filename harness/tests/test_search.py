"""The search for a capacity, against servers whose limit is known and whose tries are noisy."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest

from harness.search import CONFIRMED, MOST_TRIES, Try, seek

TRUTH = 100.0


def search(outcome: Callable[[Try], Any], first: float = 10.0, precision: float = 0.05) -> Any:
    """What was found, and the tries in their order."""
    asked: list[Try] = []
    steps = seek(first, precision)
    try:
        asked.append(next(steps))
        while True:
            asked.append(steps.send(outcome(asked[-1])))
    except StopIteration as end:
        return end.value, asked


def exact(asked: Try) -> str:
    return "met" if asked.rate_per_s < TRUTH else "missed"


def noisy(seed: int, noise: float) -> Callable[[Try], str]:
    """Long tries err by `noise` of the rate, short ones by twice that."""
    draw = random.Random(seed)

    def outcome(asked: Try) -> str:
        off = draw.gauss(0.0, noise if asked.stage == "confirm" else 2 * noise)
        return "met" if asked.rate_per_s * math.exp(off) < TRUTH else "missed"

    return outcome


@pytest.mark.parametrize("first", [0.01, 3.0, 99.0, 101.0, 4000.0])
def test_both_ends_are_confirmed_and_hold_the_truth_between_them(first):
    found, asked = search(exact, first)
    assert found.conclusion == "found"
    assert found.low < TRUTH <= found.high <= found.low * 1.052
    long = [it.rate_per_s for it in asked if it.stage == "confirm"]
    assert long.count(found.low) >= CONFIRMED
    assert long.count(found.high) >= CONFIRMED


def test_rate_is_doubled_until_it_breaks_then_bisected_then_confirmed():
    _, asked = search(exact)
    rates = [it.rate_per_s for it in asked if it.stage == "search"]
    assert rates[:5] == [10, 20, 40, 80, 160]
    assert rates[5] == pytest.approx(math.sqrt(80 * 160), rel=1e-3)
    assert [it.stage for it in asked] == sorted((it.stage for it in asked), reverse=True)


def test_rate_is_halved_where_the_first_one_breaks():
    _, asked = search(exact, 350.0)
    assert [it.rate_per_s for it in asked[:3]] == [350, 175, 87.5]


@pytest.mark.parametrize(("noise", "covered"), [(0.01, 0.96), (0.03, 0.92)])
def test_interval_holds_the_truth_although_tries_are_noisy(noise, covered):
    ends = [search(noisy(seed, noise), 10.0)[0] for seed in range(1000)]
    assert {it.conclusion for it in ends} == {"found"}
    assert sum(it.low <= TRUTH < it.high for it in ends) >= covered * len(ends)
    middles = [math.sqrt(it.low * it.high) for it in ends]
    assert sum(abs(it / TRUTH - 1) < 0.05 for it in middles) >= 0.98 * len(ends)


def test_ends_that_hold_but_once_would_not_cover(monkeypatch):
    """The confirming is what the interval rests on."""
    monkeypatch.setattr("harness.search.CONFIRMED", 1)
    ends = [search(noisy(seed, 0.03), 10.0)[0] for seed in range(500)]
    assert sum(it.low <= TRUTH < it.high for it in ends) < 0.7 * len(ends)


def test_lucky_short_tries_do_not_decide():
    """Short tries that are met up to twice the truth: the long ones come down to it."""

    def outcome(asked: Try) -> str:
        limit = 2 * TRUTH if asked.stage == "search" else TRUTH
        return "met" if asked.rate_per_s < limit else "missed"

    found, _ = search(outcome)
    assert found.conclusion == "found"
    assert found.low < TRUTH <= found.high


def test_unlucky_short_tries_do_not_decide_either():
    def outcome(asked: Try) -> str:
        limit = TRUTH / 2 if asked.stage == "search" else TRUTH
        return "met" if asked.rate_per_s < limit else "missed"

    found, _ = search(outcome)
    assert found.low < TRUTH <= found.high


def test_generator_that_is_the_limit_gives_a_lower_bound():
    found, _ = search(lambda it: "met" if it.rate_per_s < 60 else "held back")
    assert found.conclusion == "at least"
    assert found.low < 60 <= found.high


def test_server_that_breaks_before_the_generator_is_found():
    def outcome(it: Try) -> str:
        return "held back" if it.rate_per_s > 300 else exact(it)

    assert search(outcome)[0].conclusion == "found"


def test_objective_that_no_rate_meets():
    found, asked = search(lambda _: "missed")
    assert (found.conclusion, found.low) == ("below", None)
    assert found.high == asked[-1].rate_per_s == pytest.approx(10 / 2**6, rel=1e-3)
    assert {it.stage for it in asked} == {"search"}


def test_server_that_never_breaks_is_not_tried_for_ever():
    found, asked = search(lambda _: "met")
    assert found.conclusion == "at least"
    assert len(asked) < 30


def test_failed_try_ends_the_search_with_what_is_known():
    found, asked = search(lambda it: "failed" if it.rate_per_s > 50 else "met")
    assert (found.conclusion, found.low, found.high) == ("failed", 40.0, None)
    assert asked[-1].rate_per_s == 80.0


def test_contradictions_end_unsettled():
    draw = random.Random(1)
    found, asked = search(
        lambda it: exact(it) if it.stage == "search" else draw.choice(["met", "missed"]),
    )
    assert len(asked) <= MOST_TRIES
    assert found.conclusion in ("found", "unsettled")
    always = search(lambda it: exact(it) if it.stage == "search" else "missed")[0]
    assert (always.conclusion, always.low) == ("below", None)
