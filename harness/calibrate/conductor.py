"""The conductor of a calibration: each step measured by itself, a failure kept with its reason."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from harness.calibrate.generators import Bench, Figures, idle, latency, throughput
from harness.calibrate.plan import OURS, PARTS, Plan, Step
from harness.model import MeasurementError

SHARE_OF_HELLO = 0.1
FIXED_CONNECTIONS = 8
FIXED_SERVICE_S = 0.001


@dataclass(frozen=True, slots=True)
class Measurement:
    """A step and its figures, or the reason why there are none."""

    step: Step
    figures: Mapping[str, float] = field(default_factory=dict)
    failure: str | None = None
    log: str = ""


def conduct(plan: Plan, bench: Bench) -> Iterable[Measurement]:
    """Measure every step of the plan, each yielded when it is done."""
    reached: list[float] = []
    for step in plan.order():
        try:
            measurement = Measurement(step, measure(step, bench, reached))
        except MeasurementError as error:
            measurement = Measurement(step, failure=str(error), log=error.log)
        if step.part is PARTS["hello"] and step.generator == OURS and measurement.figures:
            reached.append(measurement.figures["requests_per_s"])
        yield measurement


def measure(step: Step, bench: Bench, reached: list[float]) -> Figures:
    """One step's figures; `reached` are the rates of hello so far, per second."""
    if step.part.kind == "throughput":
        return throughput(step.part.name, step.generator, bench)
    if step.part.kind == "idle":
        return idle(step.part.name, step.generator, bench)
    if step.part is PARTS["agreement"]:
        return latency(
            step.generator, bench, connections=FIXED_CONNECTIONS, service_s=FIXED_SERVICE_S
        )
    if not reached:
        raise MeasurementError("it takes a tenth of hello's rate, and hello gave none")
    rate = SHARE_OF_HELLO * statistics.median(reached)
    return latency(step.generator, bench, rate_per_s=rate)
