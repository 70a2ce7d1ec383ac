"""A plan as a file, from which a later gatebench goes on with the run.

What only an application of the user's own should know is not written: the values of its variables
and headers, and its body, are given again, and held to a seal. The files that a plan rests on are
held to what they were.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from secrets import token_bytes
from typing import Any

from cattrs.errors import BaseValidationError
from cattrs.preconf.json import make_converter

from harness.model import NOTHING, App, Cell, ConfigurationError, RefusedError
from harness.plan import Plan

CONVERTER = make_converter()
# scrypt's cost: some 50 ms and 16 MiB for each guess at a password that the seal may hold
COST = {"n": 2**14, "r": 8, "p": 1}


@dataclass(frozen=True, slots=True)
class Secrets:
    """What an application of the user's own is told and asked, and is not stored."""

    variables: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None

    @property
    def options(self) -> list[str]:
        """The options of the command line that give them, without their values."""
        return [
            *(f"--app-env {name}=..." for name in self.variables),
            *(f"--request-header '{name}: ...'" for name, _ in self.headers),
            *(["--request-body ..."] if self.body else []),
        ]

    def blank(self) -> Secrets:
        """The same without the values."""
        return Secrets(
            dict.fromkeys(self.variables, ""),
            tuple((name, "") for name, _ in self.headers),
            None if self.body is None else b"",
        )


def recipe(plan: Plan) -> dict[str, Any]:
    """What plan.json holds."""
    known = secrets_of(plan.cells)
    told = replace(plan, cells=tuple(_with(cell, known.blank()) for cell in plan.cells))
    return {
        "plan": CONVERTER.unstructure(told, Plan),
        "secrets": _sealed(known, token_bytes(16)) if known.options else None,
        "files": _digests(plan.cells),
    }


def plan_of_recipe(document: Mapping[str, Any], given: Secrets, run: Path) -> Plan:
    """The plan as it was, with the secrets that are `given` again.

    ConfigurationError if they are not the same as then, or the document is not a plan;
    RefusedError if a file that it rests on is not what it was.
    """
    try:
        plan = CONVERTER.structure(document["plan"], Plan)
        seal, files = document["secrets"], dict(document["files"])
    except (BaseValidationError, LookupError, TypeError, ValueError) as error:
        what = f"{type(error).__name__}: {error}"
        raise ConfigurationError(f"{run / 'plan.json'}: is damaged ({what})") from None
    if seal is None:
        if given.options:
            raise ConfigurationError(f"{given.options[0]}: {run.name} was begun without it")
    elif not hmac.compare_digest(_sealed(given, bytes.fromhex(seal["salt"]))["seal"], seal["seal"]):
        raise ConfigurationError(
            f"{run}: was begun with values that are not stored: give "
            f"{', '.join(seal['options'])} again, as they were"
        )
    else:
        plan = replace(plan, cells=tuple(_with(cell, given) for cell in plan.cells))
    _hold_files(files, plan.cells, run)
    return plan


def secrets_of(cells: Iterable[Cell]) -> Secrets:
    """What the cells' own application is told and asked; nothing where they have none."""
    for cell in cells:
        request = cell.scenario.request
        if cell.app.own and request is not None:
            return Secrets(cell.app.variables, request.headers, request.body)
    return Secrets()


def _with(cell: Cell, secrets: Secrets) -> Cell:
    request = cell.scenario.request
    if not cell.app.own or request is None:
        return cell
    body = request.body if secrets.body is None else secrets.body
    asked = replace(request, headers=secrets.headers, body=body)
    return replace(
        cell,
        app=replace(cell.app, variables=secrets.variables),
        scenario=replace(cell.scenario, request=asked),
    )


def _sealed(secrets: Secrets, salt: bytes) -> dict[str, Any]:
    told = [dict(secrets.variables), list(secrets.headers), (secrets.body or b"").hex()]
    text = json.dumps(told, sort_keys=True).encode()
    seal = hashlib.scrypt(text, salt=salt, **COST)
    return {"options": secrets.options, "salt": salt.hex(), "seal": seal.hex()}


def _digests(cells: Iterable[Cell]) -> dict[str, str]:
    """SHA-256 of each file that the cells rest on, by its path."""
    files: set[Path] = set()
    for cell in cells:
        files |= {cell.scenario.file, *_sources(cell.app)}
        files |= {cell.front.template} if cell.front else set()
        files |= {cell.app.requirements} if cell.app.requirements else set()
    return {
        str(file): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(files)
        if file.is_file()
    }


def _sources(app: App) -> set[Path]:
    """The Python files of an app: those of its folder, or of its package if it is one."""
    top = app.folder / app.target.partition(":")[0].partition(".")[0]
    return set(top.rglob("*.py")) if top.is_dir() else set(app.folder.glob("*.py"))


def _hold_files(then: Mapping[str, str], cells: Iterable[Cell], run: Path) -> None:
    now = _digests(cells)
    changed = [path for path in sorted({*then, *now}) if then.get(path) != now.get(path)]
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise RefusedError(
            f"{run}: {changed[0]}{more} is not what it was when the run began; trials before and "
            "after would be of different things: begin a new run"
        )
