"""Injections: how they are asked for, and that the raw apps burn what was asked."""

from __future__ import annotations

import importlib.util
import itertools
import subprocess
import sys
import time
from statistics import median
from types import SimpleNamespace
from typing import Any

import pytest

from harness.cells import Budget, make_cells, select
from harness.environment import prepare
from harness.injection import parse_injection, split_injection
from harness.launch import launch
from harness.model import ConfigurationError, Load
from harness.plan import describe
from harness.registry import data_folder, load_registry
from harness.verify import verify

REGISTRY = load_registry()
BURN = data_folder("apps") / "burn.py"
SPEC = importlib.util.spec_from_file_location("burn", BURN)
assert SPEC is not None
assert SPEC.loader is not None
BURNING = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(BURNING)


@pytest.mark.parametrize(
    ("text", "share", "seconds"),
    [
        ("cpu=5%", 0.05, 0.0),
        ("cpu=0.5%", 0.005, 0.0),
        ("cpu=12us", 0.0, 12e-6),
        ("cpu=1.5ms", 0.0, 0.0015),
    ],
)
def test_injection_is_a_share_or_a_time(text, share, seconds):
    made = parse_injection(text)
    assert (made.text, made.share) == (text, share)
    assert made.seconds == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["cpu", "cpu=", "cpu=5", "cpu=-5%", "cpu=0%", "cpu=2000%", "cpu=9s", "memory=5%", "5%"]
)
def test_nonsense_is_one_clear_line(text):
    with pytest.raises(ConfigurationError, match=r"write cpu=5%|must be above 0") as caught:
        parse_injection(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("word", "server", "text"),
    [
        ("uvicorn", "uvicorn", None),
        ("uvicorn+cpu=5%", "uvicorn", "cpu=5%"),
        ("nginx+uvicorn@0.30+cpu=5%", "nginx+uvicorn@0.30", "cpu=5%"),
        ("nginx+uvicorn", "nginx+uvicorn", None),
    ],
)
def test_injection_ends_a_servers_word(word, server, text):
    plain, injection = split_injection(word)
    assert plain == server
    assert (injection and injection.text) == text


def test_server_with_and_without_stand_side_by_side():
    chosen = select(REGISTRY, ["uvicorn", "uvicorn+cpu=5%", "nginx+uvicorn@0.30+cpu=2us"])
    labels = ["uvicorn", "uvicorn+cpu=5%", "nginx+uvicorn@0.30+cpu=2us"]
    assert [it.label for it in chosen] == labels
    cells, _ = make_cells(REGISTRY, labels, ["hello"], Budget(1, 4, Load(32)))
    told = [it.app.variables.get("GATEBENCH_BURN") for it in cells]
    assert told == [None, "0.05", "2000ns"]
    assert [describe(it)["server"] for it in cells] == labels


def test_only_the_raw_apps_burn():
    with pytest.raises(ConfigurationError, match="app starlette cannot burn"):
        make_cells(REGISTRY, ["uvicorn+cpu=5%"], ["hello"], Budget(1, 4, Load(32)), app="starlette")


@pytest.fixture
def clock(monkeypatch):
    """A process's clock, set by hand; each pass that is burnt takes 30 ns of it."""
    clock: Any = SimpleNamespace(process=0)

    def spin(_burner, passes):
        clock.process += 30 * passes

    monkeypatch.setattr(BURNING.time, "process_time_ns", lambda: clock.process)
    monkeypatch.setattr(BURNING.Burner, "_spin", spin)
    return clock


def costs(burner, clock, requests, each_ns, dearer=1.0):
    """What requests cost by the clock; those beside which something burns may be dearer."""
    began = clock.process
    for _ in range(requests):
        clock.process += each_ns * (dearer if burner._burns else 1.0)
        burner()
    return (clock.process - began) / requests


@pytest.mark.parametrize(("burn", "more_ns"), [("0.05", 1_000), ("12000ns", 12_000)])
@pytest.mark.parametrize("dearer", [1.0, 1.02])
def test_burning_costs_what_was_asked_whatever_it_does_to_the_work_beside(
    clock, burn, more_ns, dearer
):
    burner = BURNING.Burner(burn)
    costs(burner, clock, 40_000, 20_000, dearer)
    assert costs(burner, clock, 20_000, 20_000, dearer) == pytest.approx(20_000 + more_ns, rel=0.01)


def test_share_follows_what_requests_cost(clock):
    burner = BURNING.Burner("0.1")
    costs(burner, clock, 40_000, 20_000)
    costs(burner, clock, 60_000, 50_000)
    assert costs(burner, clock, 20_000, 50_000) == pytest.approx(55_000, rel=0.01)
    clock.process = 5  # a child's clock begins anew
    assert costs(burner, clock, 20_000, 50_000) == pytest.approx(55_000, rel=0.02)


@pytest.mark.alone
@pytest.mark.parametrize("burn", ["0.2", "10000ns"])
def test_burnt_cpu_is_what_was_asked(burn):
    """Requests of some 50 us of Python, in turns with and without: 20 % or 10 us more."""
    burner = BURNING.Burner(burn)

    def spent_s(burns: bool) -> float:
        burner._since_ns = None  # what went before was none of its requests
        begin = time.process_time()
        for _ in range(4 * BURNING.BATCH):
            sum(itertools.repeat(1, 8000))
            if burns:
                burner()
        return time.process_time() - begin

    for _ in range(60):
        spent_s(True)
    pairs = [(spent_s(False), spent_s(True)) for _ in range(30)]
    if burn == "0.2":
        assert median(more / without for without, more in pairs) == pytest.approx(1.2, abs=0.07)
    else:
        burnt_s = median(more - without for without, more in pairs) / (4 * BURNING.BATCH)
        assert burnt_s == pytest.approx(10e-6, rel=0.3)


def test_raw_apps_import_nothing_more_without_it():
    for name in ("asgi", "wsgi"):
        text = f"import sys, {name}; assert {name}.BURN is None; assert 'burn' not in sys.modules"
        done = subprocess.run(
            [sys.executable, "-c", text], cwd=BURN.parent, capture_output=True, text=True,
            env={"PYTHONPATH": str(BURN.parent)}, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


@pytest.mark.servers
@pytest.mark.parametrize("name", ["uvicorn", "waitress"])
def test_burning_app_still_answers_the_contract(tmp_path, name):
    (cell,), _ = make_cells(REGISTRY, [f"{name}+cpu=50%"], ["hello"], Budget(1, 4, Load(32)))
    with launch(cell, prepare(cell.server, cell.app), log=tmp_path / "log") as server:
        server.wait_ready()
        verify(server.host, server.port, ("hello", "echo", "sleep"))
