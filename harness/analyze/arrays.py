"""A trial's stored series as arrays: a frame for each of thousands of trials would cost seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from harness.store import StoredTrial, UnreadableRunError

# what each stored series has at the least: older gatebenches knew less
NEEDED = {
    "latency": ("second", "name", "measure", "bucket", "count"),
    "ticks": ("tick", "ok", "errors", "response_sum_ns"),
    "processes": (
        "at_ns",
        "side",
        "role",
        "pid",
        "cpu_user_s",
        "cpu_system_s",
        "rss_bytes",
        "pss_bytes",
    ),
    "noise": ("at_ns", "late_ns", "waited_ns", "own_cpu_s"),
}
WORDS = {"name", "measure", "side", "role"}
Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Arrays:
    """Columns of equal length; of a column of words each row's place in its `words`.

    Numbers that are missing are NaN.
    """

    columns: Mapping[str, npt.NDArray[Any]]
    words: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, table: pa.Table) -> Arrays:
        """The same as `table`; TypeError for a column that is neither of numbers nor of words."""
        columns, words = {}, {}
        for name, column in zip(table.column_names, table.columns, strict=True):
            if name in WORDS:
                coded = column.dictionary_encode().combine_chunks()
                columns[name] = coded.indices.to_numpy(zero_copy_only=False)
                words[name] = coded.dictionary.to_pylist()
            else:
                columns[name] = column.to_numpy()
                if columns[name].dtype.kind not in "iuf":
                    raise TypeError(f"its column {name} is not of numbers")
        return cls(columns, words)

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.columns[name]

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def where(self, mask: Mask | Places) -> Arrays:
        """Only the rows of a mask, or those at some places in their order."""
        return Arrays({name: column[mask] for name, column in self.columns.items()}, self.words)

    def said(self, name: str, word: str) -> Mask:
        """The rows whose column `name` says `word`."""
        words = self.words[name]
        place = words.index(word) if word in words else -1
        return np.asarray(self.columns[name] == place)


def arrays(trial: StoredTrial, name: str) -> Arrays:
    """A series of a trial that measured.

    UnreadableRunError in one line if it is gone, damaged, or lacks a column.
    """
    table = trial.series(name)
    if table is None:
        raise UnreadableRunError(
            f"{trial.path}: is damaged (it has no {name}.parquet); delete it to read the rest"
        )
    return _whole(trial, name, table)


def arrays_or_none(trial: StoredTrial, name: str) -> Arrays | None:
    """The same of a series that a trial may lack, because an older gatebench made it."""
    table = trial.series(name)
    return None if table is None else _whole(trial, name, table)


def _whole(trial: StoredTrial, name: str, table: pa.Table) -> Arrays:
    if missing := [column for column in NEEDED[name] if column not in table.column_names]:
        raise UnreadableRunError(
            f"{trial.path / name}.parquet: is damaged (it has no column {', '.join(missing)}); "
            "delete its folder to read the rest"
        )
    try:
        return Arrays.of(table)
    except (ArithmeticError, TypeError, ValueError, pa.ArrowException) as error:
        raise UnreadableRunError(
            f"{trial.path / name}.parquet: is damaged ({error}); delete its folder to read the rest"
        ) from None
