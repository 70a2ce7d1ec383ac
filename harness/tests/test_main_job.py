"""The main job for real: servers launched, driven, stored, reported."""

import json

import pytest

from harness.tests.commands import gatebench
from harness.tests.quiet import needs_quiet

pytestmark = [pytest.mark.servers, pytest.mark.alone]

QUICK = ["--duration", "2s", "--warmup", "1s", "--json"]


def cells_of(document):
    return {(cell["server"], cell["scenario"]): cell for cell in document["cells"]}


@pytest.fixture(scope="module")
def waits(tmp_path_factory):
    """Two servers that wait 50 ms a request, as one document."""
    folder = tmp_path_factory.mktemp("waits")
    finished = gatebench(
        "run", "gunicorn-sync", "uvicorn", "--scenario", "blocking-io", "--workers", "2",
        "--warmup", "2s", "--duration", "4s", "--json", cwd=folder,
    )  # fmt: skip
    assert finished.code == 0, finished.err
    return cells_of(finished.document), folder / finished.document["run"], folder


@needs_quiet
def test_physics_of_two_workers_that_sleep(waits):
    cell = waits[0]["gunicorn-sync", "blocking-io"]
    assert 30 < cell["throughput_per_s"]["median"] <= 40
    assert cell["slots"] == 2
    assert cell["verdict"] == "server-limited"
    assert cell["errors"] == 0


@needs_quiet
def test_physics_of_an_event_loop_that_waits(waits):
    cell = waits[0]["uvicorn", "blocking-io"]
    assert cell["throughput_per_s"]["median"] == pytest.approx(640, rel=0.1)
    assert cell["slots"] is None
    assert not [reason for reason in cell["reasons"] if "wait" in reason]


STOCK = """
from locust import FastHttpUser, constant, task

class Mine(FastHttpUser):
    wait_time = constant(0.01)

    @task
    def hello(self):
        self.client.get("/")
"""


def test_own_locustfile_with_a_stock_user_is_measured_and_marked(tmp_path):
    (tmp_path / "mine.py").write_text(STOCK)
    (tmp_path / "mine.toml").write_text(
        '[scenarios.mine]\nfile = "mine.py"\nabout = "mine"\nchecks = ["hello"]\n'
    )
    finished = gatebench(
        "run", "waitress", "--servers", "mine.toml", "--scenario", "mine", "--users", "4",
        *QUICK, cwd=tmp_path,
    )  # fmt: skip
    assert finished.code == 0, finished.err
    (cell,) = finished.document["cells"]
    assert cell["client"] == "Locust's FastHttpUser"
    assert cell["requests"] > 100
    assert cell["errors"] == 0
    assert cell["verdict"] not in ("failed", "invalid"), cell["reasons"]
    assert any("recorded by Locust's FastHttpUser" in reason for reason in cell["reasons"])
    (log,) = tmp_path.glob("results/*/trials/0001/locust.log")
    shown = next(line for line in log.read_text().splitlines() if line.split()[:2] == ["GET", "/"])
    # Locust counted each once, in 3 s of which 2 were measured; twice would be thrice as many
    load = json.loads(log.with_name("trial.json").read_text())["load"]
    assert int(shown.split()[2]) < 2.2 * load["ok"]


def test_no_answer_is_faster_than_its_wait(waits):
    import pandas as pd

    from harness.histogram import bounds

    for trial in (waits[1] / "trials").iterdir():
        latency = pd.read_parquet(trial / "latency.parquet")
        latency = latency[latency["measure"].isin(("response", "first"))]
        _, high = bounds(latency["bucket"].to_numpy())
        assert high.min() > 50_000_000


def test_littles_law_holds_in_what_is_stored(waits):
    import pandas as pd

    for trial in (waits[1] / "trials").iterdir():
        load = json.loads((trial / "trial.json").read_text())["load"]
        ticks = pd.read_parquet(trial / "ticks.parquet")
        inside = ticks[ticks["tick"] >= 0]
        window_s = (load["end_ns"] - load["start_ns"]) / 1e9
        assert inside["ok"].sum() == load["ok"]
        assert inside["response_sum_ns"].sum() / 1e9 / window_s == pytest.approx(32, rel=0.05)


def test_run_document_follows_the_contract(waits):
    cell = waits[0]["uvicorn", "blocking-io"]
    assert cell["workers"] == 2
    assert cell["threads"] is None
    assert cell["load"] == {"model": "closed", "users": 32}
    assert cell["trials"] == 1
    assert cell["throughput_per_s"]["low"] is None  # one trial has no interval
    assert 0.05 < cell["latency_s"]["p50"]["median"] < cell["latency_s"]["p99"]["median"] < 1
    assert cell["server_cpu_s_per_1k"] > 0
    assert cell["server_pss_bytes"] > 10e6
    assert 0 < cell["generator_cpu_share"] < 0.8
    assert cell["versions"]["uvicorn"]
    assert cell["command"][1:3] == ["--loop", "uvloop"]


@needs_quiet
def test_report_prints_the_stored_run_again(waits):
    shown = gatebench("report", waits[1].name, cwd=waits[2])
    assert shown.code == 0
    for word in ("gunicorn-sync", "uvicorn", "blocking-io", "server-limited", "machine:"):
        assert word in shown.out
    assert "| uvicorn |" in (waits[1] / "report.md").read_text()


@needs_quiet
def test_sampler_costs_little_and_sees_every_role(waits):
    import pandas as pd

    for trial in (waits[1] / "trials").iterdir():
        sampler = json.loads((trial / "trial.json").read_text())["sampler"]
        assert sampler["cpu_share"] < 0.05  # its bound for ten processes has a test of its own
        seen = pd.read_parquet(trial / "processes.parquet")
        roles = seen[seen["side"] == "server"].groupby("role", observed=True)["pid"].nunique()
        assert roles["worker"] == 2
        assert roles["master"] == 1
        assert set(seen["side"]) == {"server", "generator"}


def test_websocket_and_long_poll_are_measured(tmp_path):
    finished = gatebench(
        "run", "gunicorn-uvicorn", "--scenario", "websocket-echo,long-poll", *QUICK, cwd=tmp_path
    )
    assert finished.code == 0, finished.err
    cells = cells_of(finished.document)
    assert cells["gunicorn-uvicorn", "websocket-echo"]["requests"] > 1000
    poll = cells["gunicorn-uvicorn", "long-poll"]
    assert poll["latency_measure"] == "delay"
    assert poll["throughput_per_s"]["median"] == pytest.approx(64, rel=0.05)  # 32 users, 2 a second
    assert poll["latency_s"]["p50"]["median"] < 0.2


@needs_quiet
def test_report_shows_what_sampling_cost(waits):
    assert 0 < waits[0]["uvicorn", "blocking-io"]["sampler_cpu_share"] < 0.05
    assert "sampling cost at most" in (waits[1] / "report.md").read_text()
