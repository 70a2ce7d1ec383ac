"""Curves: what a sweep's trials come to, in frame, report and document."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console

from harness.analyze import cells_frame, comparisons_frame, trials_frame
from harness.analyze.curve import curves
from harness.report.markdown import markdown
from harness.report.searched import searched
from harness.report.sheets import sheets_of
from harness.report.terminal import print_report
from harness.store import plain
from harness.tests.builders import GENERATOR, RunBuilder, cell, closed, constant_rate

USERS = (1, 2, 4, 8, 16, 32, 64)
ALONE, SIGMA, KAPPA = 20.0, 0.05, 0.0005


def law(users):
    return ALONE * users / (1 + SIGMA * (users - 1) + KAPPA * users * (users - 1))


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep of users whose throughput follows the law, in two blocks with 1 % between them."""
    cells = [cell(users=users) for users in USERS]
    builder = RunBuilder(tmp_path_factory.mktemp("sweep"), cells, blocks=2)
    for block in (1, 2):
        for it in cells:
            rate = law(it.load.users) * (1.005 if block == 1 else 0.995)
            builder.measured(it, closed(it.load.users, it.load.users / rate))
    return builder.read()


def test_sweep_is_one_curve_with_a_point_for_each_value(swept):
    (curve,) = curves(trials_frame(swept))
    assert (curve.server, curve.along, curve.fixed) == ("demo", "users", {"workers": 2})
    assert [point.value for point in curve.points] == list(USERS)
    for point in curve.points:
        rate = point.cell["throughput_per_s"]
        assert rate == pytest.approx(law(point.value), rel=0.05)
        assert point.cell["throughput_per_s_low"] <= rate <= point.cell["throughput_per_s_high"]


def test_littles_law_is_checked_at_each_point(swept):
    (curve,) = curves(trials_frame(swept))
    for point in curve.points:
        assert point.in_system == pytest.approx(point.value, rel=0.05)
        assert point.little == pytest.approx(1.0, rel=0.05)


def test_law_is_fitted_through_the_trials(swept):
    (curve,) = curves(trials_frame(swept))
    assert curve.why == ""
    assert curve.law.rate.value == pytest.approx(ALONE, rel=0.05)
    assert curve.law.contention.value == pytest.approx(SIGMA, abs=0.02)
    assert curve.law.coherency.low <= KAPPA <= curve.law.coherency.high
    assert curve.law.peak.low < np.sqrt((1 - SIGMA) / KAPPA) < curve.law.peak.high


def test_trials_that_are_not_ranked_are_shown_and_not_fitted(tmp_path):
    """At one value the generator was the limit: its point has its verdict, and bends no curve."""
    cells = [cell(users=users) for users in USERS]
    builder = RunBuilder(tmp_path, cells)
    busy = [GENERATOR, type(GENERATOR)("generator", 201, cpu=0.99)]
    for it in cells:
        users = it.load.users
        limited = users == USERS[3]
        took_s = users / law(users) * (3 if limited else 1)
        builder.measured(it, closed(users, took_s), *([busy] if limited else []))
    (curve,) = curves(trials_frame(builder.read()))
    assert curve.points[3].cell["verdict"] == "generator-limited"
    assert curve.law.at(USERS[3]) == pytest.approx(law(USERS[3]), rel=0.05)


def test_open_loads_make_a_curve_without_a_law(tmp_path):
    cells = [cell(rate_per_s=rate, users=99) for rate in (50.0, 100.0, 200.0)]
    builder = RunBuilder(tmp_path, cells)
    for it in cells:
        builder.measured(it, constant_rate(it.load.rate_per_s), load={"offered": 5 * int(
            it.load.rate_per_s), "unsent": 0, "unanswered": 0})  # fmt: skip
    (curve,) = curves(trials_frame(builder.read()))
    assert (curve.along, curve.law) == ("rate", None)
    assert "an open load's throughput" in curve.why
    # 100/s of 10 ms each are one at a time
    assert curve.points[1].in_system == pytest.approx(1.0, rel=0.05)
    assert {point.little for point in curve.points} == {None}


def test_two_things_varied_are_curves_along_each(tmp_path):
    cells = [
        cell(workers=workers, threads=threads, concurrency="thread")
        for workers in (1, 2)
        for threads in (1, 4, 16)
    ]
    builder = RunBuilder(tmp_path, cells)
    for it in cells:
        builder.measured(it, closed(10, 0.1))
    found = curves(trials_frame(builder.read()))
    assert [(it.along, it.fixed, len(it.points)) for it in found] == [
        ("workers", {"users": 10, "threads": 1}, 2),
        ("workers", {"users": 10, "threads": 4}, 2),
        ("workers", {"users": 10, "threads": 16}, 2),
        ("threads", {"users": 10, "workers": 1}, 3),
        ("threads", {"users": 10, "workers": 2}, 3),
    ]
    assert all("values, and a fit takes 6" in it.why for it in found)


def test_servers_have_a_curve_each_and_a_run_that_varies_nothing_has_none(tmp_path):
    builder = RunBuilder(tmp_path, [cell("a"), cell("b")])
    for name in ("a", "b"):
        builder.measured(cell(name), closed())
    assert curves(trials_frame(builder.read())) == []
    both = RunBuilder(tmp_path, [cell(name, users=n) for name in ("a", "b") for n in (5, 10)])
    for it in both.plan.cells:
        both.measured(it, closed(it.load.users))
    assert [it.server for it in curves(trials_frame(both.read()))] == ["a", "b"]


def test_failed_point_is_a_point_without_numbers(tmp_path):
    cells = [cell(users=5), cell(users=10)]
    builder = RunBuilder(tmp_path, cells)
    builder.measured(cells[0], closed(5))
    builder.failed(cells[1])
    (curve,) = curves(trials_frame(builder.read()))
    assert curve.points[1].cell["verdict"] == "failed"
    assert (curve.points[1].in_system, curve.points[1].little) == (None, None)


def test_report_shows_the_curve_in_place_of_a_ranking(swept):
    trials = trials_frame(swept)
    frames = cells_frame(trials), comparisons_frame(swept, trials)
    console = Console(width=220, record=True, file=io.StringIO())
    print_report(swept, *frames, console, sheets_of(swept, trials))
    printed = console.export_text()
    text = markdown(swept, *frames, sheets_of(swept, trials))
    for page in (printed, text):
        assert "along users" in page
        assert "universal scalability law: " in page
        assert "peak at " in page
        assert "vs best" not in page
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows[1:]] == ["| ---:", *(f"| {it}" for it in USERS)]


def test_document_has_the_curve_beside_the_cells(swept):
    told = searched(swept, trials_frame(swept))
    assert set(told) == {"curves"}
    (curve,) = json.loads(json.dumps(plain(told), allow_nan=False))["curves"]
    assert (curve["server"], curve["along"], curve["why"]) == ("demo", "users", None)
    assert [point["value"] for point in curve["points"]] == list(USERS)
    assert curve["points"][0]["throughput_per_s"]["median"] == pytest.approx(ALONE, rel=0.05)
    assert {"lambda_per_s", "sigma", "kappa", "peak", "off", "confidence"} < set(curve["law"])
    assert set(curve["law"]["peak"]) == {"median", "low", "high"}
