"""The recorder: what a Locust process sent and what came back.

Times are integer nanoseconds of CLOCK_MONOTONIC, which all processes of a machine share.
Samples are kept as they come, and a few times a second turned into counts (`drain`), which can
be sent, added to those of other processes, and stored. Nothing is judged here.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from harness import histogram

TICK_NS = 100_000_000
SECOND_NS = 1_000_000_000
MEASURES = ("response", "delay", "service", "lag", "first", "connect", "lateness")
EXAMPLES = 3  # of each kind of error, for people to read
EXAMPLE_LENGTH = 200
NEAR, FEW = 8, 4096  # values no further apart than so many of each are counted in an array

Times = npt.NDArray[np.int64]
LATENCY = ("second", "name", "measure", "bucket", "count")
TICKS = ("tick", "name", "ok", "errors", "response_sum_ns")


class Window(NamedTuple):
    """What is measured: from its start to before its end, in monotonic nanoseconds."""

    start_ns: int
    end_ns: int


class Samples(NamedTuple):
    """Parallel arrays: the instants that durations count to, and the durations."""

    at: Times
    took: Times


class Drained(NamedTuple):
    """What a track recorded since it was drained before: durations by measure, and errors."""

    measures: dict[str, Samples]
    failed: Samples
    kinds: list[str]


class Track:
    """Requests of one method and name: those answered right, those that failed, those begun.

    `sent` stays 0 under a stock Locust user, whose beginnings nobody sees; Locust counts its
    requests itself (`foreign`). An answer counts to an instant: in a closed load to when it was
    complete; in an open one to when it was due.
    """

    def __init__(self, method: str, name: str, foreign: bool = False) -> None:
        self.method = method
        self.name = name
        self.foreign = foreign
        self.sent = 0
        self.connects = 0
        self.answer_bytes = 0
        self.examples: dict[str, list[str]] = {}
        self._answered = 0  # of those drained
        self._failed = 0
        self._kinds: list[str] = []
        self._arrays = {
            name: array("q")
            for name in (
                *("done", "took", "service", "lag"),
                *("first_index", "first_of", "first"),
                *("failed_at", "failed_took"),
                *("delay_at", "delay", "connect_at", "connect", "lateness_at", "lateness"),
            )
        }
        arrays = self._arrays
        self._done = arrays["done"]
        done, took = arrays["done"].append, arrays["took"].append

        def answer(done_ns: int, took_ns: int) -> None:
            done(done_ns)
            took(took_ns)

        # a request that was answered right; without `self` because it is called so often
        self.answer = answer
        self._took = arrays["took"]
        self._service = arrays["service"]
        self._lag = arrays["lag"]

    @property
    def answered(self) -> int:
        """Requests answered right, since the start."""
        return self._answered + len(self._done)

    @property
    def failed(self) -> int:
        """Requests that ended in an error, since the start."""
        return self._failed + len(self._kinds)

    @property
    def undrained(self) -> int:
        """Requests that ended since they were drained before."""
        return len(self._done) + len(self._kinds)

    def timely(self, due_ns: int, sent_ns: int, done_ns: int) -> None:
        """A right answer to a request that was due at a time; it counts to that time."""
        self._done.append(due_ns)
        self._took.append(done_ns - due_ns)
        self._service.append(done_ns - sent_ns)
        self._lag.append(sent_ns - due_ns)

    def first(self, took_ns: int, first_ns: int) -> None:
        """Called just before an answer that came in pieces is recorded: both durations count
        from the sending, to the last byte and to the first.
        """
        self._arrays["first_index"].append(len(self._done))
        self._arrays["first_of"].append(took_ns)
        self._arrays["first"].append(first_ns)

    def connected(self, at_ns: int, took_ns: int) -> None:
        """A connection was opened, in this time, its TLS handshake included."""
        self._arrays["connect_at"].append(at_ns)
        self._arrays["connect"].append(took_ns)

    def lateness(self, at_ns: int, late_ns: int) -> None:
        """How late the reactor woke up, compared with when it had asked to."""
        self._arrays["lateness_at"].append(at_ns)
        self._arrays["lateness"].append(late_ns)

    def delay(self, done_ns: int, delay_ns: int) -> None:
        """How long after an event its message arrived."""
        self._arrays["delay_at"].append(done_ns)
        self._arrays["delay"].append(delay_ns)

    def error(self, done_ns: int, took_ns: int, kind: str, detail: str) -> None:
        """A request that failed; its time is kept apart from those of the good ones."""
        examples = self.examples.setdefault(kind, [])
        if len(examples) < EXAMPLES and (text := detail[:EXAMPLE_LENGTH]) not in examples:
            examples.append(text)
        self._arrays["failed_at"].append(done_ns)
        self._arrays["failed_took"].append(took_ns)
        self._kinds.append(kind)

    def drain(self) -> Drained:
        """Give out what came since the last time."""
        held = {name: _take(values) for name, values in self._arrays.items()}
        kinds = self._kinds[:]
        self._kinds.clear()
        self._answered += len(held["done"])
        self._failed += len(kinds)
        done = held["done"]
        # in a closed load nothing is due before it is sent, and the response is the service
        service = held["service"] if len(held["service"]) else held["took"]
        firsts = service
        if len(index := held["first_index"]):
            firsts = service.copy()
            # those whose answer proved wrong in the end belong to no answer here
            of_answer = index < len(service)
            of_answer[of_answer] = service[index[of_answer]] == held["first_of"][of_answer]
            firsts[index[of_answer]] = held["first"][of_answer]
        measures = {
            "response": Samples(done, held["took"]),
            "delay": Samples(held["delay_at"], held["delay"]),
            "service": Samples(done[: len(held["service"])], held["service"]),
            "lag": Samples(done[: len(held["lag"])], held["lag"]),
            "first": Samples(done, firsts) if not self.foreign else Samples(NONE, NONE),
            "connect": Samples(held["connect_at"], held["connect"]),
            "lateness": Samples(held["lateness_at"], held["lateness"]),
        }
        return Drained(measures, Samples(held["failed_at"], held["failed_took"]), kinds)


class Recorder:
    """All tracks of this process, and the counts of the window that were not taken yet."""

    def __init__(self) -> None:
        self._tracks: dict[tuple[str, str], Track] = {}
        self._window: Window | None = None
        self._latency: list[Times] = []
        self._ticks: list[Times] = []
        self._errors: dict[tuple[int, str], int] = {}
        self._ok = self._bad = 0

    @property
    def tracks(self) -> list[Track]:
        """Every track, in the order they were first used."""
        return list(self._tracks.values())

    def track(self, method: str, name: str, foreign: bool = False) -> Track:
        """The track of a method and name, made at first use."""
        key = (method, name)
        if key not in self._tracks:
            self._tracks[key] = Track(method, name, foreign)
        return self._tracks[key]

    def totals(self) -> dict[str, int]:
        """Since the start: requests sent, ok and failed, and connections opened for them."""
        return {
            "sent": sum(track.sent for track in self.tracks),
            "ok": sum(track.answered for track in self.tracks),
            "failed": sum(track.failed for track in self.tracks),
            "connects": sum(track.connects for track in self.tracks),
        }

    def measure(self, window: Window) -> None:
        """From now on keep counts, until the end of the window; seconds count from its start.

        Those before the start, below 0, are the warm-up. What came before this call is only in
        the totals.
        """
        self._window = window

    @property
    def undrained(self) -> int:
        """Requests that ended since the last time."""
        return sum(track.undrained for track in self._tracks.values())

    def drain(self) -> Iterator[tuple[Track, Drained] | None]:
        """Every track with what came since the last time, which is counted here, too.

        None comes in between, where whoever has other things to do may do them.
        """
        for number, track in enumerate(self.tracks):
            drained = track.drain()
            if self._window is not None:
                for _ in self._count(number, drained, self._window):
                    yield None
            yield track, drained

    def take(self) -> dict[str, Any]:
        """The counts since the last time, and the sums since the window began.

        Plain enough for Locust's messages: `latency` and `ticks` are int64 columns as bytes,
        one row after the other, of LATENCY and TICKS; `name` in them is an index of `names`.
        """
        taken = {
            "names": [[track.method, track.name] for track in self.tracks],
            "latency": _rows(LATENCY, self._latency).tobytes(),
            "ticks": _rows(TICKS, self._ticks).tobytes(),
            "ok": self._ok,
            "failed": self._bad,
            "errors": [
                [number, kind, count, self.tracks[number].examples.get(kind, [])]
                for (number, kind), count in sorted(self._errors.items())
            ],
            "since_start": self.totals(),
        }
        self._latency, self._ticks = [], []
        return taken

    def _count(self, number: int, drained: Drained, window: Window) -> Iterator[None]:
        """Count in small steps."""
        length = window.end_ns - window.start_ns
        response = Samples(NONE, NONE)
        counted: dict[int, Times] = {}
        for measure, kind in enumerate(MEASURES):
            samples = drained.measures[kind]
            if not len(samples.at):
                continue
            # mostly all came whole, and the first byte is the last
            alike = counted.get(id(samples.took))
            if alike is None:
                since, took = _since(samples, window.start_ns, length)
                alike = counted[id(samples.took)] = _histograms(number, since, took)
                if kind == "response":
                    response = Samples(since, took)
            else:
                alike = alike.copy()
            alike[LATENCY.index("measure")] = measure
            self._latency.append(alike)
            yield
        since, took = response
        failed = drained.failed.at - window.start_ns
        inside = (failed >= 0) & (failed < length)
        self._ok += int((since >= 0).sum())
        self._bad += int(inside.sum())
        if len(since) or len(failed):
            self._ticks.append(_paces(number, since, took, failed[failed < length]))
            yield
        kinds = Counter(kind for kind, counts in zip(drained.kinds, inside, strict=True) if counts)
        for kind in set(drained.kinds):
            key = (number, kind)  # also those outside the window: 0 is an answer
            self._errors[key] = self._errors.get(key, 0) + kinds[kind]


NONE: Times = np.empty(0, np.int64)


def _take(values: array[int]) -> Times:
    if not values:
        return NONE
    taken = np.frombuffer(values, dtype=np.int64).copy()  # one that is looked at cannot shrink
    del values[:]
    return taken


def _since(samples: Samples, start_ns: int, length: int) -> Samples:
    since = samples.at - start_ns
    if int(since.max()) < length:
        return Samples(since, samples.took)
    keep = since < length
    return Samples(since[keep], samples.took[keep])


def tally(values: Times) -> tuple[Times, Times]:
    """The distinct values, ascending, and how many of each; quick where they lie close."""
    if not len(values):
        return NONE, NONE
    least = int(values.min())
    if int(values.max()) - least > NEAR * len(values) + FEW:
        distinct, counts = np.unique(values, return_counts=True)
        return distinct, counts
    counts = np.bincount(values - least)
    held = np.flatnonzero(counts)
    return held + least, counts[held]


def _histograms(name: int, since: Times, took: Times) -> Times:
    """Columns of LATENCY of one track's samples; the measure is for the caller to enter."""
    if not len(since):
        return np.empty((len(LATENCY), 0), np.int64)
    second = since // SECOND_NS
    first = int(second.min())
    keys, counts = tally((second - first) * histogram.SIZE + histogram.indices(took))
    fixed = np.full(len(counts), name), np.zeros(len(counts), np.int64)
    return np.stack([keys // histogram.SIZE + first, *fixed, keys % histogram.SIZE, counts]).astype(
        np.int64
    )


def _paces(name: int, since: Times, took: Times, failed: Times) -> Times:
    """Columns of TICKS of one track."""
    answered, failures = since // TICK_NS, failed // TICK_NS
    whole = np.concatenate([answered, failures])
    if not len(whole):
        return np.empty((len(TICKS), 0), np.int64)
    first = int(whole.min())
    size = int(whole.max()) - first + 1
    ok = np.bincount(answered - first, minlength=size)
    errors = np.bincount(failures - first, minlength=size)
    spent = np.zeros(size, np.int64)
    np.add.at(spent, answered - first, took)
    held = np.flatnonzero(ok + errors)
    fixed = np.full(len(held), name)
    return np.stack([held + first, fixed, ok[held], errors[held], spent[held]]).astype(np.int64)


def _rows(columns: tuple[str, ...], parts: list[Times]) -> Times:
    return np.concatenate(parts, axis=1) if parts else np.empty((len(columns), 0), np.int64)


recorder = Recorder()
