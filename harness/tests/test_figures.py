"""Figures: both drawings have the frames' numbers, and nothing from outside gets through."""

from __future__ import annotations

import itertools
import json
import math
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import vl_convert

from harness import histogram
from harness.analyze import records
from harness.analyze.curve import curves
from harness.analyze.verdict import RANKED
from harness.report.figures.distribution import ONE_IN, percentiles
from harness.report.figures.figure import CROSS, HOLLOW, SOLID, Axis, Figure
from harness.report.figures.gallery import cell_figures, figures, write_figures
from harness.report.figures.labels import around, spread
from harness.report.figures.plot import plot, write_png
from harness.report.figures.scale import log_ticks, scale, tick_text
from harness.report.figures.style import ALL, DARK, DASHES, FIRST, LIGHT, SHAPES, Theme, styles
from harness.report.figures.vega import vega
from harness.report.markdown import markdown
from harness.results import Results, load_run, load_runs
from harness.tests.builders import (
    GENERATOR,
    MIB,
    SERVER,
    Process,
    RunBuilder,
    cell,
    closed,
    constant_rate,
    scenario,
)
from harness.tests.manytrials import FAILING, INVALID, LIMITED, SCRIPT, big_run

HOSTILE = "$x_1$ & <b>\"'\x1b[31m\u202e]]>"
VISIBLE = "$x_1$ & <b>\"'\\x1b[31m\\x202e]]>"
SVG = "{http://www.w3.org/2000/svg}"
BUDGET_BYTES = 800_000 / 48  # of a cell's figures


@pytest.fixture(scope="module")
def big(tmp_path_factory) -> Results:
    return load_run(big_run(tmp_path_factory.mktemp("big"), servers=8, scenarios=4, blocks=2))


@pytest.fixture(scope="module")
def drawn(big) -> dict[str, Figure]:
    return {figure.name: figure for figure in figures(big)}


@pytest.fixture(scope="module")
def swept(tmp_path_factory) -> Results:
    """Two servers along users; the throughput of the first follows the law."""
    users = (1, 2, 4, 8, 16, 32, 64)
    cells = [cell(name, users=it) for name in ("demo", HOSTILE) for it in users]
    builder = RunBuilder(tmp_path_factory.mktemp("sweep"), cells, blocks=2)
    for block, it in itertools.product((1, 2), cells):
        n = it.load.users
        rate = 20.0 * n / (1 + 0.05 * (n - 1) + 0.0005 * n * (n - 1))
        slower = 0.5 if it.server.name == HOSTILE else 1.0
        builder.measured(it, closed(n, n / rate / slower * (1 + 0.01 * block)))
    return load_run(builder.read().path)


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> Results:
    """A search for a capacity, broken off after three rates."""
    asked = {"capacity": {"slo": "p99<200ms,errors<1%", "precision": 0.05}}
    cells = [cell(users=10), *(cell(users=512, rate_per_s=rate) for rate in (50.0, 100.0, 400.0))]
    builder = RunBuilder(tmp_path_factory.mktemp("search"), cells, asked=asked)
    builder.measured(cells[0], closed(10, 0.05))
    for it in cells[1:]:
        rate = float(it.load.rate_per_s or 0)
        took_s = 0.3 if rate > 200 else 0.01
        load = {"offered": int(5 * rate), "unsent": 0, "unanswered": 0, "users": 512}
        builder.measured(it, constant_rate(rate, took_s), load=load)
    return load_run(builder.read().path)


@pytest.fixture(scope="module")
def resting(tmp_path_factory) -> Results:
    """Connections that rest: 1 and 3 KiB for each of 1,024."""
    idle = scenario("idle", pause_s=20.0)
    cells = [cell(name, idle, users=1024) for name in ("heavy", "light")]
    builder = RunBuilder(tmp_path_factory.mktemp("rest"), cells, blocks=3)
    for _, it in itertools.product(range(3), cells):
        each = 3 if it.server.name == "heavy" else 1
        process = Process("server", 100, pss=lambda at, each=each: (50 + each * (at > -0.5)) * MIB)
        builder.measured(it, closed(1024, 2.5), (process, GENERATOR),
                         load={"attached_ns": 1_000_000_000_000_000 - 500_000_000})  # fmt: skip
    return load_run(builder.read().path)


