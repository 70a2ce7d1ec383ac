"""What a trial can be worth, in one word, and what may be ranked by it."""

from __future__ import annotations

from collections.abc import Iterable

FAILED = "failed"
INVALID = "invalid"
GENERATOR_LIMITED = "generator-limited"
NO_STEADY_STATE = "no-steady-state"
SERVER_LIMITED = "server-limited"
VALID = "valid"
SEVERITY = (FAILED, INVALID, GENERATOR_LIMITED, NO_STEADY_STATE, SERVER_LIMITED, VALID)

# A closed run is for maximum throughput, and that is what a server at its limit shows.
RANKED = (VALID, SERVER_LIMITED)


def most_severe(verdicts: Iterable[str]) -> str:
    """The verdict that several add up to; `valid` if there is none."""
    return min(verdicts, key=SEVERITY.index, default=VALID)
