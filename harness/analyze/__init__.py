"""From stored runs to tidy DataFrames, verdicts and comparisons. Nothing here starts a process."""

from harness.analyze.cells import cells_frame, records
from harness.analyze.comparison import comparisons_frame
from harness.analyze.trials import trials_frame

__all__ = ["cells_frame", "comparisons_frame", "records", "trials_frame"]
