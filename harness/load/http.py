"""Users that send one HTTP request again and again, each when the last was answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from locust import task
from locust.contrib.fasthttp import FastHttpUser

from harness.load.errors import BAD_BODY, BAD_STATUS, WrongAnswerError
from harness.load.recorder import recorder


@dataclass(frozen=True, slots=True)
class Exchange:
    """What is sent and what is expected: an exact body, or a function that says it is right."""

    method: str
    path: str
    expect: bytes | Callable[[bytes], bool]
    body: bytes | None = None
    status: int = 200
    name: str | None = None

    def check(self, status: int, body: bytes) -> None:
        """Raise WrongAnswerError unless the answer is the expected one."""
        if status != self.status:
            raise WrongAnswerError(BAD_STATUS, f"{status} instead of {self.status}: {body[:80]!r}")
        right = body == self.expect if isinstance(self.expect, bytes) else self.expect(body)
        if not right:
            raise WrongAnswerError(BAD_BODY, f"{len(body)} bytes: {body[:80]!r}")


class HttpUser(FastHttpUser):  # type: ignore[misc]
    """A user on a connection of its own that repeats `exchange`. Closed model, no think time."""

    abstract = True
    exchange: ClassVar[Exchange]
    network_timeout = 60.0
    connection_timeout = 60.0

    @task
    def work(self) -> None:
        """Locust's task, which never returns: a return would yield to the other users between
        two requests, time that no response time contains. Locust ends it by killing the greenlet.
        """
        self.repeat()

    def repeat(self) -> None:
        """Send for ever."""
        while True:
            self.ask(self.exchange)

    def ask(self, exchange: Exchange) -> bytes | None:
        """One exchange; the right answer's body, or None when it was an error."""
        recorder.sent += 1
        with self.client.request(
            exchange.method,
            exchange.path,
            name=exchange.name or exchange.path,
            data=exchange.body,
            catch_response=True,
            allow_redirects=False,
        ) as response:
            if not response.status_code:  # no answer at all; Locust knows why
                response.failure(response.request_meta["exception"] or response.error)
                return None
            body = response.content or b""
            try:
                exchange.check(response.status_code, body)
            except WrongAnswerError as error:
                response.failure(error)
                return None
            response.success()
            return body
