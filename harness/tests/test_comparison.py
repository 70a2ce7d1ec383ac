"""Comparisons of stored runs: who is paired with whom, what is said of it, and who is ranked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from itertools import permutations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.analyze import cells_frame, comparisons_frame, rankings_frame, records, trials_frame
from harness.analyze.decision import BETTER, EQUIVALENT, INCONCLUSIVE, METRICS, WORSE
from harness.analyze.verdict import GENERATOR_LIMITED, VALID
from harness.model import Cell
from harness.report.document import document
from harness.report.table import columns_for, ranking, remarks
from harness.report.verdicts import sentences, verdicts
from harness.store import StoredRun
from harness.tests.builders import RunBuilder, cell, closed
from harness.tests.hosts import differences

NOISE = np.array([0.004, -0.006, 0.002, 0.009, -0.008, 0.001, -0.003, 0.005])
TOOK_S = {"a": 0.05, "b": 0.06, "c": 0.0601, "d": 0.09}
MIDDLE = (("b", "2–3"), ("c", "2–3"))


@cache
def measured() -> tuple[StoredRun, dict[str, Any]]:
    """A run of one trial, and that trial's row, from which others are made."""
    with TemporaryDirectory() as folder:
        builder = RunBuilder(Path(folder), [cell("a")])
        builder.measured(cell("a"), closed())
        run = builder.read()
        (row,) = records(trials_frame(run))
    return run, row


def trial(name: str, block: int, took_s: float, **changes: Any) -> dict[str, Any]:
    """The row of a trial in which 10 users were answered in `took_s`; `a#2` is a's twin."""
    row = measured()[1]
    first, mark, _ = name.partition("#")
    return row | {
        "server": name, "twin_of": first if mark else None, "block": block,
        "throughput_per_s": 10 / took_s, "p50_s": took_s, "p90_s": took_s,
        "p99_s": took_s, "max_s": took_s, "server_cpu_s_per_1k": 40 * took_s, **changes,
    }  # fmt: skip


def trials(names=("a", "b"), blocks=8, limited=(), **changes) -> pd.DataFrame:
    """Servers that take as long as their names say, give or take some noise.

    `limited` are the (name, block) of trials in which the generator was the limit.
    """
    return pd.DataFrame(
        trial(
            name,
            block,
            TOOK_S[name[0]] * (1 + NOISE[(block + 3 * number) % len(NOISE)]),
            verdict=GENERATOR_LIMITED if (name, block) in limited else VALID,
            **changes,
        )
        for block in range(1, blocks + 1)
        for number, name in enumerate(names)
    )


def compared(frame: pd.DataFrame, **facts: Any) -> pd.DataFrame:
    run = measured()[0]
    return comparisons_frame(replace(run, facts={**run.facts, "cells": [], **facts}), frame)


def row(frame, metric="throughput", a="a", b="b"):
    (found,) = records(frame[(frame["metric"] == metric) & (frame["a"] == a) & (frame["b"] == b)])
    return found


def stored(folder: Path, cells: list[Cell], took_s: Mapping[str, float], blocks: int) -> StoredRun:
    builder = RunBuilder(folder, cells, blocks=blocks)
    for block in range(blocks):
        for it in cells:
            builder.measured(it, closed(took_s=took_s[it.server.name] * (1 + NOISE[block] / 4)))
    return builder.read()


def test_figure_is_the_geometric_mean_of_the_ratios_of_blocks():
    frame = trials()
    by_block = frame.pivot_table("throughput_per_s", "block", "server")
    found = row(compared(frame))
    assert found["pairs"] == 8
    assert found["ratio"] == pytest.approx(np.exp(np.log(by_block["b"] / by_block["a"]).mean()))
    assert found["low"] < found["ratio"] < found["high"] < 1
    assert found["confidence"] == 0.99


