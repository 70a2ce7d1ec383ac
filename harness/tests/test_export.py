"""`gatebench report --export`: all formats, where they go, and what is said of mistakes."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from harness.export.formats import FORMATS, export, formats_of
from harness.export.frames import FRAMES
from harness.model import ConfigurationError
from harness.results import Results, load_run
from harness.store import StorageError, write_text
from harness.tests.builders import RunBuilder, cell, closed
from harness.tests.commands import called
from harness.tests.manytrials import big_run

SEVERAL = [it.name for it in FORMATS.values() if it.several]
FILES = {
    "csv": [f"{name}.csv" for name in FRAMES],
    "parquet": [f"{name}.parquet" for name in FRAMES],
    "json": ["report.json"],
    "markdown": ["report.md"],
    "hdr": [],
    "github-action-benchmark": ["bigger-is-better.json", "smaller-is-better.json"],
    "bencher": ["bencher.json"],
    "benchfmt": ["benchfmt.txt"],
    "otava": ["otava.yaml"],
    "junit": ["junit.xml"],
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Path:
    """Six servers in two scenarios: in the first one is failed, one invalid, one limited."""
    return big_run(tmp_path_factory.mktemp("results"), servers=6, scenarios=2, blocks=2)


@pytest.fixture
def run(stored, tmp_path) -> Path:
    return Path(shutil.copytree(stored, tmp_path / "results" / stored.name))


def everything_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_command_writes_all_formats_below_the_run_and_says_what_they_leave_out(run, tmp_path):
    before = everything_in(tmp_path)
    finished = called("report", "--export", ",".join(FORMATS), "--json", cwd=tmp_path)
    assert finished.code == 0, finished.err
    new = everything_in(tmp_path) - before
    inside = f"results/{run.name}/export"
    assert {path for path in new if not path.startswith(inside)} == set()
    names = {Path(path).name for path in new}
    assert names >= {name for files in FILES.values() for name in files}
    assert json.loads((tmp_path / inside / "report.json").read_text()) == finished.document
    lines = {line.split(":")[0]: line for line in finished.err.splitlines()}
    said = {name: line.partition(" (left out: ")[2] for name, line in lines.items()}
    cells = "3 of 12 cells: 1 failed, 1 generator-limited, 1 invalid)"
    assert {name: text for name, text in said.items() if text} == {
        "github-action-benchmark": cells,
        "bencher": cells,
        "benchfmt": "6 of 24 trials: 2 failed, 2 generator-limited, 2 invalid)",
        "otava": cells,
    }


@pytest.mark.parametrize("name", FORMATS)
def test_run_without_any_trial_is_exported_as_empty(tmp_path, name):
    run = RunBuilder(tmp_path).read("interrupted")
    files = export(Results((run,)), formats_of([name], 1), tmp_path / "out")[name]
    assert [path.name for path in files] == FILES[name]


@pytest.mark.parametrize("name", SEVERAL)
def test_formats_for_several_runs_have_both(stored, tmp_path, name):
    other = shutil.copytree(stored, tmp_path / "20260101T000000Z")
    both = Results((load_run(stored).run, load_run(other).run))
    text = ""
    for path in export(both, formats_of([name], 2), tmp_path / "out")[name]:
        text += path.read_bytes().decode(errors="replace")
    assert stored.name in text
    assert "20260101T000000Z" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--export", "cvs"], ["unknown format 'cvs'", "csv, parquet", "did you mean csv?"]),
        (["--export", "csv,"], ["unknown format ''"]),
        (["--export-dir", "x"], ["--export-dir goes with --export"]),
        (["RUN", "RUN", "--export", "csv"], ["several runs", "--export-dir DIR"]),
        (
            ["RUN", "RUN", "--export", "csv,bencher", "--export-dir", "x"],
            ["--export bencher: holds one run, and 2 are named", "csv, parquet"],
        ),
    ],
)
def test_mistake_is_one_line_before_anything_is_printed_or_written(run, tmp_path, arguments, words):
    before = everything_in(tmp_path)
    named = [run.name if it == "RUN" else it for it in arguments]
    finished = called("report", *named, cwd=tmp_path)
    assert finished.code == 2
    assert all(word in finished.complaint for word in words), finished.complaint
    assert finished.out == ""
    assert everything_in(tmp_path) == before


@pytest.mark.usefixtures("run")
def test_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    finished = called("report", "--export", "junit", "--export-dir", "file/x", cwd=tmp_path)
    assert finished.code == 3
    assert "file/x: cannot be written: Not a directory" in finished.complaint


@pytest.mark.parametrize("name", FORMATS)
def test_full_disk_leaves_the_files_that_were_there(stored, tmp_path, name, monkeypatch):
    results, folder = load_run(stored), tmp_path / "out"
    files = export(results, formats_of([name], 1), folder)[name]
    for path in files:
        path.write_text("as it was")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"out: cannot be written: No space left on device"):
        export(results, formats_of([name], 1), folder)
    assert {path.read_text() for path in files} == {"as it was"}
    assert {path for path in folder.rglob("*") if path.is_file()} == set(files)


def test_formats_are_named_once_and_in_the_order_asked_for():
    asked = formats_of(["junit, csv", "junit", "bencher"], 1)
    assert [it.name for it in asked] == ["junit", "csv", "bencher"]
    with pytest.raises(ConfigurationError, match="holds one run"):
        formats_of(["hdr"], 2)


def test_list_tells_every_format(tmp_path):
    shown = called("list", "exports", "--json", cwd=tmp_path).document["exports"]
    assert [it["name"] for it in shown] == list(FORMATS)
    assert all(it["about"] and it["readers"] for it in shown)


def test_text_that_utf8_has_not_is_written_as_an_escape(tmp_path):
    write_text(tmp_path / "x", "a\udcffb")
    assert (tmp_path / "x").read_text("utf-8") == "a\\udcffb"


@pytest.mark.parametrize("name", FORMATS)
def test_texts_that_are_hardly_texts_break_no_format(tmp_path, name):
    # bytes of a command line that are not UTF-8 reach Python as surrogates
    asked = {"command": ["gatebench", "run", "\udcff\n", "--results", "a`b"]}
    builder = RunBuilder(tmp_path / "results", asked=asked)
    builder.measured(cell("<b>|`\u2028=1"), closed())
    builder.failed(cell("=cmd|' /C calc'!A0"), log="\x00\x1b[31m\x0b]]>\ufffe</x>\r\n" * 3)
    results = Results((builder.read(),))
    for path in export(results, formats_of([name], 1), tmp_path / "out")[name]:
        assert path.stat().st_size
