"""A history in which everything happens that the site can show, from a seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.history import CellRecord, Decision, History
from harness.tests.builders import MACHINE
from harness.tests.histories import cell, record

REFERENCE = "uvicorn@0.30"
SPEEDS = {
    REFERENCE: 1000.0, "uvicorn": 1100.0, "gunicorn-sync": 700.0, "waitress": 500.0,
    "granian": 2000.0,
}  # fmt: skip
BLOCKS = 4
YOUNG = 9  # runs of the server that came last
RISE = 31  # runs before the newest: gunicorn-sync is better from here
FALL = 20  # runs before the newest: uvicorn is slower from here, with another h11
UPDATE = 18  # runs before the newest: waitress is slower from here, with another kernel
HOST = 12  # from this run on all but the reference are slower
INVALID = (5, 17)


def site_history(
    runs: int = 60, scenarios: tuple[str, ...] = ("hello", "echo"), *, others: bool = True
) -> History:
    """Runs of five servers, a sixth in the newest ones; with `others` three of another machine.

    Early on all but the reference fall by 15 % at once, which is the host's doing. Under the last
    scenario nothing else happens. Under the first uvicorn falls by 12 % with a new h11,
    gunicorn-sync rises by 15 % with a new version, waitress falls by 10 % with a new kernel, and
    the newest run of granian is 20 % down; two runs of gunicorn-sync are invalid.
    """
    random = np.random.default_rng(20260301)
    records = []
    for number in range(runs):
        cells = [
            made
            for scenario in scenarios
            for made in _cells(random, number, runs, scenario, eventful=scenario == scenarios[0])
        ]
        kernel = "6.1.0" if number < runs - UPDATE else "6.2.0"
        records.append(
            record(number, cells, machine=MACHINE | {"kernel": kernel},
                   command="gatebench run '*' --scenario hello,echo --blocks 4")
        )  # fmt: skip
    if others:
        elsewhere = MACHINE | {"cpu": "Another CPU", "memory_bytes": 64 * 2**30}
        # before all the rest: the class of the newest run comes first
        records[:0] = [
            record(day, _cells(random, runs - 1, runs, scenarios[0], eventful=False),
                   machine=elsewhere)
            for day in (-3, -2, -1)
        ]  # fmt: skip
    return History(tuple(records), ())


def decided(history: History) -> History:
    """The same, its regressions acknowledged."""
    machine = history.machines[0].id
    changes = [it for each in history.series(machine) for it in each.changes if it.stands]
    return replace(
        history,
        decisions=tuple(
            Decision("acknowledge", "h11 <0.16> parses again", "2026-04-01T00:00:00+00:00",
                     it.id, it.series, it.run_id)
            for it in changes
        ),
    )  # fmt: skip


def _cells(
    random: np.random.Generator, number: int, runs: int, scenario: str, eventful: bool
) -> list[CellRecord]:
    drift = float(np.exp(random.normal(0, 0.03)))  # the machine's: it moves all alike
    made = []
    for server, speed in SPEEDS.items():
        host = 0.85 if number >= HOST and server != REFERENCE else 1.0
        noise = np.exp(random.normal(0, 0.01)) * np.exp(random.normal(0, 0.01, BLOCKS))
        factor, versions = _became(server, runs - number) if eventful else (1.0, {})
        blocks = [float(it) for it in speed * drift * host * factor * noise]
        facts = {"scenario": scenario, "versions": {server: "1.0", "h11": "0.14"} | versions}
        if eventful and server == "gunicorn-sync" and number in INVALID:
            facts |= {"verdict": "invalid", "reasons": ("answers are too early",)}
            made.append(cell(server, [None] * BLOCKS, **facts))
        else:
            made.append(cell(server, blocks, **facts))
    if number >= runs - YOUNG:
        values = [float(it) for it in 800 * drift * np.exp(random.normal(0, 0.01, BLOCKS))]
        made.append(cell("hypercorn", values, scenario=scenario))
    return made


def _became(server: str, left: int) -> tuple[float, dict[str, str]]:
    """How fast a server is against its beginning, and what it has installed then."""
    if server == "uvicorn" and left <= FALL:
        return 0.88, {"h11": "0.16"}
    if server == "gunicorn-sync" and left <= RISE:
        return 1.15, {"gunicorn-sync": "2.0"}
    if server == "waitress" and left <= UPDATE:
        return 0.9, {}
    if server == "granian" and left <= 1:
        return 0.8, {}
    return 1.0, {}
