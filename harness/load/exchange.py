"""What is sent and what is expected in answer: the whole of a simple scenario."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.load.errors import BAD_BODY, BAD_STATUS, WrongAnswerError


@dataclass(frozen=True, slots=True)
class Exchange:
    """One HTTP request and its right answer: an exact body, or a function that knows it."""

    method: str
    path: str
    expect: bytes | Callable[[bytes], bool]
    body: bytes | None = None
    status: int = 200
    name: str | None = None

    @property
    def label(self) -> str:
        """The name it is counted under."""
        return self.name or self.path

    def encode(self, host: str) -> bytes:
        """The request's bytes, complete."""
        head = f"{self.method} {self.path} HTTP/1.1\r\nHost: {host}\r\n"
        if self.body is None:
            return f"{head}\r\n".encode("latin-1")
        head += (
            f"Content-Type: application/octet-stream\r\nContent-Length: {len(self.body)}\r\n\r\n"
        )
        return head.encode("latin-1") + self.body

    def check(self, status: int, body: bytes) -> None:
        """Raise WrongAnswerError unless the answer is the expected one."""
        if status != self.status:
            raise WrongAnswerError(BAD_STATUS, f"{status} instead of {self.status}: {body[:80]!r}")
        right = body == self.expect if isinstance(self.expect, bytes) else self.expect(body)
        if not right:
            raise WrongAnswerError(BAD_BODY, f"{len(body)} bytes: {body[:80]!r}")
