"""`gatebench calibrate`: the load generator itself, beside others."""

from __future__ import annotations

import argparse
import os
import secrets
import sys

from harness import calibrate
from harness.cells import split_words
from harness.commands.console import (
    DONE,
    INTERRUPTED,
    NOT_MEASURED,
    complain,
    out,
    print_json,
    say,
)
from harness.machine import facts, place, require_linux, usable_cpus
from harness.model import ConfigurationError, GatebenchError
from harness.registry import load_registry
from harness.report.calibration import line, print_calibration
from harness.report.units import clock
from harness.sample import pin
from harness.store import plain


def do_calibrate(arguments: argparse.Namespace) -> int:
    """`gatebench calibrate`: the load generator itself, beside others."""
    require_linux()
    names = split_words(arguments.only or []) or list(calibrate.PARTS)
    if unknown := [name for name in names if name not in calibrate.PARTS]:
        there = ", ".join(calibrate.PARTS)
        raise ConfigurationError(f"unknown part {unknown[0]!r}; there are {there}")
    placement, machine = place(usable_cpus()), facts(usable_cpus())
    seed = arguments.seed if arguments.seed is not None else secrets.randbelow(2**31)
    parts = tuple(part for name, part in calibrate.PARTS.items() if name in names)
    plan = calibrate.Plan(parts, arguments.pairs, arguments.duration, seed, calibrate.missing())
    bench = calibrate.Bench(load_registry().scenarios, placement, arguments.duration)
    known = {
        "command": ["gatebench", *sys.argv[1:]], "machine": machine, "placement": placement,
        "versions": calibrate.versions(), "load_before": os.getloadavg()[0],
    }  # fmt: skip
    pin(placement.generator)
    done, ended, stopped = _calibrate(plan, bench)
    known |= {"ended": ended, "load_after": os.getloadavg()[0]}
    found = calibrate.document(plan, done, known)
    if arguments.json:
        print_json(found)
    else:
        print_calibration(plain(found), out)
    if stopped is not None:
        complain(stopped)
        return stopped.exit_code
    if ended == "interrupted":
        say(f"interrupted: {len(done)} of {len(plan.order())} measurements are shown")
        return INTERRUPTED
    return NOT_MEASURED if any(it.failure for it in done) else DONE


def _calibrate(
    plan: calibrate.Plan, bench: calibrate.Bench
) -> tuple[list[calibrate.Measurement], str, GatebenchError | None]:
    """What was measured, how it ended, and the error that stopped it if one did."""
    steps = plan.order()
    say(f"{len(steps)} measurements, about {clock(plan.estimate_s(steps))}")
    done: list[calibrate.Measurement] = []
    try:
        for measurement in calibrate.conduct(plan, bench):
            done.append(measurement)
            left = plan.estimate_s(steps[len(done) :])
            say(f"[{len(done)}/{len(steps)}] {line(measurement)} · {clock(left)} left")
    except KeyboardInterrupt:
        return done, "interrupted", None
    except GatebenchError as error:
        return done, "stopped", error
    return done, "complete", None
