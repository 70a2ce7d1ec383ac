"""The null responder: answers as fast as one Python process can, to measure a generator's ceiling.

Runs as `python -I -S null_responder.py PORT [--unix PATH]`, with the standard library alone. It
listens on 127.0.0.1 (and on the unix socket), prints `ready` once it does and ends on SIGTERM.

    GET, any path              200, text/plain, `Hello, world!`
    POST with Content-Length   200, the same body and content type
    Upgrade: websocket         101, then every frame comes back

Keep-alive, `Connection: close`, pipelining, and requests or frames split in any way are answered
right, up to 16 MiB each; what it does not understand gets a 400 and the end of the connection.

What was answered once is not parsed again: whole requests (and whole frames) are looked up by
their exact bytes. A generator that repeats itself costs it a read, a lookup and a write. Frames
under a fresh random mask miss that cache and cost a little more.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import gc
import hashlib
import os
import resource
import select
import signal
import socket
import sys
from collections.abc import Callable

BACKLOG = 4096
EVENTS = 512
CHUNK_BYTES = 16 * 1024
HEAD_LIMIT_BYTES = 64 * 1024
BODY_LIMIT_BYTES = 16 * 1024 * 1024
CACHE_ENTRIES = 1024
CACHE_KEY_BYTES = 16 * 1024
IN, OUT = select.EPOLLIN, select.EPOLLOUT
WEBSOCKET_KEY = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
CLOSE, PING, PONG = 8, 9, 10
HELLO = b"Hello, world!"
BAD = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

Lookup = Callable[[bytes], bytes | None]
EMPTY: dict[bytes, bytes] = {}


class BadInputError(Exception):
    """Bytes that are neither a request nor a frame, or too many of them."""


class Responder:
    """Every connection is a number (its file descriptor) with an entry in `lookups`.

    What is unusual about one stands in `partial` (input that is not whole yet), `unsent`
    (output that did not fit), `ending` (close once all is sent) and `websockets`.
    """

    def __init__(self, listeners: list[socket.socket]) -> None:
        self.epoll = select.epoll()
        self.listeners = {listener.fileno(): listener for listener in listeners}
        for number in self.listeners:
            self.epoll.register(number, IN)
        self.kept: dict[bytes, bytes] = {}
        self.final: dict[bytes, bytes] = {}
        self.frames: dict[bytes, bytes] = {}
        self.lookups: dict[int, Lookup] = {}
        self.partial: dict[int, bytearray] = {}
        self.unsent: dict[int, memoryview] = {}
        self.ending: set[int] = set()
        self.websockets: set[int] = set()

    def serve(self) -> None:
        """Answer for ever."""
        poll, read, write, lookups = self.epoll.poll, os.read, os.write, self.lookups
        while True:
            for fd, event in poll(-1, EVENTS):
                if fd in lookups and event == IN:
                    answer = None
                    try:
                        data = read(fd, CHUNK_BYTES)
                        answer = lookups[fd](data)
                        if answer is None:
                            self.parse(fd, data)
                        elif (sent := write(fd, answer)) != len(answer):
                            self.keep(fd, answer[sent:])
                    except BlockingIOError:
                        if answer:  # else it was the read, and there is nothing to do yet
                            self.keep(fd, answer)
                    except OSError:
                        self.close(fd)
                elif fd in self.listeners:
                    self.accept(self.listeners[fd])
                elif event & OUT:
                    self.flush(fd)
                else:
                    self.close(fd)

    def accept(self, listener: socket.socket) -> None:
        """Take every connection that waits, and answer those whose request is there already."""
        while True:
            try:
                # the descriptor alone: a socket object would cost more than the rest of this
                fd, _ = listener._accept()  # type: ignore[attr-defined]  # in no stub
            except OSError:  # none waits, or there is no descriptor left for it
                return
            os.set_blocking(fd, False)
            self.lookups[fd] = self.kept.get
            self.epoll.register(fd, IN)
            with contextlib.suppress(BlockingIOError):
                self.parse(fd, os.read(fd, CHUNK_BYTES))

    def parse(self, fd: int, data: bytes) -> None:
        """Answer input that the fast path does not know."""
        buffer = self.partial.get(fd)
        upgraded = fd in self.websockets
        if not data:
            self.close(fd)
            return
        if buffer is None and not upgraded and (answer := self.final.get(data)) is not None:
            self.ending.add(fd)
            self.send(fd, answer)
            return
        whole = buffer is None
        buffer = bytearray(data) if buffer is None else buffer
        if not whole:
            buffer += data
        answers: list[bytes] = []
        try:
            while buffer and fd not in self.ending:
                answer = self.frame(fd, buffer) if fd in self.websockets else self.http(fd, buffer)
                if answer is None:
                    break
                answers.append(answer)
        except (BadInputError, ValueError):
            answers.append(b"" if fd in self.websockets else BAD)
            self.ending.add(fd)
            whole = False
        if buffer and fd not in self.ending:
            self.partial[fd] = buffer
            self.lookups[fd] = EMPTY.get
            whole = False
        else:
            self.partial.pop(fd, None)
            self.lookups[fd] = self.frames.get if fd in self.websockets else self.kept.get
        reply = b"".join(answers)
        # an upgrade's answer is right for its key, but the connection has to change with it
        if whole and len(data) <= CACHE_KEY_BYTES and upgraded == (fd in self.websockets):
            cache = self.frames if upgraded else self.final if fd in self.ending else self.kept
            if not (upgraded and fd in self.ending):
                if len(cache) >= CACHE_ENTRIES:
                    cache.clear()
                cache[data] = reply
        self.send(fd, reply)

    def http(self, fd: int, buffer: bytearray) -> bytes | None:
        """Take one request from the buffer and return its answer; None if it is not whole."""
        end = buffer.find(b"\r\n\r\n", 0, HEAD_LIMIT_BYTES)
        if end < 0:
            if len(buffer) >= HEAD_LIMIT_BYTES:
                raise BadInputError
            return None
        line, *lines = bytes(buffer[:end]).split(b"\r\n")
        method, _, version = line.split(b" ")
        pairs = (line.partition(b":") for line in lines)
        fields = {name.lower(): value.strip() for name, _, value in pairs}
        length = int(fields.get(b"content-length", b"0"))
        if b"transfer-encoding" in fields or not 0 <= length <= BODY_LIMIT_BYTES:
            raise BadInputError
        if len(buffer) < end + 4 + length:
            return None
        body = bytes(buffer[end + 4 : end + 4 + length])
        del buffer[: end + 4 + length]
        if fields.get(b"upgrade", b"").lower() == b"websocket":
            self.websockets.add(fd)
            key = fields.get(b"sec-websocket-key", b"")
            digest = hashlib.sha1(key + WEBSOCKET_KEY).digest()  # noqa: S324  the RFC's choice
            return (
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n"
                % base64.b64encode(digest)
            )
        connection = fields.get(b"connection", b"").lower()
        keep = connection == b"keep-alive" if version == b"HTTP/1.0" else connection != b"close"
        if not keep:
            self.ending.add(fd)
        content_type = b"text/plain"
        if method == b"POST":
            content_type = fields.get(b"content-type", b"application/octet-stream")
        else:
            body = HELLO
        return b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n%s\r\n%s" % (
            content_type,
            len(body),
            b"" if keep else b"Connection: close\r\n",
            b"" if method == b"HEAD" else body,
        )

    def frame(self, fd: int, buffer: bytearray) -> bytes | None:
        """Take one masked frame from the buffer and return its echo; None if it is not whole."""
        if len(buffer) < 2:
            return None
        size, at = buffer[1] & 127, 2
        if size > 125:
            at = 4 if size == 126 else 10
            size = int.from_bytes(buffer[2:at], "big") if len(buffer) >= at else 0
        if not buffer[1] & 128 or size > BODY_LIMIT_BYTES:
            raise BadInputError
        if len(buffer) < at + 4 + size:
            return None
        mask = bytes(buffer[at : at + 4]) * (size // 4 + 1)
        masked = int.from_bytes(buffer[at + 4 : at + 4 + size], "big")
        payload = (masked ^ int.from_bytes(mask[:size], "big")).to_bytes(size, "big")
        first = buffer[0]
        head = bytes([first & 240 | PONG if first & 15 == PING else first, buffer[1] & 127])
        answer = head + bytes(buffer[2:at]) + payload
        del buffer[: at + 4 + size]
        if first & 15 == CLOSE:
            self.ending.add(fd)
        return b"" if first & 15 == PONG else answer

    def send(self, fd: int, answer: bytes) -> None:
        """Send an answer, or keep what does not fit; then close if this was the last."""
        try:
            sent = os.write(fd, answer) if answer else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close(fd)
            return
        if sent < len(answer):
            self.keep(fd, answer[sent:])
        elif fd in self.ending:
            self.close(fd)

    def keep(self, fd: int, rest: bytes) -> None:
        """Send the rest when there is room; nothing more is read from this connection before."""
        self.unsent[fd] = memoryview(rest)
        self.epoll.modify(fd, OUT)

    def flush(self, fd: int) -> None:
        """Send what was kept, as far as it fits."""
        rest = self.unsent[fd]
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:
            return
        except OSError:
            self.close(fd)
            return
        self.unsent[fd] = rest
        if not rest:
            del self.unsent[fd]
            if fd in self.ending:
                self.close(fd)
            else:
                self.epoll.modify(fd, IN)

    def close(self, fd: int) -> None:
        """End a connection and forget it; closing takes it out of the epoll set, too."""
        os.close(fd)
        del self.lookups[fd]
        self.partial.pop(fd, None)
        self.unsent.pop(fd, None)
        self.ending.discard(fd)
        self.websockets.discard(fd)


def listen(family: int, address: tuple[str, int] | str) -> socket.socket:
    """A non-blocking listener; OSError if the address cannot be had."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # connections inherit it, which saves a system call for each
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.bind(address)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def main(arguments: list[str]) -> str | None:
    """Run the responder; return what to exit with, None if all was well."""
    parser = argparse.ArgumentParser(prog="null_responder.py")
    parser.add_argument("port", type=int)
    parser.add_argument("--unix", metavar="PATH", help="listen on this unix socket, too")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        listeners = [listen(socket.AF_INET, ("127.0.0.1", options.port))]
        if options.unix:
            listeners.append(listen(socket.AF_UNIX, options.unix))
    except (OSError, OverflowError) as error:
        where = f"127.0.0.1:{options.port}" + (f" and {options.unix}" if options.unix else "")
        return f"null_responder: cannot listen on {where}: {error}"
    gc.disable()  # nothing here refers to itself, so there is never anything to find
    print("ready", flush=True)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            Responder(listeners).serve()
    finally:
        if options.unix:
            os.unlink(options.unix)
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
