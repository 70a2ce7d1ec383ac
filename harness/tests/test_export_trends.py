"""What is handed to github-action-benchmark, Bencher and benchstat: defended numbers alone.

benchstat itself comes by Go's own module proxy only, so a parser as strict as the format's grammar
(golang.org/design/14313-benchmark-format) reads what is written for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from harness.analyze import records
from harness.export import bencher, benchfmt, github
from harness.export.figures import defended, left_out
from harness.export.text import title, word
from harness.results import Results, load_run
from harness.tests.builders import (
    GENERATOR,
    SERVER,
    RunBuilder,
    cell,
    closed,
    constant_rate,
    random_times,
)  # fmt: skip
from harness.tests.manytrials import SCRIPT, big_run

DEFENDED = ("valid", "server-limited")


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Results:
    return load_run(big_run(tmp_path_factory.mktemp("results"), servers=6, scenarios=4, blocks=3))


def by_title(results: Results) -> dict[str, dict[str, Any]]:
    return {title(row): row for row in records(results.cells)}


def test_title_is_the_same_from_run_to_run_and_apart_for_every_cell(results):
    titles = by_title(results)
    assert len(titles) == len(results.cells)
    assert "gunicorn-sync/wsgi/hello/users=32/workers=2" in titles
    assert "gunicorn-sync/wsgi/websocket_echo/rate=400/arrivals=constant/users=32/workers=2" in (
        titles
    )


def test_only_cells_whose_numbers_are_defended_are_handed_out(results):
    rows = defended(results)
    verdicts = {title(row): row["verdict"] for row in records(results.cells)}
    assert {title(row) for row in rows} == {
        name for name, verdict in verdicts.items() if verdict in DEFENDED
    }
    assert len(rows) == len(verdicts) - 3


def test_rates_that_a_search_tried_are_no_series(tmp_path):
    builder = RunBuilder(tmp_path, asked={"capacity": {"slo": "p99<1s", "precision": 0.05}})
    due = {"offered": 1000, "unsent": 0, "unanswered": 0}
    builder.measured(cell("demo"), closed())
    builder.measured(cell("demo", rate_per_s=200.0), constant_rate(), load=due)
    results = Results((builder.read(),))
    assert [row["model"] for row in defended(results)] == ["closed"]
    assert left_out(results) == "1 of 2 cells: 1 tried in a search"


def test_placebo_is_no_series_of_its_own(tmp_path):
    builder = RunBuilder(tmp_path)
    builder.measured(cell("demo"), closed())
    builder.measured(cell("demo", entry=2), closed())
    assert [row["server"] for row in defended(Results((builder.read(),)))] == ["demo"]


def test_github_action_gets_the_frames_numbers_in_two_files(results, tmp_path):
    paths = github.write(results, tmp_path)
    bigger, smaller = (json.loads(path.read_text()) for path in paths)
    cells = by_title(results)
    scales = {
        "throughput": ("req/s", "throughput_per_s", 1), "p50": ("ms", "p50_s", 1e3),
        "p90": ("ms", "p90_s", 1e3), "server CPU": ("s/1000 req", "server_cpu_s_per_1k", 1),
        "server memory (PSS)": ("MiB", "server_pss_bytes", 2**-20),
    }  # fmt: skip
    assert {it["name"].partition(" ")[2] for it in bigger} == {"throughput"}
    assert {it["name"].partition(" ")[2] for it in smaller} == {*scales, "errors"} - {"throughput"}
    assert len(bigger) == len(defended(results))
    for it in bigger + smaller:
        name, _, metric = it["name"].partition(" ")
        row = cells[name]
        assert row["verdict"] in DEFENDED
        assert it["extra"].startswith(f"{row['verdict']}\nmedian of 3 of 3 trials\n")
        if metric == "errors":
            assert (it["unit"], it["value"]) == ("%", 0.0)
            continue
        unit, column, factor = scales[metric]
        assert it["unit"] == unit
        assert it["value"] == pytest.approx(row[column] * factor, rel=1e-12)
        half = (row[f"{column}_high"] - row[f"{column}_low"]) / 2 * factor
        # what the action's own expression finds in it
        shown = re.search(r"(?:\+-|±)\s*(\d.+)", it["range"])
        assert shown is not None
        assert float(shown[1]) == pytest.approx(half, rel=1e-4)


def test_single_trial_has_no_range(tmp_path):
    builder = RunBuilder(tmp_path)
    builder.measured(cell("demo"), closed())
    results = Results((builder.read(),))
    (entry,) = json.loads(github.write(results, tmp_path)[0].read_text())
    assert "range" not in entry
    (path,) = bencher.write(results, tmp_path)
    ((_, measures),) = json.loads(path.read_text()).items()
    assert all(list(metric) == ["value"] for metric in measures.values())


def test_bencher_gets_nanoseconds_and_operations_per_second(results, tmp_path):
    (path,) = bencher.write(results, tmp_path)
    found = json.loads(path.read_text())
    cells = by_title(results)
    assert set(found) == {title(row) for row in defended(results)}
    for name, measures in found.items():
        for measure, metric in measures.items():  # as its schema and its limits have it
            assert len(measure) <= 64
            assert "value" in metric
            assert set(metric) <= {"value", "lower_value", "upper_value"}
            assert all(type(value) is float for value in metric.values())
        row = cells[name]
        for measure, column, factor in (
            ("throughput", "throughput_per_s", 1),
            ("latency", "p50_s", 1e9),
            ("latency-p90-ns", "p90_s", 1e9),
            ("server-cpu-ns-per-request", "server_cpu_s_per_1k", 1e9 / 1000),
            ("server-pss-bytes", "server_pss_bytes", 1),
        ):
            ends = [row[column], row[f"{column}_low"], row[f"{column}_high"]]
            assert list(measures[measure].values()) == pytest.approx([it * factor for it in ends])
            assert measures[measure]["lower_value"] <= measures[measure]["value"]


def test_errors_are_a_share_of_all_requests(tmp_path):
    builder = RunBuilder(tmp_path)
    requests = closed(took_s=0.05)
    failed = requests.done_s[requests.done_s > 0][::10]
    builder.measured(
        cell("demo"), type(requests)(requests.done_s, requests.took_s, failed_at_s=failed),
        errors={"reset": len(failed)},
    )  # fmt: skip
    results = Results((builder.read(),))
    row = results.cells.iloc[0]
    share = row["errors"] / (row["errors"] + row["requests"])
    assert share == pytest.approx(1 / 11, rel=0.05)
    (path,) = bencher.write(results, tmp_path)
    assert next(iter(json.loads(path.read_text()).values()))["errors-share"]["value"] == share


class Result(NamedTuple):
    """A benchmark's line, with the configuration that held when it was read."""

    name: str
    parts: dict[str, str]
    iterations: int
    values: dict[str, float]
    config: dict[str, str]


