"""The report page in a browser: from a file, without network, by keyboard, in the dark, on a phone.

axe-core looks for what keeps people out: https://github.com/dequelabs/axe-core (its rules of WCAG).
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from harness.commands.publication import whole_document
from harness.report.page import write_page
from harness.results import Results, load_run
from harness.store import plain
from harness.tests.browser import AXE, NARROW, WIDE, Reader, chromium_alone, reading
from harness.tests.builders import RunBuilder, cell, closed
from harness.tests.manytrials import SCRIPT, big_run

FORMULA = "=1+1"
DRAWN = "figure => !!figure.querySelector('.plot svg')"
VISIBLE = "rows => rows.filter(row => row.checkVisibility()).map(row => row.dataset.server)"
PROBES = {
    "schema": 1, "ended": "complete", "created": "2026-01-01T00:00:00+00:00", "command": ["x"],
    "machine": {},
    "probes": [{"name": "sse", "group": "streaming", "question": "Events?", "only": None}],
    "servers": [{
        "server": "gunicorn-sync", "front": None, "app": "wsgi", "speaks": "wsgi", "workers": 2,
        "threads": None, "command": "x", "versions": {}, "python": "3.11.0", "failure": None,
        "probes": [{"name": "sse", "answer": "no", "evidence": "<b>held</b> back", "took_s": 1.0,
                    "expected": "yes", "differs": True}],
    }],
}  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Results:
    """Six servers, two kinds of work, six blocks; one failed, one invalid, one limited; a probe."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "probe-20260101T000000Z").mkdir()
    (folder / "probe-20260101T000000Z" / "probe.json").write_text(json.dumps(PROBES))
    return load_run(big_run(folder, 6, 2, 6))


@pytest.fixture(scope="module")
def file(results) -> Path:
    return write_page(results)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with chromium_alone() as browser:
        yield browser


class PageReader(Reader):
    """With what the report page alone has."""

    def draw_all(self) -> None:
        """Scroll to each figure that is shown, and wait until it is drawn."""
        for figure in self.page.locator("figure.chart:visible").element_handles():
            figure.scroll_into_view_if_needed()
            self.page.wait_for_function(DRAWN, arg=figure)

    def servers(self) -> Any:
        """Those in the table that are shown, from the top."""
        return self.page.eval_on_selector_all("#ranked tr.cell", VISIBLE)

    def column(self, name: str) -> Any:
        """The figures of a column, by group; None where there is none."""
        return self.page.evaluate(
            """name => {
              const heads = [...document.querySelectorAll("#ranked thead th")];
              const at = heads.findIndex(head => head.dataset.name === name);
              return [...document.querySelectorAll("#ranked tbody")].map(body =>
                [...body.querySelectorAll("tr.cell")].map(row => {
                  const { value } = row.cells[at].dataset;
                  return value === undefined ? null : Number(value);
                }));
            }""",
            name,
        )


@pytest.fixture
def read(chromium, file) -> Iterator[Any]:
    with reading(chromium, file, PageReader) as opened:
        yield opened


def test_page_draws_its_figures_from_a_file_alone(read, results):
    reader = read()
    page = reader.open()
    reader.draw_all()
    assert page.locator("#figures figure.chart").count() >= 4
    assert page.locator("#figures .plot svg").count() == page.locator("#figures figure").count()
    assert len(reader.servers()) == len(results.cells)
    assert page.title().startswith("Which of 6 servers does best under 2 kinds of work?")


def test_table_sorts_within_each_scenario_and_what_is_missing_comes_last(read):
    reader = read()
    page = reader.open()
    before = reader.servers()
    head = page.locator("th[data-name=p99_s]")
    for direction, down in (("ascending", False), ("descending", True)):
        head.get_by_role("button").click()
        expect(head).to_have_attribute("aria-sort", direction)
        for group in reader.column("p99_s"):
            known = [value for value in group if value is not None]
            assert known == sorted(known, reverse=down)
            assert group[len(known) :] == [None] * (len(group) - len(known))
    assert any(None in group for group in reader.column("p99_s"))  # the one that failed
    assert reader.servers() != before
    head.get_by_role("button").click()
    assert reader.servers() == before
    assert page.locator("th[aria-sort=ascending], th[aria-sort=descending]").count() == 0


