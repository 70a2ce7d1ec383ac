"""The servers' environments, as a run needs them: each made once, and the same to its end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from harness import environment
from harness.application import inspect
from harness.front import receipt
from harness.model import Cell, Environment, MeasurementError, RefusedError

Key = tuple[str, str]


class Environments:
    """Each server's environment, made once per run, its failure remembered as well.

    `trials` are the facts of those that the run has already: what was installed for the measured
    ones is what is used again, and made again at the same versions where it is gone.
    """

    def __init__(self, refresh: bool, trials: Iterable[Mapping[str, Any]] = ()) -> None:
        self._refresh = refresh
        self._made: dict[Key, Environment | MeasurementError] = {}
        self._had: dict[Key, Mapping[str, Any]] = {}
        for facts in trials:
            if facts["outcome"] == "measured":
                self._had.setdefault((facts["cell"]["server"], facts["cell"]["app"]), facts)

    def of(self, cell: Cell) -> Environment:
        """The environment, or the same MeasurementError as at the first try.

        RefusedError if it cannot be had as it was for the trials before.
        """
        # by name, though servers may share one: a failure names the row it befell
        key = (cell.server.label, cell.app.name)
        if key not in self._made:
            try:
                self._made[key] = self._again(cell) or prepare(cell, refresh=self._refresh)
            except MeasurementError as error:
                self._made[key] = error
        made = self._made[key]
        if isinstance(made, MeasurementError):
            raise made
        return made

    def missing(self, cells: Iterable[Cell]) -> int:
        """How many environments have to be built before these cells can be measured."""
        rows = {(cell.server.label, cell.app.name): (cell.server, cell.app) for cell in cells}
        if self._refresh:
            return len({environment.requirements(*row) for row in rows.values()})
        return len({environment.missing(*row) for row in rows.values()} - {None})

    def _again(self, cell: Cell) -> Environment | None:
        """What earlier trials of the run ran in; None if it has none of this cell."""
        had = self._had.get((cell.server.label, cell.app.name))
        if had is None:
            return None
        versions = dict(had["versions"])
        if cell.front is not None:
            was, now = versions.pop(cell.front.program, ""), receipt(cell.front)
            if was != now:
                raise _refused(cell, f"{cell.front.program} was {was} and is {now}")
        try:
            made = prepare(cell)
            if made.receipt != versions:
                made = prepare(_pinned(cell, versions))
        except MeasurementError as error:
            raise _refused(cell, str(error)) from None
        if (made.receipt, made.python) != (versions, had["python"]):
            raise _refused(cell, _difference(versions, made, had["python"]))
        return made


def prepare(cell: Cell, *, refresh: bool = False) -> Environment:
    """The server's environment, in which an application of the user's own can be imported."""
    made = environment.prepare(cell.server, cell.app, refresh=refresh)
    if cell.app.own:
        inspect(cell.server, cell.app, made)
    return made


def _pinned(cell: Cell, versions: Mapping[str, str]) -> Cell:
    """The cell, with every distribution at the version that it had.

    What is not from the package index stays what it is: its address says all of it.
    """
    asked = [Requirement(text) for text in cell.server.packages]
    direct = {canonicalize_name(it.name): str(it) for it in asked if it.url}
    packages = tuple(
        direct.get(canonicalize_name(name), f"{name}=={version}")
        for name, version in versions.items()
    )
    return replace(
        cell,
        server=replace(cell.server, packages=packages, version=None),
        app=replace(cell.app, packages=(), requirements=None),
    )


def _difference(versions: Mapping[str, str], made: Environment, python: str) -> str:
    now = {"Python": made.python, **made.receipt}
    was = {"Python": python, **versions}
    name = next(it for it in {**was, **now} if was.get(it) != now.get(it))
    return f"{name} was {was.get(name, 'not there')} and is {now.get(name, 'not there')}"


def _refused(cell: Cell, why: str) -> RefusedError:
    return RefusedError(
        f"{cell.server.label} cannot be had as this run has measured it: {why}; trials before and "
        "after would be of different things: begin a new run"
    )
