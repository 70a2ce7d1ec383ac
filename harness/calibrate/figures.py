"""From measurements to the document: medians with their range, and ratios within pairs.

A ratio is gatebench's figure over the other generator's, both of one pair; a difference is
gatebench's less the other's. Pairs are the unit: nothing is pooled before.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from harness.calibrate.conductor import Measurement
from harness.calibrate.plan import (
    FAST_USER,
    HTTP_USER,
    OURS,
    WEBSOCKET_CLIENT,
    WRK,
    Kind,
    Part,
    Plan,
)

Pairs = dict[str, dict[int, Measurement]]  # by generator and pair, what has figures
Spread = dict[str, float] | None

FULL = 0.95  # of a CPU: as good as all of it
ALIKE = 0.2  # rates that differ by more are not the same load
RATIOS: dict[Kind, tuple[str, ...]] = {
    "throughput": ("requests_per_s", "requests_per_cpu_s"),
    "latency": (),
    "idle": ("bytes_per_connection",),
}
DIFFERENCES: dict[Kind, tuple[str, ...]] = {
    "throughput": (),
    "latency": ("p50_s", "p90_s", "p99_s"),
    "idle": (),
}
CHECKS = {
    OURS: "checks status, length and every byte of every answer, and records each time in ns",
    WRK: "checks nothing; it counts statuses above 399",
    HTTP_USER: "checks that the status is below 400",
    FAST_USER: "checks that the status is below 400",
    WEBSOCKET_CLIENT: "compares each echo, in the locustfile",
}  # fmt: skip
METHOD: dict[Kind, tuple[str, ...]] = {
    "throughput": (
        "Throughput: closed load of 32 users on the null responder, a fresh one for each "
        "measurement. CPU-seconds are the generator process's own, in its window; wrk's are of "
        "its whole run.",
    ),
    "latency": (
        "added-latency: gatebench sends at even spaces and times each from its sending (service); "
        "wrk's connections wait 0-20 ms between requests, in whole milliseconds, so some of its "
        "requests queue behind each other, which is counted as the server's.",
        "agreement: both load the same server in the same seconds from the same CPU, so that what "
        "stalls one stalls the other.",
        "Percentiles: wherever a latency is above twice the mean interval wrk adds others that it "
        "believes were omitted. The differences are of our percentiles with the same added to "
        "them (p50_as_wrk_s ...); those in our own row are of what was measured.",
    ),
    "idle": (
        "idle: resident memory of the generator (not the kernel's socket buffers) with many "
        "connections less that with 10, each with one request in flight that is not answered.",
    ),
}


def document(
    plan: Plan, measurements: Sequence[Measurement], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """The whole calibration; seconds, bytes, and per second; null where there is no number."""
    parts = [_part(plan, part, measurements) for part in plan.parts]
    return {
        "schema": 1,
        **facts,
        "pairs": plan.pairs,
        "duration_s": plan.duration_s,
        "seed": plan.seed,
        "checks": CHECKS,
        "method": [
            text
            for kind in METHOD
            if kind in {it.kind for it in plan.parts}
            for text in METHOD[kind]
        ],
        "parts": parts,
        "notes": [*_missing(plan), *(line for part in parts for line in _remarks(part))],
        "measurements": [
            {
                "part": it.step.part.name,
                "pair": it.step.pair,
                "generator": it.step.generator,
                "figures": it.figures,
                "failure": it.failure,
                "log": it.log,
            }
            for it in measurements
        ],
    }


def spread(values: Sequence[float]) -> Spread:
    """Median, least and greatest; None without values."""
    if not values:
        return None
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def paired(
    pairs: Pairs,
    other: str,
    figure: str,
    combine: Callable[[float, float], float],
    our_figure: str | None = None,
) -> list[float]:
    """Ours combined with the other's figure, of each pair that has both."""
    ours, theirs = pairs[OURS], pairs[other]
    return [
        combine(ours[number].figures[our_figure or figure], theirs[number].figures[figure])
        for number in sorted(ours.keys() & theirs.keys())
    ]


def as_wrk(figure: str) -> str:
    """The name of our figure that is counted as wrk counts its own."""
    return figure.removesuffix("_s") + "_as_wrk_s"


