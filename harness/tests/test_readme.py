"""A run's tables in a Markdown file of one's own."""

import re

import pytest

from harness.model import ConfigurationError
from harness.report.readme import splice
from harness.results import load_run
from harness.tests import manytrials
from harness.tests.commands import called

BEFORE, AFTER = "# Mine\n\n<!-- results -->\n", "<!-- /results -->\n\nMore | text.\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return manytrials.big_run(tmp_path_factory.mktemp("runs"), servers=5, scenarios=2, blocks=2)


def test_block_says_what_made_it_and_has_every_cell(run, tmp_path):
    file = tmp_path / "README.md"
    file.write_text(f"{BEFORE}old numbers\n{AFTER}")
    done = called("report", str(run), "--splice", "README.md", cwd=tmp_path)
    assert done.code == 0, done.err
    text = file.read_text()
    assert text.startswith(BEFORE)
    assert text.endswith(AFTER)
    assert "old numbers" not in text
    results = load_run(run)
    facts = results.run.facts
    for word in (" ".join(facts["command"]), facts["machine"]["cpu"], facts["created"][:10]):
        assert word in text
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    rows = [line for line in lines if " req/s " not in line and "---" not in line]
    assert len(rows) == len(results.cells)
    shown = {re.sub(r"\\", "", cell.strip()) for row in rows for cell in row.split("|")}
    assert {str(server) for server in results.cells["server"]} - {manytrials.SCRIPT} <= shown
    assert manytrials.SCRIPT not in text


def test_splicing_twice_is_as_once(run, tmp_path):
    file = tmp_path / "README.md"
    file.write_text(BEFORE + AFTER)
    splice(file, load_run(run))
    once = file.read_text()
    splice(file, load_run(run))
    assert file.read_text() == once


@pytest.mark.parametrize(
    "text", ["no marks", BEFORE, AFTER, AFTER + BEFORE, BEFORE + BEFORE + AFTER]
)
def test_file_without_one_pair_of_marks_is_left_as_it_is(run, tmp_path, text):
    file = tmp_path / "README.md"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match="has to have a line <!-- results -->"):
        splice(file, load_run(run))
    assert file.read_text() == text


def test_file_that_is_not_there_is_named(run, tmp_path):
    done = called("report", str(run), "--splice", "gone.md", cwd=tmp_path)
    assert done.code == 2
    assert "gone.md: cannot be read" in done.complaint