@pytest.fixture(scope="module")
def every(drawn, swept, searched, resting, big) -> list[Figure]:
    """A figure of every kind and of every maker."""
    (first, *_) = records(big.cells)
    made = [figures(it) for it in (swept, searched, resting)]
    return [*drawn.values(), *itertools.chain(*made), *cell_figures(big, first)]


def test_run_has_a_figure_for_each_question_that_it_has_data_for(drawn):
    kinds = ("throughput", "distribution", "cost")
    assert set(drawn) == {
        *(f"{kind}-{name}" for kind in kinds for name in ("hello", "echo", "blocking-io")),
        *(f"{kind}-websocket-echo" for kind in ("latency", "distribution", "cost")),
        "concurrency-blocking-io",
    }


def test_throughput_is_the_median_and_the_interval_of_the_trials_that_count(big, drawn):
    figure = drawn["throughput-echo"]
    trials = big.trials[(big.trials["scenario"] == "echo") & big.trials["verdict"].isin(RANKED)]
    grouped = trials.groupby("server", observed=True)["throughput_per_s"]
    told = figure.frame.set_index("name")
    for column, known in (
        ("throughput_per_s", grouped.median()), ("low", grouped.min()), ("high", grouped.max()),
    ):  # fmt: skip
        expected = known.astype(float)[told.index].to_numpy()
        assert told[column].to_numpy(float) == pytest.approx(expected)
    rates = figure.frame["throughput_per_s"].tolist()
    assert rates == sorted(rates, reverse=True)
    assert len(figure.faint) == len(trials)


def test_both_drawings_have_the_frames_numbers(drawn):
    figure = drawn["throughput-echo"]
    frame = figure.frame
    rows = vega(figure)["datasets"]["points"]
    for name, column in (
        ("throughput_per_s", "throughput_per_s"),
        ("low", "low"),
        ("high", "high"),
    ):
        assert [row[name] for row in rows] == pytest.approx(frame[column].tolist(), rel=1e-4)
    (axes,) = plot(figure).axes
    points = [line for line in axes.lines if line.get_marker() == "o" and line.get_zorder() == 3]
    big_ones = [line for line in points if line.get_markersize() == 7]
    assert [np.ravel(line.get_xdata())[0] for line in big_ones] == frame[
        "throughput_per_s"
    ].tolist()
    bars = [line.get_xdata() for line in axes.lines if line.get_marker() == "None"]
    assert [tuple(bar) for bar in bars] == list(zip(frame["low"], frame["high"], strict=True))
    assert [it.get_text() for it in axes.get_yticklabels()] == frame["name"].tolist()


def test_what_is_not_ranked_looks_it_and_is_said(drawn):
    figure = drawn["throughput-hello"]
    looks = figure.frame.set_index("name")["shown"]
    assert looks[LIMITED] == HOLLOW
    assert looks[INVALID] == CROSS
    assert set(looks.drop([LIMITED, INVALID])) == {SOLID}
    assert FAILING not in figure.names
    for said in (f"Could not be measured: {FAILING}", f"generator-limited: {LIMITED}",
                 f"invalid: {INVALID}"):  # fmt: skip
        assert said in figure.says
    (axes,) = plot(figure).axes
    faces = {np.ravel(line.get_ydata())[0]: (line.get_marker(), line.get_markerfacecolor())
             for line in axes.lines if line.get_markersize() == 7}  # fmt: skip
    places = {name: at for at, name in enumerate(figure.names)}
    assert faces[places[LIMITED]][1] == LIGHT.background
    assert faces[places[INVALID]][0] == "x"
    assert faces[0] != ("o", LIGHT.background)


