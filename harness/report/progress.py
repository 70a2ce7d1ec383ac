"""How a run goes, on standard error while it goes: a view that is drawn anew, or plain lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from harness.model import Cell, Placement, Progress
from harness.report import units
from harness.report.live import Standing, lines
from harness.store import StoredTrial

NOWHERE = Placement((), ())


class Watcher:
    """A run's Watch that prints: a line for each trial, and in a terminal below them the view.

    `left_s` is how long the run will take, in seconds, None where nobody knows; `url` says where
    Locust's page is, if there is one.
    """

    def __init__(
        self,
        console: Console,
        left_s: float | None,
        *,
        placement: Placement = NOWHERE,
        blocks: int = 1,
        url: Callable[[], str] = str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.standing = Standing(placement, blocks, left_s, clock())
        self._console = console
        self._url = url
        self._clock = clock
        # a terminal that was forced on a file (FORCE_COLOR) has colours, and no lines to rewrite
        self._moves = console.is_interactive and console.file.isatty()
        self._live = Live(
            console=console, refresh_per_second=2, transient=True, get_renderable=self.view
        )

    def __enter__(self) -> Watcher:
        if self._moves:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def view(self) -> Group:
        """What is shown now, as wide as the terminal is now."""
        self.standing.page = self._url()
        return Group(*lines(self.standing, self._clock(), self._console.width))

    def ceiling(self, scenario: str) -> None:
        """The generator is measured against the null responder."""
        standing = self.standing
        standing.head, standing.cell = f"the generator's own ceiling for {scenario}", None
        standing.enter("null responder", self._clock())
        if not self._moves:
            self._console.print(Text(standing.head), soft_wrap=True)

    def begin(self, number: int, of: int | None, cell: Cell) -> None:
        """A trial begins."""
        self.standing.begin(number, of, cell)

    def phase(self, name: str) -> None:
        """It enters a part of its life."""
        self.standing.enter(name, self._clock())

    def live(self, progress: Progress, usage: Mapping[str, float]) -> None:
        """How it goes, a few times a second."""
        self.standing.look(progress, usage)

    def done(self, trial: StoredTrial, left_s: float) -> None:
        """One plain line that stays."""
        standing = self.standing
        standing.expect(left_s, self._clock())
        head = f"[{standing.number}/{standing.of}] {standing.head}"
        facts = trial.facts
        if facts["outcome"] == "failed":
            failure = facts["failure"]
            text = Text(f"{head}: FAILED during {failure['during']}: {failure['reason']}", "red")
        else:
            load = facts["load"]
            window = (load["end_ns"] - load["start_ns"]) / 1e9
            errors = f", {load['failed']} errors" if load["failed"] else ""
            text = Text(f"{head}: {units.rate(load['ok'] / window)} req/s{errors}")
        left = f" · {units.clock(left_s)} left" if left_s and not self._moves else ""
        self._console.print(text.append(left), soft_wrap=True)
