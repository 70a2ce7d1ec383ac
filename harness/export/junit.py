"""JUnit's XML, which every CI system reads: each cell a test case, and each comparison.

A cell passes if its numbers are defended and no request failed; it fails if it is invalid, failed
or had errors; it is skipped if the numbers say nothing of the server. Of `gatebench compare` and
`gate` each judged metric is a test case: B worse than A fails, inconclusive is skipped. A placebo
that is called different fails, since then no verdict of the run is worth much.

Source: the schema junit-10.xsd of Jenkins' xUnit plugin, within which this stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

from harness.analyze import records
from harness.analyze.decision import BETTER, FEWEST, INCONCLUSIVE, WORSE
from harness.analyze.verdict import FAILED, INVALID, RANKED
from harness.export.figures import Row
from harness.export.frames import each_run
from harness.export.text import printable, title
from harness.model import visible
from harness.report.verdicts import told
from harness.results import Results
from harness.store import write_text

FAILURE, ERROR, SKIPPED = "failure", "error", "skipped"
# beyond what `printable` leaves, XML 1.0 has no surrogates and none of these two
ILLEGAL = re.compile("[\ud800-\udfff\ufffe\uffff]")
COUNTED = {"tests": "testcase", "failures": FAILURE, "errors": ERROR, "skipped": SKIPPED}


class Case(NamedTuple):
    """A test case: how it ended (None: it passed), why in a line, and all there is to say."""

    group: str
    name: str
    ended: str | None
    kind: str
    why: str
    text: str
    log: str = ""


def write(results: Results, folder: Path) -> list[Path]:
    """`junit.xml`, with a suite of cells and one of comparisons for each run that has them."""
    suites = []
    for each in each_run(results):
        name, created = each.run.path.name, each.run.facts["created"]
        suites.append((f"{name} cells", created, [_cell(row) for row in records(each.cells)]))
        if compared := list(_comparisons(each)):
            suites.append((f"{name} comparisons", created, compared))
    path = folder / "junit.xml"
    write_text(path, document(suites))
    return [path]


def document(suites: Iterable[tuple[str, str, Iterable[Case]]]) -> str:
    """The XML of suites: of each its name, when it was begun (ISO 8601), and its cases."""
    whole = ET.Element("testsuites", name="gatebench")
    for name, created, cases in suites:
        suite = ET.SubElement(whole, "testsuite", name=_line(name), timestamp=created[:19])
        suite.extend(map(_element, cases))
        _count(suite)
    _count(whole)
    del whole.attrib["skipped"]  # which the schema has for suites alone
    ET.indent(whole, " ")
    text = ET.tostring(whole, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _cell(row: Row) -> Case:
    reasons = list(row["reasons"])
    text = "\n".join([f"rests on {row['used']} of {row['trials']} trials", *reasons])
    if row["verdict"] in (FAILED, INVALID):
        ended, kind, why = FAILURE, row["verdict"], "; ".join(reasons)
    elif row["errors"]:
        ended, kind, why = FAILURE, "errors", f"{row['errors']:.0f} requests failed"
    elif row["verdict"] in RANKED:
        ended, kind, why = None, row["verdict"], ""
    else:
        ended, kind, why = SKIPPED, row["verdict"], "; ".join(reasons)
    return Case(row["scenario"], title(row), ended, kind, f"{kind}: {why}", text, row["log"] or "")


def _comparisons(results: Results) -> Iterator[Case]:
    """Of two servers that were compared, not of all pairs of a run."""
    if results.run.facts["command"][1:2] not in (["compare"], ["gate"]):
        return
    for row in records(results.comparisons):
        if row["gates"]:
            yield _placebo(row) if row["placebo"] else _compared(row)


def _compared(row: Row) -> Case:
    open_question = row["verdict"] == INCONCLUSIVE or row["pairs"] < FEWEST
    ended = SKIPPED if open_question else FAILURE if row["verdict"] == WORSE else None
    name = f"{row['b']} beside {row['a']}: {row['metric']}"
    return Case(row["scenario"], name, ended, row["verdict"], told(row), told(row))


def _placebo(row: Row) -> Case:
    alarm = row["verdict"] in (BETTER, WORSE)
    ended = FAILURE if alarm else SKIPPED if row["pairs"] < FEWEST else None
    why = f"{row['a']} is called different from itself: {told(row)}" if alarm else told(row)
    return Case(row["scenario"], f"placebo: {row['metric']}", ended, row["verdict"], why, why)


def _element(case: Case) -> ET.Element:
    element = ET.Element("testcase", classname=_line(case.group), name=_line(case.name))
    if case.ended:
        end = ET.SubElement(element, case.ended, type=case.kind, message=_line(case.why))
        end.text = _legal(case.text)
    else:
        ET.SubElement(element, "system-out").text = _legal(case.text)
    if case.log:
        ET.SubElement(element, "system-err").text = _legal(case.log)
    return element


def _count(suite: ET.Element) -> None:
    for name, tag in COUNTED.items():
        suite.set(name, str(sum(1 for _ in suite.iter(tag))))


def _line(text: str) -> str:
    return _legal(visible(text))


def _legal(text: str) -> str:
    return ILLEGAL.sub("\ufffd", printable(text))
