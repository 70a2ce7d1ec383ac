"""A plan that is written and read again is the same plan, or one clear line says why not."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.application import Asked, own_registry
from harness.cells import Budget, make_cells
from harness.model import ConfigurationError, Load, Placement, RefusedError, Timing
from harness.plan import Plan
from harness.recipe import Secrets, plan_of_recipe, recipe, secrets_of
from harness.registry import load_registry
from harness.tests.builders import MACHINE

RUN = Path("results/20260101T000000Z")
LOADS = (Load(32), Load(512, "open", 100.5, "poisson", 7.5, 2))


def plan_for(cells) -> Plan:
    return Plan(
        tuple(cells), 3, 7, Timing(1.5, 4.0), Placement((0, 1), (2, 3), ("shared",)), MACHINE,
        ("gatebench", "run", "x"), ("left out: y",),
    )  # fmt: skip


def written(plan: Plan) -> Any:
    """As it comes back from the disk."""
    return json.loads(json.dumps(recipe(plan)))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "shop.py").write_text("app = None\n")
    (tmp_path / "needs.txt").write_text("rich\n")
    return tmp_path


@pytest.fixture
def own(folder):
    """An application of the user's own, told and asked what nobody else should know."""
    asked = Asked(
        "shop:app", folder, folder / "needs.txt", "wsgi", ["DB=pw0rd", "MODE=x"], "POST /buy",
        ["X-Key: s3cret"], "card=4711", 201, "thanks",
    )  # fmt: skip
    registry, words = own_registry(load_registry(), asked, ["waitress", "gunicorn-sync"])
    cells, _ = make_cells(registry, words, ["POST /buy"], Budget(2, 4, LOADS[0]), app="shop:app")
    return plan_for(cells)


@pytest.mark.parametrize("load", LOADS)
def test_every_row_of_ours_is_read_back_as_it_was_written(load):
    words = ["*", "nginx+uvicorn", "apache-unix+gunicorn-sync@23", "uvicorn+cpu=5%"]
    cells, _ = make_cells(load_registry(), words, [], Budget(2, 4, load), pythons=["3.11", "3.13"])
    assert len(cells) > 100
    plan = plan_for(cells)
    again = plan_of_recipe(written(plan), Secrets(), RUN)
    assert again == plan
    assert again.order() == plan.order()
    assert again.facts() == plan.facts()


def test_plan_whose_server_stands_in_it_twice_has_both():
    cells, _ = make_cells(load_registry(), ["uvicorn"], ["hello"], Budget(1, 4, Load(32)))
    twin = replace(cells[0], server=replace(cells[0].server, entry=2))
    plan = plan_for([cells[0], twin])
    assert plan_of_recipe(written(plan), Secrets(), RUN) == plan


def test_own_application_comes_back_with_the_secrets_that_are_given_again(own):
    again = plan_of_recipe(written(own), secrets_of(own.cells), RUN)
    assert again == own
    assert again.cells[0].app.variables == {"DB": "pw0rd", "MODE": "x"}


def test_what_only_the_application_should_know_is_not_written(own):
    text = json.dumps(recipe(own))
    assert all(secret not in text for secret in ("pw0rd", "s3cret", "4711"))
    assert recipe(own)["secrets"]["seal"] != recipe(own)["secrets"]["seal"]  # salted


@pytest.mark.parametrize(
    "changes",
    [
        {"variables": {"DB": "other", "MODE": "x"}},
        {"variables": {"DB": "pw0rd"}},
        {"headers": (("X-Key", "other"),)},
        {"headers": ()},
        {"body": b"card=1"},
        {"body": None},
    ],
)
def test_other_secrets_than_those_it_began_with_are_refused_by_name(own, changes):
    given = replace(secrets_of(own.cells), **changes)
    with pytest.raises(ConfigurationError) as caught:
        plan_of_recipe(written(own), given, RUN)
    line = str(caught.value)
    for word in ("--app-env DB=...", "--request-header 'X-Key: ...'", "--request-body", "again"):
        assert word in line
    assert "pw0rd" not in line


def test_secrets_where_there_were_none_are_a_mistake():
    cells, _ = make_cells(load_registry(), ["uvicorn"], ["hello"], Budget(1, 4, Load(32)))
    with pytest.raises(ConfigurationError, match=r"--app-env X=...: .* was begun without it"):
        plan_of_recipe(written(plan_for(cells)), Secrets({"X": "1"}), RUN)


@pytest.mark.parametrize("name", ["shop.py", "needs.txt"])
@pytest.mark.parametrize("harm", ["changed", "gone"])
def test_file_that_changed_since_is_refused(own, folder, name, harm):
    document = written(own)
    place = folder / name
    place.unlink()
    if harm == "changed":
        place.write_text("other = None\n")
    with pytest.raises(RefusedError, match=rf"{name} is not what it was when the run began"):
        plan_of_recipe(document, secrets_of(own.cells), RUN)


def test_package_is_held_to_all_its_files(folder):
    shutil.rmtree(folder / "shop", ignore_errors=True)
    (folder / "shop.py").unlink()
    (folder / "shop" / "inner").mkdir(parents=True)
    (folder / "shop" / "__init__.py").write_text("app = None\n")
    asked = Asked("shop:app", folder, interface="wsgi")
    registry, words = own_registry(load_registry(), asked, ["waitress"])
    cells, _ = make_cells(registry, words, ["GET /"], Budget(2, 4, LOADS[0]), app="shop:app")
    document = written(plan_for(cells))
    plan_of_recipe(document, Secrets(), RUN)
    (folder / "beside.py").write_text("x = 1\n")  # none of the package's
    plan_of_recipe(document, Secrets(), RUN)
    (folder / "shop" / "inner" / "new.py").write_text("x = 1\n")
    with pytest.raises(RefusedError, match=r"new\.py is not what it was"):
        plan_of_recipe(document, Secrets(), RUN)


@pytest.mark.parametrize(
    "harm",
    [
        lambda it: it.pop("plan"),
        lambda it: it.pop("files"),
        lambda it: it["plan"].pop("seed"),
        lambda it: it["plan"].update(cells=3),
        lambda it: it["plan"]["cells"][0].update(server="uvicorn"),
        lambda it: it["plan"]["cells"][0]["load"].update(model="ajar"),
        lambda it: it.update(plan=[]),
    ],
)
def test_damaged_recipe_is_one_line(own, harm):
    document = written(own)
    harm(document)
    with pytest.raises(ConfigurationError, match=r"plan\.json: is damaged \(") as caught:
        plan_of_recipe(document, secrets_of(own.cells), RUN)
    assert "\n" not in str(caught.value)
