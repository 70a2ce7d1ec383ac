"""What a probe found: one of four answers, and one line of evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Word = Literal["yes", "no", "partial", "not tried"]
EVIDENCE_CHARS = 160


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a probe's question; `evidence` is what was seen, or why it was not tried."""

    word: Word
    evidence: str

    def __post_init__(self) -> None:
        text = " ".join(self.evidence.split())
        if len(text) > EVIDENCE_CHARS:
            text = f"{text[: EVIDENCE_CHARS - 3]}..."
        object.__setattr__(self, "evidence", text)


def yes(evidence: str) -> Answer:
    """It can."""
    return Answer("yes", evidence)


def no(evidence: str) -> Answer:
    """It cannot."""
    return Answer("no", evidence)


def partial(evidence: str) -> Answer:
    """It can, up to a point that the evidence names."""
    return Answer("partial", evidence)


def not_tried(why: str) -> Answer:
    """Not asked: not claimed, not for this interface, or something is missing here."""
    return Answer("not tried", why)


def graded(whole: bool, part: bool, evidence: str) -> Answer:
    """Yes if `whole`, else partial if `part`, else no; with the same evidence."""
    return Answer("yes" if whole else "partial" if part else "no", evidence)


def milliseconds(seconds: float) -> str:
    """A duration in whole milliseconds, for evidence."""
    return f"{seconds * 1000:.0f} ms"
