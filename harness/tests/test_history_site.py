"""The site of a history: what is written, and that it says what the series say."""

from __future__ import annotations

import json
import math
import re
import time
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from harness.history import Archive, History, Point, State, Subject
from harness.model import ConfigurationError
from harness.site import write_site
from harness.site.alert import alerts
from harness.site.board import Board
from harness.site.data import POINT
from harness.site.event import Event, events
from harness.site.shift import interval
from harness.site.spark import HEIGHT, spark
from harness.tests.commands import called
from harness.tests.histories import cell, record, records
from harness.tests.sites import INVALID, REFERENCE, decided, site_history
from harness.tests.test_history_store import files

ATOM = "{http://www.w3.org/2005/Atom}"
NASTY = "<script>alert(1)</script>]]>&\x1b[31m"


@pytest.fixture(scope="module")
def history() -> History:
    return site_history()


@pytest.fixture(scope="module")
def written(history, tmp_path_factory) -> Path:
    return write_site(history, tmp_path_factory.mktemp("site")).folder


@pytest.fixture(scope="module")
def board(history) -> Board:
    return Board(history, history.machines[0], None)


def scripts(folder):
    """What each script of data gives, by name."""
    found = {}
    for path in (folder / "data").iterdir():
        name, value = re.fullmatch(
            r"gatebench\((\".+?\"), (.+)\);\n", path.read_text("utf-8")
        ).groups()
        assert json.loads(name) == path.stem
        found[path.stem] = json.loads(value)
    return found


def short(value):
    """As the site's data have it."""
    return None if value is None else float(f"{value:.7g}")


def entry(board, server, scenario="hello", metric="throughput"):
    (found,) = [
        it for topic, it in board.entries
        if (it.name, topic.scenario, topic.metric) == (server, scenario, metric)
    ]  # fmt: skip
    return found


# --- the history is one in which things happen ------------------------------------------------


def test_everything_happens_in_the_history_that_the_site_is_to_show(board):
    states = {server: entry(board, server).series.state for server in dict(board.rows)}
    assert states == {
        "uvicorn": State.REGRESSION, "granian": State.SUSPECT, "waitress": State.ENVIRONMENT,
        "hypercorn": State.COLLECTING, REFERENCE: State.OK, "gunicorn-sync": State.OK,
    }  # fmt: skip
    kinds = {change.kind for _, it in board.entries for change in it.series.changes}
    assert {State.HOST, State.IMPROVEMENT} <= kinds
    gaps = [at for at, it in enumerate(entry(board, "gunicorn-sync").series.points) if it.gap]
    assert tuple(gaps) == INVALID


# --- data ----------------------------------------------------------------------------------


def test_data_are_the_series(written, board):
    data = scripts(written)
    for topic in board.topics:
        told = {it["id"]: it for it in data[topic.id]["series"]}
        assert told.keys() == {it.id for it in topic.entries}
        for it in topic.entries:
            points = [dict(zip(POINT, point, strict=True)) for point in told[it.id]["points"]]
            assert len(points) == len(it.series.points)
            for point, own in zip(points, it.series.points, strict=True):
                run = data[board.machine.id][point["run"]]
                assert (run["name"], run["at"]) == (own.run, own.at)
                assert (point["value"], point["low"]) == (short(own.value), short(own.low))
                receipt = data[topic.id]["receipts"][point["receipt"]]
                assert receipt["versions"] == own.subject.versions
            places = [change["point"] for change in told[it.id]["changes"]]
            runs = [it.series.points[place].run for place in places]
            assert runs == [change.run for change in it.series.changes]


def test_absolute_values_are_as_measured_in_every_run(written, board, history):
    data = scripts(written)
    (topic,) = [it for it in board.topics if (it.scenario, it.metric) == ("echo", "throughput")]
    (series,) = [it for it in data[topic.id]["series"] if it["name"] == "waitress"]
    values = [point[POINT.index("value")] for point in series["absolute"]["points"]]
    measured = [
        np.median(it.figures["throughput"])
        for run in history.runs(board.machine.id) for it in run.cells
        if (it.server, it.scenario) == ("waitress", "echo")
    ]  # fmt: skip
    assert values == pytest.approx(measured, rel=1e-6)
    (reference,) = [it for it in data[topic.id]["series"] if it["name"] == REFERENCE]
    assert reference["absolute"] is None
    assert reference["reference"] == ""


