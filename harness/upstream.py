"""The slow upstream that an app under test asks: `GET /<ms>` is answered after ms milliseconds.

A script of its own, run as `python -I -S harness/upstream.py PORT`, so it imports the standard
library alone. It listens on 127.0.0.1, prints `ready` once it does, and serves HTTP/1.1 with
keep-alive and pipelining until it is stopped. Whatever it does not understand gets a 400 and
the end of the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys

BACKLOG = 2048
HEAD_LIMIT_BYTES = 16 * 1024
# 9 digits of milliseconds are 11 days
REQUEST = re.compile(rb"GET /(\d{1,9}) HTTP/1\.([01])")
BAD = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Upstream(asyncio.Protocol):
    """One connection: one request is waited for at a time, those behind it stay in `buffer`."""

    def __init__(self) -> None:
        self.buffer = b""
        self.waiting: asyncio.TimerHandle | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to answer on."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  for the type checker
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Forget the answer that nobody waits for."""
        if self.waiting is not None:
            self.waiting.cancel()

    def data_received(self, data: bytes) -> None:
        """Collect what arrives; it is read once the answer before it is out."""
        self.buffer += data
        if self.waiting is None:
            self.next_request()
        elif len(self.buffer) > HEAD_LIMIT_BYTES:
            self.transport.abort()

    def next_request(self) -> None:
        """Start the wait of the next whole request, if there is one."""
        head, blank, rest = self.buffer.partition(b"\r\n\r\n")
        if not blank and len(head) <= HEAD_LIMIT_BYTES:
            return
        line, *fields = head.split(b"\r\n")
        request = REQUEST.fullmatch(line)
        if request is None or not blank or len(head) > HEAD_LIMIT_BYTES:
            self.transport.write(BAD)
            self.transport.close()
            return
        self.buffer = rest
        connection = next(
            (
                value.strip().lower()
                for name, _, value in (field.partition(b":") for field in fields)
                if name.lower() == b"connection"
            ),
            b"",
        )
        keep = connection == b"keep-alive" if request[2] == b"0" else connection != b"close"
        self.waiting = asyncio.get_running_loop().call_later(
            int(request[1]) / 1000, self.answer, request[1], keep
        )

    def answer(self, ms: bytes, keep: bool) -> None:
        """Answer the request whose wait is over."""
        self.waiting = None
        body = b"waited %s ms" % ms
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
            b"Connection: %s\r\n\r\n%s" % (len(body), b"keep-alive" if keep else b"close", body)
        )
        if keep:
            self.next_request()
        else:
            self.transport.close()


async def serve(port: int) -> None:
    """Serve on 127.0.0.1 until cancelled. Raises OSError if the port cannot be had."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", port, backlog=BACKLOG)
    print("ready", flush=True)
    await server.serve_forever()


def main(arguments: list[str]) -> str | None:
    """Run the upstream on the port named; return what to exit with, None if all was well."""
    if len(arguments) != 1 or not arguments[0].isdigit():
        return "usage: python -I -S upstream.py PORT"
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(serve(int(arguments[0])))
    except (OSError, OverflowError) as error:
        return f"upstream: cannot listen on 127.0.0.1:{arguments[0]}: {error}"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
