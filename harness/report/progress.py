"""How a run goes, on standard error while it goes: a line that moves, or plain lines."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.console import Console
from rich.live import Live
from rich.text import Text

from harness.model import Cell, Progress
from harness.report import units
from harness.store import StoredTrial


class Watcher:
    """A run's Watch that prints: in a terminal one line is rewritten, elsewhere lines are added."""

    def __init__(self, console: Console, left_s: float) -> None:
        self._console = console
        self._left_s = left_s
        self._known_s = time.monotonic()
        self._head = ""
        self._phase = ""
        self._phase_since = self._known_s
        self._last: Progress | None = None
        self._rate: float | None = None
        self._usage: Mapping[str, float] = {}
        self._usage_at = 0.0
        self._busy: float | None = None
        self._live = Live(
            console=console, refresh_per_second=4, transient=True, get_renderable=self._line
        )

    def __enter__(self) -> Watcher:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def ceiling(self, scenario: str) -> None:
        """The generator is measured against the null responder."""
        self._head = f"the generator's own ceiling for {scenario}"
        self._phase = "null responder"
        if not self._console.is_terminal:
            self._console.print(Text(self._head), soft_wrap=True)

    def begin(self, number: int, of: int, cell: Cell) -> None:
        """A trial begins."""
        self._head = f"[{number}/{of}] {cell.name}"
        self._last = self._rate = self._busy = None
        self._usage = {}

    def phase(self, name: str) -> None:
        """It enters a part of its life. What it takes to install was not part of the estimate."""
        if self._phase == "environment":
            self._known_s += time.monotonic() - self._phase_since
        self._phase, self._phase_since = name, time.monotonic()

    def live(self, progress: Progress, usage: Mapping[str, float]) -> None:
        """Rates from one call to the next."""
        if self._last and progress.at_ns > self._last.at_ns:
            spent = (progress.at_ns - self._last.at_ns) / 1e9
            self._rate = (progress.done - self._last.done) / spent
        self._last = progress
        now = time.monotonic()
        if "server_cpu_s" in self._usage and now - self._usage_at > 0.4:
            used = usage.get("server_cpu_s", 0.0) - self._usage["server_cpu_s"]
            self._busy = max(0.0, used / (now - self._usage_at))
            self._usage, self._usage_at = usage, now
        elif "server_cpu_s" not in self._usage:
            self._usage, self._usage_at = usage, now

    def done(self, trial: StoredTrial, left_s: float) -> None:
        """One plain line that stays."""
        self._left_s, self._known_s = left_s, time.monotonic()
        facts = trial.facts
        if facts["outcome"] == "failed":
            failure = facts["failure"]
            text = Text(
                f"{self._head}: FAILED during {failure['during']}: {failure['reason']}", "red"
            )
        else:
            load = facts["load"]
            window = (load["end_ns"] - load["start_ns"]) / 1e9
            errors = f", {load['failed']} errors" if load["failed"] else ""
            text = Text(f"{self._head}: {units.rate(load['ok'] / window)} req/s{errors}")
        left = f" · {units.clock(left_s)} left" if left_s and not self._console.is_terminal else ""
        self._console.print(text.append(left), soft_wrap=True)

    def _line(self) -> Text:
        # while an environment is made, the clock stands
        now = self._phase_since if self._phase == "environment" else time.monotonic()
        left = max(0.0, self._left_s - (now - self._known_s))
        parts = [self._head, f"{self._phase}, {units.clock(left)} left"]
        if self._rate is not None:
            parts.append(f"{units.rate(self._rate)} req/s")
        if self._busy is not None:
            parts.append(
                f"server CPU {self._busy:.0%}, {units.size(self._usage.get('server_rss_bytes'))}"
            )
        if self._last and self._last.failed:
            parts.append(f"{self._last.failed} errors")
        return Text(" · ".join(parts), style="cyan", no_wrap=True, overflow="ellipsis")
