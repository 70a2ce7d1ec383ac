"""Every frame as CSV, for spreadsheets and for whatever reads nothing else.

A missing value is an empty field, texts are in quotes. Texts that a spreadsheet would run as a
formula have an apostrophe before them, and control characters other than tabs and line breaks are
made visible.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow.csv import write_csv

from harness.export.frames import flat_frames
from harness.export.text import field
from harness.results import Results
from harness.store import write_bytes


def write(results: Results, folder: Path) -> list[Path]:
    """A file of each frame; their paths."""
    written = []
    for name, frame in flat_frames(results):
        path = folder / f"{name}.csv"
        write_bytes(path, csv_bytes(frame))
        written.append(path)
    return written


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """A flat frame as CSV with a header, in UTF-8."""
    texts = {
        str(column): _held(frame[column])
        for column, dtype in frame.dtypes.items()
        if not pd.api.types.is_numeric_dtype(dtype)
    }
    content = BytesIO()
    write_csv(pa.Table.from_pandas(frame.assign(**texts), preserve_index=False), content)
    return content.getvalue()


def _held(column: pd.Series[Any]) -> pd.Series[Any]:
    """The texts as a spreadsheet can hold them."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.map(field, na_action="ignore")  # of categories, not of a million rows
    different = column.dropna().astype(object).unique()
    held = {value: field(value) if isinstance(value, str) else value for value in different}
    return column.astype(object).map(held)
