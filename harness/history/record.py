"""A run as history keeps it: the few numbers of each block that series are made of."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness import __version__
from harness.analyze.cells import KEYS, records
from harness.analyze.comparison import figures_of
from harness.analyze.decision import METRICS
from harness.analyze.verdict import RANKED
from harness.history.machine import MachineClass
from harness.results import Results
from harness.store import StoredRun, StoredTrial, UnreadableRunError, read_recipe

COMPLETE = "complete"
DIGITS = 6  # significant ones: far beyond what any figure here is worth
REASONS, REASON = 3, 200  # kept of a cell, and characters of each
DIGEST = 12  # hexadecimal digits


@dataclass(frozen=True, slots=True)
class CellRecord:
    """A cell of a run. `figures` has a value for each of `blocks`, None where it is worth none.

    A block's value is the one that its trial measured if the trial's verdict, in `verdicts`, and
    the cell's are `valid` or `server-limited`; seconds, bytes, per second, and errors as a share of
    the requests. A run that did not end as planned has no figures at all. `versions` is the
    receipt: every distribution that was installed, and the proxy. Digests are empty where they
    are not known: `app_digest` of the app's sources, `work_digest` of the scenario's,
    `command_digest` of the command that started the server, without its port and folders.
    """

    server: str
    app: str
    scenario: str
    workers: int
    threads: int | None
    model: str
    users: int | None
    rate_per_s: float | None
    arrivals: str | None
    twin_of: str | None
    front: str | None
    verdict: str
    reasons: tuple[str, ...]
    versions: Mapping[str, str]
    python: str | None
    app_digest: str
    work_digest: str
    command_digest: str
    blocks: tuple[int, ...]
    verdicts: tuple[str, ...]
    figures: Mapping[str, tuple[float | None, ...]]


@dataclass(frozen=True, slots=True)
class Record:
    """A run: when and how it was measured, on what, and its cells in the order asked for.

    `id` is the run's own, the same for each reading of it, also after it was resumed; `trials`
    counts those that were measured. `created` and `ended_at` are ISO 8601 in UTC; `ended` is
    `complete`, or how it broke off; `command` is what it was started with, empty if not known;
    `looks` is how often its comparisons may be judged, 2 of a run that could be extended.
    """

    id: str
    run: str
    created: str
    ended: str
    gatebench: str
    read_by: str
    machine: Mapping[str, Any]
    placement: Mapping[str, Any]
    timing: Mapping[str, float]
    blocks: int
    trials: int
    cells: tuple[CellRecord, ...]
    command: str = ""
    looks: int = 1

    @property
    def machine_class(self) -> MachineClass:
        """What its series are split by."""
        return MachineClass.of(self.machine)

    @property
    def complete(self) -> bool:
        """Whether it ended as planned; only then it has figures."""
        return self.ended == COMPLETE


def record_of(results: Results) -> Record:
    """A run as a record.

    UnreadableRunError where it is a search: its loads are never the same again.
    """
    run = results.run
    if "capacity" in run.facts:
        raise UnreadableRunError(
            f"{run.path}: is a search, which sets each rate anew; add runs and comparisons"
        )
    trials = results.trials
    complete = run.ended == COMPLETE
    sources = _digests(run)
    stored = {trial.facts["number"]: trial for trial in run.trials}
    places: dict[tuple[Any, ...], list[int]] = {}
    for place, trial in enumerate(records(trials)):
        places.setdefault(tuple(trial[name] for name in KEYS), []).append(place)
    cells = [
        _cell(row, trials.iloc[places[tuple(row[name] for name in KEYS)]], stored, sources)
        for row in records(results.cells)
    ]
    order = [cell["server"] for cell in run.facts.get("cells", [])]
    cells.sort(key=lambda cell: order.index(cell.server) if cell.server in order else len(order))
    return Record(
        id=_identity(run),
        run=run.path.name,
        created=run.facts["created"],
        ended=run.ended,
        gatebench=run.facts.get("gatebench", ""),
        read_by=__version__,
        machine=run.facts["machine"],
        placement=run.facts["placement"],
        timing=run.facts["timing"],
        blocks=run.facts["blocks"],
        trials=int((trials["outcome"] == "measured").sum()),
        cells=tuple(cells if complete else map(_without_figures, cells)),
        command=shlex.join(run.facts.get("command", ())),
        looks=int(run.facts.get("looks", 1)),
    )


def _identity(run: StoredRun) -> str:
    """What stays of a run when it is resumed or extended: when, where and from which seed."""
    known = (run.facts["created"], run.facts["seed"], run.facts["machine"].get("hostname"))
    return _digest(json.dumps(known))


def _cell(
    row: Mapping[str, Any],
    group: pd.DataFrame,
    stored: Mapping[int, StoredTrial],
    sources: tuple[Mapping[str, str], Mapping[str, str]],
) -> CellRecord:
    # a cell that the generator held back has no block that is fair, see `cells.used_of`
    ranked = group["verdict"].isin(RANKED).to_numpy(bool) & (row["verdict"] in RANKED)
    values = np.where(ranked[:, None], figures_of(group), np.nan)
    apps, works = sources
    return CellRecord(
        **{name: row[name] for name in (*KEYS, "twin_of", "front", "verdict", "python")},
        reasons=tuple(reason[:REASON] for reason in row["reasons"][:REASONS]),
        versions=dict(row["versions"] or {}),
        app_digest=apps.get(row["app"], ""),
        work_digest=works.get(row["scenario"], ""),
        command_digest=_command(stored[number].facts for number in group["number"]),
        blocks=tuple(map(int, group["block"])),
        verdicts=tuple(map(str, group["verdict"])),
        figures={
            metric.name: tuple(map(_short, values[:, at])) for at, metric in enumerate(METRICS)
        },
    )


def _without_figures(cell: CellRecord) -> CellRecord:
    return CellRecord(
        **{name: getattr(cell, name) for name in cell.__slots__ if name != "figures"}, figures={}
    )


def _short(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None


def _command(trials: Iterable[Mapping[str, Any]]) -> str:
    """The digest of the command that the cell's trials started; empty where none came so far."""
    for facts in trials:
        if argv := facts.get("argv"):
            port = str(facts.get("port"))
            whole = [*argv, *facts.get("front_argv", ())]
            return _digest("\0".join(_without_places(word, port) for word in whole))
    return ""


