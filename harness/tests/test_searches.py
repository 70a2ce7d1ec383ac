"""Sweeps, capacities, advice and injections, on real servers and on the stub."""

from __future__ import annotations

import math
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.analyze import capacities, trials_frame
from harness.capacity import Quest, explore
from harness.companion import STUB, companion
from harness.machine import facts, usable_cpus
from harness.model import Environment, Timing
from harness.objective import parse_objective
from harness.plan import Plan
from harness.ports import HOST
from harness.process import Ending
from harness.run import Crew
from harness.store import read_run
from harness.tests.builders import cell
from harness.tests.commands import gatebench
from harness.tests.crew import Recording
from harness.tests.loads import PLACEMENT, SCENARIOS
from harness.writer import RunWriter

pytestmark = [pytest.mark.servers, pytest.mark.alone, pytest.mark.slow, pytest.mark.timeout(900)]


class StubServer:
    """The stub where the conductor expects a server."""

    host, argv, front, startup_s, workers_seen = HOST, ("stub",), None, 0.1, None

    def __init__(self, port, tree) -> None:
        self.port, self.url, self.tree = port, f"http://{HOST}:{port}", tree

    def wait_ready(self) -> None:
        """It printed that it is."""

    def hold(self, when: str) -> None:
        assert self.tree.poll() is None, when

    def stop(self) -> Ending:
        ending: Ending = self.tree.stop("TERM", grace_s=5.0)
        return ending


def station(*knobs: str) -> Crew:
    """A crew whose servers are stubs."""

    @contextmanager
    def launch(_cell, _environment, *, log, cpus):
        with companion(STUB, *knobs, log=log, cpus=cpus) as (port, tree):
            yield StubServer(port, tree)

    return Crew(
        environment=lambda _: Environment(Path(), "3.11.0", {}),
        launch=launch,
        verify=lambda *_: None,
    )


# queueing theory, at one request at a time: M/D/1 at 70 % has a p99 of 7.58 services (known
# answer 3); of M/M/1 the response is exponential with the rate mu - lambda, so that p99 is
# ln(100)/(mu - lambda): 15.35 ms at mu = 1000 and lambda = 700
STATIONS = {
    "M/D/1": ("fixed:0.002", "p99<15.16ms", 350.0),
    "M/M/1": ("exp:500", "p99<30.7ms", 350.0),
}


@pytest.mark.parametrize("name", STATIONS)
def test_capacity_of_a_station_is_that_of_queueing_theory(tmp_path, name):
    service, slo, capacity_per_s = STATIONS[name]
    it = cell("stub", SCENARIOS["hello"], users=1, workers=1)
    plan = Plan(
        (it,), 1, 7, Timing(1.0, 5.0), PLACEMENT, facts(usable_cpus()), ("gatebench", "capacity")
    )
    writer = RunWriter.begin(tmp_path, plan.facts() | {"capacity": {"slo": slo, "precision": 0.05}})
    crew = station("--service", service, "--concurrency", "1", "--seed", "3")
    for _ in explore(plan, Quest(parse_objective(slo)), crew, writer, Recording()):
        pass
    run = read_run(writer.path)
    (capacity,) = capacities(run, trials_frame(run))
    found = capacity.found
    assert found.conclusion == "found"
    middle = math.sqrt((found.low or 0) * (found.high or 0))
    assert middle == pytest.approx(capacity_per_s, rel=0.05)


def test_capacity_of_two_workers_that_sleep(tmp_path):
    """50 ms each in two workers are 40/s at most; a p99 of 200 ms takes some room below that."""
    done = gatebench(
        "capacity", "gunicorn-sync", "--workers", "2", "--scenario", "blocking-io",
        "--slo", "p99<200ms", "--json", cwd=tmp_path, timeout=800,
    )  # fmt: skip
    assert done.code == 0, done.err
    (capacity,) = done.document["capacities"]
    assert capacity["conclusion"] == "found"
    ends = capacity["capacity_per_s"]
    assert 25 < ends["median"] < ends["high"] < 40
    assert all(it["duration_s"] for it in capacity["tries"])


def test_tune_recommends_more_where_requests_wait(tmp_path):
    done = gatebench(
        "tune", "gunicorn-gthread", "--blocks", "3", "--sweep", "threads=1,4,16",
        "--sweep", "workers=1", "--json", cwd=tmp_path, timeout=800,
    )  # fmt: skip
    assert done.code == 0, done.err
    advice = {it["scenario"]: it for it in done.document["advice"]}
    waiting, computing = advice["blocking-io"], advice["hello"]
    assert waiting["threads"] == 16
    assert computing["threads"] < waiting["threads"]
    assert "wait more than they compute" in waiting["why"]
    assert "already" in computing["why"] or computing["threads"] > 1
    assert len(waiting["tried"]) == 3


def test_injected_share_shows_in_the_cpu_per_request(tmp_path):
    """Half as much CPU again for each request."""
    done = gatebench(
        "run", "uvicorn", "uvicorn+cpu=50%", "--scenario", "hello", "--blocks", "6",
        "--duration", "2s", "--warmup", "1s", "--json", cwd=tmp_path, timeout=500,
    )  # fmt: skip
    assert done.code == 0, done.err
    plain, burning = sorted(done.document["cells"], key=lambda it: it["server"])
    assert burning["server"] == "uvicorn+cpu=50%"
    ratio = burning["server_cpu_s_per_1k"] / plain["server_cpu_s_per_1k"]
    assert 1.4 < ratio < 1.6


def test_sweep_of_users_follows_littles_law(tmp_path):
    done = gatebench(
        "run", "waitress", "--threads", "8", "--scenario", "blocking-io",
        "--sweep", "users=1,2,4..32", "--duration", "3s", "--json", cwd=tmp_path, timeout=500,
    )  # fmt: skip
    assert done.code == 0, done.err
    (curve,) = done.document["curves"]
    assert [it["value"] for it in curve["points"]] == [1, 2, 4, 8, 16, 32]
    assert all(it["little"] == pytest.approx(1.0, abs=0.1) for it in curve["points"])
    # eight threads that wait 50 ms: a knee at 8 users, which the law does not have
    rates = [it["throughput_per_s"]["median"] for it in curve["points"]]
    assert rates == pytest.approx([20, 40, 80, 160, 160, 160], rel=0.1)
    assert curve["law"] is None
    assert "does not hold" in curve["why"]
