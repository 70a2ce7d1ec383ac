"""What the values of options may be: each reads a text, or says what it should have been."""

from __future__ import annotations

import argparse
import re

DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|)")
FACTORS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}


def duration(text: str) -> float:
    """Seconds, of 5s, 500ms, 1m or 1h."""
    match = DURATION.fullmatch(text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration; write 5s, 500ms or 1m")
    return float(match[1]) * FACTORS[match[2]]


def window(text: str) -> float:
    """Seconds that are enough to measure."""
    seconds = duration(text)
    if seconds < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is too short to measure; give 1s or more")
    return seconds


def rate(text: str) -> float:
    """Per second, above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a rate per second above 0")
    return value


def number(text: str) -> int:
    """A whole number of 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def status(text: str) -> int:
    """A status of HTTP that ends an exchange."""
    if not text.isdecimal() or not 200 <= int(text) <= 599:
        raise argparse.ArgumentTypeError(f"{text!r} is not a status from 200 to 599")
    return int(text)


def threshold(text: str) -> dict[str, float]:
    """Shares by metric, of throughput=10%,memory=20%; under the name "" that of all, of 10%."""
    found = {}
    for part in text.split(","):
        match = re.fullmatch(r"(?:([a-z0-9]+)=)?(\d+(?:\.\d+)?)%", part)
        if not match or not 0 < float(match[2]) <= 1000 or (match[1] or "") in found:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not written like 10%, or throughput=10%,memory=20%"
            )
        found[match[1] or ""] = float(match[2]) / 100
    return found


def share(text: str) -> float:
    """A share of 1, of a percentage that makes sense as a precision."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)%", text)
    if not match or not 0.5 <= float(match[1]) <= 50:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share from 0.5% to 50%")
    return float(match[1]) / 100