def test_open_load_is_ranked_by_its_latency(drawn):
    figure = drawn["latency-websocket-echo"]
    assert figure.x.column == "p50_s"
    medians = figure.frame["p50_s"].tolist()
    assert medians == sorted(medians)


def test_distribution_is_of_the_merged_histograms(big, drawn):
    figure = drawn["distribution-echo"]
    qs = (0.5, 0.9, 0.99)
    merged = big.percentiles(qs, by=["server", "scenario"])
    expected = merged[merged["scenario"] == "echo"].set_index("server")
    # the figure's grid is finer, and between two of its points nothing is claimed
    for name, own in figure.frame.groupby("name"):
        for q, column in zip((0.9, 0.99), ("p90_s", "p99_s"), strict=True):
            at = own[np.isclose(own["one_in"], 1 / (1 - q))]
            assert at["latency_s"].item() == pytest.approx(float(expected.loc[name, column]))


def counted(values):
    counts = histogram.count(values)
    return histogram.Histogram.merged(np.arange(len(counts)), counts)


def test_percentiles_are_order_statistics_and_end_where_ten_samples_lie_beyond():
    random = np.random.default_rng(7)
    values = random.lognormal(16, 0.5, 2_345).astype(np.int64)
    told_of = percentiles(counted(values))
    one_in, seconds = told_of["one_in"], told_of["latency_s"]
    assert one_in.max() == max(ONE_IN[ONE_IN <= 234.5])
    ordered = np.sort(values)
    for share, told in zip(1 - 1 / one_in, seconds, strict=True):
        exact = ordered[max(1, math.ceil(share * len(values) - 1e-9)) - 1] / 1e9
        assert told == pytest.approx(exact, rel=1e-3)
    assert percentiles(counted([])).empty


def test_distribution_leaves_out_what_is_not_ranked(drawn):
    figure = drawn["distribution-hello"]
    assert not {FAILING, INVALID, LIMITED} & set(figure.names)
    assert f"Left out, generator-limited: {LIMITED}" in figure.says


def test_trials_that_do_not_count_are_shown_apart_and_in_no_figure(tmp_path):
    it = cell()
    builder = RunBuilder(tmp_path, [it], blocks=3)
    builder.measured(it, closed(10, 0.05))
    builder.measured(it, closed(10, 0.05))
    builder.measured(it, closed(10, 0.01), load={"lost": ["worker-1"]})  # invalid
    made = {figure.name: figure for figure in figures(load_run(builder.read().path))}
    spread_out = made["throughput-hello"]
    assert spread_out.frame["throughput_per_s"].tolist() == [200]
    assert spread_out.frame["high"].tolist() == [200]
    faint = spread_out.faint
    assert faint is not None
    assert list(zip(faint["throughput_per_s"], faint["shown"], strict=True)) == [
        (200, SOLID), (200, SOLID), (1000, CROSS),
    ]  # fmt: skip
    latencies = made["distribution-hello"].frame["latency_s"]
    assert latencies.tolist() == pytest.approx([0.05] * len(latencies), rel=1e-3)


def test_cost_is_cpu_against_memory(big, drawn):
    frame = drawn["cost-echo"].frame.set_index("name")
    cells = big.cells[big.cells["scenario"] == "echo"].set_index("server")
    for column in ("server_cpu_s_per_1k", "server_pss_bytes"):
        assert frame[column].tolist() == cells.loc[frame.index, column].tolist()
    rows = vega(drawn["cost-echo"])["datasets"]["points"]
    drawn_mib = {row["name"]: row["server_pss_bytes"] for row in rows}
    for name, held in frame["server_pss_bytes"].items():
        assert drawn_mib[name] == pytest.approx(held / 2**20, rel=1e-4)


