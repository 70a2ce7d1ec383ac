"""The load generator itself, measured on this machine beside others, in interleaved pairs.

`plan` says what is measured in which order, `generators` measures one thing, `figures` makes
the document. `rivals` is run by Locust and `meter` by Python alone; neither is imported here.
"""

from harness.calibrate.conductor import Measurement, conduct
from harness.calibrate.figures import document
from harness.calibrate.generators import Bench, missing, versions
from harness.calibrate.plan import PARTS, Part, Plan, Step

__all__ = [
    "PARTS", "Bench", "Measurement", "Part", "Plan", "Step", "conduct", "document", "missing",
    "versions",
]  # fmt: skip
