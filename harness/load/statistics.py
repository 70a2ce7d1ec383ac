"""Batches of our counts into Locust's statistics, so that its UI and CSV agree with ours."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import gevent
from gevent.lock import RLock
from locust.stats import StatsError, bucket_response_time

from harness.load.recorder import SECOND_NS, Drained, Samples, Track, recorder, tally

PAUSE_S = 0.001
_feeding = RLock()


def feed(stats: Any, *, gently: bool = False) -> None:
    """Drain the recorder, and add to Locust's statistics what it does not count itself.

    Answers that arrive meanwhile are timed when it is done. In one go that is milliseconds late;
    `gently` lets the connections have their turn after every step.
    """
    with _feeding:
        for found in recorder.drain():
            if found is not None:
                _add(stats, *found)
            if gently:
                gevent.sleep(PAUSE_S)


def _add(stats: Any, track: Track, drained: Drained) -> None:
    if track.foreign or not (drained.kinds or len(drained.measures["response"].took)):
        return
    entries = (stats.total, stats.entries[track.name, track.method])
    for samples, failed in ((drained.measures["response"], False), (drained.failed, True)):
        if len(samples.took):
            batch = _Batch(samples, 0 if failed else track.answer_bytes)
            for entry in entries:
                batch.log(entry, failed)
    for kind in drained.kinds:
        key = StatsError.create_key(track.method, track.name, kind)
        if key not in stats.errors:
            stats.errors[key] = StatsError(track.method, track.name, kind)
        stats.errors[key].occurred()


class _Batch:
    """Answers or failures of one track, added up once for the two of Locust's entries."""

    def __init__(self, answers: Samples, answer_bytes: int) -> None:
        took_ns = answers.took
        self.count = len(took_ns)
        self.content_length = self.count * answer_bytes
        self.total_ms = float(took_ns.sum()) / 1e6
        self.least_ms, self.most_ms = float(took_ns.min()) / 1e6, float(took_ns.max()) / 1e6
        # rounded to 0.1 ms, which is more than Locust's own buckets tell
        tenths, numbers = tally((took_ns + 50_000) // 100_000)
        self.times: Counter[float] = Counter()
        for value_ms, number in zip((tenths / 10).tolist(), numbers.tolist(), strict=True):
            self.times[bucket_response_time(value_ms)] += number
        # in the seconds in which they ended, or a rate would go up and down with our batches
        ended, numbers = tally((answers.at + (time.time_ns() - time.monotonic_ns())) // SECOND_NS)
        self.seconds = dict(zip(ended.tolist(), numbers.tolist(), strict=True))

    def log(self, entry: Any, failed: bool) -> None:
        """What StatsEntry.log and log_error do for each, for all at once."""
        now = time.time()
        if entry.use_response_times_cache and entry.last_request_timestamp:
            last = int(entry.last_request_timestamp)
            if int(now) > last:
                entry._cache_response_times(int(now) - 1)
        entry.num_requests += self.count
        for second, number in self.seconds.items():
            entry.num_reqs_per_sec[second] += number
            if failed:
                entry.num_fail_per_sec[second] += number
        entry.num_failures += self.count * failed
        entry.last_request_timestamp = now
        entry.total_content_length += self.content_length
        entry.total_response_time += self.total_ms
        least = entry.min_response_time
        entry.min_response_time = self.least_ms if least is None else min(least, self.least_ms)
        entry.max_response_time = max(entry.max_response_time, self.most_ms)
        for bucket, number in self.times.items():
            entry.response_times[bucket] += number
