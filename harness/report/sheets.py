"""What stands in place of a scenario's ranking where something was varied or searched."""

from __future__ import annotations

import pandas as pd

from harness.analyze.advice import advise
from harness.analyze.capacity import capacities
from harness.analyze.curve import curves
from harness.report.advice import advice_sheet
from harness.report.capacity import capacity_sheets
from harness.report.curve import curve_sheet
from harness.report.sheet import Sheet
from harness.store import StoredRun


def sheets_of(run: StoredRun, trials: pd.DataFrame) -> dict[str, list[Sheet]]:
    """The sheets of each scenario that has any: capacities, advice, or curves."""
    found: dict[str, list[Sheet]] = {}
    if searched := capacities(run, trials):
        for scenario in dict.fromkeys(it.scenario for it in searched):
            found[scenario] = capacity_sheets([it for it in searched if it.scenario == scenario])
    elif advised := advise(run, trials):
        for each in advised:
            found.setdefault(each.scenario, []).append(advice_sheet(each))
    else:
        for curve in curves(trials):
            found.setdefault(curve.scenario, []).append(curve_sheet(curve))
    return found
