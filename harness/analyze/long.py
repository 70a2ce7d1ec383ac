"""Long frames: many rows for each trial, put together once, with the trial's cell on each row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.analyze.columns import FLAG, FRAMES, NUMBER, WORD, typed
from harness.store import StoredTrial

Values = npt.NDArray[Any]


@dataclass(frozen=True)
class Words:
    """A column of words: each row's place in `words`."""

    places: Values
    words: Sequence[str]


@dataclass(frozen=True)
class Trial:
    """A trial: its row in the trials' frame, its files, and whether its cell's verdict rests on
    it.
    """

    row: Mapping[str, Any]
    stored: StoredTrial
    used: bool

    @property
    def measured(self) -> bool:
        """Whether it came to have series at all."""
        return bool(self.row["outcome"] == "measured")

    @property
    def window_ns(self) -> tuple[int, int]:
        """When its window began and ended, on the clock of its series."""
        load = self.stored.facts["load"]
        return load["start_ns"], load["end_ns"]


@dataclass(frozen=True)
class Part:
    """The rows of one trial: its own columns, all of one length, beside those of its cell."""

    trial: Mapping[str, Any]
    columns: Mapping[str, Values | Words]

    def __len__(self) -> int:
        first = next(iter(self.columns.values()))
        return len(first.places if isinstance(first, Words) else first)


def long_frame(name: str, parts: Iterable[Part]) -> pd.DataFrame:
    """The parts below one another, in the columns of the frame `name`."""
    several = list(parts)
    lengths = np.array([len(part) for part in several], dtype=np.int64)
    own = set(several[0].columns) if several else set()
    columns = {}
    for column in FRAMES[name]:
        if column.name in own:
            pieces = [part.columns[column.name] for part in several]
        else:
            told = [part.trial[column.name] for part in several]
            pieces = [_repeated(told, lengths, column.dtype)]
        columns[column.name] = _joined(pieces, column.dtype)
    return pd.DataFrame(columns)


def _repeated(values: Sequence[Any], lengths: Values, dtype: str) -> Values | Words:
    """What each trial says once, on each of its rows."""
    if dtype == WORD:
        words = [str(word) for word in dict.fromkeys(values) if word is not None]
        places = [-1 if value is None else words.index(value) for value in values]
        return Words(np.repeat(np.array(places, dtype=np.int64), lengths), words)
    told = typed(values, dtype).to_numpy(dtype=float, na_value=np.nan)
    return np.repeat(told, lengths)


def _joined(pieces: Sequence[Values | Words], dtype: str) -> Any:
    if dtype == WORD:
        return _categories([piece for piece in pieces if isinstance(piece, Words)])
    values = np.concatenate([np.empty(0), *pieces])
    unknown = np.isnan(values)
    if dtype == NUMBER:
        return values
    known = np.where(unknown, 0, values)
    if dtype == FLAG:
        return pd.arrays.BooleanArray(known.astype(bool), unknown)
    return pd.arrays.IntegerArray(known.astype(np.int64), unknown)


def _categories(pieces: Sequence[Words]) -> pd.Categorical:
    """Words of several trials, each in its own order, as one column."""
    words: dict[str, int] = {}
    places = [np.empty(0, dtype=np.int64)]
    for piece in pieces:
        new = [words.setdefault(word, len(words)) for word in piece.words]
        # the last is what -1 finds: no word
        places.append(np.array([*new, -1], dtype=np.int64)[piece.places])
    return pd.Categorical.from_codes(np.concatenate(places), pd.Index(list(words), dtype="string"))
