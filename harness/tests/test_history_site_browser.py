"""The site of a history in a browser: from files, without network, in the dark, on a phone."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from harness.history import History
from harness.site import write_site
from harness.site.board import Board
from harness.tests.browser import AXE, NARROW, WIDE, chromium_alone, reading
from harness.tests.histories import cell, record
from harness.tests.sites import INVALID, REFERENCE, RISE, site_history
from harness.tests.test_history_site import NASTY, entry, short

SHOWN = "tiles => tiles.filter(it => it.checkVisibility()).map(it => it.dataset.series)"
DRAWN = """names => {
  const text = document.querySelector("#graph .plot svg")?.textContent ?? "";
  return names.every(it => text.includes(it));
}"""
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def history() -> History:
    return site_history()


@pytest.fixture(scope="module")
def board(history) -> Board:
    return Board(history, history.machines[0], None)


@pytest.fixture(scope="module")
def page_file(history, tmp_path_factory) -> Path:
    return write_site(history, tmp_path_factory.mktemp("site")).page


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with chromium_alone() as browser:
        yield browser


@pytest.fixture
def read(chromium, page_file) -> Iterator[Any]:
    with reading(chromium, page_file) as opened:
        yield opened


def shown(reader):
    return reader.page.eval_on_selector_all("#overview .tile", SHOWN)


def drawn(reader, *names):
    reader.page.wait_for_function(DRAWN, arg=list(names))
    reader.page.wait_for_selector("#graph .plot[data-ready]")


def rows(reader, tmp_path):
    """The graph's CSV, by series and run."""
    with reader.page.expect_download() as held:
        reader.page.get_by_role("button", name="CSV").click()
    with reader.saved(held.value, tmp_path).open(newline="") as text:
        return {(row["series"], row["run"]): row for row in csv.DictReader(text)}


def same(found, name, points):
    """Whether the rows of a series are its points, all of them."""
    assert {run for series, run in found if series == name} == {it.run for it in points}
    for it in points:
        row = found[name, it.run]
        told = [None if row[end] == "" else float(row[end]) for end in ("value", "low", "high")]
        assert told == [short(it.value), short(it.low), short(it.high)]
        assert (row["gap"], row["at"]) == (it.gap, it.at)


# --- overview ------------------------------------------------------------------------------


def test_overview_shows_one_metric_of_one_class_of_machines_and_says_the_answer(read, board):
    reader = read()
    page = reader.open()
    throughput = {it.id for topic, it in board.entries if topic.metric == "throughput"}
    assert set(shown(reader)) == throughput
    expect(page.locator("h1:visible")).to_have_text("2 regressions stand, and 2 series are suspect")
    assert page.locator("#overview .machine:visible").count() == 1
    # what needs looking at comes first
    first = page.locator(".overview tbody tr:visible").first
    assert first.get_attribute("data-server") == "uvicorn"
    assert "▼ regression" in first.inner_text()


def test_overview_is_filtered_sorted_and_restored_by_its_address(read, board, history):
    reader = read()
    page = reader.open()
    form = page.locator("#filters")
    form.get_by_role("searchbox").fill("UVI")
    assert len(shown(reader)) == 4  # two servers, two scenarios
    form.get_by_label("Scenario").select_option("hello (10 users)")
    form.get_by_label("Metric").select_option("p50")
    assert set(shown(reader)) == {
        entry(board, server, metric="p50").id for server in ("uvicorn", REFERENCE)
    }
    form.get_by_label("State").select_option("regression")
    assert shown(reader) == [entry(board, "uvicorn", metric="p50").id]
    expect(page.locator("#count")).to_have_text("1 series")
    expect(page.locator("#alerts tbody tr:visible")).to_have_count(1)

    other = read()
    other.open(page.evaluate("location.hash"))
    assert shown(other) == shown(reader)
    assert other.page.get_by_role("searchbox").input_value() == "UVI"

    form.get_by_label("State").select_option("improvement")
    expect(page.get_by_text("No series is like that")).to_be_visible()
    form.get_by_role("button", name="Show all").click()
    assert len(shown(reader)) == 12
    form.get_by_label("Sort").select_option("best at hello (10 users)")
    # the reference is 1 times itself, whatever its figure is
    values = {
        it.id: it.series.valued[-1].value if it.series.key.reference else 1.0
        for topic, it in board.entries
        if topic.scenario == "hello"
    }
    order = [values[it] for it in shown(reader) if it in values]
    assert order == sorted(order, reverse=True)
    assert 1.0 in order

    another = history.machines[1]
    form.get_by_label("Machine class").select_option(another.id)
    expect(page.locator("#overview .machine:visible")).to_have_attribute("data-machine", another.id)
    assert not set(shown(reader)) & set(values)


