"""The main job beside other work: whatever the times are, this is how it has to go."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
import time

import pytest

from harness.registry import data_folder
from harness.tests.commands import called, gatebench, served, started

pytestmark = pytest.mark.servers

DONE = (0, 3)  # what else runs here may make a trial worth nothing
QUICK = ["--duration", "2s", "--warmup", "1s", "--json"]
# Locust writes its CSV once a second, and not once more at the end
RUN_TIME = "6s"


def test_row_of_the_readme_is_a_server_in_five_lines(tmp_path):
    readme = (data_folder("apps").parent / "README.md").read_text("utf-8")
    after = readme.split("A **server** is a row", 1)[1]
    block = after.split("    # mine.toml\n", 1)[1].split("\n\n", 1)[0]
    (tmp_path / "mine.toml").write_text(textwrap.dedent(block))
    assert len(block.splitlines()) <= 8
    finished = gatebench(
        "run", "gunicorn-pywsgi", "--servers", "mine.toml", "--scenario", "hello", *QUICK,
        cwd=tmp_path,
    )  # fmt: skip
    assert finished.code in DONE, finished.err
    (cell,) = finished.document["cells"]
    assert cell["requests"] > 100
    builtin = called("list", "servers", "--json", cwd=tmp_path).document["servers"]
    assert "gunicorn-pywsgi" not in {row["name"] for row in builtin}


def test_version_that_is_asked_for_is_the_one_measured(tmp_path):
    finished = gatebench("run", "gunicorn-sync@23", "--scenario", "hello", *QUICK, cwd=tmp_path)
    assert finished.code in DONE, finished.err
    assert finished.document["cells"][0]["versions"]["gunicorn"].startswith("23.")
    assert finished.document["cells"][0]["requests"] > 100


def test_scenario_runs_by_hand_with_plain_locust(tmp_path):
    """As in the README: `gatebench serve`, then `locust -f scenarios/echo.py -H URL`."""
    scenario = shutil.copy(data_folder("scenarios") / "echo.py", tmp_path)
    with started("serve", "uvicorn", "--json", cwd=tmp_path) as server:
        url = served(server)["url"]
        locust = subprocess.run(
            [
                sys.executable, "-m", "locust", "-f", scenario, "-H", url, "--headless",
                "-u", "4", "-r", "4", "-t", RUN_TIME, "--only-summary", "--csv", "out",
            ],
            cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert locust.returncode == 0, locust.stderr
    header, echo, total = (tmp_path / "out_stats.csv").read_text().splitlines()
    columns = header.split(",")
    row = dict(zip(columns, echo.split(","), strict=True))
    assert (row["Type"], row["Name"], row["Failure Count"]) == ("POST", "/echo", "0")
    assert int(row["Request Count"]) > 100
    assert total.split(",")[columns.index("Request Count")] == row["Request Count"]


def test_a_row_of_the_users_own_is_measured(tmp_path):
    (tmp_path / "mine.toml").write_text(
        '[servers.my-wsgiref]\nspeaks = "wsgi"\npackages = ["waitress"]\nconcurrency = "thread"\n'
        'command = "waitress-serve --listen={host}:{port} --threads={threads} {app}"\n'
    )
    finished = gatebench(
        "run", "my-wsgiref", "--servers", "mine.toml", "--scenario", "hello", *QUICK, cwd=tmp_path
    )
    assert finished.code in DONE, finished.err
    assert finished.document["cells"][0]["server"] == "my-wsgiref"
    assert finished.document["cells"][0]["requests"] > 100


def test_second_run_right_after_a_killed_one_works(tmp_path):
    with started("run", "uvicorn", "--scenario", "hello", cwd=tmp_path) as first:
        while not any(
            '"event": "trial"' in journal.read_text("utf-8")
            for journal in tmp_path.glob("results/*/journal.jsonl")
        ):
            assert first.poll() is None
            time.sleep(0.05)
        time.sleep(2.0)  # of its 12 s and more
        first.kill()
    finished = gatebench("run", "uvicorn", "--scenario", "hello", *QUICK, cwd=tmp_path)
    assert finished.code in DONE, finished.err
    assert finished.document["cells"][0]["requests"] > 100
    runs = sorted((tmp_path / "results").iterdir())
    assert len(runs) == 2
    shown = called("report", runs[0].name, cwd=tmp_path)
    assert shown.code == 0
    assert "no trial was finished (unfinished)" in shown.out
