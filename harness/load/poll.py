"""Users that hold a long-poll open, and record how long after its event each answer came."""

from __future__ import annotations

import time
from typing import ClassVar

from harness.load.http import Exchange, HttpUser
from harness.load.recorder import recorder


class PollUser(HttpUser):
    """Asks `path?after=N` again and again; every event must come once and in order."""

    abstract = True
    path: ClassVar[str] = "/poll"

    def repeat(self) -> None:
        """Ask for the next event, then for the one after each that came."""
        after: int | None = None
        while True:
            body = self.ask(
                Exchange(
                    "GET",
                    self.path if after is None else f"{self.path}?after={after}",
                    _Event(after),
                    name=self.path,
                )
            )
            if body is not None:
                arrived = time.monotonic_ns()
                number, _, happened = body.partition(b" ")
                after = int(number)
                recorder.delay(self.path, arrived, arrived - int(happened))


class _Event:
    """Whether a body is the event after `after`: its number and its time."""

    def __init__(self, after: int | None) -> None:
        self.after = after

    def __call__(self, body: bytes) -> bool:
        number, _, happened = body.partition(b" ")
        if not (number.isdigit() and happened.isdigit()):
            return False
        return self.after is None or int(number) == self.after + 1
