"""The report page as text: the right answer first, and nothing from outside let through."""

from __future__ import annotations

import base64
import errno
import gzip
import hashlib
import json
import re
import time
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.analyze import records
from harness.commands import publication
from harness.commands.publication import frames_of, publish, whole_document
from harness.report.figures.gallery import figures
from harness.report.page import render, write_page
from harness.report.page.capabilities import capabilities
from harness.report.page.charts import CARD, chart, charts, stacks
from harness.report.page.crowding import crowded, crowding
from harness.report.page.differences import differences
from harness.report.page.embed import json_of, policy, script
from harness.report.page.headline import answers, caution, question
from harness.report.page.ranked import ranked
from harness.report.verdicts import sentences
from harness.results import Results, load_run
from harness.store import plain
from harness.tests.builders import (
    GENERATOR,
    SERVER,
    RunBuilder,
    cell,
    closed,
    constant_rate,
    quiet_table,
)
from harness.tests.manytrials import FAILING, LIMITED, SCRIPT, big_run
from harness.tests.manytrials import INVALID as LYING

HOSTILE = "</script><script>alert(1)</script>\x1b[31m\u202e'\"&\u2028"
FORMULA = '=HYPERLINK("http://x","y")'
BUSY = (SERVER, replace(GENERATOR, cpu=0.95))


