"""Locust's own web page, in a browser, while a scenario runs on our engine."""

from __future__ import annotations

import csv
import http.client
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Error, Page, sync_playwright

from harness.launch import free_port
from harness.process import Tree, last_lines
from harness.tests.browser import CHROMIUM, FLAGS, NO_HOSTS, require_chromium
from harness.tests.loads import HARNESS, Stub, stub

pytestmark = pytest.mark.servers

ROOT = HARNESS.parent
ELSEWHERE = re.compile(r"^(?!http://127\.0\.0\.1[:/]|data:|blob:)")
TABLE = "table => [...table.rows].map(row => [...row.cells].map(cell => cell.textContent))"
USERS = 4
RUN_TIME = "14s"  # Locust asks for numbers every 2 s, and keeps its answer for 2 s: three of these
# slow enough to leave the other tests their CPUs, and every 7th request fails
KNOBS = ("--service", "fixed:0.02", "--status-every", "7:500")


class Browser:
    """One page; remembers what it asked for and what it complained about."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.asked: list[str] = []
        self.complaints: list[str] = []
        page.context.route(ELSEWHERE, lambda route: route.abort())
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("websocket", lambda websocket: self.asked.append(websocket.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "console",
            lambda message: (
                self.complaints.append(message.text) if message.type == "error" else None
            ),
        )

    def until(self, what: Callable[[], Any], within_s: float = 15.0) -> Any:
        """Wait for something to be true, and return it."""
        for _ in range(round(within_s / 0.1)):
            if found := what():
                return found
            self.page.wait_for_timeout(100)  # unlike a sleep, this lets the page's events in
        raise AssertionError(f"not within {within_s} s; the page says:\n{self.text}")

    @property
    def text(self) -> str:
        return self.page.inner_text("body")


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    require_chromium()
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch_persistent_context(
            tmp_path / "profile",
            executable_path=CHROMIUM,
            args=[*FLAGS, f"{NO_HOSTS}, EXCLUDE 127.0.0.1"],
            viewport={"width": 1280, "height": 900},
        ) as context,
    ):
        browser = Browser(context.pages[0])
        yield browser
        browser.page.screenshot(path=tmp_path / "page.png")


@dataclass
class Ui:
    """Locust's page, as a person reads and uses it."""

    browser: Browser
    port: int

    @property
    def rows(self) -> list[dict[str, str]]:
        """The table of the open tab, in the words of its head; empty while there is none."""
        tables = self.browser.page.query_selector_all("table")
        head, *rows = tables[0].evaluate(TABLE) if tables else [[]]
        return [dict(zip(head, row, strict=True)) for row in rows]

    def figure(self, label: str) -> str:
        """What the bar on top says under a label."""
        words = self.browser.page.inner_text("header").split("\n")
        words = [word for word in words if word.strip()]
        return words[words.index(label) + 1]

    def requests(self) -> int:
        """How many it shows in all; 0 while it shows no table."""
        rows = self.rows
        return int(rows[-1]["# Requests"]) if rows else 0

    @property
    def row(self) -> dict[str, str]:
        """The one row of our requests, once there are any; the other is their sum."""
        one, whole = self.rows
        assert (one["Type"], one["Name"], whole["Name"]) == ("GET", "/", "Aggregated")
        assert one["# Requests"] == whole["# Requests"]
        return one

    def press(self, name: str) -> None:
        self.browser.page.get_by_role("button", name=name, exact=True).click()

    def tab(self, name: str) -> None:
        self.browser.page.get_by_role("tab", name=name, exact=True).click()

    def start(self, users: int) -> None:
        """Fill in the form, and start."""
        for field in ("userCount", "spawnRate"):
            self.browser.page.fill(f"input[name={field}]", str(users))
        self.press("Start")
        self.browser.until(lambda: self.figure("Status") == "RUNNING")

    def rest(self) -> dict[str, Any]:
        """Wait until the page says that all is over; what Locust itself says then."""
        self.browser.until(lambda: self.figure("Status") == "STOPPED", within_s=25.0)
        said: dict[str, Any] = json.loads(self.get("/stats/requests"))
        assert said["state"] == "stopped"
        return said

    def downloaded(self) -> int:
        """The requests in the table that can be downloaded, which is always fresh."""
        *_, whole = csv.DictReader(io.StringIO(self.get("/stats/requests/csv")))
        assert whole["Name"] == "Aggregated"
        return int(whole["Request Count"])

    def get(self, path: str) -> str:
        """What Locust answers to us, the page aside."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        connection.request("GET", path)
        text = connection.getresponse().read().decode()
        connection.close()
        return text


@contextmanager
def locust(folder: Path, server: Stub, browser: Browser, *arguments: str) -> Iterator[Ui]:
    """Locust as a user starts it, and its page in the browser."""
    port = free_port()
    log = folder / "locust.log"
    argv = [sys.executable, "-m", "locust", "-f", str(ROOT / "scenarios" / "hello.py")]
    argv += ["-H", server.url, "--web-host", "127.0.0.1", "--web-port", str(port), *arguments]
    env = {"PATH": os.defpath, "HOME": str(folder), "PYTHONPATH": str(ROOT)}
    with Tree(argv, cwd=folder, env=env, log=log) as tree:

        def opened() -> bool:
            assert tree.poll() is None, last_lines(log)
            try:
                browser.page.goto(f"http://127.0.0.1:{port}/")
            except Error:
                return False
            browser.page.wait_for_selector("header")
            return True

        browser.until(opened)
        browser.complaints.clear()  # that it was not there yet
        yield Ui(browser, port)
        assert "Traceback" not in log.read_text()
    assert {url.split("/")[2] for url in browser.asked} == {f"127.0.0.1:{port}"}
    assert browser.complaints == []


def check_against(server: Stub, said: dict[str, Any], users: int) -> None:
    """Locust's numbers are the stub's, but for what was under way when it stopped."""
    counters = server.counters()
    assert counters["received"] == counters["answered"] + counters["abandoned"]
    row = said["stats"][0]
    assert 0 <= counters["received"] - row["num_requests"] <= users
    assert row["num_requests"] <= counters["answered"]
    assert 0 <= counters["wrong_statuses"] - row["num_failures"] <= users


def test_page_shows_requests_rate_and_failures_while_a_scenario_runs(tmp_path, browser):
    arguments = ["--users", str(USERS), "--spawn-rate", str(USERS), "--autostart"]
    with (
        stub(tmp_path, *KNOBS) as server,
        locust(tmp_path, server, browser, *arguments, "--run-time", RUN_TIME) as ui,
    ):
        before = browser.until(ui.requests)
        browser.until(lambda: ui.requests() > before)
        row = ui.row
        assert ui.figure("Status") == "RUNNING"
        assert ui.figure("Users") == str(USERS)
        assert ui.figure("Failures") == "14%"
        assert float(ui.figure("RPS")) > 0
        rate = float(row["Current RPS"])
        # Locust's mean of few seconds; our counts reach it twice a second
        assert 0 < rate < 1.5 * USERS / 0.02
        assert float(row["Current Failures/s"]) == pytest.approx(rate / 7, rel=0.1)
        assert 20 <= float(row["Median (ms)"]) < 40

        said = ui.rest()
        ours = said["stats"][0]
        browser.until(lambda: int(ui.row["# Requests"]) == ours["num_requests"])
        assert int(ui.row["# Fails"]) == ours["num_failures"] > 0
        assert ui.downloaded() == ours["num_requests"] > before
        check_against(server, said, USERS)

        ui.tab("Failures")
        (failure,) = ui.rows
        assert (failure["Method"], failure["Name"]) == ("GET", "/")
        assert failure["Message"] == "bad-status"
        assert int(failure["# Failures"]) == ours["num_failures"]


def test_load_can_be_started_stopped_and_started_anew_from_the_page(tmp_path, browser):
    with stub(tmp_path, *KNOBS) as server, locust(tmp_path, server, browser) as ui:
        ui.start(USERS)
        browser.until(ui.requests)
        browser.until(lambda: server.counters()["open"] == USERS)
        ui.press("Stop")
        first = ui.rest()
        browser.until(lambda: server.counters()["open"] == 0)
        check_against(server, first, USERS)
        browser.until(lambda: ui.requests() == first["stats"][0]["num_requests"])
        quiet = server.counters()

        ui.press("New")
        assert server.counters() == quiet
        ui.start(USERS - 1)
        browser.until(lambda: server.counters()["open"] == USERS - 1)
        browser.until(lambda: server.counters()["received"] > quiet["received"] + 50)
        ui.press("Stop")
        second = ui.rest()
        browser.until(lambda: server.counters()["open"] == 0)
        added = server.counters()["received"] - quiet["received"]
        # the new numbers begin at nothing
        assert 0 <= added - second["stats"][0]["num_requests"] < USERS
        browser.until(lambda: ui.requests() == second["stats"][0]["num_requests"])

        quiet = server.counters()
        ui.press("New")
        ui.start(USERS)
        browser.until(lambda: ui.downloaded() > 50)
        before = ui.downloaded()
        ui.press("Reset")
        seen = server.counters()["received"]
        browser.until(lambda: server.counters()["received"] > seen + 50)
        ui.press("Stop")
        third = ui.rest()
        # what was counted before the reset is not counted again
        added = server.counters()["received"] - quiet["received"]
        assert 0 < third["stats"][0]["num_requests"] <= added - before
