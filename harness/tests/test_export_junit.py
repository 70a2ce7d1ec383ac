"""JUnit's XML: junitparser reads back which cases passed, and why others did not."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from junitparser import Failure, JUnitXml, Skipped, TestCase

from harness.analyze import records
from harness.export import junit
from harness.export.text import title
from harness.results import Results, load_run
from harness.tests.builders import Requests, RunBuilder, cell, closed
from harness.tests.manytrials import big_run

# what junit-10.xsd, the schema of Jenkins' xUnit plugin, has of elements, attributes and children
ALLOWED: dict[str, tuple[set[str], set[str]]] = {
    "testsuites": ({"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname"},
        {"properties", "testcase", "system-out", "system-err"},
    ),
    "testcase": (
        {"name", "classname", "time"}, {"skipped", "failure", "system-out", "system-err"},
    ),
    "skipped": ({"type", "message"}, set()),
    "failure": ({"type", "message"}, set()),
    "system-out": (set(), set()),
    "system-err": (set(), set()),
}  # fmt: skip
NEEDED = {"name", "tests", "failures", "errors"}  # of a test suite


def cases_of(path: Path) -> dict[str, TestCase]:
    return {case.name: case for suite in JUnitXml.fromfile(str(path)) for case in suite}


def ended(case: TestCase) -> str:
    if not case.result:
        return "passed"
    (result,) = case.result
    return {Failure: "failure", Skipped: "skipped"}[type(result)]


def check_schema(element: ET.Element) -> None:
    attributes, children = ALLOWED[element.tag]
    assert set(element.attrib) <= attributes, element.tag
    assert element.tag != "testsuite" or set(element.attrib) >= NEEDED
    for child in element:
        assert child.tag in children, element.tag
        check_schema(child)


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Results:
    return load_run(big_run(tmp_path_factory.mktemp("results"), servers=6, scenarios=2, blocks=2))


def test_each_cell_is_a_case_that_ended_as_its_verdict_says(results, tmp_path):
    (path,) = junit.write(results, tmp_path)
    check_schema(ET.parse(path).getroot())  # noqa: S314
    cases = cases_of(path)
    ends = {"failed": "failure", "invalid": "failure", "generator-limited": "skipped"}
    assert list(cases) == [title(row) for row in records(results.cells)]
    for row in records(results.cells):
        case = cases[title(row)]
        assert case.classname == row["scenario"]
        assert ended(case) == ends.get(row["verdict"], "passed")
        if case.result:
            assert case.result[0].type == row["verdict"]
            assert case.result[0].message.startswith(f"{row['verdict']}: ")
            for reason in row["reasons"]:
                assert reason.replace("\x1b", "\\x1b") in case.result[0].text
    (suite,) = JUnitXml.fromfile(str(path))
    assert (suite.tests, suite.failures, suite.skipped, suite.errors) == (12, 2, 1, 0)


def test_log_of_a_failed_cell_is_there_without_what_xml_forbids(results, tmp_path):
    (path,) = junit.write(results, tmp_path)
    ended_cases = [case for case in cases_of(path).values() if case.result]
    (failed,) = (case for case in ended_cases if case.result[0].type == "failed")
    assert "Traceback:\\x1b[31m red" in failed.system_err
    assert "boom </pre><script>alert(2)</script>" in failed.system_err


@pytest.mark.parametrize("char", ["\x00", "\x08", "\x0b", "\x1f", "\x7f", "\ufffe", "\uffff"])
def test_character_that_xml_forbids_breaks_nothing(tmp_path, char):
    builder = RunBuilder(tmp_path)
    builder.failed(cell(f"a{char}b"), reason=f"c{char}d", log=f"e{char}f ]]>\n<g>&")
    (path,) = junit.write(Results((builder.read(),)), tmp_path)
    ((name, case),) = cases_of(path).items()
    assert name.startswith("a")
    assert case.system_err.endswith("f ]]>\n<g>&")


def test_cell_with_errors_fails_though_its_numbers_are_defended(tmp_path):
    requests = closed()
    failed = requests.done_s[requests.done_s > 0][::1000]
    builder = RunBuilder(tmp_path)
    builder.measured(
        cell(), Requests(requests.done_s, requests.took_s, failed_at_s=failed),
        errors={"reset": len(failed)},
    )  # fmt: skip
    results = Results((builder.read(),))
    assert results.cells.iloc[0]["verdict"] in ("valid", "server-limited")
    (path,) = junit.write(results, tmp_path)
    (case,) = cases_of(path).values()
    assert (ended(case), case.result[0].type) == ("failure", "errors")
    assert case.result[0].message == f"errors: {len(failed)} requests failed"


def duel(folder: Path, ratio: float, *, blocks: int = 8, command: str = "compare") -> Results:
    """B takes `ratio` times as long as A, with noise; and A once more as a placebo."""
    asked = {"command": ["gatebench", command, "a", "b"]}
    cells = [cell("a"), cell("b"), cell("a", entry=2)]
    builder = RunBuilder(folder, cells, blocks=blocks, asked=asked)
    random = np.random.default_rng(5)
    for _ in range(blocks):
        for it, factor in zip(cells, (1.0, ratio, 1.0), strict=True):
            took_s = 0.05 * factor * float(random.normal(1, 0.002))
            builder.measured(it, closed(took_s=took_s))
    return Results((builder.read(),))


def test_comparison_of_compare_fails_where_b_is_worse(tmp_path):
    results = duel(tmp_path, 1.25)
    (path,) = junit.write(results, tmp_path)
    check_schema(ET.parse(path).getroot())  # noqa: S314
    cases = cases_of(path)
    judged = results.comparisons[results.comparisons["gates"] & ~results.comparisons["placebo"]]
    expected = {
        "better": "passed", "equivalent": "passed", "worse": "failure", "inconclusive": "skipped",
    }  # fmt: skip
    for row in records(judged):
        assert ended(cases[f"b beside a: {row['metric']}"]) == expected[row["verdict"]]
    throughput = cases["b beside a: throughput"]
    assert ended(throughput) == "failure"
    assert throughput.result[0].message.startswith("b is worse than a: 0.799 times")
    assert ended(cases["placebo: throughput"]) == "passed"
    assert "b beside a: p99" not in cases  # shown, not judged


def test_comparison_with_too_few_pairs_is_skipped_with_the_reason(tmp_path):
    (path,) = junit.write(duel(tmp_path, 1.25, blocks=3), tmp_path)
    case = cases_of(path)["b beside a: throughput"]
    assert ended(case) == "skipped"
    assert "no verdict: 3 pairs of valid trials, 6 are needed" in case.result[0].message


def test_placebo_that_is_called_different_fails(tmp_path):
    results = duel(tmp_path, 1.0)
    alarmed = results.comparisons.assign(verdict="worse")
    results.__dict__["comparisons"] = alarmed  # no honest run shows it on demand
    (path,) = junit.write(results, tmp_path)
    case = cases_of(path)["placebo: throughput"]
    assert ended(case) == "failure"
    assert case.result[0].message.startswith("a is called different from itself")


def test_pairs_of_a_run_are_no_gates(tmp_path):
    (path,) = junit.write(duel(tmp_path, 1.25, command="run"), tmp_path)
    assert not [name for name in cases_of(path) if "beside" in name]
