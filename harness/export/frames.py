"""The frames as tables that any program reads: one value a field, no lists, no objects.

Lists and objects are JSON text. The columns are those of harness.results, with their units.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pandas as pd

from harness.results import Results
from harness.store import plain

FRAMES = (
    "trials", "cells", "comparisons", "rankings", "series", "ticks", "histograms", "probes",
)  # fmt: skip


def flat_frames(results: Results) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each frame's name, and the frame without nested values."""
    for name in FRAMES:
        frame: pd.DataFrame = getattr(results, name)
        nested = {
            str(column): frame[column].map(_flat)
            for column, dtype in frame.dtypes.items()
            if pd.api.types.is_object_dtype(dtype)
        }
        yield name, frame.assign(**nested)


def each_run(results: Results) -> Iterator[Results]:
    """The runs one by one."""
    if len(results.runs) == 1:
        yield results
    else:
        yield from (replace(results, runs=(run,)) for run in results.runs)


def _flat(value: Any) -> Any:
    if isinstance(value, dict | list | tuple | set | frozenset):
        return json.dumps(plain(value), allow_nan=False)
    return value
