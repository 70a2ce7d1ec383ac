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

from harness import histogram

TICK_NS = 100_000_000
SECOND_NS = 1_000_000_000
MEASURES = ("response", "delay")
EXAMPLES = 3  # of each kind of error, for people to read
EXAMPLE_LENGTH = 200


class Recorder:
    """Samples of one process, and the totals since the test began.

    `sent` counts requests that our own users began; it stays 0 under a stock Locust user,
    whose beginnings nobody sees.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.ok = 0
        self.errors: Counter[tuple[str, str]] = Counter()
        self.examples: dict[tuple[str, str], list[str]] = {}
        self._names: dict[str, int] = {}
        self._done = array("q")  # when the answer was complete
        self._value = array("q")  # nanoseconds
        self._name = array("h")
        self._kind = array("b")  # index into MEASURES, or -1 for a request that failed

    @property
    def failed(self) -> int:
        """Requests that ended in an error."""
        return self.errors.total()

    def response(self, name: str, done_ns: int, response_ns: int) -> None:
        """A request that was answered right."""
        self.ok += 1
        self._append(name, done_ns, response_ns, 0)

    def delay(self, name: str, done_ns: int, delay_ns: int) -> None:
        """How long after an event its message arrived."""
        self._append(name, done_ns, delay_ns, 1)

    def error(self, name: str, done_ns: int, response_ns: int, kind: str, detail: str) -> None:
        """A request that failed; its time is kept apart from those of the good ones."""
        self.errors[name, kind] += 1
        examples = self.examples.setdefault((name, kind), [])
        if len(examples) < EXAMPLES and (text := detail[:EXAMPLE_LENGTH]) not in examples:
            examples.append(text)
        self._append(name, done_ns, response_ns, -1)

    def _append(self, name: str, done_ns: int, value_ns: int, kind: int) -> None:
        self._done.append(done_ns)
        self._value.append(value_ns)
        self._name.append(self._names.setdefault(name, len(self._names)))
        self._kind.append(kind)

    def save(self, folder: Path, start_ns: int, end_ns: int, facts: dict[str, Any]) -> None:
        """Write `latency.npz`, `ticks.npz` and then `summary.json` into `folder`.

        Seconds and ticks are counted from `start_ns`; those below 0 are the warm-up. What
        came at `end_ns` or later is not kept.
        """
        done = np.frombuffer(self._done, dtype=np.int64)
        keep = done < end_ns
        since = done[keep] - start_ns
        value = np.frombuffer(self._value, dtype=np.int64)[keep]
        name = np.frombuffer(self._name, dtype=np.int16)[keep].astype(np.int64)
        kind = np.frombuffer(self._kind, dtype=np.int8)[keep].astype(np.int64)

        answered = kind >= 0
        rows, counts = np.unique(
            np.stack(
                [
                    since[answered] // SECOND_NS,
                    name[answered],
                    kind[answered],
                    histogram.indices(value[answered]),
                ]
            ),
            axis=1,
            return_counts=True,
        )
        np.savez(
            folder / "latency.npz",
            second=rows[0],
            name=rows[1],
            measure=rows[2],
            bucket=rows[3],
            count=counts,
        )

        requests = kind <= 0  # an answer or an error; a delay belongs to a request counted already
        pairs, at = np.unique(
            np.stack([since[requests] // TICK_NS, name[requests]]), axis=1, return_inverse=True
        )
        size = pairs.shape[1]
        good = (kind[requests] == 0).astype(np.int64)
        spent = np.zeros(size, dtype=np.int64)
        np.add.at(spent, at, value[requests] * good)
        np.savez(
            folder / "ticks.npz",
            tick=pairs[0],
            name=pairs[1],
            ok=np.bincount(at, weights=good, minlength=size).astype(np.int64),
            errors=np.bincount(at, weights=1 - good, minlength=size).astype(np.int64),
            response_sum_ns=spent,
        )

        in_window = requests & (since >= 0)
        summary = {
            **facts,
            "start_ns": start_ns,
            "end_ns": end_ns,
            "names": list(self._names),
            "measures": list(MEASURES),
            "ok": int((in_window & (kind == 0)).sum()),
            "failed": int((in_window & (kind < 0)).sum()),
            "since_start": {"sent": self.sent, "ok": self.ok, "failed": self.failed},
            "errors": [
                {"name": name, "kind": kind, "count": count, "examples": self.examples[name, kind]}
                for (name, kind), count in sorted(self.errors.items())
            ],
        }
        (folder / "summary.json").write_text(json.dumps(summary), "utf-8")


recorder = Recorder()