def test_stored_run_is_judged_from_its_files_alone(tmp_path):
    run = stored(tmp_path, [cell("a"), cell("b")], TOOK_S, blocks=6)
    frame = comparisons_frame(run, trials_frame(run))
    assert list(frame["metric"]) == [metric.name for metric in METRICS]
    said = {it["metric"]: it["verdict"] for it in records(frame)}
    assert said == {
        "throughput": WORSE, "p50": WORSE, "p90": WORSE, "cpu": WORSE,
        "memory": EQUIVALENT, "errors": EQUIVALENT, "p99": INCONCLUSIVE, "max": INCONCLUSIVE,
    }  # fmt: skip
    assert (row(frame)["ratio"], row(frame, "p50")["ratio"]) == pytest.approx((5 / 6, 6 / 5), 0.02)


def test_first_that_was_asked_for_is_a_whoever_is_faster_or_was_measured_first():
    asked = [{**it, "workers": 2} for it in records(trials("ba", blocks=1))]
    assert row(compared(trials("ab"), cells=asked), a="b", b="a")["verdict"] == BETTER


@pytest.mark.parametrize("blocks", [1, 5])
def test_fewer_than_six_blocks_give_numbers_and_no_verdict(blocks):
    frame = compared(trials(blocks=blocks))
    for found in records(frame):
        assert (found["verdict"], found["pairs"]) == (INCONCLUSIVE, blocks)
        assert found["ratio"] is not None
        assert found["smallest_effect"] is None
    assert (row(frame)["low"] is None) == (blocks == 1)
    assert rankings_frame(frame).empty


def test_only_blocks_in_which_both_can_be_ranked_are_pairs():
    found = row(compared(trials(limited=[("a", 2), ("b", 2), ("b", 5)])))
    assert (found["pairs"], found["verdict"], found["bound"]) == (6, WORSE, "")
    few = row(compared(trials(limited=[("a", 1), ("a", 2), ("a", 3)])))
    assert (few["pairs"], few["verdict"]) == (5, INCONCLUSIVE)


def test_trial_that_failed_makes_no_pair(tmp_path):
    cells = [cell("a"), cell("b")]
    builder = RunBuilder(tmp_path, cells, blocks=2)
    builder.measured(cells[0], closed())
    builder.failed(cells[1])
    builder.measured(cells[0], closed())
    builder.measured(cells[1], closed(took_s=0.1))
    run = builder.read()
    assert row(comparisons_frame(run, trials_frame(run)))["pairs"] == 1


def test_generators_limit_bounds_the_figure_that_ranks_and_leaves_out_the_others():
    frame = compared(trials(limited=[("b", block) for block in range(1, 9)]))
    assert row(frame)["bound"] == "at least"
    assert row(frame)["ratio"] == pytest.approx(5 / 6, rel=0.02)
    assert (row(frame)["pairs"], row(frame)["verdict"]) == (0, INCONCLUSIVE)
    assert row(frame, "p50")["ratio"] is None


def test_slow_trials_alone_make_no_pairs_where_the_generator_held_the_fast_ones_back():
    frame = trials()
    own = frame[frame["server"] == "b"].sort_values("throughput_per_s", ascending=False)
    few, many = ([("b", block) for block in own["block"][:count]] for count in (2, 3))
    assert row(compared(trials(limited=few)))["pairs"] == 6
    found = row(compared(trials(limited=many)))  # 3 beside 5
    assert (found["pairs"], found["bound"], found["verdict"]) == (0, "at least", INCONCLUSIVE)
    assert found["ratio"] == pytest.approx(5 / 6, rel=0.02)


def test_errors_are_compared_as_shares():
    frame = trials()
    frame["errors"] = np.where(frame["server"] == "b", 50, 0)
    found = row(compared(frame), "errors")
    assert found["difference"] == pytest.approx(50 / 1050)
    assert (found["ratio"], found["low"], found["verdict"]) == (None, None, WORSE)
    said = next(line for line in verdicts(compared(frame)) if "errors" in line)
    assert "b is worse than a: +4.76 percentage points" in said