def is_key(text: str) -> bool:
    return bool(text) and text[0].islower() and not any(it.isspace() or it.isupper() for it in text)


def read_benchfmt(text: str) -> Iterator[Result | tuple[str, str, str]]:
    """Results and `Unit` lines of a file; AssertionError at what no reader would take as meant."""
    config: dict[str, str] = {}
    for line in text.split("\n"):
        key, colon, value = line.partition(":")
        if line.startswith("Benchmark"):
            yield _result(line, dict(config))
        elif line.startswith("Unit "):
            _, unit, fact = line.split(" ")
            name, equals, said = fact.partition("=")
            assert equals
            yield unit, name, said
        elif colon and is_key(key):
            assert value.startswith((" ", "\t")) or not value, line
            config[key] = value.strip()
        else:
            assert not line or line.startswith("# "), line


def _result(line: str, config: dict[str, str]) -> Result:
    fields = line.split()  # at every white space of Unicode, as Go's strings.Fields
    assert len(fields) >= 4
    assert len(fields) % 2 == 0, line
    name, iterations, *rest = fields
    assert name.removeprefix("Benchmark")[0].isupper()
    assert not re.search(r"-\d+$", name), "would be read as GOMAXPROCS"
    base, *parts = name.split("/")
    assert base == "BenchmarkServing"
    assert all(re.fullmatch(r"[a-z]+=.+", part) for part in parts), name
    pairs = dict(part.split("=", 1) for part in parts)
    assert len(pairs) == len(parts)
    assert re.fullmatch(r"\d+", iterations)
    values = {unit: float(value) for value, unit in zip(rest[::2], rest[1::2], strict=True)}
    assert len(values) == len(rest) // 2, "a unit is there twice"
    return Result(name, pairs, int(iterations), values, config)


