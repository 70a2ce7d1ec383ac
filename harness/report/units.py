"""Numbers as people read them. The only place that formats."""

from __future__ import annotations

import math

NOTHING = "–"


def seconds(value: float | None) -> str:
    """A duration with three significant digits and its unit: 812 µs, 4.31 ms, 1.62 s."""
    if value is None or math.isnan(value):
        return NOTHING
    for limit, factor, unit in ((1e-3, 1e6, "µs"), (1.0, 1e3, "ms")):
        if float(f"{value:.3g}") < limit:
            return f"{significant(value * factor)} {unit}"
    return f"{significant(value)} s"


def size(value: float | None) -> str:
    """Bytes in mebibytes."""
    if value is None or math.isnan(value):
        return NOTHING
    return f"{value / 2**20:.0f} MiB" if value >= 10 * 2**20 else f"{value / 2**20:.1f} MiB"


def rate(value: float | None) -> str:
    """Per second, thousands grouped; a decimal where it says something."""
    if value is None or math.isnan(value):
        return NOTHING
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def share(value: float | None) -> str:
    """A share as a percentage."""
    return NOTHING if missing(value) else f"{value:.0%}"


def cpu_share(value: float | None) -> str:
    """A small share of a CPU, with a decimal."""
    return NOTHING if value is None or missing(value) else f"{value:.1%}"


def times(value: float | None) -> str:
    """A ratio, three significant digits."""
    return NOTHING if value is None or missing(value) else f"{significant(value)}×"


def difference(value: float | None) -> str:
    """A difference of durations, with its sign."""
    if value is None or missing(value):
        return NOTHING
    return f"{'-' if value < 0 else '+'}{seconds(abs(value))}"


def kibibytes(value: float | None) -> str:
    """Bytes in kibibytes."""
    return NOTHING if value is None or missing(value) else f"{value / 2**10:.1f} KiB"


def cpu(value: float | None) -> str:
    """CPU seconds per 1,000 requests, three significant digits."""
    return NOTHING if value is None or missing(value) else significant(value)


def count(value: float | None) -> str:
    """A whole number, thousands grouped."""
    return NOTHING if missing(value) else f"{value:,.0f}"


def plural(value: float, what: str) -> str:
    """A whole number of things: 1 block, 8 blocks."""
    return f"{value:,.0f} {what}" + "s" * (value != 1)


def clock(value: float) -> str:
    """A time left, as people say it: 45 s, 3 min 20 s."""
    whole = max(0, round(value))
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"


def significant(value: float) -> str:
    """Three significant digits, without an exponent."""
    if abs(value) >= 1000:
        return f"{value:.0f}"
    rounded = float(f"{value:.3g}")
    if rounded == 0:
        return "0"
    digits = 2 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:.{max(0, min(digits, 9))}f}"


def missing(value: float | None) -> bool:
    """Whether there is no number."""
    return value is None or math.isnan(value)