class Elements(HTMLParser):
    """What elements a page has, and the text of its scripts and styles, as a browser takes it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.raw: list[tuple[str, dict[str, str | None], str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.raw.append((tag, dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        if self.lasttag in ("script", "style") and self.raw and self.cdata_elem:
            tag, attributes, text = self.raw[-1]
            self.raw[-1] = (tag, attributes, text + data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


@dataclass
class Servers:
    """Servers that answer in given times, in so many blocks; one by name may be something else."""

    folder: Path

    def run(
        self,
        blocks: int,
        *,
        limited: str = "",
        failed: str = "",
        restless: str = "",
        **took_s: float,
    ) -> Results:
        cells = {
            name: cell(name.removesuffix("#2"), entry=1 + name.endswith("#2")) for name in took_s
        }
        builder = RunBuilder(self.folder, cells.values(), blocks=blocks)
        for block, it in builder.plan.order():
            name = it.server.label
            if name == failed:
                builder.failed(it, log="boom")
            else:
                # blocks differ, and the servers of a block alike
                mood = 1 + 0.1 * (block % 2) if name == restless else 1
                requests = closed(took_s=took_s[name] * mood * (1 + 0.002 * (block % 3)))
                builder.measured(it, requests, BUSY if name == limited else (SERVER, GENERATOR))
        return Results((builder.read(),))


@pytest.fixture
def servers(tmp_path):
    return Servers(tmp_path)


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """Six servers, two kinds of work, six blocks; one failed, one invalid, one limited."""
    return load_run(big_run(tmp_path_factory.mktemp("results"), 6, 2, 6))


@pytest.fixture(scope="module")
def page(several):
    return render(several)


def only(results: Results) -> str:
    (answer,) = answers(results, {})
    return " ".join((answer.text, *answer.beside))


def test_one_server_found_better_is_said_to_be_first(servers):
    results = servers.run(6, slow=0.05, fast=0.04)
    text = only(results)
    assert text.startswith("fast beside slow: better in throughput (1.25 times), p50")
    assert question(results) == "Is fast better or worse than slow?"
    three = servers.run(6, slow=0.05, fast=0.04, slower=0.06)
    assert only(three).startswith("fast is first: 250 requests/s; then slow (200 requests/s)")
    assert caution(three) == ""


def test_servers_that_are_not_told_apart_share_the_first_rank(servers):
    text = only(servers.run(6, a=0.04, b=0.0385, c=0.06, restless="b"))
    assert text.startswith("a and b share the first rank: this run does not tell which is best (")
    assert "requests/s); 1 other does worse Lowest p99 among the 2 of 3" in text


def test_servers_that_are_equivalent_are_said_to_be(servers):
    text = only(servers.run(6, a=0.04, b=0.04, c=0.06))
    assert text.startswith(
        "a and b share the first rank: their throughput is equivalent, less than 3% apart "
        "(250 requests/s); 1 other does worse"
    )
    three = only(servers.run(6, a=0.04, b=0.0385, c=0.04, d=0.06, restless="b"))
    assert three.startswith("a, c and b share the first rank: this run does not tell which is best")


def test_few_blocks_give_numbers_and_no_verdict(servers):
    results = servers.run(1, slow=0.05, fast=0.04)
    assert only(results) == "fast measured best: 250 requests/s; then slow (200 requests/s)"
    assert "6 blocks" in caution(results)
    assert "first" not in only(servers.run(5, slow=0.05, fast=0.04))


def test_lowest_p99_is_of_those_that_can_tell_one(servers):
    """Ten answers of each trial lie beyond a p99: it takes 1,000; and ranked ones alone."""
    told = only(servers.run(1, a=0.045, b=0.03, c=0.04, limited="b"))
    assert told.count("Lowest p99: 40.1 ms, c (shown, not judged).") == 1
    alike = only(servers.run(1, a=0.04, b=0.04))
    assert "Lowest p99: 40.1 ms, a and b (shown, not judged)." in alike
    few = only(servers.run(1, a=0.06, b=0.07, c=0.04))
    assert "Lowest p99" not in few


def test_crowded_machine_is_said_at_the_top_and_beside_the_cell(tmp_path):
    cells = [cell(name) for name in ("calm", "crowded")]
    builder = RunBuilder(tmp_path, cells)
    builder.measured(cells[0], closed(), noise=quiet_table(server_busy_s=lambda at: 0.45 * at))
    builder.measured(cells[1], closed(), noise=quiet_table(server_busy_s=lambda at: 0.75 * at))
    results = Results((builder.read(),))
    assert [crowded(it) for it in records(results.cells)] == [
        "", "Others used at least 35.0% of the server's CPUs meanwhile.",
    ]  # fmt: skip
    said = crowding(records(results.cells))
    assert "in 1 of 2 cells others used more than 10% of the server's or the generator's" in said
    assert "at worst at least 35.0% of the server's." in said
    text = render(results)
    assert text.count(said.replace("'", "&#39;")) == 1
    rows = re.findall(r'<tr class="cell.*?</tr>', text, re.DOTALL)
    assert ["badge crowded" in row for row in rows] == [
        'data-server="crowded"' in row for row in rows
    ]
    assert crowding(records(results.cells)[:1]) == ""


def test_row_says_on_how_many_of_its_trials_it_rests(tmp_path):
    it = cell()
    builder = RunBuilder(tmp_path, [it], blocks=3)
    for number in range(3):
        builder.measured(it, closed(), BUSY if number == 1 else (SERVER, GENERATOR))
    text = render(Results((builder.read(),)))
    (row,) = re.findall(r'<tr class="cell.*?</tr>', text, re.DOTALL)
    assert "<small>2 of 3 trials</small>" in row
    assert re.search(r'<p class="tally">.*</span> 1 cell valid</span>', text)


def test_table_of_a_figure_has_each_head_once_and_begins_at_the_ticks(several):
    for figure in figures(several):
        made = json.loads(chart(figure, "x").data)
        heads = [made["heads"][it] for it in made["frame"]["columns"]]
        assert len(set(heads)) == len(heads)
        if figure.kind == "trace":
            at = made["frame"]["columns"].index("percentile")
            assert [row[at] for row in made["frame"]["rows"][:3]] == [50, 90, 99]
            assert len(made["frame"]["rows"]) == len(figure.frame)


def test_charts_stand_in_two_stacks_about_as_high(several):
    made = charts(figures(several))
    found = stacks(made)
    assert sorted(it.name for beside in found for stack in beside for it in stack) == sorted(
        it.name for it in made
    )
    for beside in found:
        assert len({it.scenario for stack in beside for it in stack}) == 1
        high = [sum(it.height + CARD for it in stack) for stack in beside]
        assert max(high) - min(high) <= max(it.height + CARD for stack in beside for it in stack)


def test_answer_says_what_could_not_be_ranked_and_why(servers):
    text = only(servers.run(1, slow=0.05, fast=0.04, greedy=0.02, dead=1, limited="greedy",
                            failed="dead"))  # fmt: skip
    assert text.startswith("fast measured best of those that can be ranked: 250 requests/s; then")
    assert "Not ranked, the generator was the limit, it may be faster than shown: greedy" in text
    assert "greedy (499 requests/s at least)" in text
    assert "Not ranked, could not be measured: dead." in text


def test_servers_that_share_no_block_are_not_compared(tmp_path):
    took_s = {"a": 0.06, "c": 0.04, "b": 0.05}
    builder = RunBuilder(tmp_path, map(cell, took_s), blocks=2)
    for block, it in builder.plan.order():
        if (it.server.name, block) in (("a", 1), ("c", 2)):
            builder.failed(it)
        else:
            builder.measured(it, closed(took_s=took_s[it.server.name]))
    results = Results((builder.read(),))
    shown = {entry.row["server"]: entry.row["relative_share"] for entry in ranked(results).entries}
    assert shown["c"] == 1.0
    assert shown["a"] is None
    said = [line for line in sentences(results.comparisons) if " a " in line]
    assert said == ["hello: c and a have no block in which both can be used: not compared"]
    assert "∞ times" not in render(results)


def test_nothing_is_first_where_all_failed(servers):
    results = servers.run(1, dead=1, failed="dead")
    assert only(results).startswith("no server can be ranked")
    assert "boom" in render(results)


def test_run_without_trials_says_so(tmp_path):
    builder = RunBuilder(tmp_path, [cell()])
    text = render(Results((builder.read("interrupted"),)))
    assert "Nothing was measured" in text
    assert "No trial was finished" in text
    assert not Elements(text).of("table")


def test_open_load_is_ranked_by_its_median(tmp_path):
    cells = [cell(name, rate_per_s=200.0) for name in ("quick", "late")]
    builder = RunBuilder(tmp_path, cells)
    load = {"offered": 1000, "unsent": 0, "unanswered": 0}
    for it, took_s in zip(cells, (0.004, 0.011), strict=True):
        builder.measured(it, constant_rate(took_s=took_s), load=load)
    text = only(Results((builder.read(),)))
    assert text == "quick measured best: p50 4.00 ms; then late (p50 11.0 ms) " + (
        "Lowest p99: 4.00 ms, quick (shown, not judged)."
    )


def test_table_has_each_cell_with_its_figures_and_verdict(several, page):
    table = ranked(several)
    assert len({entry.id for entry in table.entries}) == len(table.entries) == len(several.cells)
    rows = [it for it in Elements(page).of("tr") if "data-id" in it]
    assert {it["data-verdict"] for it in rows} >= {"failed", "invalid", "generator-limited"}
    assert [it["data-server"] for it in rows] == [entry.row["server"] for entry in table.entries]
    verdicts = {entry.row["server"]: entry.row["verdict"] for entry in table.groups[0].entries}
    if table.groups[0].scenario != "hello":
        verdicts = {entry.row["server"]: entry.row["verdict"] for entry in table.groups[1].entries}
    assert (verdicts[FAILING], verdicts[LYING], verdicts[LIMITED]) == (
        "failed", "invalid", "generator-limited",
    )  # fmt: skip


def test_tail_is_shown_only_where_it_can_be_defended(servers, several):
    few = ranked(servers.run(1, a=0.05))  # 1,000 responses: one beyond the 99.9th percentile
    assert all(entry.row["p99_9_s"] is None for entry in few.entries)
    assert "p99.9" not in [column.head for column in few.columns]
    told = {entry.row["server"]: entry.row["p99_9_s"] for entry in ranked(several).entries}
    assert told[SCRIPT] > 0


def test_differences_are_those_with_the_best_and_the_placebo(servers, several):
    many = differences(several)
    best = {row["best"] for row in records(several.comparisons)}
    assert all(set(it.who.removesuffix(" (placebo)").split(" beside ")) & best for it in many.rows)
    assert "all 15 pairs" in many.about
    assert {it.verdict for it in many.rows} >= {"worse", "equivalent"}
    three = servers.run(6, a=0.05, **{"a#2": 0.05}, b=0.04)
    assert [it for it in differences(three).rows if it.placebo]
    assert differences(servers.run(1, a=0.05, b=0.04)) is None
    few = differences(servers.run(3, a=0.05, b=0.04)).rows[0]
    assert (few.verdict, few.instead) == ("", "no verdict: 3 pairs")


def test_capabilities_are_those_of_the_servers_that_were_measured():
    answers = [("a", "no", "<b>late</b>"), ("other", "yes", "")]
    probes = pd.DataFrame(
        {"run": "probe-1", "server": server, "group": "streaming", "probe": "sse",
         "question": "Events?", "answer": answer, "expected": "yes", "differs": answer == "no",
         "evidence": evidence}
        for server, answer, evidence in answers
    )  # fmt: skip
    found = capabilities(probes, {"a", "b"})
    assert [row.server for group in found.groups for row in group.rows] == ["a"]
    (answer,) = found.groups[0].rows[0].answers
    assert answer is not None
    assert answer["differs"]
    assert found.evidence[0].seen[0]["evidence"] == "<b>late</b>"
    assert capabilities(probes, {"b"}) is None


def test_every_link_and_label_of_the_page_has_its_target(page):
    found = Elements(page)
    ids = [attributes["id"] for _, attributes in found.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    wanted = {it["href"].removeprefix("#") for it in found.of("a")}
    for _, attributes in found.found:
        for name in ("aria-labelledby", "aria-describedby"):
            wanted |= set((attributes.get(name) or "").split())
    assert wanted <= set(ids)


def test_scripts_are_ours_and_allowed_by_their_digests(page):
    found = Elements(page)
    (csp,) = [str(it["content"]) for it in found.of("meta") if "http-equiv" in it]
    assert "default-src 'none'" in csp
    assert "unsafe" not in csp
    assert "http" not in csp
    for tag, attributes, text in found.raw:
        assert "src" not in attributes
        if attributes.get("type") in (None, "module"):
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in csp, (tag, text[:80])
    for _, attributes in found.found:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]


def test_names_and_logs_do_no_harm(tmp_path):
    cells = [cell(HOSTILE), cell(FORMULA)]
    builder = RunBuilder(tmp_path, cells, notes=(HOSTILE,))
    builder.failed(cells[0], reason=HOSTILE, log=f"{HOSTILE}\n\x00\x07</pre>{HOSTILE}")
    builder.measured(cells[1], closed(), versions={HOSTILE: HOSTILE}, argv=[HOSTILE])
    text = render(Results((builder.read(),)))
    calm = render(Results((RunBuilder(tmp_path, []).read(),)))
    scripts = [raw for raw in Elements(text).raw if raw[0] == "script"]
    kinds = {attributes.get("type") for _, attributes, _ in scripts}
    assert kinds == {None, "module", "text/plain", "application/json"}
    assert len([it for it in scripts if it[1].get("type") is None]) == 1
    assert "alert(1)" in text
    assert "<script>alert" not in text
    assert not set(text) & {"\x00", "\x07", "\x1b", "\u202e"}
    assert [tag for tag, _ in Elements(calm).found if tag == "pre"] == ["pre"]
    for _, attributes, data in scripts:
        if attributes.get("type") == "application/json":
            json.loads(data)


def test_document_in_the_page_is_the_one_of_json(several, page):
    (packed,) = [text for _, it, text in Elements(page).raw if it.get("id") == "document"]
    held = json.loads(gzip.decompress(base64.b64decode(packed)))
    frames = (several.trials, several.cells, several.comparisons)
    assert held == json.loads(json.dumps(plain(whole_document(several.run, frames))))


def test_page_is_the_same_each_time(several, page):
    assert render(several) == page


def test_embedded_json_cannot_end_its_script():
    value = {"a": HOSTILE, "b": ["<!--", 1.5, None, True]}
    assert "<" not in json_of(value)
    assert json.loads(json_of(value)) == value


@pytest.mark.parametrize("text", ["x </script> y", "<!-- x", "</STYLE>"])
def test_script_that_would_end_its_element_is_refused(text):
    with pytest.raises(ValueError, match="script"):
        script(text)


def test_policy_names_each_digest():
    assert policy(["a"], ["b"]).count("'sha256-") == 2


def test_page_is_written_whole_or_not_at_all(servers, monkeypatch):
    results = servers.run(1, a=0.05)
    path = write_page(results)
    assert path == results.run.path / "report.html"
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("harness.store.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_page(results)
    assert path.read_bytes() == before
    assert not [it for it in path.parent.iterdir() if it.name.startswith(".report")]


def test_publishing_says_where_the_page_is(servers, capsys):
    run = servers.run(1, a=0.05).run
    publish(*frames_of(run.path), as_json=False)
    said = capsys.readouterr()
    assert (run.path / "report.html").read_text("utf-8").startswith("<!doctype html>")
    assert f"page: {run.path / 'report.html'}" in said.err.replace("\n", "")
    assert "a" in said.out


def test_full_disk_does_not_hide_the_tables(servers, capsys, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    run = servers.run(1, marvellous=0.05).run
    monkeypatch.setattr(publication, "write_page", full)
    publish(*frames_of(run.path), as_json=False)
    said = capsys.readouterr()
    assert "marvellous" in said.out
    assert "report.html cannot be written: No space left on device" in said.err.replace("\n", "")
    assert (run.path / "report.md").exists()


@pytest.mark.slow
def test_page_of_a_big_run_is_small(tmp_path, capsys):
    path = big_run(tmp_path)
    begin = time.monotonic()
    page = write_page(load_run(path))
    with capsys.disabled():
        size = page.stat().st_size
        print(f"\n12 x 4 x 8: {size / 1e6:.2f} MB in {time.monotonic() - begin:.1f} s")
    assert size < 5e6
    text = page.read_text("utf-8")
    assert len(re.findall(r'<article id="cell=', text)) == 48