def test_classes_of_machines_are_never_in_one_file(written, history):
    data = scripts(written)
    ids = {machine.id for machine in history.machines}
    assert len(ids) == 2
    for name, value in data.items():
        if name in ids:
            assert {run["name"] for run in value} == {run.run for run in history.runs(name)}
        else:
            assert name.startswith(value["machine"])
            for series in value["series"]:
                assert len(series["points"]) <= len(data[value["machine"]])


# --- the folder ----------------------------------------------------------------------------


@pytest.mark.slow
def test_same_history_gives_the_same_bytes(tmp_path):
    short = site_history(30, ("hello",))
    for name in ("a", "b"):
        write_site(short, tmp_path / name)
    write_site(short, tmp_path / "b")
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert {path.suffix for path in files(tmp_path / "a")} == {
        ".html", ".xml", ".js", ".json", ".svg", ".png",
    }  # fmt: skip


@pytest.mark.slow
def test_only_graphs_of_series_that_changed_are_drawn_again_and_old_ones_go(tmp_path):
    longer = site_history(40, ("hello", "echo"), others=False)
    assert write_site(longer, tmp_path / "site").drawn > 0
    assert write_site(longer, tmp_path / "site").drawn == 0
    without = replace(longer, records=tuple(
        replace(it, cells=tuple(each for each in it.cells if each.scenario == "hello"))
        for it in longer.records
    ))  # fmt: skip
    site = write_site(without, tmp_path / "site")
    # what moved with a half of all series may be judged anew; the rest is as it was
    assert site.drawn < site.series
    left = {path.stem for path in (site.folder / "graphs").iterdir()}
    assert len(left) == site.series
    assert not any("echo" in name for name in left)
    assert not any("echo" in path.stem for path in (site.folder / "data").iterdir())


def test_graph_that_was_lost_is_drawn_again(tmp_path):
    short = site_history(22, ("hello",), others=False)
    site = write_site(short, tmp_path / "site")
    next((site.folder / "graphs").glob("*.png")).unlink()
    assert write_site(short, tmp_path / "site").drawn == 1


def test_folder_of_somebody_else_is_left_alone(tmp_path, history):
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(ConfigurationError, match="folder of its own"):
        write_site(history, tmp_path)
    assert files(tmp_path) == {Path("index.html"): b"mine"}


def test_series_without_any_value_has_no_graph_and_breaks_nothing(tmp_path):
    runs = [record(day, [cell("a", [None]), cell("b", [100.0])]) for day in range(3)]
    site = write_site(History(tuple(runs), ()), tmp_path / "site")
    page = site.page.read_text("utf-8")
    assert "no value" in page
    assert "too few runs yet" in page


# --- alerts and feed -----------------------------------------------------------------------


def test_open_changes_come_first_and_say_what_was_decided_after(board, history):
    told = alerts(board)
    assert [it.open for it in told] == sorted((it.open for it in told), reverse=True)
    assert {it.entry.name for it in told if it.open} == {"uvicorn"}
    later = decided(history)
    again = alerts(Board(later, later.machines[0], None))
    assert not any(it.open for it in again)
    last = again[-1]
    assert last.triage == "acknowledged: h11 <0.16> parses again"
    assert [it.change.decision is None for it in again] == sorted(
        (it.change.decision is None for it in again), reverse=True
    )


def feed_of(history, tmp_path, url=""):
    path = write_site(history, tmp_path / "feed", url=url).folder / "alerts.xml"
    return ET.parse(path).getroot()  # noqa: S314 - ours