def test_filter_narrows_table_and_figures_and_its_address_restores_both(read):
    reader = read()
    page = reader.open()
    reader.draw_all()
    page.get_by_role("searchbox", name="Server").fill("GUNICORN")
    page.locator("#filters").get_by_label("Scenario").select_option("echo")
    assert sorted(reader.servers()) == ["gunicorn-gthread", "gunicorn-sync"]
    assert page.locator("#count").inner_text() == "2 of 12 rows"
    assert reader.fragment == "#server=GUNICORN&scenario=echo"
    assert page.locator("#figures figure:visible").count() > 0
    assert page.locator("#figures figure[data-scenario=hello]:visible").count() == 0
    page.wait_for_function(
        """() => {
          const drawn = document.querySelector("#figures figure:not([hidden]) svg");
          const text = drawn?.textContent ?? "";
          return text.includes("gunicorn-sync") && !text.includes("waitress");
        }"""
    )
    page.locator("#filters").get_by_label("Verdict").select_option("server-limited")

    other = read()
    other.open(page.evaluate("location.hash"))
    assert other.servers() == reader.servers()
    assert other.page.get_by_role("searchbox", name="Server").input_value() == "GUNICORN"
    assert other.page.locator("#filters").get_by_label("Scenario").input_value() == "echo"
    page.get_by_role("button", name="Show all").click()
    assert len(reader.servers()) == 12
    assert reader.fragment == ""
    page.go_back()
    expect(page.locator("#count")).to_have_text("2 of 12 rows")
    assert len(reader.servers()) == 2


def test_filter_narrows_findings_and_comparisons_and_counts_them(read):
    reader = read()
    page = reader.open()
    lines = page.locator("#findings li:visible")
    every, compared = lines.count(), page.locator("#differences tbody tr").count()
    assert not page.locator("[data-filtered]:visible").count()
    page.locator("#filters").get_by_label("Scenario").select_option("hello")
    page.get_by_role("searchbox", name="Server").fill("uwsgi")
    told = lines.all_inner_texts()
    assert 0 < len(told) < every
    assert all(it.startswith(("uwsgi:", "about ")) for it in told)
    said = page.locator("[data-filtered=findings]").inner_text()
    assert said.startswith(f"{len(told)} of {every} findings")
    page.get_by_role("searchbox", name="Server").fill("gthread")
    beside = page.locator("#differences tbody tr:visible").all_inner_texts()
    assert 0 < len(beside) < compared
    assert all("hello" in it and "gunicorn-gthread" in it for it in beside)
    page.get_by_role("searchbox", name="Server").fill("nobody")
    assert page.get_by_text(f"None of the {compared} comparisons").is_visible()
    assert not page.locator("#differences .scroll").is_visible()
    page.locator("th[data-name=server] button").evaluate("it => it.click()")
    page.get_by_role("button", name="Show all").click()
    assert lines.count() == every
    assert reader.fragment == ""  # nor is it sorted


@pytest.mark.parametrize("how", ["mouse", "keyboard", "address"])
@pytest.mark.parametrize("name", ["p99_s", "throughput_per_s", "rank"])
def test_names_never_cover_the_column_that_is_looked_for(read, how, name):
    """On a phone: "59.1 ms" beneath them would read "9.1 ms"."""
    reader = read(viewport=NARROW)
    page = reader.open(f"#sort={name}" if how == "address" else "")
    box = page.locator("#ranked").locator("xpath=..")
    button = page.locator(f"th[data-name={name}] button")
    if how != "address":
        box.evaluate("box => box.scrollTo(box.scrollWidth, 0)")
    if how == "mouse":
        button.click()
    elif how == "keyboard":
        page.locator("th[data-name=app] button, th:last-child button").last.focus()
        for _ in range(20):
            page.keyboard.press("Shift+Tab")
            if button.evaluate("it => it === document.activeElement"):
                break
        assert button.evaluate("it => it === document.activeElement")
    page.wait_for_timeout(300)  # where it snaps to a column it has done so
    text, fixed, end = page.evaluate(
        """name => {
          const heads = [...document.querySelectorAll("#ranked thead th")];
          const row = document.querySelector("#ranked tr.cell");
          const range = document.createRange();
          range.selectNodeContents(row.cells[heads.findIndex(it => it.dataset.name === name)]);
          const { left, right } = range.getBoundingClientRect();
          return [[left, right], row.querySelector("th").getBoundingClientRect(),
                  row.closest(".scroll").getBoundingClientRect().right];
        }""",
        name,
    )
    assert text[1] <= end + 1
    assert text[1] <= fixed["left"] + 1 if name == "rank" else text[0] >= fixed["right"] - 1


