"""Users that hold a long-poll open, and record how long after its event each answer came."""

from __future__ import annotations

from typing import ClassVar

from harness.load.connection import Connection
from harness.load.exchange import Exchange
from harness.load.http import HttpConnection, HttpUser, Known
from harness.load.reactor import Reactor
from harness.load.transport import Target


class PollConnection(HttpConnection):
    """Asks `path?after=N` again and again; every event must come once and in order."""

    def __init__(self, reactor: Reactor, target: Target, path: str) -> None:
        self.path = path
        self.after: int | None = None
        super().__init__(reactor, target, self._next(), Known())

    def right(self, body: bytes, now: int) -> None:
        """Note the event's delay, and ask for the one after it."""
        number, _, happened = body.partition(b" ")
        self.after = int(number)
        self.track.delay(now, now - int(happened))
        self._begin(self._next())

    def _next(self) -> Exchange:
        query = "" if self.after is None else f"?after={self.after}"
        return Exchange("GET", self.path + query, self._is_next, name=self.path)

    def _is_next(self, body: bytes) -> bool:
        number, _, happened = body.partition(b" ")
        if not (number.isdigit() and happened.isdigit()):
            return False
        return self.after is None or int(number) == self.after + 1


class PollUser(HttpUser):
    """A Locust user that waits for every event of `path`."""

    abstract = True
    paced_by_events = True
    path: ClassVar[str] = "/poll"

    def connection(self) -> Connection:
        """This user's connection to the host under test."""
        return PollConnection(self.reactor, self.target, self.path)