def test_feed_is_atom_and_its_ids_outlast_decisions_and_runs(history, tmp_path):
    feed = feed_of(history, tmp_path)
    assert feed.tag == f"{ATOM}feed"
    for part in (feed, *feed.findall(f"{ATOM}entry")):
        for name in ("id", "title", "updated"):
            assert len(part.findall(f"{ATOM}{name}")) == 1
        assert urlsplit(part.findtext(f"{ATOM}id")).scheme == "urn"
        assert datetime.fromisoformat(part.findtext(f"{ATOM}updated")).tzinfo is not None
    assert feed.find(f"{ATOM}author/{ATOM}name").text == "gatebench"
    entries = feed.findall(f"{ATOM}entry")
    times = [it.findtext(f"{ATOM}updated") for it in entries]
    assert times == sorted(times, reverse=True)
    assert feed.findtext(f"{ATOM}updated") == times[0]
    ids = {it.findtext(f"{ATOM}id"): it.findtext(f"{ATOM}updated") for it in entries}
    assert len(ids) == len(entries) >= 4

    later = feed_of(decided(history), tmp_path)
    assert later.findtext(f"{ATOM}id") == feed.findtext(f"{ATOM}id")
    again = {
        it.findtext(f"{ATOM}id"): it.findtext(f"{ATOM}updated")
        for it in later.findall(f"{ATOM}entry")
    }
    moved = {it for it in ids.keys() & again.keys() if ids[it] != again[it]}
    settled = ids.keys() & again.keys() - moved
    assert settled
    assert all(again[it] == "2026-04-01T00:00:00Z" for it in moved)


@pytest.mark.slow
def test_feed_leads_to_where_the_site_will_be(history, tmp_path):
    links = [
        link.get("href")
        for link in feed_of(history, tmp_path, "https://example.org/bench").iter(f"{ATOM}link")
    ]
    assert links
    assert all(it.startswith("https://example.org/bench/") for it in links)
    series = {it.rpartition("=")[2] for it in links if "#series=" in it}
    page = (tmp_path / "feed" / "index.html").read_text("utf-8")
    assert series
    assert all(f'data-series="{it}"' in page for it in series)


# --- parts ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_interval_of_a_change_holds_the_truth_and_says_when_it_cannot():
    held = []
    for seed in range(60):
        random = np.random.default_rng(seed)
        steps = np.where(np.arange(60) < 30, 0.0, math.log(0.85))
        found = records(
            {"b": np.full(60, 100.0), "a": 100 * np.exp(steps + random.normal(0, 0.02, 60))}
        )
        (series,) = [
            it for it in Board(History(tuple(found), ()), found[0].machine_class, "b").entries
            if (it[1].name, it[0].metric) == ("a", "throughput")
        ]  # fmt: skip
        judged = series[1].series
        if len(judged.changes) != 1 or judged.changes[0].index != 30:
            continue
        low, high = interval(judged, 0) or (math.nan, math.nan)
        assert low <= judged.changes[0].ratio <= high
        held.append(low <= 0.85 <= high)
        assert high / low < 1.1
    assert len(held) > 40
    assert np.mean(held) > 0.85


def point(versions, conditions=None, beside=None):
    return Point("r", "i", "2026-01-01T00:00:00+00:00", 1.0, None, None, 1, "",
                 Subject(versions, "a", "c"), beside, conditions or {})  # fmt: skip


def test_events_tell_versions_from_the_environment_and_unknown_from_changed():
    points = [
        point({"h11": "1"}, {"kernel": "6.1"}),
        point({"h11": "1"}, {"kernel": "6.1"}),
        point({}, {"kernel": "6.2"}),  # it did not start
        point({"h11": "2", "wsproto": "1"}, {"kernel": "6.2"}),
        point({"h11": "2", "wsproto": "1"}, {"kernel": "6.2"}, Subject({"r": "1"}, "", "")),
        point({"h11": "2", "wsproto": "1"}, {"kernel": "6.2"}, Subject({"r": "2"}, "", "")),
    ]
    assert list(events(points)) == [
        Event(3, "version", "h11 1 → 2, wsproto none → 1"),
        Event(3, "environment", "kernel 6.1 → 6.2"),
        Event(5, "environment", "the reference: r 1 → 2"),
    ]


