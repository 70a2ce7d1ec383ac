"""Latencies as HdrHistogram logs, for the tools that read these.

Our buckets are HdrHistogram's own, so nothing is lost or rounded on the way. Sources: its Java
classes `AbstractHistogram.encodeIntoByteBuffer` and `ZigZagEncoding` (encoding V2),
`HistogramLogWriter` and `HistogramLogReader` (log format 1.3).
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from math import ceil
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness import histogram
from harness.export.text import file_name
from harness.results import Results
from harness.store import StoredTrial, write_text

COOKIE, COMPRESSED_COOKIE = 0x1C849313, 0x1C849314  # version 2; the 1 says: words of any length
HEAD = struct.Struct(">IIIIQQd")
LOWEST = 1
VALUE_RATIO = 1.0  # a stored value is its own unit: a nanosecond
MAX_RATIO = 1e6  # the maximum beside each histogram is in milliseconds, as is usual there
LEGEND = '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"'
# a tag holds no comma, space or line break; %2C for a comma keeps two names two, and so needs %25
TAG_SAFE = "!\"#$&'()*+/:;<=>?@[\\]^`{|}"
BEFORE = ("environment", "launch", "ready", "verify", "warm up")  # of a trial, before its window


def write(results: Results, folder: Path) -> list[Path]:
    """A log of each trial that has latencies, in the folder `hdr`; their paths."""
    run, logs = results.run, folder / "hdr"
    written = []
    for trial in run.trials:
        text = log(trial, run.facts["created"])
        if text is None:
            continue
        logs.mkdir(exist_ok=True)
        cell = trial.facts["cell"]
        name = f"{trial.path.name}-{cell['server']}-{cell['app']}-{cell['scenario']}"
        path = logs / (file_name(name) + ".hlog")
        write_text(path, text)
        written.append(path)
    return written


def log(trial: StoredTrial, created: str) -> str | None:
    """The trial's measured window as a log; None if there are no latencies in it.

    Each second has a line for each name and measure, also where nothing was counted. `created`
    is the instant (ISO 8601) that stands for the trial's own where it was not stored.
    """
    table = trial.series("latency")
    if table is None:
        return None
    frame = table.to_pandas()
    frame = frame[frame["second"] >= 0]
    if frame.empty:
        return None
    begin = _begin(trial.facts, created)
    since_epoch = f"{begin.timestamp():.3f} (seconds since epoch)"
    head = [
        "#[Written by gatebench: nanoseconds; Interval_Max in milliseconds; Tag=NAME_measure]",
        "#[Histogram log format version 1.3]",
        f"#[BaseTime: {since_epoch}]",
        f"#[StartTime: {since_epoch}, {begin.isoformat(timespec='milliseconds')}]",
        LEGEND,
    ]
    load = trial.facts["load"]
    return "\n".join([*head, *_lines(frame, (load["end_ns"] - load["start_ns"]) / 1e9)]) + "\n"


def tag(name: str, measure: str) -> str:
    """The tag of a request's name and a measure, `NAME_measure`, in characters a tag may have."""
    return f"{quote(name, safe=TAG_SAFE)}_{measure}"


def encode(counts: npt.ArrayLike) -> str:
    """A vector of counts (by bucket, from 0) as a compressed V2 histogram in base64."""
    words = b"".join(map(_word, _runs(np.asarray(counts, dtype=np.int64))))
    head = HEAD.pack(
        COOKIE, len(words), 0, histogram.SIGNIFICANT_DIGITS,
        LOWEST, histogram.HIGHEST_NS, VALUE_RATIO,
    )  # fmt: skip
    packed = zlib.compress(head + words)
    return base64.b64encode(struct.pack(">II", COMPRESSED_COOKIE, len(packed)) + packed).decode()


def _lines(frame: pd.DataFrame, window_s: float) -> Iterator[str]:
    """Ordered by time, which readers rely on, then by tag."""
    tracks = {
        tag(str(name), str(measure)): rows
        for (name, measure), rows in frame.groupby(["name", "measure"], observed=True)
    }
    for second in range(ceil(window_s)):
        length_s = min(1.0, window_s - second)
        for label, rows in sorted(tracks.items()):
            now = rows[rows["second"] == second]
            counts = np.zeros(histogram.SIZE, np.int64)
            np.add.at(counts, now["bucket"].to_numpy(), now["count"].to_numpy())
            longest = histogram.bounds(np.flatnonzero(counts)[-1:])[1].sum()
            most = max(0, int(longest) - 1) / MAX_RATIO
            yield f"Tag={label},{second:.3f},{length_s:.3f},{most:.6f},{encode(counts)}"


def _begin(facts: dict[str, Any], created: str) -> datetime:
    """When the window began by the calendar, half a second more or less."""
    life_s = facts.get("life_s", {})
    spent = timedelta(seconds=sum(life_s.get(step, 0.0) for step in BEFORE))
    return datetime.fromisoformat(facts.get("began", created)) + spent


def _runs(counts: npt.NDArray[np.int64]) -> Iterator[int]:
    """Counts up to the last that is not 0; n zeros in a row are one -n."""
    after = 0
    for index in np.flatnonzero(counts).tolist():
        if zeros := index - after:
            yield -zeros
        yield int(counts[index])
        after = index + 1


def _word(value: int) -> bytes:
    """ZigZag, then LEB128 of at most nine bytes, the ninth of which is whole."""
    rest = value << 1 if value >= 0 else (-value << 1) - 1
    made = bytearray()
    while rest > 127 and len(made) < 8:
        made.append(rest & 127 | 128)
        rest >>= 7
    made.append(rest)
    return bytes(made)
