"""A finding on a trial, as reports and JSON have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.analyze.rules import Rule


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found: by which rule, its figures (in seconds, per second, counts and
    shares), and both in a sentence.
    """

    of: Rule
    figures: Mapping[str, float]
    text: str

    @property
    def name(self) -> str:
        """The rule's name."""
        return self.of.name

    @property
    def verdict(self) -> str:
        """What the trial is worth by it."""
        return self.of.verdict

    @property
    def rule(self) -> str:
        """The rule in words, with its threshold."""
        return self.of.rule

    @property
    def advice(self) -> str:
        """What to do; empty where there is nothing."""
        return self.of.advice