def test_spark_of_noise_is_flat_and_of_a_fall_is_not(board):
    heights = {}
    for server, metric in (("uvicorn", "hello"), ("uvicorn", "echo")):
        drawn = spark(entry(board, server, metric).series)
        y = [float(it.split(",")[1]) for it in drawn.path[1:].split("L")]
        assert all(0 <= it <= HEIGHT for it in y)
        heights[metric] = np.std(np.diff(y))
    noise = records({"b": np.full(30, 100.0), "a": np.tile([100.0, 100.5], 15)})
    flat = Board(History(tuple(noise), ()), noise[0].machine_class, "b")
    y = [float(it.split(",")[1]) for it in spark(entry(flat, "a").series).path[1:].split("L")]
    assert max(y) - min(y) < HEIGHT / 8


def test_contenders_of_one_server_are_told_apart_by_what_differs():
    cells = [cell("a", [100.0]), cell("a", [120.0], workers=4), cell("b", [90.0]),
             cell("b", [90.0], app="flask")]  # fmt: skip
    found = Board(History((record(1, cells),), ()), record(1, cells).machine_class, "")
    assert set(dict(found.rows)) == {"a · 2w", "a · 4w", "b · wsgi", "b · flask"}
    assert len({it.slug for _, it in found.entries}) == len(found.entries)


def test_texts_from_outside_do_no_harm(tmp_path):
    runs = [
        record(day, [cell(NASTY, [100.0], versions={NASTY: "<b>"}), cell("b", [90.0])],
               run=f"<img src=x>{day}", command=NASTY)
        for day in range(3)
    ]  # fmt: skip
    folder = write_site(History(tuple(runs), ()), tmp_path / "site").folder
    page = (folder / "index.html").read_text("utf-8")
    ET.parse(folder / "alerts.xml")  # noqa: S314 - ours
    for path, text in ((path, path.read_text("utf-8")) for path in folder.rglob("*.[hjsx]*")
                       if path.name != "vega.js"):  # fmt: skip
        assert "<script>alert" not in text, path
        assert "<img" not in text, path
        assert "\x1b" not in text, path
    assert "&lt;script&gt;alert(1)" in page
    for path in folder.rglob("*.svg"):
        ET.parse(path)  # noqa: S314 - ours


# --- the command ---------------------------------------------------------------------------


def test_command_writes_the_site_beside_the_history_and_says_what_it_drew(tmp_path):
    archive = Archive(tmp_path / "results" / "history")
    for it in site_history(22, ("hello",), others=False).records:
        archive.add(it)
    done = called("history", "site", "--json", cwd=tmp_path)
    assert done.code == 0, done.err
    assert done.document == {
        "schema": 1,
        "page": "results/site/index.html",
        "series": 12,
        "drawn": 12,
    }
    assert (tmp_path / "results" / "site" / "index.html").exists()
    again = called("history", "site", cwd=tmp_path)
    assert again.out == "results/site/index.html: 12 series; 0 of their graphs drawn anew\n"

    for arguments, what in (
        (("--output", "results/history"), "folder of its own"),
        (("--history", "nothing"), "holds no run yet"),
    ):
        refused = called("history", "site", *arguments, cwd=tmp_path)
        assert refused.code == 2
        assert what in refused.complaint
    assert called("history", "site", "--url", "javascript:x", cwd=tmp_path).code == 2


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_thousand_runs_of_ten_series_are_written(tmp_path, capsys):
    many = site_history(1000, ("hello",), others=False)
    begin = time.perf_counter()
    site = write_site(many, tmp_path / "site")
    took_s = time.perf_counter() - begin
    size = sum(map(len, files(site.folder).values()))
    with capsys.disabled():
        print(f"\n{site.series} series of 1,000 runs: {took_s:.0f} s, {size / 2**20:.1f} MiB")
    assert site.series >= 10
    assert size < 20 * 2**20
    assert (site.page).stat().st_size < 300_000
