"""The command that repeats a cell: the parser takes it, and it means the same cell."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from harness.cells import Budget, make_cells
from harness.commands.measurement import plan_of
from harness.model import Cell, Load, Placement, Timing
from harness.options import parser, without_secrets
from harness.options.secrets import SECRETS
from harness.plan import Plan, describe
from harness.recipe import recipe
from harness.registry import load_registry
from harness.report.reproduce import Reproduction, reproduction
from harness.store import StoredRun, StoredTrial, plain
from harness.tests.builders import MACHINE

COMMANDS = (
    "list", "run", "compare", "selfcheck", "capacity", "tune", "serve", "report", "calibrate",
    "probe", "doctor", "gate", "history", "notebooks",
)  # fmt: skip
VERSIONS = {"uvicorn": "0.40.1", "gunicorn": "23.0.0", "waitress": "3.0.2", "a2wsgi": "1.10.8"}
PLAN = {"blocks": 3, "seed": 7, "timing": Timing(1.5, 4.0)}


def asked(words: list[str]) -> Any:
    return parser(dict.fromkeys(COMMANDS, lambda _: 0)).parse_args(words[1:])


def stored(cell: Cell, command: list[str], folder: Path, **facts: Any) -> tuple[Any, Any]:
    """A run and its trial, as they come back from the disk, of a cell that is only planned."""
    plan = Plan(
        (cell,), PLAN["blocks"], PLAN["seed"], PLAN["timing"], Placement((0,), (1,)), MACHINE,
        tuple(without_secrets(command)),
    )  # fmt: skip
    (folder / "plan.json").write_text(json.dumps(plain({"schema": 1, **recipe(plan)})))
    known = json.loads(json.dumps(plain(plan.facts())))
    trial = {"cell": known["cells"][0], "timing": known["timing"], "versions": VERSIONS, **facts}
    run = StoredRun(folder, known, [], "complete")
    return run, StoredTrial(folder, trial)


def again(words: list[str], folder: Path) -> tuple[Cell, Plan, Reproduction]:
    """The first cell that a command means, and the plan of the command that repeats it."""
    first = plan_of(asked(words)).cells[0]
    found = reproduction(*stored(first, words, folder))
    assert shlex.split(found.text) == list(found.words)
    return first, plan_of(asked(list(found.words))), found


@pytest.mark.parametrize(
    ("words", "server"),
    [
        ("waitress --scenario hello", "waitress@3.0.2"),
        ("gunicorn-gthread --workers 3 --threads 9 --scenario echo", "gunicorn-gthread@23.0.0"),
        ("gunicorn-uvicorn --scenario websocket-echo --users 77", "gunicorn-uvicorn@23.0.0"),
        ("uvicorn@0.40 --scenario hello --processes 2", "uvicorn@0.40.1"),
        ("uvicorn-a2wsgi --scenario hello", "uvicorn-a2wsgi@1.10.8"),
        ("uvicorn+cpu=5% --scenario hello", "uvicorn@0.40.1+cpu=5%"),
        ("nginx-unix+uvicorn@0.40 --scenario hello", "nginx-unix+uvicorn@0.40.1"),
        ("uvicorn --python 3.13 --scenario hello", "uvicorn@0.40.1"),
        ("uvicorn --app fastapi --scenario hello", "uvicorn@0.40.1"),
        ("uvicorn#2 --scenario hello", "uvicorn@0.40.1"),
        ("uvicorn --rate 1234.5 --arrivals poisson --deadline 750ms --scenario hello",
         "uvicorn@0.40.1"),
        ("uvicorn --request 'GET /sleep/50' --expect-status 200", "uvicorn@0.40.1"),
    ],
)  # fmt: skip
def test_command_means_the_same_cell(tmp_path, words, server):
    first, plan, found = again(["gatebench", "run", *shlex.split(words)], tmp_path)
    (cell,) = plan.cells
    ours, theirs = describe(first), describe(cell)
    assert found.words[2] == server
    for name in ("server", "version", "twin_of"):  # the version is said now, and the entry is not
        ours.pop(name), theirs.pop(name)
    assert ours == theirs
    assert cell.server.python == first.server.python
    assert cell.server.injection == first.server.injection
    assert cell.scenario.request == first.scenario.request
    assert {"blocks": plan.blocks, "seed": plan.seed, "timing": plan.timing} == PLAN
    assert found.remarks == ()


@pytest.fixture
def shop(tmp_path):
    (tmp_path / "shop.py").write_text("app = None\n")
    (tmp_path / "needs.txt").write_text("rich\n")
    return [
        "gatebench", "run", "waitress", "--app", "shop:app", "--app-dir", str(tmp_path),
        "--requirements", str(tmp_path / "needs.txt"), "--interface", "wsgi",
        "--app-env", "DB=pw0rd", "--request", "POST /buy", "--request-header=X-Key: s3cret",
        "--request-body", "card=4711", "--expect-status", "201",
    ]  # fmt: skip


def test_own_application_is_repeated_and_its_secrets_are_asked_for_again(shop, tmp_path):
    first, plan, found = again(shop, tmp_path)
    (cell,) = plan.cells
    for name in ("folder", "target", "requirements", "speaks", "own"):
        assert getattr(cell.app, name) == getattr(first.app, name)
    assert (cell.scenario.request.method, cell.scenario.request.status) == ("POST", 201)
    for secret in ("pw0rd", "s3cret", "4711"):
        assert secret not in found.text
    (told,) = [line for line in found.remarks if "not stored" in line]
    assert all(option in told for option in SECRETS)
    assert "DB=..." in told


def test_run_that_does_not_know_its_packages_says_that_the_version_is_open(tmp_path):
    words = ["gatebench", "run", "waitress", "--scenario", "hello"]
    run, trial = stored(plan_of(asked(words)).cells[0], words, tmp_path)
    del trial.facts["cell"]["packages"]
    assert reproduction(run, trial).words[2] == "waitress@3.0.2"  # its plan still tells
    (tmp_path / "plan.json").unlink()
    found = reproduction(run, trial)
    assert found.words[2] == "waitress"
    assert "newest" in found.remarks[0]


def test_every_row_of_ours_can_be_repeated(tmp_path):
    """Each server's word is one that selects that very row."""
    registry = load_registry()
    cells, _ = make_cells(registry, ["*"], ["hello"], Budget(1, 4, Load(32)))
    for cell in cells:
        run, trial = stored(cell, ["gatebench", "run"], tmp_path)
        chosen = registry.select_servers([reproduction(run, trial).words[2]])
        assert [(it.name, it.front) for it in chosen] == [(cell.server.name, cell.server.front)]