def test_effective_concurrency_is_throughput_times_the_wait(tmp_path):
    work = scenario("wait", wait_s=0.05)
    threaded = {"concurrency": "thread"}
    cells = [cell("full", work, users=32, workers=2, threads=4, **threaded),
             cell("half", work, users=32, workers=2, threads=4, **threaded)]  # fmt: skip
    builder = RunBuilder(tmp_path, cells)
    builder.measured(cells[0], closed(32, 0.2))  # 160/s, so 8 of 8
    builder.measured(cells[1], closed(32, 0.5))  # 64/s, so 3.2 of 8
    made = {figure.name: figure for figure in figures(load_run(builder.read().path))}
    figure = made["concurrency-wait"]
    told = figure.frame.set_index("name")
    assert told.loc["full", "in_service"] == pytest.approx(8, rel=0.01)
    assert told.loc["half", "in_service"] == pytest.approx(3.2, rel=0.01)
    assert told["slots"].tolist() == [8, 8]
    assert [(mark.at, mark.text) for mark in figure.marks] == [(32, "32 users")]
    assert figure.says.endswith("Less than half of what they promise: half.")
    (axes,) = plot(figure).axes
    assert [8, 8] in [list(line.get_xdata()) for line in axes.lines]


def test_memory_for_each_connection_is_what_the_connections_added(resting):
    made = {figure.name: figure for figure in figures(resting)}
    frame = made["connections-idle"].frame
    assert frame["name"].tolist() == ["light", "heavy"]
    assert frame["bytes_per_connection"].tolist() == pytest.approx([1024, 3072], rel=0.05)
    assert "KiB" in json.dumps(vega(made["connections-idle"]))


def test_sweep_has_latency_and_throughput_with_the_law_where_it_is_defended(swept):
    made = {figure.name: figure for figure in figures(swept)}
    assert set(made) == {"latency-hello-by-users", "throughput-hello-by-users"}
    figure = made["throughput-hello-by-users"]
    found = {curve.server: curve for curve in curves(swept.trials)}
    for name, server in (("demo", "demo"), (VISIBLE, HOSTILE)):
        own = figure.frame[figure.frame["name"] == name]
        points = found[server].points
        assert own["users"].tolist() == [point.value for point in points]
        rates = [point.cell["throughput_per_s"] for point in points]
        assert own["throughput_per_s"].tolist() == rates
        assert figure.curve is not None
        law, fitted = found[server].law, figure.curve[figure.curve["name"] == name]
        assert law is not None
        expected = [law.at(value) for value in fitted["users"]]
        assert fitted["throughput_per_s"].tolist() == pytest.approx(expected)


def test_sweep_leaves_out_percentiles_that_too_few_answers_defend(swept):
    (figure,) = (it for it in figures(swept) if it.name.startswith("latency"))
    for it in curves(swept.trials):
        for point in it.points:
            name = VISIBLE if it.server == HOSTILE else it.server
            here = (figure.frame["name"] == name) & (figure.frame["users"] == point.value)
            told = figure.frame[here].set_index("percentile")["latency_s"]
            trials = swept.trials
            own = (trials["server"] == it.server) & (trials["users"] == point.value)
            fewest = trials[own & trials["verdict"].isin(RANKED)]["requests"].min()
            assert ("p99" in told.index) == (fewest >= 1_000)
            assert ("p50" in told.index) == (fewest >= 20)
            if "p99" in told.index:
                assert told["p99"] == point.cell["p99_s"]
    assert {"p50", "p99"} == set(figure.frame["percentile"])


def test_search_for_a_capacity_shows_its_objective(searched):
    (figure,) = (it for it in figures(searched) if it.name.startswith("latency"))
    assert [(mark.of, mark.at, mark.text) for mark in figure.marks] == [("y", 0.2, "p99<200ms")]
    assert sorted(figure.frame["rate_per_s" if "rate_per_s" in figure.frame else "rate"]) == sorted(
        [50.0, 100.0, 400.0] + [400.0] * (figure.frame["percentile"] == "p99").sum()
    )
    assert "p99<200ms" in figure.says


