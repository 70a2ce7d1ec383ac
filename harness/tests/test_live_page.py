"""Locust's page of the trial under way (--live): in a browser, and with its buttons pressed."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Error

from harness.analyze import records, trials_frame
from harness.analyze.verdict import VALID
from harness.drive import Drive, drive
from harness.model import Load, MeasurementError, Timing
from harness.page import NOTE, Page
from harness.ports import free_port
from harness.store import read_run
from harness.tests import test_web_ui
from harness.tests.builders import RunBuilder, cell, closed
from harness.tests.commands import started
from harness.tests.loads import PLACEMENT, SCENARIOS, Stub, stub
from harness.tests.test_web_ui import Browser, Ui

browser = test_web_ui.browser
USERS = 4


@pytest.fixture
def told() -> list[str]:
    return []


def listening(port: int) -> socket.socket:
    taker = socket.socket()
    taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taker.bind(("127.0.0.1", port))
    taker.listen()
    return taker


def test_page_keeps_its_address_while_that_is_free(told, monkeypatch):
    port = free_port()
    monkeypatch.setattr("harness.page.USUAL_PORT", port)
    page = Page(told.append)
    assert page.url == f"http://127.0.0.1:{port}/"
    assert told == [f"Locust's page is at {page.url} while a trial is driven"]
    for _ in range(3):
        assert not page._moved()
    # a connection of the trial before that waits is nobody who listens
    with listening(port) as before, socket.create_connection(("127.0.0.1", port)):
        before.accept()[0].close()
    assert not page._moved()
    assert len(told) == 1


def test_page_goes_elsewhere_when_its_port_is_taken_and_says_who_has_it(told, monkeypatch):
    port = free_port()
    monkeypatch.setattr("harness.page.USUAL_PORT", port)
    with listening(port):
        page = Page(told.append)
    moved = page.url
    assert moved != f"http://127.0.0.1:{port}/"
    (line,) = told
    assert moved in line
    assert line.endswith(f"(pid {os.getpid()}) has port {port}")
    assert not page._moved()  # and stays there
    assert page.url == moved


@pytest.mark.parametrize(
    ("page", "found"),
    [
        (None, False),
        ({"requests": 0, "cpu_s": 0.0, "longest_s": 0.0}, False),
        ({"requests": 5, "cpu_s": 0.0028, "longest_s": 0.0008}, True),
    ],
)
def test_page_that_was_looked_at_is_told_with_its_cost_and_takes_nothing_away(
    tmp_path, page, found
):
    builder = RunBuilder(tmp_path)
    builder.measured(cell(), closed(), load={} if page is None else {"page": page})
    (row,) = records(trials_frame(builder.read()))
    assert row["verdict"] == VALID
    told = [it for it in row["findings"] if it.name == "page"]
    assert [it.figures for it in told] == ([page] if found else [])
    if found:
        assert "asked 5 times" in told[0].text
        assert "2.8 ms of the generator's CPU, up to 0.8 ms at once" in told[0].text


@contextmanager
def driven(
    folder: Path, server: Stub, port: int, duration_s: float, processes: int = 1
) -> Iterator[Drive]:
    with drive(
        SCENARIOS["hello"], Load(USERS, processes=processes), Timing(0.5, duration_s),
        url=server.url, work=folder / "drive", cpus=PLACEMENT.generator, page_port=port,
    ) as driving:  # fmt: skip
        yield driving


def opened(browser: Browser, port: int) -> Ui:
    """The page, once it is there."""

    def there() -> bool:
        try:
            browser.page.goto(f"http://127.0.0.1:{port}/")
        except Error:
            return False
        return True

    browser.until(there, within_s=30.0)
    # what comes before the load has begun asks again by itself
    browser.page.wait_for_selector("header")
    browser.complaints.clear()  # that it was not there yet
    return Ui(browser, port)


def end(driving: Drive) -> float:
    """Wait until Locust has ended; the seconds that it took after the window."""
    window_ns = 0
    for progress in driving.watch():
        window_ns = progress.end_ns
    assert driving.tree.poll() == 0
    return (time.monotonic_ns() - window_ns) / 1e9


@pytest.mark.servers
@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_page_counts_what_we_count_and_the_trial_ends_though_it_is_open(
    tmp_path, browser, processes
):
    """While the server is frozen nothing is answered, and both counts have the time to agree."""
    port = free_port()
    with (
        stub(tmp_path, "--service", "fixed:0.02", "--freeze", "4,8") as server,
        driven(tmp_path, server, port, 14.0, processes) as driving,
    ):
        ui = opened(browser, port)
        browser.until(ui.requests)
        assert ui.figure("Status") == "RUNNING"
        assert ui.figure("Users") == str(USERS)

        def resting() -> int:
            """Our count, if nothing was answered for a second."""
            first, _, last = (seen for _ in range(3) if (seen := pause()) is not None)
            return first if first == last else 0

        def pause() -> int:
            browser.page.wait_for_timeout(500)
            progress = driving.progress()
            return progress.done if progress else 0

        ours = browser.until(resting, within_s=20.0)
        browser.until(lambda: ui.requests() == ours, within_s=7.0)
        assert ui.downloaded() == ours
        progress = driving.progress()
        assert progress is not None
        assert progress.done == ours
        assert browser.complaints == []

        assert end(driving) < 5.0
        summary = driving.result().summary
    page = summary["page"]
    assert page["requests"] > 2
    assert 0 < page["longest_s"] <= page["cpu_s"] < 1.0
    assert summary["pressed"] is None
    assert summary["since_start"]["ok"] > ours
    assert summary["lost"] == []


@pytest.mark.servers
@pytest.mark.parametrize("button", ["Stop", "Edit"])
@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_load_that_was_to_be_changed_from_the_page_is_no_number(
    tmp_path, browser, button, processes
):
    port = free_port()
    with (
        stub(tmp_path, "--service", "fixed:0.02") as server,
        driven(tmp_path, server, port, 20.0, processes) as driving,
    ):
        ui = opened(browser, port)
        browser.until(ui.requests)
        began = time.monotonic()
        ui.press(button)
        if button == "Edit":
            browser.page.fill("input[name=userCount]", str(USERS + 3))
            ui.press("Update")
        for _ in driving.watch():
            assert server.counters()["open"] <= USERS
        assert time.monotonic() - began < 10.0  # and not for the rest of the window
        asked = "/stop" if button == "Stop" else "/swarm"
        with pytest.raises(MeasurementError, match=rf"asked to change the load \(POST {asked}\)"):
            driving.result()


@pytest.mark.servers
def test_resetting_the_pages_numbers_changes_none_of_ours(tmp_path, browser):
    port = free_port()
    with (
        stub(tmp_path, "--service", "fixed:0.02") as server,
        driven(tmp_path, server, port, 5.0) as driving,
    ):
        ui = opened(browser, port)
        browser.until(ui.requests)
        ui.press("Reset")
        end(driving)
        summary = driving.result().summary
        answered = server.counters()["answered"]
    assert 0 <= answered - summary["since_start"]["ok"] <= USERS


@pytest.mark.slow
@pytest.mark.servers
def test_run_with_a_page_tells_where_it_is_and_what_it_cost(tmp_path, browser):
    words = ["--scenario", "hello", "--users", "2", "--warmup", "1s", "--duration", "5s"]
    words += ["--blocks", "2", "--json", "--results", str(tmp_path)]
    with started("run", "uvicorn", "--live", *words, cwd=tmp_path) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "page is at" in line)
        port = int(line.split("127.0.0.1:")[1].split("/")[0])
        ui = opened(browser, port)
        shown = [browser.until(ui.requests, within_s=20.0)]

        def anew() -> bool:
            now = int(ui.requests())
            shown.append(now)
            return 0 < now < max(map(int, shown))

        # the page that was left open shows the second trial by itself
        browser.until(anew, within_s=30.0)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    document = json.loads(out)
    (cell,) = document["cells"]
    assert any("Locust's page was asked" in reason for reason in cell["reasons"])
    run = read_run(Path(document["run"]))
    assert NOTE in run.facts["notes"]
    assert len(run.trials) == 2
    for trial in run.trials:
        page = trial.facts["load"]["page"]
        assert page["requests"] > 0
        assert shown[0] <= trial.facts["load"]["since_start"]["ok"]
