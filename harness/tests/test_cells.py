"""Cells: equal budgets, and what cannot be measured is refused or left out, in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.cells import (
    DEFAULT_SCENARIOS,
    DEFAULT_SERVERS,
    USUAL_SCENARIOS,
    Budget,
    cell_of,
    make_cells,
    select,
    server_words,
)
from harness.model import Cell, ConfigurationError, Load
from harness.registry import Registry, load_registry

REGISTRY = load_registry()
BUDGET = Budget(workers=3, threads=5, load=Load(40))
HELLO = REGISTRY.scenarios["hello"]


def names(cells):
    return [(cell.server.name, cell.scenario.name) for cell in cells]


@pytest.mark.parametrize("server", REGISTRY.servers.values(), ids=lambda server: server.name)
def test_every_server_gets_the_part_of_the_budget_that_it_can_take(server):
    cell = cell_of(server, HELLO, BUDGET, REGISTRY)
    assert cell.load == Load(users=40)
    assert cell.workers == (3 if "{workers}" in server.command else 1)
    assert cell.threads == (5 if "{threads}" in server.command else None)


def test_budget_is_really_split_three_ways():
    budgets = {
        name: (cell.workers, cell.threads)
        for name in ("gunicorn-sync", "gunicorn-gthread", "waitress", "daphne")
        for cell in [cell_of(REGISTRY.servers[name], HELLO, BUDGET, REGISTRY)]
    }
    assert budgets == {
        "gunicorn-sync": (3, None),
        "gunicorn-gthread": (3, 5),
        "waitress": (1, 5),
        "daphne": (1, None),
    }


@pytest.mark.parametrize(
    ("concurrency", "threads", "slots"),
    [
        ("process", None, 3),
        ("thread", 5, 15),
        ("thread", None, None),
        ("greenlet", None, None),
        ("event-loop", None, None),
    ],
)
def test_slots_are_what_can_be_in_service_at_once(concurrency, threads, slots):
    server = replace(REGISTRY.servers["waitress"], concurrency=concurrency)
    cell = Cell(server, REGISTRY.apps["wsgi"], HELLO, Load(1), workers=3, threads=threads)
    assert cell.slots == slots


def test_named_servers_and_scenarios_make_every_pair():
    cells, notes = make_cells(REGISTRY, ["uvicorn", "waitress"], ["echo", "hello"], BUDGET)
    assert names(cells) == [
        ("uvicorn", "echo"),
        ("uvicorn", "hello"),
        ("waitress", "echo"),
        ("waitress", "hello"),
    ]
    assert notes == []


def test_named_scenario_that_servers_cannot_meet_is_refused_naming_each():
    with pytest.raises(ConfigurationError) as caught:
        make_cells(
            REGISTRY, ["waitress", "uvicorn", "gunicorn-sync"], ["hello", "websocket-echo"], BUDGET
        )
    line = str(caught.value)
    assert "\n" not in line
    assert "server waitress (WSGI) does not offer" in line
    assert "server gunicorn-sync (WSGI) does not offer" in line
    assert "uvicorn (" not in line


def test_unnamed_scenario_that_a_server_cannot_meet_is_left_out_with_a_note():
    cells, notes = make_cells(REGISTRY, ["waitress", "uvicorn"], [], BUDGET)
    everything = list(USUAL_SCENARIOS)
    unmet = [name for name in everything if "websocket" in REGISTRY.scenarios[name].needs]
    assert names(cells) == [
        *(("waitress", name) for name in everything if name not in unmet),
        *(("uvicorn", name) for name in everything),
    ]
    assert notes == [
        f"left out: scenario {name} needs websocket, which server waitress (WSGI) does not offer"
        for name in unmet
    ]


def test_server_that_can_do_nothing_is_refused_also_without_names():
    only = Registry(REGISTRY.servers, REGISTRY.apps, {"ws": REGISTRY.scenarios["websocket-echo"]})
    with pytest.raises(ConfigurationError, match="needs websocket, which server waitress"):
        make_cells(only, ["waitress"], [], BUDGET)


def test_answer_that_a_server_cannot_give_leaves_its_scenario_out():
    weak = replace(REGISTRY.servers["waitress"], cannot={"echo": "it is deaf"})
    registry = replace(REGISTRY, servers={"waitress": weak})
    cells, notes = make_cells(registry, ["waitress"], [], BUDGET)
    assert ("waitress", "echo") not in names(cells)
    assert any(note.endswith("cannot give: it is deaf") for note in notes)
    with pytest.raises(ConfigurationError, match="it is deaf"):
        make_cells(registry, ["waitress"], ["echo"], BUDGET)


def test_without_names_there_is_a_default_set_that_everyone_can_do():
    cells, notes = make_cells(REGISTRY, [], [], BUDGET)
    assert names(cells) == [
        (server, scenario) for server in DEFAULT_SERVERS for scenario in DEFAULT_SCENARIOS
    ]
    assert notes == []
    assert {cell.server.speaks for cell in cells} == {"wsgi", "asgi"}


def test_default_servers_take_a_named_scenario():
    with pytest.raises(ConfigurationError, match="gunicorn-sync"):
        make_cells(REGISTRY, [], ["websocket-echo"], BUDGET)
    cells, _ = make_cells(REGISTRY, [], ["echo"], BUDGET)
    assert names(cells) == [(server, "echo") for server in DEFAULT_SERVERS]


def test_app_of_another_interface_is_refused():
    with pytest.raises(ConfigurationError, match="app asgi speaks ASGI but server waitress"):
        make_cells(REGISTRY, ["uvicorn", "waitress"], ["hello"], BUDGET, app="asgi")


def test_version_and_python_are_part_of_the_cell():
    cells, _ = make_cells(REGISTRY, ["uvicorn@0.30"], ["hello"], BUDGET, pythons=["3.13"])
    assert cells[0].server.label == "uvicorn@0.30 (Python 3.13)"
    assert cells[0].name == "uvicorn@0.30 (Python 3.13) · asgi · hello"


def test_threads_that_a_row_leaves_to_the_server_are_not_guessed():
    row = replace(REGISTRY.servers["waitress"], command="waitress-serve --port={port} {app}")
    cell = cell_of(row, REGISTRY.scenarios["hello"], BUDGET, REGISTRY)
    assert cell.threads is None
    assert cell.slots is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["uvicorn", "waitress"], ["uvicorn", "waitress"]),
        (["uvicorn,waitress"], ["uvicorn", "waitress"]),
        (["uvicorn@0.30,0.40,waitress"], ["uvicorn@0.30", "uvicorn@0.40", "waitress"]),
        (["uvicorn@0.30", "0.40"], ["uvicorn@0.30", "uvicorn@0.40"]),  # as make passes them
        (["g*@22,23..25,uvicorn"], ["g*@22", "g*@23..25", "uvicorn"]),
        (["uvicorn", "0.40"], ["uvicorn", "0.40"]),
        ([",uvicorn@1,,"], ["uvicorn@1"]),
        ([], []),
    ],
)
def test_part_that_begins_with_a_digit_continues_the_versions_of_the_name_before(given, words):
    assert server_words(given) == words


def released(_server, text, python):
    """An index in which Python 3.8 has fewer releases."""
    low, _, high = text.partition("..")
    return [low] if python == "3.8" else [low, high]


def labels(servers):
    return [server.label for server in servers]


def test_range_becomes_a_row_for_each_release():
    chosen = select(REGISTRY, ["uvicorn@0.30..0.32", "uvicorn@0.32", "waitress"], (), released)
    assert labels(chosen) == ["uvicorn@0.30", "uvicorn@0.32", "waitress"]


def test_range_reaches_every_server_of_a_glob():
    chosen = select(REGISTRY, ["gunicorn-g*@22..23"], (), released)
    assert labels(chosen) == [
        f"gunicorn-{kind}@{version}" for kind in ("gthread", "gevent") for version in ("22", "23")
    ]


def test_every_python_is_a_row_of_its_own_with_the_releases_that_it_can_run():
    chosen = select(REGISTRY, ["uvicorn@0.30..0.32", "waitress"], ["3.8", "3.13"], released)
    assert labels(chosen) == [
        "uvicorn@0.30 (Python 3.8)",
        "waitress (Python 3.8)",
        "uvicorn@0.30 (Python 3.13)",
        "uvicorn@0.32 (Python 3.13)",
        "waitress (Python 3.13)",
    ]
    assert {server.python for server in chosen} == {"3.8", "3.13"}


def test_unknown_server_of_a_range_is_named():
    with pytest.raises(ConfigurationError, match="unknown server 'unicorn'"):
        select(REGISTRY, ["unicorn@0.30..0.32"], (), released)


def test_scenario_that_a_glob_matches_is_left_out_where_a_server_cannot_do_it():
    cells, notes = make_cells(REGISTRY, ["waitress", "uvicorn"], ["blocking-*"], BUDGET)
    assert names(cells) == [
        ("waitress", "blocking-io"),
        *(("uvicorn", f"blocking-{how}") for how in ("io", "in-loop", "in-thread")),
    ]
    assert [note.split(", which")[0] for note in notes] == [
        f"left out: scenario blocking-in-{how} needs the answer sleep_{check}"
        for how, check in (("loop", "block"), ("thread", "thread"))
    ]
    with pytest.raises(ConfigurationError, match="which no WSGI app gives, and server waitress"):
        make_cells(REGISTRY, ["waitress", "uvicorn"], ["blocking-in-loop"], BUDGET)
    with pytest.raises(ConfigurationError, match="needs websocket"):
        make_cells(REGISTRY, ["waitress"], ["websocket-*"], BUDGET)


def test_call_that_blocks_an_event_loop_makes_its_worker_one_slot():
    cells, _ = make_cells(REGISTRY, ["uvicorn"], ["blocking-*"], replace(BUDGET, workers=3))
    told = {cell.scenario.name: (cell.concurrency, cell.slots) for cell in cells}
    assert told == {
        "blocking-io": ("event-loop", None),
        "blocking-in-loop": ("process", 3),
        "blocking-in-thread": ("thread", None),  # the app's pool has as many as it likes
    }
