"""A browser for tests of pages: Chromium without a network, and somebody who reads a page in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import axe_core_python  # type: ignore[import-untyped] # it is here for its JavaScript
import pytest
from playwright.sync_api import Browser, BrowserContext, Download, Page, expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
NO_HOSTS = "--host-resolver-rules=MAP * ~NOTFOUND"
AXE = Path(axe_core_python.__file__).with_name("axe.min.js")
WIDE, NARROW = {"width": 1400, "height": 900}, {"width": 390, "height": 844}
PATIENCE_MS = 20_000  # others have the CPUs, too

expect.set_options(timeout=PATIENCE_MS)


def require_chromium() -> None:
    """Where it is ours to install, a test that was not run is a failure."""
    if not CHROMIUM.exists():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("apt-get install chromium")


@contextmanager
def chromium_alone() -> Iterator[Browser]:
    """Chromium that finds no host."""
    require_chromium()
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, NO_HOSTS]) as browser,
    ):
        yield browser


class Reader:
    """Somebody who reads the page; remembers what it asked for, and complained about."""

    def __init__(self, browser: Browser, file: Path, **context: Any) -> None:
        self.context: BrowserContext = browser.new_context(
            **{"viewport": WIDE, "reduced_motion": "reduce", "accept_downloads": True, **context}
        )
        self.file = file
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("request", lambda it: self.asked.append(it.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on(
            "console",
            lambda it: self.complaints.append(it.text) if it.type == "error" else None,
        )

    def open(self, fragment: str = "") -> Page:
        self.page.goto("about:blank")
        self.page.goto(f"{self.file.as_uri()}{fragment}")
        return self.page

    @property
    def fragment(self) -> str:
        return str(self.page.evaluate("decodeURIComponent(location.hash)"))

    def settles(self, script: str) -> None:
        """Wait until an expression is true: what a click causes may come after the click."""
        self.page.wait_for_function(script)

    def saved(self, download: Download, folder: Path) -> Path:
        path = folder / download.suggested_filename
        download.save_as(path)
        return path


@contextmanager
def reading(
    chromium: Browser, usual: Path, kind: type[Reader] = Reader
) -> Iterator[Callable[..., Any]]:
    """Opens readers of a page; none may have complained, or asked for anything but files."""
    readers: list[Reader] = []

    def opened(file: Path = usual, **context: Any) -> Reader:
        readers.append(kind(chromium, file, **context))
        return readers[-1]

    yield opened
    for reader in readers:
        assert reader.complaints == []  # a violation of the page's policy is one, too
        assert {it.split(":")[0] for it in reader.asked} <= {"file", "blob", "data", "about"}
        reader.context.close()