def test_a_server_and_its_proxy_are_paid_for_together():
    frame = trials()
    proxied = frame["server"] == "b"
    before = row(compared(frame), "cpu")["ratio"]
    frame["front"] = ["nginx" if it else None for it in proxied]
    frame["proxy_cpu_s_per_1k"] = np.where(proxied, frame["server_cpu_s_per_1k"], np.nan)
    frame["proxy_pss_bytes"] = np.where(proxied, frame["server_pss_bytes"] / 2, np.nan)
    assert row(compared(frame), "cpu")["ratio"] == pytest.approx(2 * before)
    assert row(compared(frame), "memory")["ratio"] == pytest.approx(1.5)


def test_several_servers_are_all_compared_and_those_not_told_apart_share_a_rank():
    frame = compared(trials("abcd"))
    assert len(frame) == 6 * len(METRICS)
    ranks = {it["server"]: it for it in records(rankings_frame(frame))}
    assert {name: (it["rank"], it["rank_last"]) for name, it in ranks.items()} == {
        "a": (1, 1), "b": (2, 3), "c": (2, 3), "d": (4, 4),
    }  # fmt: skip
    assert (ranks["b"]["tied"], ranks["a"]["tied"]) == (["c"], [])
    assert {it["metric"] for it in ranks.values()} == {"throughput"}
    rows = ranking(cells_frame(trials("abcd")), frame, "hello")
    shown = [(it["server"], it["rank"]) for it in rows]
    assert shown in ([("a", "1"), *pair, ("d", "4")] for pair in permutations(MIDDLE))
    assert columns_for(rows)[0].head == "rank"


def test_larger_family_asks_for_more():
    two, four = compared(trials("ab")), compared(trials("abcd"))
    assert row(four)["p"] == row(two)["p"]
    assert row(four)["p_holm"] > row(two)["p_holm"]
    assert row(four, "memory")["smallest_effect"] >= row(two, "memory")["smallest_effect"]


def test_server_with_too_few_valid_trials_is_not_ranked():
    frame = trials("abc", limited=[("c", 1), ("c", 2), ("c", 3)])
    assert set(rankings_frame(compared(frame))["server"]) == {"a", "b"}


def test_placebo_is_compared_with_its_own_server_and_ranked_with_none(tmp_path):
    run = stored(tmp_path, [cell("a"), cell("b"), cell("a", entry=2)], TOOK_S, blocks=6)
    cells = cells_frame(trials_frame(run))
    frame = comparisons_frame(run, trials_frame(run))
    pairs = {(it["a"], it["b"], it["placebo"]) for it in records(frame)}
    assert pairs == {("a", "b", False), ("a", "a#2", True)}
    assert set(rankings_frame(frame)["server"]) == {"a", "b"}
    found = document(run, cells, frame)
    assert {(it["a"], it["b"]) for it in found["comparisons"]} == {("a", "b")}
    assert {(it["a"], it["b"]) for it in found["placebo"]} == {("a", "a#2")}
    (said,) = sentences(frame)
    assert said.startswith("hello: placebo, a beside itself: not called different: throughput")
    assert any("a#2: a entered twice" in it for it in remarks(ranking(cells, frame, "hello")))


def test_placebo_costs_no_power():
    with_it, without = compared(trials(["a", "b", "a#2"])), compared(trials())
    assert row(with_it)["p_holm"] == row(without)["p_holm"]


def test_server_beside_itself_alone_is_what_was_asked_for():
    frame = compared(trials(["a", "a#2"]))
    assert not frame["placebo"].any()
    assert not set(frame["verdict"]) & {BETTER, WORSE}
    assert row(frame, b="a#2")["pairs"] == 8


