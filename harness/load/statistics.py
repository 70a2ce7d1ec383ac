"""Batches of our counts into Locust's statistics, so that its UI and CSV agree with ours."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import numpy as np
from locust.stats import bucket_response_time

from harness.load.recorder import recorder


def feed(stats: Any) -> None:
    """Add to Locust's statistics what came since the last call."""
    for track in recorder.tracks:
        times_ms = track.unfed_ms()
        if len(times_ms):
            for entry in (stats.total, stats.entries[track.name, track.method]):
                _log(entry, times_ms, track.answer_bytes)
        for time_ms, kind in track.unfed_errors():
            stats.log_request(track.method, track.name, time_ms, 0)
            stats.log_error(track.method, track.name, kind)


def _log(entry: Any, times_ms: Any, answer_bytes: int) -> None:
    """What StatsEntry.log does for each, for all at once."""
    now = time.time()
    if entry.use_response_times_cache and entry.last_request_timestamp:
        last = int(entry.last_request_timestamp)
        if int(now) > last:
            entry._cache_response_times(int(now) - 1)
    count = len(times_ms)
    entry.num_requests += count
    entry.num_reqs_per_sec[int(now)] += count
    entry.last_request_timestamp = now
    entry.total_content_length += count * answer_bytes
    entry.total_response_time += float(times_ms.sum())
    least, most = float(times_ms.min()), float(times_ms.max())
    entry.min_response_time = (
        least if entry.min_response_time is None else min(entry.min_response_time, least)
    )
    entry.max_response_time = max(entry.max_response_time, most)
    for value, number in _counted(times_ms):
        entry.response_times[bucket_response_time(value)] += number


def _counted(times_ms: Any) -> Iterable[tuple[float, int]]:
    """Distinct times, rounded to 0.1 ms, and how many of each."""
    values, numbers = np.unique(np.round(times_ms, 1), return_counts=True)
    return zip(values.tolist(), numbers.tolist(), strict=True)
