"""Objectives: their grammar, and what keeps to them."""

from __future__ import annotations

import math

import pytest

from harness.model import ConfigurationError
from harness.objective import parse_objective


def test_terms_are_read_in_the_units_of_all_figures():
    terms = parse_objective("p99<100ms, errors<=0.1%,throughput>500/s,p99.9<2s,max<900us").terms
    assert [(it.metric, it.sign, it.quantile) for it in terms] == [
        ("p99", "<", 99.0),
        ("errors", "<=", None),
        ("throughput", ">", None),
        ("p99.9", "<", 99.9),
        ("max", "<", None),
    ]
    assert [it.limit for it in terms] == pytest.approx([0.1, 0.001, 500, 2.0, 0.0009])


NONSENSE = {
    "": "is not written like",
    "p99": "is not written like",
    "p99<": "is not written like",
    "p99<100ms,": "is not written like",
    "p99<100": "write a time and an upper bound: p99<100ms",
    "p99<1%": "write a time",
    "p99>100ms": "write a time and an upper bound",
    "mean>=1s": "write a time and an upper bound: mean<100ms",
    "p0<1ms": "a percentile is above 0",
    "p101<1ms": "at most 100",
    "p99<0ms": "no request takes no time",
    "errors<0.1": "write a share and an upper bound: errors<0.1%",
    "errors>1%": "write a share and an upper bound",
    "throughput<100": "write a rate and a lower bound",
    "throughput>100ms": "write a rate and a lower bound",
    "latency<1ms": "unknown metric 'latency'; there are p50",
    "p99<1ms,p99<2ms": "p99 is limited twice",
    "p99 < 1 ms or so": "is not written like",
}


@pytest.mark.parametrize("text", NONSENSE)
def test_nonsense_is_one_clear_line(text):
    with pytest.raises(ConfigurationError) as caught:
        parse_objective(text)
    assert NONSENSE[text] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value", "met"),
    [
        ("p99<100ms", 0.0999, True),
        ("p99<100ms", 0.1, False),
        ("p99<=100ms", 0.1, True),
        ("p99<100ms", math.inf, False),
        ("errors<0.1%", 0.001, False),
        ("errors<=0.1%", 0.001, True),
        ("throughput>500", 500.0, False),
        ("throughput>=500", 500.0, True),
    ],
)
def test_sign_decides_at_the_limit(text, value, met):
    objective = parse_objective(text)
    missed = objective.missed({objective.terms[0].metric: value})
    assert (missed == []) is met


def test_all_terms_have_to_be_met():
    objective = parse_objective("p99<100ms,errors<1%")
    assert [it.metric for it in objective.missed({"p99": 0.2, "errors": 0.5})] == ["p99", "errors"]
    assert objective.missed({"p99": 0.05, "errors": 0.0}) == []


@pytest.mark.parametrize(
    ("text", "requests", "longest_s"),
    [
        ("p50<1ms", 100, 0.001),
        ("p99<1ms,p50<9ms", 1000, 0.009),
        ("p99.9<1ms", 10_000, 0.001),
        ("p99<1ms,errors<0.1%", 3000, 0.001),
        ("errors<1%", 300, None),
        ("max<1s", 100, 1.0),
    ],
)
def test_rarer_faults_take_more_requests_to_tell(text, requests, longest_s):
    objective = parse_objective(text)
    assert objective.requests == pytest.approx(requests, abs=1)
    assert objective.longest_s == (None if longest_s is None else pytest.approx(longest_s))