# --- graph ---------------------------------------------------------------------------------


def test_graph_overlays_servers_and_its_address_brings_them_back(read, board, tmp_path):
    reader = read()
    page = reader.open()
    mine, others = entry(board, "uvicorn"), ("gunicorn-sync", "waitress")
    page.locator(f'.tile[data-series="{mine.id}"] a').click()
    expect(page.locator("h1:visible")).to_have_text("uvicorn: hello (10 users), throughput")
    drawn(reader, "-12.4%")
    expect(page.locator("#graph-title")).to_be_focused()
    page.get_by_text("Compare with").click()
    expect(page.get_by_label(f"{REFERENCE} (no ratio)")).to_be_disabled()
    for name in others:
        page.get_by_label(name, exact=True).check()
    drawn(reader, *others)
    expect(page.get_by_label(others[-1], exact=True)).to_be_focused()  # and not lost
    found = rows(reader, tmp_path)
    for name in ("uvicorn", *others):
        same(found, name, entry(board, name).series.points)
    assert len(found) == 180

    link = read()
    link.open(page.evaluate("location.hash"))
    drawn(link, "uvicorn", *others)
    assert rows(link, tmp_path) == found
    page.get_by_role("link", name="Overview").first.click()
    expect(page.locator("#overview")).to_be_visible()
    page.go_back()
    drawn(reader, *others)


def test_absolute_values_are_a_choice_and_tell_no_change(read, board, tmp_path):
    reader = read()
    mine = entry(board, "waitress")
    page = reader.open(f"#series={mine.id}&view=absolute")
    drawn(reader, "answers per second")
    expect(page.locator("#says")).to_contain_text("no change is told of it")
    expect(page.locator("#changes")).to_be_hidden()
    same(rows(reader, tmp_path), "waitress", mine.absolute.points)
    page.locator("#views").get_by_label("Values").select_option("ratio to the reference")
    drawn(reader, "-10.0%")
    expect(page.locator("#changes tbody tr")).to_have_count(len(mine.series.changes))
    page.locator("#views").get_by_label("Metric").select_option("p50")
    expect(page.locator("h1:visible")).to_have_text("waitress: hello (10 users), p50")


def test_graph_marks_changes_suspects_and_invalid_runs(read, board):
    reader = read()
    page = reader.open(f"#series={entry(board, 'gunicorn-sync').id}")
    drawn(reader, "+14.1%")
    tips = page.evaluate(
        """() => [...document.querySelectorAll("#graph .plot .mark-symbol path")]
                  .map(it => it.__data__?.datum?.tip).filter(Boolean)"""
    )
    places = page.evaluate(
        """() => [...document.querySelectorAll("#graph .plot .mark-symbol path")]
                  .filter(it => it.__data__?.datum?.run >= 0).map(it => it.getBoundingClientRect())
                  .map(({ x, width }) => Math.round(x + width / 2))"""
    )
    assert len(set(places)) == 60
    gaps = [it for it in tips if "no value" in it]
    assert [it["no value"] for it in gaps] == ["invalid; answers are too early"] * len(INVALID)
    changes = [it for it in tips if "size" in it]
    assert [it[""] for it in changes] == ["host event", "improvement"]
    run = entry(board, "gunicorn-sync").series.points[60 - RISE].run
    assert changes[1]["since"] == run
    assert " to " in changes[1]["size"]
    events = [it for it in tips if it[""] in ("version", "environment")]
    assert [it["what"] for it in events] == ["gunicorn-sync 1.0 → 2.0", "kernel 6.1.0 → 6.2.0"]

    reader.open(f"#series={entry(board, 'granian').id}")
    drawn(reader, "-13.9%")
    hollow = page.evaluate(
        """() => [...document.querySelectorAll("#graph .plot .mark-symbol path")]
                  .filter(it => it.__data__?.datum?.hollow)
                  .map(it => [it.__data__.datum.tip.run, it.getAttribute("fill")])"""
    )
    assert hollow == [[entry(board, "granian").series.points[-1].run, "#ffffff"]]


def test_run_behind_a_point_is_told_on_click_and_from_the_table(read, board):
    reader = read()
    mine = entry(board, "uvicorn")
    page = reader.open(f"#series={mine.id}")
    drawn(reader, "-12.4%")
    page.locator("#graph .plot .mark-symbol path").first.click(force=True)
    box = page.locator("#run")
    expect(box).to_contain_text("gatebench run '*' --scenario hello,echo --blocks 4")
    expect(box.locator("h2")).to_contain_text(mine.series.points[0].run)
    expect(box).to_be_visible()
    page.get_by_text("Show as a table").click()
    last = mine.series.points[-1]
    page.get_by_role("button", name=last.run).click()
    expect(box.locator("h2")).to_contain_text(last.run)
    expect(box).to_contain_text("h11 0.16")
    expect(page.locator("#table tbody tr")).to_have_count(60)
    assert f"run={last.run}" in reader.fragment