def test_cell_over_time_is_what_its_processes_used_and_gave(tmp_path):
    it = cell(workers=2)
    builder = RunBuilder(tmp_path, [it], blocks=3)
    processes = [
        Process("server", 100, cpu=0.1, role="master", pss=20 * MIB),
        Process("server", 101, cpu=0.5, pss=40 * MIB),
        Process("server", 102, cpu=0.25, pss=40 * MIB),
        GENERATOR,
    ]
    for took_s in (0.05, 0.04, 0.1):  # 200, 250 and 100 per second
        builder.measured(it, closed(10, took_s), processes)
    results = load_run(builder.read().path)
    (row,) = records(results.cells)
    cpu, memory, pace = cell_figures(results, row)
    used = cpu.frame[cpu.frame["at_s"] > 0].groupby("what")["cpus"].mean()
    assert used.to_dict() == pytest.approx(
        {"server master": 0.1, "server worker": 0.75, "generator worker": 0.3}, rel=1e-3
    )
    held = memory.frame.groupby("what")["pss_bytes"].unique()
    assert list(held["server worker"]) == [80 * MIB]
    assert list(held["server master"]) == [20 * MIB]
    inside = pace.frame[pace.frame["at_s"] > 0]["per_s"]
    assert inside.mean() == pytest.approx(200, rel=0.02), "the trial nearest the median"
    assert "200/s" in pace.says or "200 on average" in pace.says


def test_cells_over_time_are_small(big):
    sizes = []
    for row in records(big.cells):
        made = cell_figures(big, row)
        assert bool(made) == (row["verdict"] != "failed")
        if made:
            told = [json.dumps(vega(figure), separators=(",", ":")) for figure in made]
            sizes.append(sum(map(len, told)))
    assert max(sizes) < BUDGET_BYTES


@pytest.mark.parametrize("dark", [False, True])
def test_every_figure_compiles_to_a_picture_without_scripts(every, dark):
    assert {figure.kind for figure in every} == {"dots", "lines", "trace", "scatter"}
    for figure in every:
        spec = json.loads(json.dumps(vega(figure, dark), allow_nan=False))
        spec["width"] = 600
        root = _parsed(vl_convert.vegalite_to_svg(spec, vl_version="6.4"))
        assert {it.tag for it in root.iter()} <= {
            f"{SVG}{tag}" for tag in ("svg", "g", "path", "text", "rect", "line", "defs",
                                      "clipPath", "title")
        }, figure.name  # fmt: skip
        texts = "".join(root.itertext())
        assert figure.kind != "dots" or all(name in texts for name in figure.names)


def test_every_figure_is_a_file_that_is_the_same_each_time(every, tmp_path):
    numbered = [replace(it, name=f"{at}-{it.name}") for at, it in enumerate(every)]
    first = write_figures(numbered, tmp_path / "one")
    again = write_figures(numbered, tmp_path / "two")
    assert len(first) == len(every)
    for figure, one, two in zip(every, first, again, strict=True):
        assert one.read_bytes() == two.read_bytes()
        root = _parsed(one.read_text("utf-8"))
        tags = {it.tag.rpartition("}")[2] for it in root.iter()}
        assert not tags & {"script", "image", "foreignObject", "a"}
        texts = "".join(root.itertext())
        assert figure.title in texts
        assert figure.says in texts
        assert "date" not in tags
    text = first[0].read_text("utf-8")
    assert "<script" not in text


def test_names_from_outside_come_out_as_they_are(swept, tmp_path):
    (path, *_) = write_figures(figures(swept), tmp_path)
    root = _parsed(path.read_text("utf-8"))
    texts = [it.text for it in root.iter(f"{SVG}text")]
    assert VISIBLE in texts


