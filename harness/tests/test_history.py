"""Series, changes and states, on histories whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from harness.history import Decision, History, MachineClass, State
from harness.history.change import judge
from harness.history.series import lines
from harness.model import ConfigurationError
from harness.tests.builders import MACHINE
from harness.tests.histories import cell, noise, record, records

MACHINE_ID = MachineClass.of(MACHINE).id
SERVERS = ("ref", "a", "b", "c", "d", "e")


def throughputs(length=40, *, deviation=0.02, seed=1, drift=0.0, servers=SERVERS):
    """Requests per second of each server, run by run; the host's drift moves them all alike."""
    x = noise("normal", len(servers), length, deviation=deviation, seed=seed)
    host = drift * np.sin(np.arange(length) / 9)
    return {server: 1000 * np.exp(row + host) for server, row in zip(servers, x, strict=True)}


def series_of(kept, decisions=(), reference=None):
    history = History(tuple(kept), tuple(decisions))
    return {
        (each.key.server, each.key.metric): each for each in history.series(MACHINE_ID, reference)
    }


def fallen(length=40, at=30, servers=("a",), share=0.9):
    values = throughputs(length)
    for server in servers:
        values[server][at:] *= share
    return values


def renewed(length=40, at=30, servers=("a",)):
    return {server: ["1.0"] * at + ["1.1"] * (length - at) for server in servers}


def test_ratio_cancels_the_hosts_drift_and_the_figure_shows_it():
    kept = records(throughputs(drift=0.3))
    ratio, figure = series_of(kept)["a", "throughput"], series_of(kept, reference="")
    assert (ratio.key.reference, ratio.state) == ("ref", State.OK)
    assert max(abs(np.log(point.value)) for point in ratio.points) < 0.15
    assert figure["a", "throughput"].key.reference == ""
    assert figure["a", "throughput"].changes


def test_reference_has_its_figure_and_a_ratio_its_interval():
    run = record(0, [cell("ref", [100, 110, 120]), cell("a", [50, 55, 60])])
    found = series_of([run])
    reference, ratio = found["ref", "throughput"].points[0], found["a", "throughput"].points[0]
    assert (reference.value, reference.low, reference.high) == (110, 100, 120)
    assert ratio.value == pytest.approx(0.5)
    assert ratio.low == pytest.approx(0.5)
    assert (ratio.blocks, found["a", "p50"].points[0].value) == (3, pytest.approx(2.0))
    wide = record(0, [cell("ref", [100, 100]), cell("a", [50, 60])])
    point = series_of([wide])["a", "throughput"].points[0]
    assert point.value == pytest.approx(np.sqrt(0.3))
    assert point.low < 0.5
    assert point.high > 0.6


def test_only_blocks_in_which_both_count_are_paired():
    run = record(0, [cell("ref", [100, None, 100]), cell("a", [None, 80, 90])])
    point = series_of([run])["a", "throughput"].points[0]
    assert (point.value, point.blocks, point.low) == (pytest.approx(0.9), 1, None)


def test_what_is_not_valid_is_a_gap_with_its_reason():
    kept = [
        record(0, [cell("ref", [100]), cell("a", [90])]),
        record(1, [cell("ref", [100]), cell("a", [None], verdict="failed", reasons=("no port",))]),
        record(2, [cell("ref", [None], verdict="invalid"), cell("a", [90])]),
        record(3, [cell("ref", []), cell("a", [])], ended="interrupted"),
    ]
    points = series_of(kept)["a", "throughput"].points
    assert [point.value for point in points] == [pytest.approx(0.9), None, None, None]
    assert [point.gap for point in points[1:]] == [
        "failed; no port", "ref beside it: invalid", "the run was interrupted",
    ]  # fmt: skip


def test_reference_is_the_first_runs_and_a_pinned_one_is_preferred():
    kept = records(throughputs(5, servers=("a", "b@1.2", "c")))
    assert series_of(kept)["a", "throughput"].key.reference == "b@1.2"
    later = record(9, [cell("z@1", [9]), cell("a", [9]), cell("b@1.2", [9])])
    assert series_of([*kept, later])["a", "throughput"].key.reference == "b@1.2"
    assert series_of(kept, reference="c")["a", "throughput"].key.reference == "c"


def test_run_without_the_reference_adds_to_the_figures():
    kept = [*records(throughputs(3)), record(5, [cell("a", [900])])]
    found = History(tuple(kept), ()).series(MACHINE_ID)
    own = [it for it in found if (it.key.server, it.key.metric) == ("a", "throughput")]
    assert [(it.key.reference, len(it.points)) for it in own] == [("ref", 3), ("", 1)]


