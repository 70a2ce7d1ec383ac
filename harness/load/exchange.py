"""What is sent and what is expected in answer: the whole of a simple scenario."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.load.errors import BAD_BODY, BAD_STATUS, WrongAnswerError


@dataclass(frozen=True, slots=True)
class Exchange:
    """One HTTP request and its right answer: an exact body, or a function that knows it.

    `headers` replace those that it has by itself, Host and for a body Content-Type.
    """

    method: str
    path: str
    expect: bytes | Callable[[bytes], bool]
    body: bytes | None = None
    status: int = 200
    name: str | None = None
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def label(self) -> str:
        """The name it is counted under."""
        return self.name or self.path

    def encode(self, host: str, last: bool = False) -> bytes:
        """The request's bytes, complete; the `last` of a connection says so."""
        fields = {"host": ("Host", host)}
        if self.body is not None:
            fields["content-type"] = ("Content-Type", "application/octet-stream")
        if last:
            fields["connection"] = ("Connection", "close")
        fields |= {name.lower(): (name, value) for name, value in self.headers}
        if self.body is not None:
            fields["content-length"] = ("Content-Length", str(len(self.body)))
        lines = [f"{self.method} {self.path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in fields.values()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + (self.body or b"")

    def check(self, status: int, body: bytes) -> None:
        """Raise WrongAnswerError unless the answer is the expected one."""
        if status != self.status:
            raise WrongAnswerError(BAD_STATUS, f"{status} instead of {self.status}: {body[:80]!r}")
        right = body == self.expect if isinstance(self.expect, bytes) else self.expect(body)
        if not right:
            raise WrongAnswerError(BAD_BODY, f"{len(body)} bytes: {body[:80]!r}")
