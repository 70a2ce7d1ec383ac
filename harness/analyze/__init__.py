"""From stored runs to tidy DataFrames, verdicts and comparisons. Nothing here starts a process."""

from harness.analyze.advice import advise
from harness.analyze.capacity import capacities
from harness.analyze.cells import cells_frame, records
from harness.analyze.comparison import comparisons_frame
from harness.analyze.curve import curves
from harness.analyze.ranking import rankings_frame
from harness.analyze.trials import trials_frame

__all__ = [
    "advise", "capacities", "cells_frame", "comparisons_frame", "curves", "rankings_frame",
    "records", "trials_frame",
]  # fmt: skip