def test_machine_classes_are_apart():
    other = MACHINE | {"cpu": "Imaginary 9001"}
    kept = [*records(throughputs(3)), record(7, [cell("a", [5])], machine=other)]
    history = History(tuple(kept), ())
    assert [len(history.runs(each.id)) for each in history.machines] == [1, 3]
    ours = history.series(MACHINE_ID)
    assert {point.run for each in ours for point in each.points} == {it.run for it in kept[:3]}


@pytest.mark.parametrize(
    ("facts", "same"),
    [
        ({"hostname": "elsewhere", "kernel": "7.0", "governor": "powersave"}, True),
        ({"clock_mhz": 4000.0, "system": "Other 1", "python": "3.13.0"}, True),
        ({"memory_bytes": 8 * 2**30 - 2**28}, True),
        ({"memory_bytes": 16 * 2**30}, False),
        ({"cpu": "Imaginary 9001"}, False),
        ({"cpus_usable": [0, 1, 2]}, False),
        ({"smt": True}, False),
        ({"caches": "L2 1M/1"}, False),
        ({"layout": "2 sockets, 2 nodes, 2 cores"}, False),
        ({"hypervisor": False}, False),
    ],
)
def test_machine_class_is_of_what_makes_speed_and_not_of_names(facts, same):
    assert (MachineClass.of(MACHINE | facts) == MachineClass.of(MACHINE)) is same


def test_too_few_runs_are_collecting():
    found = series_of(records(fallen(20, at=10, share=0.5)))["a", "throughput"]
    assert (found.state, found.changes) == (State.COLLECTING, ())
    assert found.note == "20 of 21 runs"


def test_new_version_that_is_slower_is_a_regression_and_names_the_package():
    found = series_of(records(fallen(), renewed()))
    slower = found["a", "throughput"]
    (change,) = slower.changes
    assert (slower.state, change.kind, change.stands) == (State.REGRESSION, State.REGRESSION, True)
    assert [str(it) for it in change.packages] == ["a 1.0 → 1.1"]
    assert change.run == slower.valued[30].run
    assert change.ratio == pytest.approx(0.9, abs=0.03)
    assert [segment.value for segment in slower.segments] == pytest.approx([1, 0.9], abs=0.03)
    assert found["a", "p50"].state == State.REGRESSION  # more is worse there
    assert all(found[name, "throughput"].state == State.OK for name in "bcde")


def test_new_version_that_is_faster_is_an_improvement():
    found = series_of(records(fallen(share=1.2), renewed()))["a", "throughput"]
    assert (found.state, found.changes[0].stands) == (State.IMPROVEMENT, False)


def test_same_subject_is_an_environment_change_and_names_what_changed():
    kept = records(fallen())
    kept[30:] = [replace(it, machine=MACHINE | {"kernel": "6.2.0"}) for it in kept[30:]]
    found = series_of(kept)["a", "throughput"]
    assert found.state == State.ENVIRONMENT
    assert found.changes[0].causes == ("kernel 6.1.0 → 6.2.0",)


def test_new_app_or_command_is_another_subject():
    for name in ("app_digest", "command_digest"):
        kept = records(fallen())
        kept[30:] = [
            replace(it, cells=tuple(replace(each, **{name: "new"}) for each in it.cells))
            for it in kept[30:]
        ]
        assert series_of(kept)["a", "throughput"].state == State.REGRESSION, name


def test_reference_that_changed_is_not_the_servers_fault():
    values = fallen(servers=("ref",), share=1.2)
    found = series_of(records(values, renewed(servers=("ref",))))["a", "throughput"]
    assert not found.changes[0].stands
    assert "the reference: ref 1.0 → 1.1" in found.changes[0].causes


def test_most_servers_moving_together_are_one_host_event():
    kept = records(fallen(servers=("a", "b", "c")), renewed(servers=("a",)))
    found = series_of(kept)
    assert [found[name, "throughput"].state for name in "abcd"] == [State.HOST] * 3 + [State.OK]
    (change,) = found["a", "throughput"].changes
    assert (change.moved, change.servers) == (3, 5)


