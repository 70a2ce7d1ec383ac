"""One thing varied while all else stays: `--sweep users=1,2,4..256`.

The values are a list, and `..` after the last one goes on to an end as the terms before it tell:

    workers=1..4             1, 2, 3, 4                one term counts on by 1
    rate=100,200..1000       100, 200, 300 ... 1000    two go on by their difference
    users=1,2,4..256         1, 2, 4, 8 ... 256        three tell how: by difference or by ratio

An end that the series steps over is not in it.
"""

from __future__ import annotations

import argparse
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness.model import Cell, ConfigurationError

ALONG = ("users", "rate", "workers", "threads")
NUMBER = r"\d+(?:\.\d+)?"
WRITTEN = re.compile(rf"({NUMBER}(?:,{NUMBER})*)(?:\.\.({NUMBER}))?")
MOST_VALUES = 64
MOST = 1e6


@dataclass(frozen=True, slots=True)
class Sweep:
    """What is varied, one of ALONG, and its values, ascending: whole numbers but for rates."""

    along: str
    values: tuple[float, ...]


def parse_sweep(text: str) -> Sweep:
    """Read `users=1,2,4..256`; ConfigurationError in one line if it makes no sense."""
    along, _, rest = text.partition("=")
    match = WRITTEN.fullmatch(rest)
    if along not in ALONG or match is None:
        raise ConfigurationError(
            f"--sweep {text!r} is not written like users=1,2,4..256; "
            f"{', '.join(ALONG[:-1])} and {ALONG[-1]} can be swept"
        )
    terms = [float(term) for term in match[1].split(",")]
    values = terms if match[2] is None else list(_continued(text, terms, float(match[2])))
    if any(value <= before for before, value in itertools.pairwise(values)):
        raise ConfigurationError(f"--sweep {text}: the values do not rise")
    if values[0] <= 0 or values[-1] > MOST:
        raise ConfigurationError(f"--sweep {text}: values are above 0, and at most {MOST:g}")
    if along != "rate" and not all(value.is_integer() for value in values):
        raise ConfigurationError(f"--sweep {text}: {along} are whole numbers")
    return Sweep(along, tuple(values if along == "rate" else map(int, values)))


def _continued(text: str, terms: Sequence[float], end: float) -> Iterator[float]:
    """The terms, then the series that they begin, up to the end."""
    factor, step = 1.0, 1.0
    if len(terms) == 2:
        step = terms[1] - terms[0]
    elif len(terms) > 2:
        first, second, third = terms[-3:]
        step = second - first
        if not math.isclose(third - second, step):
            if not first or not math.isclose(third * first, second * second):
                raise ConfigurationError(
                    f"--sweep {text}: {first:g}, {second:g}, {third:g} go on neither by a "
                    "difference nor by a ratio"
                )
            factor, step = second / first, 0.0
    if end < terms[-1] or (factor <= 1 and step <= 0):
        raise ConfigurationError(f"--sweep {text}: does not rise to {end:g}")
    yield from terms[:-1]
    value, count = terms[-1], len(terms)
    while value <= end * (1 + 1e-9):
        if count > MOST_VALUES:
            raise ConfigurationError(
                f"--sweep {text}: has more than {MOST_VALUES} values; "
                "three terms tell a ratio, as in 1,2,4..256"
            )
        yield value
        value, count = value * factor + step, count + 1


def parse_sweeps(texts: Sequence[str]) -> list[Sweep]:
    """Several, each of another thing."""
    sweeps = [parse_sweep(text) for text in texts]
    named = [sweep.along for sweep in sweeps]
    if len(set(named)) < len(named):
        raise ConfigurationError("--sweep: the same thing is swept twice; give its values in one")
    if {"users", "rate"} <= set(named):
        raise ConfigurationError(
            "--sweep: users are a closed load and a rate is an open one; sweep one of them"
        )
    return sweeps


def points(sweeps: Sequence[Sweep]) -> list[dict[str, float]]:
    """Every combination of their values; without sweeps one that says nothing."""
    names = [sweep.along for sweep in sweeps]
    return [
        dict(zip(names, values, strict=True))
        for values in itertools.product(*(sweep.values for sweep in sweeps))
    ]


def swept(arguments: argparse.Namespace, sweeps: Sequence[Sweep]) -> list[argparse.Namespace]:
    """The arguments once for each point; ConfigurationError where both say the same thing."""
    for sweep in sweeps:
        if sweep.along in ("users", "rate", "workers") and getattr(arguments, sweep.along, None):
            raise ConfigurationError(f"--{sweep.along} is swept: give it in --sweep alone")
    return [argparse.Namespace(**{**vars(arguments), **point}) for point in points(sweeps)]


def hold_choices(sweeps: Iterable[Sweep], cells: Sequence[Cell]) -> None:
    """That every server has what is swept to choose; else each value would measure the same."""
    for along in (sweep.along for sweep in sweeps):
        for cell in cells:
            if along in ("workers", "threads") and not getattr(cell.server, f"takes_{along}"):
                raise ConfigurationError(
                    f"--sweep {along}: {cell.server.label} has no number of {along} to choose"
                )
