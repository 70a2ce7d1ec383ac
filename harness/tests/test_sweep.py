"""Sweeps: how values are written, and the cells that they come to."""

from __future__ import annotations

import argparse

import pytest

from harness.model import ConfigurationError
from harness.sweep import hold_choices, parse_sweep, parse_sweeps, swept
from harness.tests.builders import cell

WRITTEN = {
    "users=4": (4,),
    "users=1,3,10": (1, 3, 10),
    "workers=1..4": (1, 2, 3, 4),
    "rate=100,200..1000": tuple(range(100, 1001, 100)),
    "users=1,2,4..256": (1, 2, 4, 8, 16, 32, 64, 128, 256),
    "threads=1,2,3..6": (1, 2, 3, 4, 5, 6),
    "users=1,10,20,30..50": (1, 10, 20, 30, 40, 50),  # the last three tell
    "users=2,4..8": (2, 4, 6, 8),  # two never tell a ratio
    "rate=0.5,1,2..10": (0.5, 1, 2, 4, 8),  # an end that is stepped over is not in it
    "users=16..16": (16,),
}


@pytest.mark.parametrize("text", WRITTEN)
def test_values_go_on_as_their_terms_tell(text):
    sweep = parse_sweep(text)
    assert sweep.along == text.partition("=")[0]
    assert sweep.values == pytest.approx(WRITTEN[text])
    assert all(isinstance(value, int) for value in sweep.values) == (sweep.along != "rate")


NONSENSE = {
    "users": "is not written like users=1,2,4..256",
    "user=1..4": "users, rate, workers and threads can be swept",
    "users=": "is not written like",
    "users=1,,2": "is not written like",
    "users=1..2..3": "is not written like",
    "users=1..4,9": "is not written like",
    "users=-1..4": "is not written like",
    "users=4..1": "does not rise to 1",
    "users=4,4..9": "does not rise to 9",
    "users=4,2": "the values do not rise",
    "users=2,2": "the values do not rise",
    "users=0..3": "values are above 0",
    "rate=1,10000000": "values are above 0, and at most 1e+06",
    "users=1.5": "users are whole numbers",
    "workers=1,1.5..4": "workers are whole numbers",
    "users=1,2,4,9..100": "go on neither by a difference nor by a ratio",
    "users=0,0,1..8": "go on neither by a difference nor by a ratio",
    "users=1..1000": "more than 64 values; three terms tell a ratio",
}


@pytest.mark.parametrize("text", NONSENSE)
def test_nonsense_is_one_clear_line(text):
    with pytest.raises(ConfigurationError) as caught:
        parse_sweep(text)
    assert NONSENSE[text] in str(caught.value)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def arguments(**said: object) -> argparse.Namespace:
    return argparse.Namespace(
        **{"users": None, "rate": None, "workers": None, "threads": 4, **said}
    )


def test_several_sweeps_are_every_combination():
    sweeps = parse_sweeps(["workers=1..2", "threads=1,4"])
    found = [(it.workers, it.threads) for it in swept(arguments(users=9), sweeps)]
    assert found == [(1, 1), (1, 4), (2, 1), (2, 4)]
    assert {it.users for it in swept(arguments(users=9), sweeps)} == {9}


def test_without_a_sweep_all_is_as_it_was_said():
    said = arguments(users=9)
    assert swept(said, []) == [said]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["users=1", "users=2"], "swept twice"),
        (["users=1..4", "rate=5"], "sweep one of them"),
    ],
)
def test_sweeps_that_contradict_each_other_are_refused(texts, said):
    with pytest.raises(ConfigurationError, match=said):
        parse_sweeps(texts)


@pytest.mark.parametrize("along", ["users", "rate", "workers"])
def test_what_is_swept_is_not_said_twice(along):
    with pytest.raises(ConfigurationError, match=f"--{along} is swept"):
        swept(arguments(**{along: 3}), parse_sweeps([f"{along}=1..4"]))


def test_server_without_the_choice_is_refused_and_named():
    sweeps = parse_sweeps(["threads=1..2"])
    with pytest.raises(ConfigurationError, match="demo has no number of threads to choose"):
        hold_choices(sweeps, [cell("demo", command="demo --port {port} {app}")])
    hold_choices(sweeps, [cell("demo", command="demo -t {threads} --port {port} {app}")])
    hold_choices(parse_sweeps(["users=1..2"]), [cell("demo", command="demo --port {port} {app}")])
