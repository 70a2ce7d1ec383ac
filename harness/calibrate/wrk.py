"""wrk: how it is called, and what its output says. Nothing is run here.

Of its output only what is printed by wrk 4 without a script of its own is relied on. Units are
as its `units.c` writes them: us, ms and s (m and h for long ones), k, M and G.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.model import MeasurementError

INSTALL = "apt-get install wrk"
SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
FACTORS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
TOTAL = re.compile(r"^ *([\d.]+[kMG]?) requests in ([\d.]+(?:us|ms|s|m|h)),", re.MULTILINE)
RATE = re.compile(r"^Requests/sec: *([\d.]+[kMG]?)$", re.MULTILINE)
PERCENTILE = re.compile(r"^ +(\d+)% +([\d.]+(?:us|ms|s|m|h))$", re.MULTILINE)
SOCKET_ERRORS = re.compile(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)")
STATUS_ERRORS = re.compile(r"Non-2xx or 3xx responses: (\d+)")

ECHO = """\
wrk.method = "POST"
wrk.body = string.rep("e", 64)
wrk.headers["Content-Type"] = "application/octet-stream"
"""
# spread evenly, or all connections would send in the same millisecond for ever
DELAY = """\
function delay()
  return math.random(0, %d)
end
"""


@dataclass(frozen=True, slots=True)
class Output:
    """What wrk printed: right answers, seconds, errors by kind, and percentiles in seconds."""

    requests: int
    seconds: float
    errors: Mapping[str, int]
    percentiles_s: Mapping[int, float]


def command(
    url: str, *, connections: int, duration_s: float, script: Path | None = None,
    header: str | None = None,
) -> list[str]:  # fmt: skip
    """wrk with one thread. It takes whole seconds only, so the duration is rounded up."""
    argv = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{math.ceil(duration_s)}s"]
    argv += ["--latency"]
    argv += ["-s", str(script)] if script else []
    argv += ["-H", header] if header else []
    return [*argv, url]


def parse(text: str) -> Output:
    """Read wrk's output; MeasurementError if it holds no result."""
    total, rate = TOTAL.search(text), RATE.search(text)
    if not total or not rate:
        raise MeasurementError("wrk printed no result", log=text[-1000:])
    done, per_s = quantity(total[1]), quantity(rate[1])
    errors: dict[str, int] = {}
    if sockets := SOCKET_ERRORS.search(text):
        kinds = ("connect", "read", "write", "timeout")
        errors |= {kind: int(n) for kind, n in zip(kinds, sockets.groups(), strict=True) if int(n)}
    wrong = int(found[1]) if (found := STATUS_ERRORS.search(text)) else 0
    if wrong:
        errors["status"] = wrong
    return Output(
        requests=round(done) - wrong,  # it counts them among its requests
        # the rate has more digits than the duration
        seconds=done / per_s if per_s else seconds(total[2]),
        errors=errors,
        percentiles_s={int(q): seconds(value) for q, value in PERCENTILE.findall(text)},
    )


def corrected(values_s: npt.ArrayLike, interval_s: float) -> npt.NDArray[np.float64]:
    """Latencies as wrk counts them, in seconds: with those that it believes were omitted.

    Its `stats_correct` adds to each latency of two mean intervals between a connection's
    requests or more what requests in the meantime would have waited, by steps of the interval.
    """
    values = np.asarray(values_s, dtype=np.float64)
    parts = [values]
    waiting = values[values >= 2 * interval_s] - interval_s
    while len(waiting := waiting[waiting > interval_s]):
        parts.append(waiting)
        waiting = waiting - interval_s
    return np.concatenate(parts)


def quantity(text: str) -> float:
    """A number as wrk prints it, such as 812, 12.34k or 1.20M."""
    number = text.rstrip("kMG")
    return float(number) * FACTORS[text[len(number) :]]


def seconds(text: str) -> float:
    """A duration as wrk prints it, such as 611.26us, 1.05ms or 2.00s, in seconds."""
    number = text.rstrip("umsh")
    return float(number) * SECONDS[text[len(number) :]]
