"""Every frame has the documented columns and types, whatever is in it, and names tell units."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from harness import Results, load_run
from harness.analyze import cells_frame, records, trials_frame
from harness.analyze.columns import FRAMES, NUMBER, UNITS, described, frame, names
from harness.tests.builders import GENERATOR, SERVER, Process, RunBuilder, cell, closed
from harness.tests.manytrials import big_run

OF_RESULTS = tuple(name for name in FRAMES if name != "percentiles")
PROXY = Process("proxy", 300, cpu=0.05, role="proxy")
PROBE = {
    "schema": 1,
    "probes": [{"name": "keep-alive", "group": "HTTP/1", "question": "Is it kept?", "only": None}],
    "servers": [
        {
            "server": "demo", "front": None, "app": "wsgi", "speaks": "wsgi", "workers": 2,
            "threads": None, "command": "demo", "versions": {"demo": "1.2"}, "python": "3.11.0",
            "failure": None,
            "probes": [
                {
                    "name": "keep-alive", "answer": "no", "evidence": "it closed",
                    "expected": "yes", "differs": True, "took_s": 0.1,
                }
            ],
        },
        {
            "server": "other", "front": None, "app": "wsgi", "speaks": "wsgi", "workers": 2,
            "threads": 4, "command": "demo", "versions": {}, "python": None,
            "failure": {"reason": "it did not start", "log": ""}, "probes": [],
        },
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Results:
    folder = tmp_path_factory.mktemp("whole")
    run = big_run(folder, servers=6, scenarios=4, blocks=6)
    (folder / "probe-1").mkdir()
    (folder / "probe-1" / "probe.json").write_text(json.dumps(PROBE))
    return load_run(run)


@pytest.fixture
def empty(tmp_path) -> Results:
    return load_run(RunBuilder(tmp_path).read().path)


@pytest.fixture
def failed(tmp_path) -> Results:
    builder = RunBuilder(tmp_path, [cell()])
    builder.failed(cell(), "environment", "no such package", log="a\nb")
    return load_run(builder.read().path)


def types(found: pd.DataFrame) -> list[tuple[str, str]]:
    return [(str(name), str(dtype)) for name, dtype in found.dtypes.items()]


def documented(name: str) -> list[tuple[str, str]]:
    return [(column.name, column.dtype) for column in FRAMES[name]]


@pytest.mark.parametrize("name", OF_RESULTS)
def test_frame_of_a_whole_run_is_as_documented(whole, name):
    found = getattr(whole, name)
    assert len(found)
    assert types(found) == documented(name)


@pytest.mark.parametrize("name", OF_RESULTS)
def test_frame_without_rows_is_as_documented(empty, name):
    found = getattr(empty, name)
    assert found.empty
    assert types(found) == documented(name)


@pytest.mark.parametrize("name", OF_RESULTS)
def test_frame_of_trials_that_failed_is_as_documented(failed, name):
    assert types(getattr(failed, name)) == documented(name)


@pytest.mark.parametrize("name", OF_RESULTS)
def test_frame_of_runs_that_know_different_things_is_as_documented(tmp_path, name):
    """A proxy in one, threads in another, and nothing in a third."""
    paths = []
    for place, (it, processes) in enumerate(
        [(cell(), (SERVER, GENERATOR, PROXY)), (cell("b", threads=4), (SERVER, GENERATOR))]
    ):
        builder = RunBuilder(tmp_path / str(place), [it])
        builder.measured(it, closed(), processes)
        paths.append(builder.read().path)
    nothing = RunBuilder(tmp_path / "none").read()
    runs = tuple(run for path in paths for run in load_run(path).runs)
    found = getattr(Results((*runs, nothing)), name)
    assert types(found) == documented(name)


@pytest.mark.parametrize("name", FRAMES)
def test_no_column_is_there_twice(name):
    assert len(set(names(name))) == len(names(name))


@pytest.mark.parametrize("name", FRAMES)
def test_names_end_in_their_unit(name):
    for column in FRAMES[name]:
        stem = column.name.removesuffix("_low").removesuffix("_high")
        if column.unit in UNITS:
            assert stem.endswith(UNITS[column.unit]), column
        else:
            assert column.unit in ("", "count"), column
            assert not stem.endswith(tuple(UNITS.values())), column


@pytest.mark.parametrize("name", FRAMES)
def test_columns_are_told_in_a_sentence(name):
    for column in FRAMES[name]:
        assert column.about.endswith("."), column
        assert len(column.about) > 10, column


def test_notebooks_read_the_columns_as_a_frame():
    told = Results.columns("trials").set_index("name")
    assert told.loc["p99_s", "unit"] == "s"
    assert told.loc["p99_s", "dtype"] == "float64"
    assert "99th percentile" in str(told.loc["p99_s", "about"])


def test_columns_of_no_frame_are_refused():
    with pytest.raises(ValueError, match="there is no frame 'trails'; there are trials, cells"):
        described("trails")


def test_what_a_row_lacks_is_missing_and_never_zero():
    found = frame("trials", [{}, {"p50_s": float("nan"), "threads": pd.NA, "server": "a"}])
    assert found.drop(columns="server").isna().all(axis=None)
    assert records(found)[0] == dict.fromkeys(names("trials"))
    assert list(found["server"].dropna()) == ["a"]


def test_count_that_is_no_whole_number_is_refused():
    with pytest.raises((TypeError, ValueError)):
        frame("trials", [{"requests": 1.5}])


def test_failed_trial_measured_nothing(failed):
    (row,) = records(failed.trials)
    numbers = [it.name for it in FRAMES["trials"] if it.dtype == NUMBER]
    asked = {"wait_s", "pause_s", "warmup_s"}
    assert {name for name in numbers if row[name] is not None} == asked
    (row,) = records(cells_frame(failed.trials))
    assert (row["verdict"], row["throughput_per_s"], row["errors"]) == ("failed", None, None)


def test_types_are_the_same_for_the_functions_below(whole):
    run = whole.run
    assert types(trials_frame(run)) == documented("trials")
    assert types(cells_frame(trials_frame(run))) == documented("cells")
