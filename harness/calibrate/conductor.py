"""The conductor of a calibration: each step measured by itself, a failure kept with its reason."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from harness.calibrate.generators import Bench, Figures, idle, throughput
from harness.calibrate.latency import added_latency, agreement
from harness.calibrate.plan import AGREEMENT, OURS, PARTS, Plan, Step
from harness.model import MeasurementError

SHARE_OF_HELLO = 0.1


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
    at_once: dict[str, Figures] = {}  # those of the other generator, measured in the same pair
    for step in plan.order():
        try:
            if step.part is PARTS[AGREEMENT]:
                at_once = at_once or agreement(bench, set(step.part.generators) - set(plan.missing))
                figures = at_once.pop(step.generator)
            else:
                figures = measure(step, bench, reached)
            measurement = Measurement(step, figures)
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
    if not reached:
        raise MeasurementError("it takes a tenth of hello's rate, and hello gave none")
    rate = SHARE_OF_HELLO * statistics.median(reached)
    return added_latency(step.generator, bench, rate)