def test_filter_that_nothing_passes_says_so(read):
    reader = read()
    page = reader.open("#server=nobody")
    assert reader.servers() == []
    assert page.get_by_text("No cell is like that").is_visible()
    assert page.locator("#count").inner_text() == "0 of 12 rows"


def test_cell_opens_and_closes_by_keyboard_and_focus_returns(read):
    reader = read()
    page = reader.open()
    link = page.locator("#ranked tr.cell th a").first
    link.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    assert reader.fragment.startswith("#cell=")
    expect(dialog.locator("h3").first).to_be_focused()
    assert dialog.locator("table").first.locator("tbody tr").count() == 6
    assert dialog.get_by_text("gatebench run ", exact=False).first.is_visible()
    reader.draw_all()
    assert dialog.locator(".plot svg").count() == 3
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(link).to_be_focused()
    reader.settles("location.hash === ''")


def test_address_of_a_cell_opens_it_and_its_log_is_shown_harmless(read):
    reader = read()
    page = reader.open("#cell=hello-uwsgi-wsgi-2w-32u")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading", name="uwsgi").first).to_be_visible()
    log = dialog.locator("pre.log").inner_text()
    assert "<script>alert(2)</script>" in log
    assert r"\x1b[31m" in log
    page.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()
    reader.settles("document.activeElement.textContent === 'uwsgi'")


def test_page_is_walked_through_by_tab_alone(read):
    reader = read()
    page = reader.open()
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the answer")).to_be_focused()
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('th')?.dataset.name") == "p50_s":
            break
    page.keyboard.press("Enter")
    expect(page.locator("th[data-name=p50_s]")).to_have_attribute("aria-sort", "ascending")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"


def test_theme_is_toggled_drawn_and_remembered(read):
    reader = read(color_scheme="light")
    page = reader.open()
    back = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(back)
    figure = page.locator("#figures figure").first.element_handle()
    figure.scroll_into_view_if_needed()
    page.wait_for_function(DRAWN, arg=figure)
    drawn = "figure => figure.querySelector('svg text')?.getAttribute('fill')"
    ink = page.evaluate(drawn, figure)
    assert ink.startswith("#")
    page.get_by_role("button", name="Dark").click()
    reader.settles(f"{back} !== {light!r}")
    page.wait_for_function(
        f"figure => ![undefined, {ink!r}].includes(({drawn})(figure))", arg=figure
    )
    page.reload()
    assert page.evaluate(back) != light
    assert page.get_by_role("button", name="Dark").get_attribute("aria-pressed") == "true"
    assert read(color_scheme="dark").open().evaluate(back) != light


def test_downloads_say_what_the_document_says(read, results, tmp_path):
    reader = read()
    page = reader.open("#server=gunicorn")  # the table is downloaded whole, whatever is shown
    with page.expect_download() as held:
        page.get_by_role("button", name="(JSON)").click()
    document = json.loads(reader.saved(held.value, tmp_path).read_text("utf-8"))
    frames = (results.trials, results.cells, results.comparisons)
    assert document == json.loads(json.dumps(plain(whole_document(results.run, frames))))
    with page.expect_download() as held:
        page.get_by_role("button", name="(CSV)").click()
    with reader.saved(held.value, tmp_path).open(newline="") as text:
        rows = {(row["scenario"], row["server"]): row for row in csv.DictReader(text)}
    assert len(rows) == len(document["cells"]) == 12
    for it in document["cells"]:
        row = rows[it["scenario"], it["server"]]
        assert row["verdict"] == it["verdict"]
        for name, spread in (("throughput_per_s", it["throughput_per_s"]),
                             ("p99_s", it["latency_s"]["p99"])):  # fmt: skip
            assert number(row[name]) == spread["median"]
        assert number(row["throughput_per_s_low"]) == it["throughput_per_s"]["low"]
        assert number(row["server_pss_bytes"]) == it["server_pss_bytes"]