def _without_places(word: str, port: str) -> str:
    """A word of a command without the folders and the port, which are each trial's own."""
    word = re.sub(rf"(?<!\d){port}(?!\d)", "{port}", word)
    return re.sub(r"(?:/[^/\s:=,]+)+/", "", word)


def _digests(run: StoredRun) -> tuple[dict[str, str], dict[str, str]]:
    """Digests of the sources of the run's apps and scenarios, by name, as its plan has them."""
    if not run.resumable:
        return {}, {}
    recipe = read_recipe(run.path)
    apps, works = {}, {}
    try:
        files = {Path(name): digest for name, digest in recipe["files"].items()}
        for cell in recipe["plan"]["cells"]:
            app, work = cell["app"], cell["scenario"]
            top = Path(app["folder"])
            own = {str(file.relative_to(top)) for file in files if file.is_relative_to(top)}
            parts = [f"{name} {files[top / name]}" for name in sorted(own)]
            apps[app["name"]] = _digest("\n".join([app["target"], *parts]))
            asked = json.dumps(work.get("request"), sort_keys=True)
            works[work["name"]] = _digest(f"{files.get(Path(work['file']), '')} {asked}")
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        what = f"{type(error).__name__}: {error}"
        raise UnreadableRunError(f"{run.path / 'plan.json'}: is damaged ({what})") from None
    return apps, works


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST]
