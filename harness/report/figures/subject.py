"""What a figure is of: the cells of one scenario under one load, best first."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.analyze import records
from harness.analyze.cells import KEYS, grouped, used_of
from harness.analyze.contenders import LOAD, contenders
from harness.analyze.verdict import FAILED, INVALID, RANKED
from harness.histogram import Histogram
from harness.model import visible
from harness.report.figures.figure import CROSS, HOLLOW, SOLID, Axis
from harness.report.table import load_text, ranking

Row = Mapping[str, Any]
SAID = 6  # names in a sentence, at the most

# what every point tells of itself; the page filters by these
FACTS = ("server", "app", "speaks", "verdict")
TIPS = (Axis("verdict", "verdict"), Axis("trials", "trials"))
VERDICTS = (
    "Hollow points are not ranked, for the reason that their verdict names; a cross is invalid."
)


@dataclass(frozen=True)
class Subject:
    """`rows` are records of the cells' frame with their `name` in this figure, best first, and
    `trials` each one's trials, as records; `latencies` are a row's, merged.
    """

    scenario: str
    load: str
    slug: str
    rows: tuple[Row, ...]
    trials: Mapping[str, tuple[Row, ...]]
    latencies: Callable[[Row], Histogram]

    @property
    def first(self) -> Row:
        """The best cell."""
        return self.rows[0]

    def used(self, row: Row) -> tuple[Row, ...]:
        """The trials that a cell's verdict rests on."""
        return tuple(used_of(self.trials[row["name"]]))

    def title(self, what: str) -> str:
        """A figure's title."""
        return f"{what}: {self.scenario}"


def subjects(
    trials: pd.DataFrame,
    cells: pd.DataFrame,
    comparisons: pd.DataFrame,
    latencies: Callable[[Row], Histogram],
) -> Iterator[Subject]:
    """The subjects of one run, by scenario and load, in the order of the cells."""
    of_cell = grouped(records(trials))
    slugs = Slugs()
    for _, group in cells.groupby(list(LOAD), sort=False, dropna=False):
        scenario = str(group["scenario"].iloc[0])
        rows = ranking(group, comparisons, scenario)
        for row, (_, name) in zip(rows, contenders(rows), strict=True):
            row["name"] = visible(name)
        yield Subject(
            scenario=visible(scenario),
            load=load_text(rows[0]),
            slug=slugs(scenario),
            rows=tuple(rows),
            trials={row["name"]: tuple(of_cell[row["run"], *_key(row)]) for row in rows},
            latencies=latencies,
        )


class Slugs:
    """Names that are safe as a file's, each given once."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def __call__(self, text: str) -> str:
        """A name for a text: small letters, digits and dashes, with a number if it was given."""
        plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "figure"
        slug, number = plain, 1
        while slug in self._given:
            number += 1
            slug = f"{plain}-{number}"
        self._given.add(slug)
        return slug


def shown(verdict: str) -> str:
    """How a verdict looks."""
    if verdict in RANKED:
        return SOLID
    return CROSS if verdict in (FAILED, INVALID) else HOLLOW


def point(row: Row) -> dict[str, Any]:
    """What every point has beside its figures."""
    facts = {name: row[name] for name in FACTS}
    trials = f"{row['used']} of {row['trials']} trials" if row["trials"] > 1 else "1 trial"
    return {"name": row["name"], **facts, "trials": trials, "shown": shown(row["verdict"])}


def frame(rows: Iterable[Row], *needed: str) -> pd.DataFrame:
    """Those rows that know all that is needed."""
    whole = pd.DataFrame(list(rows))
    return whole.dropna(subset=list(needed)).reset_index(drop=True) if len(whole) else whole


def caveats(rows: Iterable[Row], but: str = "Not ranked") -> str:
    """What is not ranked among the rows, and why, in a sentence each; begins with a space.

    `but` is what was done with those that could be measured.
    """
    by_verdict: dict[str, list[str]] = {}
    for row in rows:
        if row["verdict"] not in RANKED:
            by_verdict.setdefault(row["verdict"], []).append(row["name"])
    said = [
        f" Could not be measured: {listed(names)}."
        if verdict == FAILED
        else f" {but}, {verdict}: {listed(names)}."
        for verdict, names in by_verdict.items()
    ]
    return "".join(said)


def ranked(rows: Iterable[Row]) -> list[Row]:
    """Those that may be ranked."""
    return [row for row in rows if row["verdict"] in RANKED]


def listed(names: Iterable[str]) -> str:
    """Names in a sentence, the first few of many."""
    several = list(names)
    if len(several) > SAID:
        several = [*several[: SAID - 1], f"{len(several) - SAID + 1} more"]
    return several[0] if len(several) == 1 else f"{', '.join(several[:-1])} and {several[-1]}"


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in KEYS)