def test_png_can_be_written(drawn, tmp_path):
    path = write_png(drawn["cost-echo"], tmp_path / "cost.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_dark_is_light_with_other_colours(every):
    turned = {
        **dict(zip(LIGHT.hues, DARK.hues, strict=True)),
        **{getattr(LIGHT, it): getattr(DARK, it)
           for it in ("background", "text", "quiet", "grid", "grey")},
    }  # fmt: skip
    assert len(turned) == len(set(turned.values())) == 13
    for figure in every:
        light, dark = (json.dumps(vega(figure, it)) for it in (False, True))
        for one, other in turned.items():
            light = light.replace(one, other)
        assert light == dark


def test_names_are_unique_and_safe_as_files(drawn, tmp_path):
    assert all(name.replace("-", "").isalnum() and name.isascii() for name in drawn)
    cells = [cell(work=scenario(name)) for name in ("a b", "a/b", "../../b", "\x00")]
    builder = RunBuilder(tmp_path, cells)
    for it in cells:
        builder.measured(it, closed())
    names = [figure.name for figure in figures(load_run(builder.read().path))]
    assert len(names) == len(set(names)) == 8
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for name in names)


def test_several_runs_have_their_own_figures(resting, swept, tmp_path):
    # both may be of the same second, and have the same name
    copied = shutil.copytree(swept.run.path, tmp_path / "another")
    both = load_runs([resting.run.path, copied])
    names = [figure.name for figure in figures(both)]
    assert len(set(names)) == len(names) == len(figures(resting)) + len(figures(swept))
    assert {resting.run.path.name in figure.title for figure in figures(both)} == {True, False}


def test_runs_without_numbers_have_no_figures(tmp_path):
    it = cell()
    empty = load_run(RunBuilder(tmp_path / "a", [it]).read("interrupted").path)
    builder = RunBuilder(tmp_path / "b", [it])
    builder.failed(it, "environment", "no such package")
    failed = load_run(builder.read().path)
    for results in (empty, failed):
        assert figures(results) == []
        assert write_figures(figures(results), tmp_path / "none") == []
        assert not (tmp_path / "none").exists()
    (row,) = records(failed.cells)
    assert cell_figures(failed, row) == []


def test_run_whose_answers_were_all_wrong_makes_no_figure_of_nothing(tmp_path):
    it = cell()
    builder = RunBuilder(tmp_path, [it, cell("other")])
    wrong = replace(closed(), done_s=np.empty(0), took_s=np.empty(0), failed_at_s=np.arange(5.0))
    for each in (it, cell("other")):
        builder.measured(each, wrong, errors={"bad-body": 5})
    for figure in figures(load_run(builder.read().path)):
        assert "Nothing can be ranked" in figure.says
        plot(figure)
        vega(figure)


def test_report_links_to_the_files(big, drawn, tmp_path):
    several = list(drawn.values())
    written = {path.name for path in write_figures(several, tmp_path / "figures")}
    text = markdown(big.run, big.cells, big.comparisons, figures=several)
    linked = {line.rpartition("(figures/")[2].partition(")")[0] for line in text.splitlines()
              if line.startswith("![")}  # fmt: skip
    assert linked == written
    assert SCRIPT not in text
    assert "## Figures" not in markdown(big.run, big.cells, big.comparisons)