def test_placebo_that_is_called_different_is_said_aloud():
    frame = trials(["a", "b", "a#2"])
    frame.loc[frame["server"] == "a#2", "throughput_per_s"] *= 1.4
    (said,) = sentences(compared(frame))
    assert "placebo, a beside itself: called different, throughput 1.40" in said
    assert "mean nothing" in said


def test_run_that_looks_twice_has_half_the_level_for_each():
    once, twice = (row(compared(trials(), looks=looks)) for looks in (1, 2))
    assert (once["confidence"], twice["confidence"]) == (0.99, 0.995)
    assert twice["low"] < once["low"]
    assert twice["p"] == once["p"]


def test_same_server_with_other_budgets_is_told_apart_by_name():
    frame = pd.DataFrame(trial("a", 1, 0.1 / workers, workers=workers) for workers in (1, 2))
    found = compared(frame)
    assert row(found, a="a (1 worker)", b="a (2 workers)")["ratio"] == pytest.approx(2)
    rows = ranking(cells_frame(frame), found, "hello")
    assert [it["relative"] for it in rows] == ["best", "50%"]


def test_loads_are_compared_apart():
    took_s = {("a", 5): 0.1, ("b", 5): 0.05, ("a", 10): 0.05, ("b", 10): 0.1}
    frame = pd.DataFrame(trial(name, 1, it, users=users) for (name, users), it in took_s.items())
    found = compared(frame)
    ratios = found[found["headline"]].set_index("users")["ratio"]
    assert ratios.to_dict() == {5: pytest.approx(2), 10: pytest.approx(0.5)}


def test_events_are_ranked_by_their_delay():
    events = {"scenario": "long-poll", "latency_measure": "delay"}
    frame = pd.DataFrame(trial(name, 1, TOOK_S[name], **events) for name in "ad")
    found = compared(frame)
    assert set(found[found["headline"]]["metric"]) == {"p50"}
    assert sentences(found) == ["long-poll: the median response of d took 1.80 times that of a"]


def test_every_metric_of_two_servers_is_told_in_words():
    said = verdicts(compared(trials()))
    assert said[0] == "hello: b beside a, from 8 pairs of trials; in brackets the 99 % interval"
    assert len(said) == 1 + len(METRICS)
    assert said[1].startswith("hello, throughput: b is worse than a: 0.83")
    assert "hello, memory (PSS): equivalent within ±5 %: 1.000 times" in said[5]
    assert said[-1].endswith("(shown, not judged)")
    assert sentences(compared(trials())) == []


def test_inconclusive_comparison_tells_what_it_would_have_found():
    frame = trials(["a", "a#2"])
    frame["throughput_per_s"] *= 1 + 10 * np.repeat(NOISE, 2) * np.tile([1, -1], 8)
    found = row(compared(frame), b="a#2")
    assert found["verdict"] == INCONCLUSIVE
    assert 0.1 < found["smallest_effect"] < 0.5
    said = verdicts(compared(frame))[1]
    assert f"{found['smallest_effect'] * 100:.3g} % would have been found" in said


@pytest.mark.slow
def test_k21_holds_for_what_is_reported_of_2000_runs():
    """The same as the rule alone (see test_decision), through frames and families as in a run."""
    host = differences(2000, seed=2)
    row = measured()[1]
    columns = [metric.column for metric in METRICS if not metric.share]
    places = [number for number, metric in enumerate(METRICS) if not metric.share]
    base = np.array([row[column] for column in columns])
    runs = pd.DataFrame(
        row
        | {"scenario": f"run {run}", "server": name, "block": block + 1}
        | dict(zip(columns, base * np.exp(side * host[run, places, block]), strict=True))
        for run in range(2000)
        for block in range(8)
        for side, name in enumerate("ab")
    )
    found = compared(runs)
    called = found[found["verdict"].isin([BETTER, WORSE])]
    assert len(found) == 2000 * len(METRICS)
    assert called["scenario"].nunique() <= 5
