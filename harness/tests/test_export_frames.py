"""CSV and Parquet: pandas reads back the frames, and a spreadsheet runs nothing."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from harness.export import csv as csv_format
from harness.export import parquet as parquet_format
from harness.export.frames import FRAMES
from harness.export.text import field
from harness.results import Results, load_run
from harness.store import plain
from harness.tests.builders import RunBuilder, cell, closed
from harness.tests.manytrials import big_run


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Results:
    return load_run(big_run(tmp_path_factory.mktemp("results"), servers=6, scenarios=2, blocks=2))


def is_number(column: pd.Series) -> bool:
    return bool(pd.api.types.is_numeric_dtype(column.dtype))


def missing(value: Any) -> bool:
    return bool(pd.api.types.is_scalar(value) and pd.isna(value))


def same_values(read: pd.Series, column: pd.Series, *, as_text: bool) -> bool:
    """Numbers to the bit; nested values as the JSON that they are; texts as they can be held."""
    for found, value in zip(read, column, strict=True):
        if missing(value) or (as_text and isinstance(value, str) and not value):
            assert missing(found), (column.name, found, value)
        elif isinstance(value, list | tuple | dict):
            assert json.loads(found) == json.loads(json.dumps(plain(value))), column.name
        elif isinstance(value, str):
            assert found == (field(value) if as_text else value), column.name
        else:
            assert found == value, (column.name, found, value)
    return True


@pytest.mark.parametrize("name", FRAMES)
def test_csv_is_read_back_by_pandas_as_the_frame(results, tmp_path, name):
    frame = getattr(results, name)
    paths = {path.stem: path for path in csv_format.write(results, tmp_path)}
    assert list(paths) == list(FRAMES)
    read = pd.read_csv(paths[name], keep_default_na=False, na_values=[""])
    assert list(read) == list(frame)
    assert len(read) == len(frame)
    for column in frame:
        assert same_values(read[column], frame[column], as_text=True)


@pytest.mark.parametrize("name", FRAMES)
def test_parquet_is_read_back_by_pandas_as_the_frame(results, tmp_path, name):
    frame = getattr(results, name)
    paths = {path.stem: path for path in parquet_format.write(results, tmp_path)}
    read = pd.read_parquet(paths[name])
    assert list(read) == list(frame)
    for column in frame:
        assert same_values(read[column], frame[column], as_text=False)
        if is_number(frame[column]):
            assert read[column].dtype == frame[column].dtype
    assert pq.read_schema(paths[name]).names == list(frame)


def test_verdicts_and_reasons_are_beside_the_numbers(results, tmp_path):
    csv_format.write(results, tmp_path)
    with (tmp_path / "cells.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["verdict"] for row in rows} >= {"invalid", "failed", "generator-limited"}
    assert all(json.loads(row["reasons"]) for row in rows if row["verdict"] == "invalid")


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("uvicorn", "uvicorn"),
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\n=1", "'\n=1"),
        ("\r=1", "\\x0d=1"),
        ("a=1", "a=1"),
        ("\x1b[31m", "\\x1b[31m"),
        ("two\nlines", "two\nlines"),
    ],
)
def test_text_is_held_so_that_no_spreadsheet_runs_it(text, held):
    assert field(text) == held


def test_server_with_a_formula_for_a_name_is_text_in_every_file(tmp_path):
    formula = '=HYPERLINK("http://x","y")'
    builder = RunBuilder(tmp_path / "results")
    builder.measured(cell(formula), closed())
    builder.failed(cell("-2+3"), log="@oops")
    csv_format.write(Results((builder.read(),)), tmp_path)
    for name in FRAMES:
        with (tmp_path / f"{name}.csv").open(newline="") as file:
            for row in csv.reader(file):
                for it in row:
                    assert not it.startswith(("=", "+", "@", "\t", "\r")), (name, it)
                    assert not it.startswith("-") or np.isfinite(float(it)), (name, it)
    with (tmp_path / "cells.csv").open(newline="") as file:
        assert {row["server"] for row in csv.DictReader(file)} == {f"'{formula}", "'-2+3"}


def test_frames_of_several_runs_are_below_one_another(results, tmp_path):
    other = RunBuilder(Path(tmp_path))
    other.measured(cell("alone"), closed())
    both = Results((*results.runs, other.read()))
    csv_format.write(both, tmp_path)
    read = pd.read_csv(tmp_path / "cells.csv")
    assert list(read["run"].unique()) == [run.path.name for run in both.runs]
