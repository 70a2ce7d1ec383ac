"""What releases changed: runs whose truth is known, as lineages, tables, JSON and Markdown."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from harness.analyze.decision import FEWEST
from harness.history import Archive, MachineClass
from harness.history.release import lineages, newest, placebos, version_of
from harness.report.releases import release_block, release_sheets
from harness.tests.builders import MACHINE
from harness.tests.commands import called
from harness.tests.histories import cell, record

BLOCKS = 8


def blocks(level, seed, deviation=0.01):
    return (level * np.exp(np.random.default_rng(seed).normal(0, deviation, BLOCKS))).tolist()


def run(levels, number=0, **facts):
    """A run of `demo` in these versions, each with its requests per second, beside base@1.0."""
    cells = [cell("base@1.0", blocks(1000, 99))]
    for seed, (version, level) in enumerate(levels.items()):
        values = level if isinstance(level, list) else blocks(level, seed)
        known = {"demo": version, "h11": "0.14"}
        cells.append(cell(f"demo@{version}", values, versions=known))
    return record(number, cells, blocks=BLOCKS, **facts)


def one(record, metric="throughput"):
    (found,) = [it for it in lineages(record) if it.key.metric == metric]
    return found


@pytest.mark.parametrize(
    ("label", "name", "version"),
    [
        ("uvicorn@0.50.1", "uvicorn", "0.50.1"),
        ("nginx+uvicorn@0.50", "nginx+uvicorn", "0.50"),
        ("uvicorn@0.50 (Python 3.13)", "uvicorn (Python 3.13)", "0.50"),
        ("uvicorn@0.50+cpu=5%", "uvicorn+cpu=5%", "0.50"),
    ],
)
def test_label_is_a_name_and_a_version(label, name, version):
    assert version_of(label) == (name, version)


def test_label_without_a_version_is_none():
    assert version_of("uvicorn") is None


def test_each_release_is_beside_the_one_before_by_version_not_by_spelling():
    it = one(run({"0.10": 800, "0.9": 1000, "0.2": 1000}))
    assert [release.version for release in it.releases] == ["0.2", "0.9", "0.10"]
    first, same, slower = it.releases
    assert first.step is None
    assert (same.step.older, same.step.newer, same.step.verdict) == ("0.2", "0.9", "equivalent")
    assert (slower.step.verdict, slower.step.pairs) == ("worse", BLOCKS)
    assert slower.step.ratio == pytest.approx(0.8, rel=0.02)
    assert slower.step.low < 0.8 < slower.step.high
    assert (it.whole.older, it.whole.newer, it.whole.verdict) == ("0.2", "0.10", "worse")
    assert it.key.server == "demo"


def test_better_is_worse_where_less_is_better():
    it = one(run({"1": 1000, "2": 800}), "p50")
    assert it.releases[1].step.ratio == pytest.approx(1.25, rel=0.02)
    assert it.releases[1].step.verdict == "worse"


def test_ratio_is_to_the_reference_of_the_same_run():
    it = one(run({"1": 1000, "2": 500}))
    assert it.key.reference == "base@1.0"
    assert [release.ratio.value for release in it.releases] == pytest.approx([1, 0.5], rel=0.02)
    own = lineages(run({"1": 1000, "2": 500}), "demo@1")
    assert own[0].releases[0].ratio is None  # the reference itself
    assert own[0].releases[1].ratio.value == pytest.approx(0.5, rel=0.02)
    assert [it.releases[1].ratio for it in lineages(run({"1": 1, "2": 1}), "")] == [None] * len(own)


def test_release_that_failed_is_a_gap_with_its_reason_and_bridged_by_nothing():
    broken = cell(
        "demo@2", [None] * BLOCKS, verdict="failed", reasons=("it ended with exit code 1",),
        versions={"demo": "2"},
    )  # fmt: skip
    whole = run({"1": 1000, "3": 800})
    it = one(replace(whole, cells=(*whole.cells, broken)))
    gone, after = it.releases[1], it.releases[2]
    assert (gone.figure.value, gone.step.ratio, gone.step.pairs) == (None, None, 0)
    assert gone.step.gap == after.step.gap == "demo@2: failed; it ended with exit code 1"
    assert it.whole.verdict == "worse"
    (sheet,) = release_sheets(lineages(replace(whole, cells=(*whole.cells, broken))))
    assert any("demo 2 on hello: failed" in note for note in sheet.notes)


def test_other_packages_that_changed_are_named_and_the_release_itself_is_not():
    whole = run({"1": 1000, "2": 1000})
    old = replace(whole.cells[1], versions={"demo": "1", "h11": "0.13", "wsproto": "1.0"})
    it = one(replace(whole, cells=(whole.cells[0], old, whole.cells[2])))
    said = [*map(str, it.releases[1].step.packages)]
    assert said == ["h11 0.13 → 0.14", "wsproto 1.0 → none"]


def test_feature_version_is_any_of_its_patches():
    whole = run({"0.50": 1000, "0.51": 1000})
    cells = [
        replace(it, versions={"demo": f"{it.versions['demo']}.3", "h11": "0.14"})
        for it in whole.cells[1:]
    ]
    it = one(replace(whole, cells=(whole.cells[0], *cells)))
    assert it.releases[1].step.packages == ()


def test_run_that_could_be_extended_is_judged_at_half_the_level():
    whole = run({"1": 1000, "2": 1000})
    steps = [one(it).releases[1].step for it in (whole, replace(whole, looks=2))]
    assert [step.confidence for step in steps] == [0.99, 0.995]


def test_few_pairs_are_numbers_and_no_verdict():
    few = {"1": [1000.0] * (FEWEST - 1), "2": [500.0, 501, 502, 503, 504]}
    it = one(run(few))
    step = it.releases[1].step
    assert (step.pairs, step.p_holm, step.verdict) == (FEWEST - 1, None, "inconclusive")
    assert step.ratio == pytest.approx(0.502, rel=0.01)
    (sheet,) = release_sheets(lineages(run(few)))
    assert "0.502× (no verdict)" in sheet.rows[1]
    assert any("are needed for a verdict" in note for note in sheet.notes)
    assert not sheet.findings


def test_only_versions_that_stand_beside_each_other_make_a_lineage():
    assert not lineages(record(0, [cell("base@1.0", blocks(1, 1)), cell("demo", blocks(1, 2))]))
    twin = cell("demo@1#2", blocks(1000, 5), twin_of="demo@1")
    alone = record(0, [cell("demo@1", blocks(1000, 1)), twin])
    assert not lineages(alone)
    assert not lineages(run({"1": 1000, "2": 900}, ended="interrupted"))
    other = replace(cell("demo@2", blocks(900, 2)), scenario="echo")
    assert not lineages(record(0, [cell("demo@1", blocks(1000, 1)), other]))


def test_server_entered_twice_is_compared_with_itself():
    whole = run({"1": 1000, "2": 900})
    again = cell("base@1.0#2", blocks(1000, 5), twin_of="base@1.0")
    entered = replace(whole, cells=(*whole.cells, again))
    (steps,) = placebos(entered)
    assert steps["throughput"].verdict == "equivalent"
    assert steps["throughput"].ratio == pytest.approx(1, rel=0.01)
    assert not placebos(whole)
    assert (
        "with itself 2 times, figure by figure: 0 of these were told apart, at "
        in release_block(lineages(entered))
    )


def test_of_two_runs_of_the_same_the_last_one_holds():
    runs = [run({"1": 1000, "2": 900}), run({"1": 1000, "2": 700}, number=1)]
    (it,) = [it for it in newest(runs) if it.key.metric == "throughput"]
    assert it.releases[1].step.ratio == pytest.approx(0.7, rel=0.02)


@pytest.mark.parametrize("order", [1, -1])
def test_runs_beside_other_references_are_of_the_same_lineage(order):
    """The first of them has no server of its own to be compared with."""
    three = run({"1": 1000, "2": 900, "3": 800})
    runs = [replace(three, cells=three.cells[1:]), run({"2": 900, "3": 700})]
    runs = [replace(it, id=str(at)) for at, it in enumerate(runs[::order])]
    found = newest(runs)
    (it,) = [it for it in found if it.key.metric == "throughput"]
    assert it.run.id == "1"
    (sheet,) = release_sheets(found)
    assert len(sheet.rows) == len(it.releases) == (2 if order == 1 else 3)


def test_releases_that_do_not_differ_are_rarely_told_apart():
    """1 % of runs may raise a false alarm, whatever the number of releases."""
    alarms = 0
    for seed in range(300):
        random = np.random.default_rng(seed)
        levels = {str(it): (1000 * np.exp(random.normal(0, 0.05, BLOCKS))).tolist()
                  for it in range(8)}  # fmt: skip
        found = lineages(run(levels))
        steps = [release.step for it in found for release in it.releases[1:]]
        alarms += any(step.tells for step in [*steps, *(it.whole for it in found)])
    assert alarms <= 9  # P(more than 9 of 300 at 1 %) < 0.2 %


def test_a_release_that_is_much_slower_is_found_nearly_always():
    found = [
        one(run({"1": blocks(1000, seed), "2": blocks(900, 999 - seed)})) for seed in range(50)
    ]
    assert sum(it.releases[1].step.verdict == "worse" for it in found) >= 48


@pytest.fixture
def folder(tmp_path):
    """A folder with a history in `releases`."""
    kept = run({"1.0": 1000, "1.1": 800, "1.2": 800}, command="gatebench run demo@1.0,1.1")
    Archive(tmp_path / "releases").add(kept)
    return tmp_path


def releases(*more, cwd):
    return called("history", "releases", "--history", "releases", *more, cwd=cwd)


def test_command_tells_what_releases_changed(folder):
    finished = releases(cwd=folder)
    assert finished.code == 0, finished.err
    assert re.search(r"demo 1\.1 after 1\.0: throughput worse 0\.(79|8)\d*× \[", finished.out)
    assert "demo 1.2 after 1.0" in finished.out
    assert "demo 1.2 after 1.1" not in finished.out
    document = releases("--json", cwd=folder).document
    (it,) = [it for it in document["lineages"] if it["key"]["metric"] == "throughput"]
    assert [release["version"] for release in it["releases"]] == ["1.0", "1.1", "1.2"]
    verdicts = [release["step"]["verdict"] for release in it["releases"][1:]]
    assert verdicts == ["worse", "equivalent"]
    assert it["key"]["machine"] == MachineClass.of(MACHINE).id


def test_table_is_spliced_between_its_marks_alone(folder):
    page = folder / "README.md"
    page.write_text(
        "a\n<!-- results -->x<!-- /results -->\n<!-- releases -->\n<!-- /releases -->\nb"
    )
    assert releases("--splice", "README.md", cwd=folder).code == 0
    text = page.read_text("utf-8")
    assert text.startswith("a\n<!-- results -->x<!-- /results -->\n<!-- releases -->\n| server |")
    assert text.endswith("<!-- /releases -->\nb")
    assert "`gatebench run demo@1.0,1.1`" in text
    assert re.search(r"\| demo \| hello \| 1\.1 \| 1\.0 \| worse 0\.(79|8)\d*×", text)
    assert "| 1.2 | 1.1 |" not in text
    page.write_text("no marks")
    refused = releases("--splice", "README.md", cwd=folder)
    assert refused.code == 2
    assert "<!-- releases -->" in refused.complaint


def test_names_do_no_harm_in_markdown():
    script = "<script>alert(1)</script>"
    whole = run({"1": 1000, "2": 500})
    named = [replace(it, server=it.server.replace("demo", script)) for it in whole.cells]
    text = release_block(lineages(replace(whole, cells=tuple(named))))
    assert "<script>" not in text
    assert "script" in text


def test_history_without_versions_says_how_to_get_them(tmp_path):
    Archive(tmp_path / "releases").add(record(0, [cell("a", [1.0])]))
    refused = releases(cwd=tmp_path)
    assert refused.code == 2
    assert "no run has two versions of a server" in refused.complaint