def alike(pairs: Pairs, other: str) -> Pairs:
    """The pairs in which both reached nearly the same rate."""
    rates = paired(pairs, other, "requests_per_s", lambda ours, theirs: ours / theirs)
    numbers = sorted(pairs[OURS].keys() & pairs[other].keys())
    kept = {n for n, rate in zip(numbers, rates, strict=True) if abs(rate - 1) <= ALIKE}
    return {
        name: {n: it for n, it in measured.items() if n in kept} for name, measured in pairs.items()
    }


def limit(cpu_share: float, server_cpu_share: float) -> str | None:
    """Which side had no more to give: generator, server, or (None) neither of them."""
    if cpu_share >= FULL:
        return "generator"
    return "server" if server_cpu_share >= FULL else None


def _part(plan: Plan, part: Part, measurements: Sequence[Measurement]) -> dict[str, Any]:
    own = [it for it in measurements if it.step.part is part and it.step.pair]
    pairs: Pairs = {
        name: {it.step.pair: it for it in own if it.step.generator == name and it.figures}
        for name in part.generators
    }
    return {
        "part": part.name,
        "kind": part.kind,
        "about": part.about,
        "counts": part.counts,
        "pairs": plan.pairs_of(part),
        "generators": [
            {
                "generator": name,
                "missing": plan.missing.get(name),
                "measured": len(pairs[name]),
                "failures": [
                    {"pair": it.step.pair, "reason": it.failure}
                    for it in own
                    if it.step.generator == name and it.failure
                ],
                **_figures(part, name, pairs),
            }
            for name in part.generators
        ],
    }


def _figures(part: Part, name: str, pairs: Pairs) -> dict[str, Any]:
    measured = [it.figures for it in pairs[name].values()]
    names = measured[0] if measured else ()
    figures = {figure: spread([it[figure] for it in measured]) for figure in names}
    found: dict[str, Any] = {"figures": figures}
    if part.kind == "throughput":
        shares = [figures.get("cpu_share"), figures.get("server_cpu_share")]
        found["limit"] = limit(*(it["median"] for it in shares if it)) if all(shares) else None
    if name == OURS:
        return found
    same_load = alike(pairs, name) if part.kind == "latency" else pairs
    if part.kind == "latency":
        found["pairs_at_the_same_load"] = len(same_load[name])
    found["ratios"] = {
        figure: spread(paired(pairs, name, figure, lambda ours, theirs: ours / theirs))
        for figure in RATIOS[part.kind]
    }
    found["differences"] = {
        figure: spread(
            paired(same_load, name, figure, lambda ours, theirs: ours - theirs, as_wrk(figure))
        )
        for figure in DIFFERENCES[part.kind]
    }
    return found


# Sentences


def _missing(plan: Plan) -> Iterator[str]:
    for name, mend in plan.missing.items():
        yield f"{name} is not installed, so its rows are left out: {mend}"


def _remarks(part: dict[str, Any]) -> Iterator[str]:
    rows = [row for row in part["generators"] if row["measured"]]
    if part["kind"] == "throughput" and (
        idle := [row["generator"] for row in rows if row["limit"] is None]
    ):
        yield (
            f"{part['part']}: neither side had all of its CPU under {', '.join(idle)}: something "
            f"else ran here, or they waited for each other; {part['counts']} per CPU-second "
            "says more than per second"
        )
    for row in part["generators"]:
        where = f"{part['part']}, {row['generator']}"
        reasons = Counter(failure["reason"] for failure in row["failures"])
        for reason, number in reasons.items():
            yield f"{where}: {number} of {part['pairs']} failed: {reason}"
        if row.get("limit") == "server":
            yield (
                f"{where}: the null responder used all of its CPU and the generator did not, so "
                f"{part['counts']} per second is not this generator's ceiling; "
                "per CPU-second still holds"
            )
        for figure, words in (("errors", "errors"), ("unsent", "requests due and not sent")):
            found = row["figures"].get(figure)
            if found and found["high"]:
                yield f"{where}: up to {found['high']:,.0f} {words} in a window"
        if "pairs_at_the_same_load" in row and row["measured"]:
            apart = part["pairs"] - row["pairs_at_the_same_load"]
            if apart:
                yield (
                    f"{where}: in {apart} of {part['pairs']} pairs the rates differed by more "
                    f"than {ALIKE:.0%} (or one was not measured), so those give no difference"
                )