def number(text: str) -> float | None:
    return float(text) if text else None


def test_figure_is_downloaded_as_drawn_and_as_data(read, tmp_path):
    reader = read()
    page = reader.open()
    figure = page.locator("#figures figure").first
    # a browser forgets that a button was clicked if what comes of it takes seconds, and asks
    figure.scroll_into_view_if_needed()
    page.wait_for_function(DRAWN, arg=figure.element_handle())
    found = {}
    for kind in ("SVG", "PNG", "CSV"):
        with page.expect_download() as held:
            figure.get_by_role("button", name=kind).click()
        found[kind] = reader.saved(held.value, tmp_path).read_bytes()
    assert found["SVG"].startswith(b"<svg")
    assert SCRIPT.encode() not in found["SVG"]
    assert found["PNG"].startswith(b"\x89PNG")
    lines = found["CSV"].decode().splitlines()
    figure.get_by_text("Show as a table").click()
    figure.locator("table").wait_for()
    assert figure.locator("table tbody tr").count() == len(lines) - 1 > 0
    assert figure.locator("table thead th").count() == len(lines[0].split(","))


def test_names_that_are_formulas_are_texts_in_the_csv(chromium, tmp_path):
    it = cell(FORMULA)
    builder = RunBuilder(tmp_path, [it])
    builder.measured(it, closed())
    reader = PageReader(chromium, write_page(Results((builder.read(),))))
    page = reader.open()
    with page.expect_download() as held:
        page.get_by_role("button", name="(CSV)").click()
    text = reader.saved(held.value, tmp_path).read_text("utf-8")
    assert f"'{FORMULA}" in text
    assert not re.search(r'(^|,)"?=', text, re.MULTILINE)
    assert reader.complaints == []
    reader.context.close()


def test_page_is_whole_without_javascript(read, results):
    reader = read(java_script_enabled=False)
    page = reader.open()
    text = page.inner_text("body")
    assert "share the first rank" in text
    assert len(page.locator("#ranked tr.cell:visible").all()) == len(results.cells)
    assert not page.locator("#filters").is_visible()
    assert not page.locator(".downloads:visible").count()
    assert page.locator("#cells article:visible").count() == len(results.cells)
    assert "Measure it again" in text
    target = page.locator("#ranked tr.cell th a").first.get_attribute("href")
    assert page.locator(f'[id="{target[1:]}"]').is_visible()
    assert "What was seen" in text


@pytest.mark.parametrize("width", [WIDE, NARROW], ids=["wide", "narrow"])
def test_page_never_scrolls_sideways_but_its_tables_do(read, width):
    reader = read(viewport=width)
    page = reader.open()
    reader.draw_all()
    inner = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(inner) == 0
    if width is NARROW:
        box = page.locator("#ranked").locator("xpath=..")
        box.evaluate("box => box.scrollTo(400, 0)")
        name = page.locator("#ranked tr.cell th").first
        assert abs(name.bounding_box()["x"] - box.bounding_box()["x"]) < 2  # it stays
    page.locator("#ranked tr.cell th a").first.click()
    assert page.get_by_role("dialog").evaluate("it => it.scrollWidth - it.clientWidth") == 0


VIEWS = [(width, theme, dialog) for width in (WIDE, NARROW) for theme in ("light", "dark")
         for dialog in (False, True)]  # fmt: skip
OFTEN = ((WIDE, "light", False), (NARROW, "dark", True))


@pytest.mark.parametrize(
    ("width", "theme", "dialog"),
    [it if it in OFTEN else pytest.param(*it, marks=pytest.mark.slow) for it in VIEWS],
)
def test_nobody_is_kept_out(read, width, theme, dialog):
    reader = read(viewport=width, color_scheme=theme)
    page = reader.open("#cell=hello-uwsgi-wsgi-2w-32u" if dialog else "")
    reader.draw_all()
    page.eval_on_selector_all("details", "them => them.forEach(it => { it.open = true; })")
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    told = [
        f"{it['impact']} {it['id']}: {it['help']}: {node['html'][:150]}"
        for it in found
        for node in it["nodes"][:3]
        if it["impact"] in ("serious", "critical", "moderate")
    ]
    assert not told, "\n".join(told)
