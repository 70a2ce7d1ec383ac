"""What all users of the load engine share: a target, a connection of their own, and patience."""

from __future__ import annotations

from typing import Any, ClassVar

import gevent.event
from locust import User, task
from locust.exception import StopTest

from harness.load.connection import Connection
from harness.load.reactor import Reactor
from harness.load.transport import target


class EngineUser(User):  # type: ignore[misc]
    """A Locust user whose connection works in the reactor while the user sleeps.

    `pause_s` lies between an answer and the next request, in a closed load. The first pause of
    each user is shorter, so that N users send N / pause_s requests per second from the start.
    """

    abstract = True
    pause_s: ClassVar[float] = 0.0
    paced_by_events: ClassVar[bool] = False  # the server's events are what counts, not a rate

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.target = target(self.host)
        self.reactor = Reactor.of(environment)
        if self.paced_by_events and self.reactor.arrivals is not None:
            raise StopTest(
                f"{type(self).__name__} is asked by the server's events, not at a rate: no --rate"
            )

        self.reactor.seat()

    @task
    def work(self) -> None:
        """Locust's task, which lasts until Locust ends the user."""
        connection = self.connection()
        try:
            connection.start()
            gevent.event.Event().wait()
        finally:
            connection.retire()

    def on_stop(self) -> None:
        """Locust calls this when the user is gone."""
        self.reactor.give_up_seat()

    def connection(self) -> Connection:
        """This user's connection to the host under test."""
        raise NotImplementedError