def test_command_line_starts_without_what_draws():
    code = (
        "import sys, harness.cli, harness.commands.publication, harness.report.figures.gallery, "
        "harness.report.figures.vega; "
        "print([it for it in ('matplotlib', 'vl_convert') if it in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_styles_are_kept_and_never_by_colour_alone():
    many = [f"server-{number}" for number in range(ALL)]
    found = styles(many)
    assert len({(it.hue, it.shape) for it in found.values()}) == ALL
    assert len({it.hue for it in list(found.values())[: len(LIGHT.hues)]}) == len(LIGHT.hues)
    assert styles(["server-3"])["server-3"] == styles(["server-3", "other"])["server-3"]
    more = styles([*many, "one more"])
    assert sum(it.hue is not None for it in more.values()) == FIRST
    assert [name for name, it in more.items() if it.hue is not None] == many[:FIRST]


@pytest.mark.parametrize("count", range(2, ALL + 1))
def test_styles_of_a_figure_are_used_up_before_any_is_there_twice(count):
    for trial in range(20):
        many = [f"{trial}-{number}" for number in range(count)]
        # a figure of two that come late, and one of all
        for figure, found in (
            (many, styles(many)),
            (many[-2:], styles(many, [many[-2:]])),
            (many[:4], styles(many, [many[:4], many])),
        ):
            own = [found[name] for name in figure]
            assert len({it.dash for it in own}) == min(len(DASHES), len(own))
            assert len({it.shape for it in own}) == min(len(SHAPES), len(own))
            assert len({it.hue for it in own}) >= min(len(LIGHT.hues), len(own)) - (count > 8)
            assert len({(it.hue, it.dash) for it in own}) == len(own)


def test_distribution_says_of_whom_it_cannot_tell_a_p99(tmp_path):
    rates = {"many": 0.002, "more": 0.0025, "few": 0.05, "fewest": 0.8}
    cells = [cell(name, users=2) for name in rates]
    builder = RunBuilder(tmp_path, cells)
    for it in cells:
        builder.measured(it, closed(2, rates[it.server.name]))
    made = {figure.name: figure for figure in figures(load_run(builder.read().path))}
    says = made["distribution-hello"].says
    assert says.startswith("p99 of 2 servers lies between 2.00 ms (many) and 2.50 ms (more). ")
    assert "Too few answers to tell a p99, fewer than 10 beyond it: few and fewest." in says
    assert "Too few to be drawn at all: fewest." in says


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_stand_out_and_apart_for_all_eyes(colours: Theme):
    """WCAG's contrasts; least distances in OKLab beyond those of Okabe and Ito's eight (0.076)."""
    hues = np.array([_linear(it) for it in colours.hues])
    ground = _linear(colours.background)
    assert min(_contrast(it, ground) for it in hues) >= 3
    assert min(_contrast(_linear(it), ground) for it in (colours.text, colours.quiet)) >= 4.5
    assert _contrast(_linear(colours.grey), ground) >= 3
    for seen in SEEN:
        lab = [_oklab(np.clip(seen @ it, 0, 1)) for it in hues]
        apart = [float(np.linalg.norm(a - b)) for a, b in itertools.combinations(lab, 2)]
        assert min(apart) > 0.08


def test_names_beside_points_lie_on_nothing():
    random = np.random.default_rng(3)
    points = [(*random.uniform(50, 550, 2), f"server-{number}") for number in range(40)]
    places = around(points, 600, 600)
    boxes = []
    for (x, y, text), place in zip(points, places, strict=True):
        if place is None:
            continue
        wide = 6.2 * len(text)
        left = x + place.dx - {"left": 0, "right": wide, "center": wide / 2}[place.align]
        boxes.append((left, y + place.dy - 6, left + wide, y + place.dy + 6))
    assert len(boxes) > 20
    for a, b in itertools.combinations(boxes, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
    for left, top, right, bottom in boxes:
        assert not [it for it in points if left < it[0] < right and top < it[1] < bottom]


@pytest.mark.parametrize("wanted", [[50, 50, 50], [0, 1, 99, 100], [100] * 30, [20, 80], []])
def test_names_at_ends_are_spread_in_their_order(wanted):
    placed = spread(wanted, 10, 0, 100)
    assert all(-1e-9 <= it <= 100 + 1e-9 for it in placed)
    gap = min(10, 100 / max(1, len(wanted) - 1))
    ordered = sorted(placed)
    assert all(b - a >= gap - 1e-6 for a, b in itertools.pairwise(ordered))
    by_wish = [place for _, place in sorted(zip(wanted, placed, strict=True))]
    assert by_wish == ordered


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (1e-4, 1.0, [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0]),
        (0.01, 0.05, [0.01, 0.015, 0.02, 0.03, 0.04, 0.05]),
        (0.02, 0.02, [0.02]),
    ],
)
def test_ticks_of_logarithms_are_round_and_few(low, high, ticks):
    found = log_ticks(low, high)
    assert set(found) <= set(ticks)
    assert 1 <= len(found) <= 7


