"""What a calibration measures, and in which order. Nothing is run here."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["throughput", "latency", "idle"]
AGREEMENT = "agreement"

OURS, WRK = "gatebench", "wrk"
HTTP_USER, FAST_USER, WEBSOCKET_CLIENT = "HttpUser", "FastHttpUser", "websocket-client"
EVERYONE = (OURS, WRK, HTTP_USER, FAST_USER)
IDLE_PAIRS = 2  # at most: memory hardly varies, and opening thousands of connections takes long
STOCK_SHARE = 0.5  # of the window, for Locust's own clients: it still holds 1,000 requests or more
START_S = 1.1  # of a measurement, beside its window: server, generator, warm-up, end
IDLE_S = 5.0


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that is measured of each of its generators, ours first.

    `counts` is what is counted: requests or messages.
    """

    name: str
    kind: Kind
    about: str
    generators: tuple[str, ...]
    counts: str = "requests"


PARTS = {
    part.name: part
    for part in (
        Part("hello", "throughput", "GET / on 32 kept connections", EVERYONE),
        Part("echo", "throughput", "POST 64 bytes on 32 kept connections", EVERYONE),
        Part("connect", "throughput", "GET /, each on a connection of its own, 32 users", EVERYONE),
        Part(
            "websocket-echo",
            "throughput",
            "64 bytes echoed on 32 WebSockets",
            (OURS, WEBSOCKET_CLIENT),
            "messages",
        ),
        Part(
            "added-latency",
            "latency",
            "GET / at a tenth of the rate that gatebench reached in hello",
            (OURS, WRK),
        ),
        Part(
            AGREEMENT,
            "latency",
            "GET / of one server that takes 5 ms, by both at the same time, 8 connections each",
            (OURS, WRK),
        ),
        Part("idle-http", "idle", "connections that wait for an answer", (OURS, WRK)),
        Part("idle-websocket", "idle", "WebSockets that wait for an echo", (OURS,), "messages"),
    )
}


@dataclass(frozen=True, slots=True)
class Step:
    """One measurement: of one generator, in one pair of a part.

    Pair 0 is outside all pairs: a figure that another part rests on.
    """

    part: Part
    pair: int
    generator: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a calibration will do; `missing` maps a generator to what would install it."""

    parts: tuple[Part, ...]
    pairs: int
    duration_s: float
    seed: int
    missing: Mapping[str, str] = field(default_factory=dict)

    def order(self) -> list[Step]:
        """Part by part, pair by pair; within a pair each generator once, shuffled."""
        draw = random.Random(self.seed)
        steps: list[Step] = []
        hello, added = PARTS["hello"], PARTS["added-latency"]
        if added in self.parts and hello not in self.parts:
            steps.append(Step(hello, 0, OURS))
        for part in self.parts:
            for pair in range(1, self.pairs_of(part) + 1):
                generators = [name for name in part.generators if name not in self.missing]
                draw.shuffle(generators)
                steps += [Step(part, pair, generator) for generator in generators]
        return steps

    def pairs_of(self, part: Part) -> int:
        """How many pairs a part gets."""
        return min(self.pairs, IDLE_PAIRS) if part.kind == "idle" else self.pairs

    def estimate_s(self, steps: Sequence[Step]) -> float:
        """About how many seconds steps take."""
        return sum(
            IDLE_S
            if step.part.kind == "idle"
            else START_S + window_s(step.generator, self.duration_s)
            for step in steps
        )


def window_s(generator: str, duration_s: float) -> float:
    """How long a generator is measured, in seconds."""
    return duration_s if generator in (OURS, WRK) else max(1.0, STOCK_SHARE * duration_s)