def test_benchfmt_has_a_line_for_each_defended_trial_with_the_frames_numbers(results, tmp_path):
    (path,) = benchfmt.write(results, tmp_path)
    found = list(read_benchfmt(path.read_text()))
    lines = [it for it in found if isinstance(it, Result)]
    rows = [row for row in records(results.trials) if row["verdict"] in DEFENDED]
    assert len(lines) == len(rows) > 50
    for line, row in zip(lines, rows, strict=True):
        assert line.parts["server"] == word(row["server"])
        assert line.parts["scenario"] == row["scenario"]
        assert line.iterations == row["requests"]
        expected = {
            "ns/op": row["mean_s"] * 1e9,
            "req/s": row["throughput_per_s"],
            "p50-ns": row["p50_s"] * 1e9,
            "p90-ns": row["p90_s"] * 1e9,
            "p99-ns": row["p99_s"] * 1e9,
            "server-cpu-ns/op": row["server_cpu_s_per_1k"] / 1000 * 1e9,
            "server-pss-bytes": row["server_pss_bytes"],
            "errors/op": 0.0,
        }
        assert line.values == pytest.approx(expected, rel=1e-9)
        assert line.config["cpu"] == "Imaginary 9000"
        assert "run" not in line.config  # two files of one run each are to be compared
    units = {it[0]: it[2] for it in found if not isinstance(it, Result)}
    assert units == dict.fromkeys(lines[0].values, "lower") | {"req/s": "higher"}


def test_benchfmt_leaves_out_a_p99_that_chance_has_made(tmp_path):
    """Of 900 answers nine lie beyond it, of 1,000 ten."""
    for users, told in ((9, False), (10, True)):
        it = cell("few", users=users)
        builder = RunBuilder(tmp_path / str(users), [it])
        builder.measured(it, closed(users))
        results = Results((builder.read(),))
        (path,) = benchfmt.write(results, tmp_path)
        (line,) = (it for it in read_benchfmt(path.read_text()) if isinstance(it, Result))
        assert line.iterations == 100 * users
        assert ("p99-ns" in line.values) is told
        assert list(results.cells["p99_by_chance"]) == [not told]


def test_benchfmt_says_of_each_trial_that_is_left_out_why(results, tmp_path):
    (path,) = benchfmt.write(results, tmp_path)
    said = [line for line in path.read_text().splitlines() if " is left out, " in line]
    left_out = [row for row in records(results.trials) if row["verdict"] not in DEFENDED]
    assert len(said) == len(left_out) == 9
    for line, row in zip(said, left_out, strict=True):
        assert line.startswith(f"# trial {row['number']} is left out, {row['verdict']}: ")
        assert "\x1b" not in line


def test_benchfmt_of_several_runs_tells_them_apart(results, tmp_path):
    other = RunBuilder(tmp_path)
    other.measured(cell("demo"), random_times())
    both = Results((*results.runs, other.read()))
    (path,) = benchfmt.write(both, tmp_path)
    runs = {it.config["run"] for it in read_benchfmt(path.read_text()) if isinstance(it, Result)}
    assert runs == {run.path.name for run in both.runs}


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("a b", "a%20b"),
        ("a/b", "a%2Fb"),
        ("50%", "50%25"),
        ("a\nBenchmarkX 1 1 ns/op", "a%0ABenchmarkX%201%201%20ns%2Fop"),
        ("a\u2003b", "a%E2%80%83b"),
        ("uvicorn@0.30", "uvicorn@0.30"),
        (SCRIPT, "<script>alert(1)<%2Fscript>"),
    ],
)
def test_names_are_one_word_and_hostile_ones_stay_one(tmp_path, name, made):
    assert word(name) == made
    builder = RunBuilder(tmp_path)
    builder.measured(cell(name), closed(), (SERVER, GENERATOR))
    (path,) = benchfmt.write(Results((builder.read(),)), tmp_path)
    (line,) = (it for it in read_benchfmt(path.read_text()) if isinstance(it, Result))
    assert line.parts["server"] == made


def test_files_are_utf8_and_end_with_a_line_break(results, tmp_path):
    for module in (github, bencher, benchfmt):
        for path in module.write(results, tmp_path):
            assert Path(path).read_bytes().decode("utf-8").endswith("\n")