def test_package_that_all_of_them_had_installed_anew_explains_it_better():
    had = {name: ["1.0"] * 30 + ["1.1"] * 10 for name in "abc"}
    kept = [
        replace(it, cells=tuple(
            replace(each, versions={"shared": had.get(each.server, ["1.0"] * 40)[number]})
            for each in it.cells
        ))
        for number, it in enumerate(records(fallen(servers=("a", "b", "c"))))
    ]  # fmt: skip
    assert series_of(kept)["a", "throughput"].state == State.REGRESSION


def test_one_new_run_is_at_most_suspect():
    values = throughputs(41, deviation=0.01)
    values["a"][40] *= 0.7
    found = series_of(records(values, renewed(41, at=40)))["a", "throughput"]
    assert (found.state, found.changes) == (State.SUSPECT, ())
    assert "measure again" in found.note
    values["a"][40] *= 2
    assert series_of(records(values))["a", "throughput"].state == State.OK


def test_one_run_in_which_all_fell_is_a_host_event():
    values = throughputs(41)
    for name in "abcde":
        values[name][40] *= 0.7
    assert series_of(records(values))["a", "throughput"].state == State.HOST


def test_regression_stands_until_its_level_is_back():
    values = fallen(80, at=30)
    still = series_of(records(values, renewed(80)))["a", "throughput"]
    assert (still.state, still.changes[0].settled) == (State.REGRESSION, True)
    values["a"][60:] /= 0.9
    back = series_of(records(values, renewed(80)))["a", "throughput"]
    assert [change.stands for change in back.changes] == [False, False]
    assert back.state != State.REGRESSION


def decided(choice, change, after):
    when = f"{after.created[:10]}T12:00:00+00:00"
    return Decision(choice, "known", when, change.id, change.series, change.run_id)


def test_what_was_decided_stands_no_more_and_fixed_must_show():
    kept = records(fallen(), renewed())
    (change,) = series_of(kept)["a", "throughput"].changes
    for choice in ("acknowledge", "ignore", "fixed"):
        found = series_of(kept, [decided(choice, change, kept[-1])])["a", "throughput"]
        assert (found.state, found.changes[0].decision.choice) == (State.OK, choice)
    found = series_of(kept, [decided("fixed", change, kept[35])])["a", "throughput"]
    assert found.state == State.REGRESSION
    later = [decided("fixed", change, kept[35]), decided("acknowledge", change, kept[39])]
    assert series_of(kept, later)["a", "throughput"].state == State.OK


def test_decision_is_found_again_when_more_runs_move_the_change_by_one():
    kept = records(fallen(), renewed())
    (change,) = series_of(kept)["a", "throughput"].changes
    moved = replace(change, run_id=kept[29].id)
    found = series_of(kept, [decided("ignore", moved, kept[-1])])["a", "throughput"]
    assert found.changes[0].decision is not None
    far = replace(change, run_id=kept[25].id)
    found = series_of(kept, [decided("ignore", far, kept[-1])])["a", "throughput"]
    assert found.changes[0].decision is None


def test_worst_percentiles_are_shown_and_do_not_gate():
    kept = [
        replace(it, cells=tuple(
            replace(each, figures={"p99": each.figures["p50"]}) for each in it.cells
        ))
        for it in records(fallen(), renewed())
    ]  # fmt: skip
    found = series_of(kept, reference="")["a", "p99"]
    assert (found.gates, series_of(records(fallen()))["a", "p50"].gates) == (False, True)


@pytest.mark.parametrize("seed", range(6))
def test_more_runs_change_nothing_that_was_said_of_settled_changes(seed):
    random = np.random.default_rng(seed)
    values = throughputs(75, seed=seed, servers=("ref", "a", "b", "c", "d"))
    for name in random.permutation(list("abcd"))[: random.integers(1, 5)]:
        values[name][random.choice([25, 26, 40]) :] *= random.choice([0.8, 1.3])
    kept = records(values, renewed(75, at=25, servers=("a", "b")))
    cuts = sorted(random.integers(40, 75, 2).tolist())
    said = []
    for end in (*cuts, 75):
        judged = judge(lines(kept[:end], MACHINE_ID))
        said.append({
            change.id: replace(change, stands=False)
            for each in judged for change in each.changes if change.settled
        })  # fmt: skip
    assert said[-1]
    for earlier, later in pairwise(said):
        assert earlier.items() <= later.items()


def test_unknown_or_ambiguous_ids_are_told():
    history = History(tuple(records(fallen(), renewed())), ())
    with pytest.raises(ConfigurationError, match=f"known: {MACHINE_ID}"):
        history.machine("zz")
    found = history.series(MACHINE_ID)
    with pytest.raises(ConfigurationError, match="is one of"):
        history.change("", found)
