"""Apache Otava itself reads what is written for it, and finds the change that is in it."""

from __future__ import annotations

import csv
import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from uv import find_uv_bin

from harness.export import otava
from harness.results import Results
from harness.tests.builders import (
    GENERATOR,
    MACHINE,
    MIB,
    SERVER,
    Process,
    RunBuilder,
    cell,
    closed,
)  # fmt: skip

RUNS, STEP = 30, 18  # the first run that is slower
NAME = "demo/wsgi/hello/users=10/workers=2"


def began(number: int) -> str:
    """One run a day, up to now: Otava takes none of the future."""
    return (datetime.now(UTC) - timedelta(days=RUNS - number)).isoformat(timespec="seconds")


def series(folder: Path, runs: int = RUNS) -> Results:
    """Runs of a server that takes a tenth longer from STEP on, with 1 % noise, and fails once."""
    random = np.random.default_rng(3)
    stored = []
    for number in range(runs):
        builder = RunBuilder(folder, asked={"created": began(number)})
        slower = 1.1 if number >= STEP else 1.0
        took_s = 0.05 * slower * float(random.normal(1, 0.01))
        if number == 4:
            builder.failed(cell())
        else:
            builder.measured(cell(), closed(took_s=took_s, seconds=5.0))
        stored.append(builder.read())
    return Results(tuple(stored))


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Results:
    return series(tmp_path_factory.mktemp("results"))


def config_of(folder: Path) -> Any:
    lines = (folder / "otava" / "otava.yaml").read_text().splitlines()
    return json.loads("\n".join(line for line in lines if not line.startswith("#")))


def test_file_has_a_row_for_each_defended_run_by_time_with_the_frames_numbers(results, tmp_path):
    shuffled = Results(results.runs[::-1])
    table, config = otava.write(shuffled, tmp_path)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    cells = results.cells[results.cells["verdict"] != "failed"]
    assert [row["run"] for row in rows] == list(cells["run"])
    times = [run.facts["created"] for run in results.runs]
    assert [row["time"] for row in rows] == [*times[:4], *times[5:]]
    for column in ("throughput_per_s", "p50_s", "p90_s", "server_cpu_s_per_1k", "server_pss_bytes"):
        assert [float(row[column]) for row in rows] == list(cells[column])
    test = config_of(tmp_path)["tests"][NAME]
    assert test["file"] == table.name
    assert test["metrics"]["throughput_per_s"]["direction"] == 1
    assert test["metrics"]["p50_s"]["direction"] == -1
    assert f"# run {results.runs[4].path.name} lacks 1 of 1 cells: 1 failed" in config.read_text()


def test_metric_that_a_run_lacks_is_left_out_and_the_file_says_so(tmp_path):
    stored = []
    for pss in (50 * MIB, None):
        builder = RunBuilder(tmp_path)
        server = Process("server", 100, cpu=0.4, pss=lambda _, pss=pss: pss)
        builder.measured(cell(), closed(), (server, GENERATOR))
        stored.append(builder.read())
    otava.write(Results(tuple(stored)), tmp_path)
    assert "server_pss_bytes" not in config_of(tmp_path)["tests"][NAME]["metrics"]
    text = (tmp_path / "otava" / "otava.yaml").read_text()
    assert f"# {NAME}: server_pss_bytes is left out, 1 of 2 runs lack it" in text


def test_runs_of_unlike_machines_are_never_one_series(tmp_path):
    stored = []
    for cpu in ("Imaginary 9000", "Imaginary 9001"):
        builder = RunBuilder(tmp_path, asked={"machine": MACHINE | {"cpu": cpu}})
        builder.measured(cell(), closed(), (SERVER, GENERATOR))
        stored.append(builder.read())
    *tables, _ = otava.write(Results(tuple(stored)), tmp_path)
    assert list(config_of(tmp_path)["tests"]) == [
        f"{NAME} on Imaginary 900{number}, 2 CPUs, 8 GiB" for number in (0, 1)
    ]
    assert len(tables) == 2


@pytest.mark.timeout(600)
def test_otava_finds_the_change(results, tmp_path):
    otava.write(results, tmp_path)
    program = tmp_path / "venv" / "bin" / "otava"
    for step in (
        ["venv", "--quiet", "--no-config", str(tmp_path / "venv")],
        ["pip", "install", "--quiet", "--python", str(tmp_path / "venv" / "bin" / "python"),
         "apache-otava>=0.7"],
    ):  # fmt: skip
        subprocess.run([find_uv_bin(), *step], check=True, capture_output=True)
    found = subprocess.run(
        [program, "analyze", "--config-file", "otava.yaml", "--output", "json", "all"],
        cwd=tmp_path / "otava", check=True, capture_output=True, text=True,
    )  # fmt: skip
    (change,) = json.loads(found.stdout)[NAME]
    assert change["attributes"]["run"] == results.runs[STEP].path.name
    percent = {it["metric"]: float(it["forward_change_percent"]) for it in change["changes"]}
    assert percent["throughput_per_s"] == pytest.approx(100 / 1.1 - 100, abs=1)
    assert percent["p50_s"] == pytest.approx(10, abs=1)
