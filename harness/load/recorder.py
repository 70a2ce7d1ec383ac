"""The recorder: what a Locust process sent and what came back, kept in memory while it runs.

Times are integer nanoseconds of CLOCK_MONOTONIC, which all processes of a machine share.
Nothing is judged here; it leaves counts that can be merged.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness import histogram

TICK_NS = 100_000_000
SECOND_NS = 1_000_000_000
MEASURES = ("response", "delay", "service", "lag")
EXAMPLES = 3  # of each kind of error, for people to read
EXAMPLE_LENGTH = 200

Times = npt.NDArray[np.int64]


class Track:
    """Requests of one method and name: those answered right, those that failed, those begun.

    `sent` stays 0 under a stock Locust user, whose beginnings nobody sees. `done` and `took`
    are parallel: the instant each right answer counts to, and its response time. In a closed
    load that instant is when it was complete; in an open one, when it was due.
    """

    def __init__(self, method: str, name: str) -> None:
        self.method = method
        self.name = name
        self.sent = 0
        self.connects = 0
        self.answer_bytes = 0
        self.done = array("q")
        self.took = array("q")
        self.examples: dict[str, list[str]] = {}
        self._failed_done = array("q")
        self._failed_took = array("q")
        self._failed_kind: list[str] = []
        self._delay_done = array("q")
        self._delay = array("q")
        self._service = array("q")
        self._lag = array("q")
        self._fed = 0
        self._unfed_errors: list[tuple[float, str]] = []

    @property
    def failed(self) -> int:
        """Requests that ended in an error."""
        return len(self._failed_done)

    def answer(self, done_ns: int, took_ns: int) -> None:
        """A request that was answered right."""
        self.done.append(done_ns)
        self.took.append(took_ns)

    def timely(self, due_ns: int, sent_ns: int, done_ns: int) -> None:
        """A right answer to a request that was due at a time; it counts to that time."""
        self.done.append(due_ns)
        self.took.append(done_ns - due_ns)
        self._service.append(done_ns - sent_ns)
        self._lag.append(sent_ns - due_ns)

    def delay(self, done_ns: int, delay_ns: int) -> None:
        """How long after an event its message arrived."""
        self._delay_done.append(done_ns)
        self._delay.append(delay_ns)

    def error(self, done_ns: int, took_ns: int, kind: str, detail: str) -> None:
        """A request that failed; its time is kept apart from those of the good ones."""
        examples = self.examples.setdefault(kind, [])
        if len(examples) < EXAMPLES and (text := detail[:EXAMPLE_LENGTH]) not in examples:
            examples.append(text)
        self._failed_done.append(done_ns)
        self._failed_took.append(took_ns)
        self._failed_kind.append(kind)
        self._unfed_errors.append((took_ns / 1e6, kind))

    def unfed_ms(self) -> npt.NDArray[np.float64]:
        """Response times of right answers since the last call, in milliseconds."""
        fresh = _numbers(self.took)[self._fed :] / 1e6
        self._fed += len(fresh)
        return fresh

    def unfed_errors(self) -> list[tuple[float, str]]:
        """Time in milliseconds and kind of each error since the last call."""
        fresh, self._unfed_errors = self._unfed_errors, []
        return fresh

    def errors(self, start_ns: int, end_ns: int) -> Counter[str]:
        """How many failed by kind, of those that ended in a window; 0 of a kind only outside."""
        counted: Counter[str] = Counter(dict.fromkeys(self._failed_kind, 0))
        for done, kind in zip(self._failed_done, self._failed_kind, strict=True):
            counted[kind] += start_ns <= done < end_ns
        return counted

    def samples(self) -> dict[str, tuple[Times, Times]]:
        """When and how long, of each measure and of the errors."""
        return {
            "response": (_numbers(self.done), _numbers(self.took)),
            "delay": (_numbers(self._delay_done), _numbers(self._delay)),
            "service": (_numbers(self.done)[: len(self._service)], _numbers(self._service)),
            "lag": (_numbers(self.done)[: len(self._lag)], _numbers(self._lag)),
            "error": (_numbers(self._failed_done), _numbers(self._failed_took)),
        }


class Recorder:
    """All tracks of this process."""

    def __init__(self) -> None:
        self._tracks: dict[tuple[str, str], Track] = {}

    @property
    def tracks(self) -> list[Track]:
        """Every track, in the order they were first used."""
        return list(self._tracks.values())

    def track(self, method: str, name: str) -> Track:
        """The track of a method and name, made at first use."""
        key = (method, name)
        if key not in self._tracks:
            self._tracks[key] = Track(method, name)
        return self._tracks[key]

    def totals(self) -> dict[str, int]:
        """Since the start: requests sent, ok and failed, and connections opened for them."""
        return {
            "sent": sum(track.sent for track in self.tracks),
            "ok": sum(len(track.done) for track in self.tracks),
            "failed": sum(track.failed for track in self.tracks),
            "connects": sum(track.connects for track in self.tracks),
        }

    def save(self, folder: Path, start_ns: int, end_ns: int, facts: dict[str, Any]) -> None:
        """Write `latency.npz`, `ticks.npz` and then `summary.json` into `folder`.

        Seconds and ticks are counted from `start_ns`; those below 0 are the warm-up. What
        came at `end_ns` or later is not kept.
        """
        latency: list[Times] = []
        ticks: list[Times] = []
        ok = failed = 0
        for number, track in enumerate(self.tracks):
            samples = {
                kind: _within(done - start_ns, took, end_ns - start_ns)
                for kind, (done, took) in track.samples().items()
            }
            for measure, kind in enumerate(MEASURES):
                latency.append(_histograms(number, measure, *samples[kind]))
            ticks.append(_paces(number, *samples["response"], samples["error"][0]))
            ok += int((samples["response"][0] >= 0).sum())
            failed += int((samples["error"][0] >= 0).sum())
        _save(folder / "latency.npz", ("second", "name", "measure", "bucket", "count"), latency)
        _save(folder / "ticks.npz", ("tick", "name", "ok", "errors", "response_sum_ns"), ticks)
        summary = {
            **facts,
            "start_ns": start_ns,
            "end_ns": end_ns,
            "names": [track.name for track in self.tracks],
            "measures": list(MEASURES),
            "ok": ok,
            "failed": failed,
            "since_start": self.totals(),
            "errors": [
                {
                    "method": track.method,
                    "name": track.name,
                    "kind": kind,
                    "count": count,
                    "examples": track.examples[kind],
                }
                for track in self.tracks
                for kind, count in sorted(track.errors(start_ns, end_ns).items())
            ],
        }
        (folder / "summary.json").write_text(json.dumps(summary), "utf-8")


def _numbers(values: array[int]) -> Times:
    """A copy, because an array that is looked at cannot grow."""
    return np.frombuffer(values, dtype=np.int64).copy() if values else np.empty(0, np.int64)


def _within(since: Times, took: Times, end: int) -> tuple[Times, Times]:
    keep = since < end
    return since[keep], took[keep]


def _histograms(name: int, measure: int, since: Times, took: Times) -> Times:
    """Columns second, name, measure, bucket, count of one track's samples."""
    pairs, counts = np.unique(
        np.stack([since // SECOND_NS, histogram.indices(took)]), axis=1, return_counts=True
    )
    fixed = np.full(len(counts), name), np.full(len(counts), measure)
    return np.stack([pairs[0], *fixed, pairs[1], counts])


def _paces(name: int, since: Times, took: Times, failed: Times) -> Times:
    """Columns tick, name, ok, errors, response_sum_ns of one track."""
    ticks = np.union1d(since // TICK_NS, failed // TICK_NS)
    at = np.searchsorted(ticks, since // TICK_NS)
    size = len(ticks)
    spent = np.zeros(size, np.int64)
    np.add.at(spent, at, took)
    ok = np.bincount(at, minlength=size)
    errors = np.bincount(np.searchsorted(ticks, failed // TICK_NS), minlength=size)
    return np.stack([ticks, np.full(size, name), ok, errors, spent])


def _save(path: Path, columns: tuple[str, ...], parts: list[Times]) -> None:
    whole = np.concatenate(parts, axis=1) if parts else np.empty((len(columns), 0), np.int64)
    np.savez(path, **dict(zip(columns, whole.astype(np.int64), strict=True)))


recorder = Recorder()
