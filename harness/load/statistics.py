"""Batches of our counts into Locust's statistics, so that its UI and CSV agree with ours."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import numpy as np
from locust.stats import bucket_response_time

from harness.load.recorder import SECOND_NS, Samples, Times, recorder


def feed(stats: Any) -> None:
    """Drain the recorder, and add to Locust's statistics what it does not count itself."""
    for track, drained in recorder.drain():
        if track.foreign:
            continue
        answers = drained.measures["response"]
        if len(answers.took):
            for entry in (stats.total, stats.entries[track.name, track.method]):
                _log(entry, answers, track.answer_bytes)
        for failed_ns, kind in zip(drained.failed.took.tolist(), drained.kinds, strict=True):
            stats.log_request(track.method, track.name, failed_ns / 1e6, 0)
            stats.log_error(track.method, track.name, kind)


def _log(entry: Any, answers: Samples, answer_bytes: int) -> None:
    """What StatsEntry.log does for each, for all at once."""
    now, took_ns = time.time(), answers.took
    if entry.use_response_times_cache and entry.last_request_timestamp:
        last = int(entry.last_request_timestamp)
        if int(now) > last:
            entry._cache_response_times(int(now) - 1)
    count = len(took_ns)
    entry.num_requests += count
    # in the seconds in which they ended, or a rate would go up and down with our batches
    ended = (answers.at + (time.time_ns() - time.monotonic_ns())) // SECOND_NS
    for second, number in zip(*(it.tolist() for it in np.unique_counts(ended)), strict=True):
        entry.num_reqs_per_sec[second] += number
    entry.last_request_timestamp = now
    entry.total_content_length += count * answer_bytes
    entry.total_response_time += float(took_ns.sum()) / 1e6
    least, most = float(took_ns.min()) / 1e6, float(took_ns.max()) / 1e6
    entry.min_response_time = (
        least if entry.min_response_time is None else min(entry.min_response_time, least)
    )
    entry.max_response_time = max(entry.max_response_time, most)
    for value_ms, number in _counted(took_ns):
        entry.response_times[bucket_response_time(value_ms)] += number


def _counted(took_ns: Times) -> Iterable[tuple[float, int]]:
    """Distinct times in milliseconds, rounded to 0.1 ms, and how many of each."""
    values, numbers = np.unique((took_ns + 50_000) // 100_000, return_counts=True)
    return zip((values / 10).tolist(), numbers.tolist(), strict=True)