def test_graph_is_downloaded_as_drawn_and_stands_ready_as_files(read, board, tmp_path, page_file):
    reader = read()
    mine = entry(board, "uvicorn")
    page = reader.open(f"#series={mine.id}")
    drawn(reader, "-12.4%")
    for kind, magic in (("SVG", b"<svg"), ("PNG", b"\x89PNG")):
        with page.expect_download() as held:
            page.get_by_role("button", name=kind).click()
        path = reader.saved(held.value, tmp_path)
        assert path.name == f"{mine.slug}.{kind.lower()}"
        assert path.read_bytes().startswith(magic)
        href = page.locator(f"#drawn-{kind.lower()}").get_attribute("href")
        assert (page_file.parent / href).read_bytes()


def test_theme_redraws_the_graph_and_last_runs_narrow_it(read, board):
    reader = read(color_scheme="light")
    page = reader.open(f"#series={entry(board, 'uvicorn').id}")
    drawn(reader, "-12.4%")
    ink = "() => document.querySelector('#graph .plot svg text')?.getAttribute('fill')"
    light = page.evaluate(ink)
    page.get_by_role("button", name="Dark").click()
    page.wait_for_function(f"![null, undefined, {light!r}].includes(({ink})())")
    expect(page.locator(".plot")).to_contain_text("-17.0%")
    page.locator("#views").get_by_label("Runs").select_option("last 30")
    page.wait_for_function("!document.querySelector('#graph .plot').textContent.includes('-17.0%')")
    drawn(reader, "-12.4%")


# --- everybody -----------------------------------------------------------------------------


def test_names_from_outside_do_no_harm(read, tmp_path):
    runs = [
        record(day, [cell(NASTY, [100.0], versions={NASTY: "<b>"}), cell("b", [90.0])],
               command=NASTY)
        for day in range(3)
    ]  # fmt: skip
    reader = read(write_site(History(tuple(runs), ()), tmp_path / "site").page)
    page = reader.open()
    page.locator(".tile:visible a").first.click()
    drawn(reader)
    page.locator("#graph .plot .mark-symbol path").first.click(force=True)
    expect(page.locator("#run")).to_contain_text("<script>alert(1)")


def test_page_is_whole_without_javascript(read, board):
    reader = read(java_script_enabled=False)
    page = reader.open()
    assert page.locator("#overview .tile:visible").count() > len(board.entries)  # and the others'
    assert not page.locator("#filters").is_visible()
    assert not page.locator("#graph").is_visible()
    target = page.locator(".tile a").first.get_attribute("href")
    assert (reader.file.parent / target).exists()


def test_lost_data_are_named(read, history, tmp_path):
    folder = write_site(history, tmp_path / "site").folder
    for path in (folder / "data").iterdir():
        path.unlink()
    reader = read(folder / "index.html")
    page = reader.open()
    with page.expect_console_message():
        page.locator(".tile:visible a").first.click()
    page.get_by_text("is missing: copy the whole folder").wait_for()
    assert len(reader.complaints) == 1  # the browser's own
    reader.complaints.clear()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    "width", [pytest.param(WIDE, marks=pytest.mark.slow), NARROW], ids=["wide", "narrow"]
)
@pytest.mark.parametrize("view", ["overview", "graph"])
def test_nobody_is_kept_out(read, board, view, width, theme):
    reader = read(viewport=width, color_scheme=theme)
    ids = [entry(board, name).id for name in ("uvicorn", "gunicorn-sync", "waitress")]
    run = entry(board, "uvicorn").series.points[3].run
    graph = f"#series={ids[0]}&overlay={ids[1]},{ids[2]}&run={run}"
    page = reader.open(graph if view == "graph" else "")
    if view == "graph":
        drawn(reader, "gunicorn-sync")
    page.eval_on_selector_all("details", "them => them.forEach(it => { it.open = true; })")
    assert page.evaluate(SIDEWAYS) == 0
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    told = [
        f"{it['impact']} {it['id']}: {it['help']}: {node['html'][:150]}"
        for it in found
        for node in it["nodes"][:3]
        if it["impact"] in ("serious", "critical", "moderate")
    ]
    assert not told, "\n".join(told)
