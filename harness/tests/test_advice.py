"""Advice: which configuration is recommended, why, and what is not recommended."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness.analyze import trials_frame
from harness.analyze.advice import advise
from harness.commands.tune import grid
from harness.model import ConfigurationError
from harness.report.advice import advice_sheet, advice_text
from harness.report.searched import searched
from harness.store import plain
from harness.tests.builders import GENERATOR, Process, RunBuilder, cell, closed, server

USERS = 32
NOISE = (0.0, 0.01, -0.01, 0.005)  # of the blocks, the same for all but where a test says


def tuned(tmp_path, rates: dict[tuple[int, int], float], blocks: int = 4, **how: Any):
    """The advice of a run in which workers x threads answered at such rates, per second.

    `busy` is the share of the server's CPU by configuration, `off` what a block adds to one.
    """
    busy, off, bad = (how.get(name, {}) for name in ("busy", "off", "bad"))
    cells = {
        it: cell(users=USERS, workers=it[0], threads=it[1], concurrency="thread") for it in rates
    }
    builder = RunBuilder(tmp_path, cells.values(), blocks=blocks, asked={"tune": {}})
    for block in range(blocks):
        for it, rate in rates.items():
            if bad.get(it) == "failed":
                builder.failed(cells[it])
                continue
            seen = rate * (1 + NOISE[block % 4] + off.get(it, (0,) * blocks)[block])
            errors = {"reset": 100} if bad.get(it) == "errors" else {}
            answered = closed(USERS, USERS / seen)
            requests = replace(answered, failed_at_s=np.ones(sum(errors.values())))
            processes = [Process("server", 100, cpu=busy.get(it, 0.5)), GENERATOR]
            builder.measured(cells[it], requests, processes, errors=errors)
    run = builder.read()
    return run, trials_frame(run)


def one(run, trials):
    (found,) = advise(run, trials)
    return found


WAITING = {(1, 1): 40.0, (1, 4): 160.0, (1, 16): 632.0}


def test_work_that_waits_gets_what_did_most_and_the_reason_is_measured(tmp_path):
    found = one(*tuned(tmp_path, WAITING, busy={(1, 1): 0.03}))
    assert found.chosen.name == "1 worker × 16 threads"
    assert found.why == (
        "the server's CPU was 3% busy with 1 worker × 1 thread: its requests wait more than they "
        "compute, and throughput grew 15.8× with 1 worker × 16 threads"
    )
    assert "nothing larger was tried" in found.cautions[0]


def test_work_that_computes_gets_the_smallest_that_nothing_beat(tmp_path):
    rates = {(1, 1): 200.0, (1, 4): 202.0, (1, 16): 199.0}
    found = one(*tuned(tmp_path, rates, busy={(1, 1): 0.97}))
    assert found.chosen.name == "1 worker × 1 thread"
    assert found.why.startswith("the server's CPU was 97% busy with 1 worker × 1 thread already")
    assert "1 worker × 4 threads: +1%" in found.why
    assert [it.tied for it in found.configurations] == [True, True, True]


def test_smaller_one_is_preferred_only_while_it_is_not_told_to_be_slower(tmp_path):
    rates = {(1, 1): 180.0, (1, 4): 196.0, (1, 16): 200.0}
    found = one(*tuned(tmp_path, rates))
    assert found.chosen.name == "1 worker × 4 threads"  # 2 % is below what matters, 10 % is not
    assert [it.tied for it in found.configurations] == [False, True, True]


def test_what_noise_could_explain_is_not_recommended(tmp_path):
    """The larger one did more on the mean, and in one block of four much less."""
    rates = {(1, 1): 200.0, (1, 4): 216.0}
    found = one(*tuned(tmp_path, rates, off={(1, 4): (0.0, 0.3, -0.28, 0.3)}))
    assert found.chosen.name == "1 worker × 1 thread"
    assert "which the noise of these blocks could explain" in found.cautions[0]


def test_workers_are_larger_than_threads(tmp_path):
    found = one(*tuned(tmp_path, {(2, 1): 200.0, (1, 16): 200.0}))
    assert found.chosen.name == "1 worker × 16 threads"
    assert [it.workers for it in found.configurations] == [1, 2]


def test_folklore_is_told_beside(tmp_path):
    found = one(*tuned(tmp_path, {(1, 1): 200.0, (3, 1): 150.0}))  # 2 x 1 CPU + 1
    assert [it.folklore for it in found.configurations] == [False, True]
    assert found.cautions == (
        "the folklore, 2 × CPUs + 1 = 3 workers (3 workers × 1 thread), did 75% of its "
        "throughput, with 1× its memory",
    )


@pytest.mark.parametrize("fault", ["failed", "errors"])
def test_configuration_that_failed_is_shown_and_not_recommended(tmp_path, fault):
    found = one(*tuned(tmp_path, WAITING, bad={(1, 16): fault}))
    assert found.chosen.name == "1 worker × 4 threads"
    assert [it.usable for it in found.configurations] == [True, True, False]


def test_nothing_measured_is_no_advice(tmp_path):
    found = one(*tuned(tmp_path, {(1, 1): 9.0}, blocks=1, bad={(1, 1): "failed"}))
    assert found.chosen is None
    assert advice_text(found) == "no advice: no configuration could be measured"


def test_generator_at_its_limit_is_said(tmp_path):
    cells = [cell(users=USERS, workers=1, threads=it, concurrency="thread") for it in (1, 4)]
    builder = RunBuilder(tmp_path, cells, blocks=2, asked={"tune": {}})
    for _ in range(2):
        builder.measured(cells[0], closed(USERS, 0.64))
        busy = [Process("server", 100), Process("generator", 200, cpu=0.99)]
        builder.measured(cells[1], closed(USERS, 0.32), busy)
    run = builder.read()
    found = one(run, trials_frame(run))
    assert found.chosen.threads == 4
    assert any("the load generator was the limit" in it for it in found.cautions)


def test_single_block_goes_by_the_ratio_alone(tmp_path):
    found = one(*tuned(tmp_path, {(1, 1): 190.0, (1, 4): 200.0, (1, 16): 198.0}, blocks=1))
    assert found.chosen.name == "1 worker × 4 threads"


def test_run_that_tunes_nothing_has_no_advice(tmp_path):
    builder = RunBuilder(tmp_path, [cell()])
    builder.measured(cell(), closed())
    run = builder.read()
    assert advise(run, trials_frame(run)) == []


def test_sheet_and_document_tell_the_evidence(tmp_path):
    run, trials = tuned(tmp_path, WAITING, busy={(1, 1): 0.03})
    found = one(run, trials)
    sheet = advice_sheet(found)
    assert sheet.marked == 2
    assert [row[1] for row in sheet.rows] == ["1", "4", "16"]
    assert sheet.rows[2][-1] == "advised"
    assert sheet.findings[0] == f"run demo with 1 worker × 16 threads: {found.why}"
    told = json.loads(json.dumps(plain(searched(run, trials)), allow_nan=False))
    (advised,) = told["advice"]
    assert (advised["workers"], advised["threads"]) == (1, 16)
    assert [it["threads"] for it in advised["tried"]] == [1, 4, 16]
    assert advised["tried"][0]["server_cpu_share"] == pytest.approx(0.03, abs=0.005)
    assert all(it["latency_s"]["p99"]["median"] for it in advised["tried"])


def test_grid_has_what_the_server_can_choose():
    sync = server(command="demo -w {workers} --port {port} {app}")
    assert grid(sync, 1) == ["workers=1,3,4,8,16"]
    assert grid(sync, 4) == ["workers=1,4,9,16,32,64"]
    threads = "demo -w {workers} -t {threads} --port {port} {app}"
    assert grid(server(command=threads, concurrency="thread"), 2) == [
        "workers=1,2,5",
        "threads=1,4,16",
    ]
    assert grid(server(concurrency="event-loop"), 2) == ["workers=1,2,5"]
    with pytest.raises(ConfigurationError, match="nothing to tune"):
        grid(server(command="demo --port {port} {app}"), 2)