def test_ticks_are_written_with_their_units():
    seconds, plain = Axis("a", "a", "s"), Axis("a", "a")
    assert [tick_text(it, seconds) for it in (0, 2e-6, 0.0015, 0.1, 20)] == [
        "0", "2 µs", "1.5 ms", "100 ms", "20 s",
    ]  # fmt: skip
    assert [tick_text(it, plain) for it in (0.25, 20000, 3)] == ["0.25", "20,000", "3"]
    assert tick_text(0.5, Axis("a", "a", "share")) == "50%"


def test_axis_of_bytes_says_its_unit(drawn):
    figure = drawn["cost-echo"]
    along = scale(figure, figure.y)
    assert along.title.endswith(", MiB")
    assert along.high == pytest.approx(figure.frame["server_pss_bytes"].max() / 2**20)


def test_figures_of_many_servers_are_readable(tmp_path):
    """52 names: the first have colours, the others are grey and behind, and all are in dots."""
    names = [f"server-{number:02}" for number in range(52)]
    builder = RunBuilder(tmp_path, [cell(name) for name in names])
    for number, name in enumerate(names):
        builder.measured(cell(name), closed(10, 0.02 + 0.002 * number))
    made = {figure.name: figure for figure in figures(load_run(builder.read().path))}
    assert made["throughput-hello"].names == names
    trace = vega(made["distribution-hello"])
    order = list(dict.fromkeys(row["name"] for row in trace["datasets"]["points"]))
    assert order[-FIRST:] == names[:FIRST]
    legends = [it["values"] for it in _found(trace["layer"], "legend") if it]
    assert legends
    assert all(it == names[:FIRST] for it in legends)
    ends = [it.get_text() for it in plot(made["distribution-hello"]).axes[0].texts]
    assert sorted(ends) == names[:FIRST]


def test_drawing_a_frame_that_is_empty_of_intervals(tmp_path):
    builder = RunBuilder(tmp_path, [cell()])
    builder.measured(cell(), closed(), (SERVER, GENERATOR))
    (figure, *_) = figures(load_run(builder.read().path))
    assert pd.isna(figure.frame["low"]).all()
    assert figure.says == "demo: 200/s."
    (axes,) = plot(figure).axes
    assert len(axes.lines) == 1


def _parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314 - it is what we have just written


def _found(spec: Any, name: str) -> Iterator[Any]:
    """Every value under a name, anywhere in a specification."""
    if isinstance(spec, dict):
        if name in spec:
            yield spec[name]
        spec = list(spec.values())
    if isinstance(spec, list):
        for value in spec:
            yield from _found(value, name)


# how eyes that lack one kind of cones see linear RGB: Machado, Oliveira and Fernandes 2009
SEEN = (
    np.eye(3),
    np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
              [-0.003882, -0.048116, 1.051998]]),
    np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
              [-0.011820, 0.042940, 0.968881]]),
    np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
              [0.004733, 0.691367, 0.303900]]),
)  # fmt: skip


def _linear(colour: str) -> np.ndarray:
    parts = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def _contrast(one: np.ndarray, other: np.ndarray) -> float:
    light, dark = sorted(
        (float(it @ [0.2126, 0.7152, 0.0722]) for it in (one, other)), reverse=True
    )
    return (light + 0.05) / (dark + 0.05)


def _oklab(linear: np.ndarray) -> np.ndarray:
    """Ottosson 2020."""
    cones = np.array([[0.4122214708, 0.5363325363, 0.0514459929],
                      [0.2119034982, 0.6806995451, 0.1073969566],
                      [0.0883024619, 0.2817188376, 0.6299787005]]) @ linear  # fmt: skip
    lab: np.ndarray = np.array([[0.2104542553, 0.7936177850, -0.0040720468],
                     [1.9779984951, -2.4285922050, 0.4505937099],
                     [0.0259040371, 0.7827717662, -0.8086757660]]) @ np.cbrt(cones)  # fmt: skip
    return lab
