"""Where the load goes and how: TCP, TLS over it, or a unix socket, as --host says.

The certificate of a TLS server is not verified: the target is one's own, on this machine most of
the time, and its certificate is its own as well. No session is resumed, so each connection pays
for a whole handshake.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from gevent import monkey
from locust.exception import StopTest

Socket: Any = monkey.get_original("socket", "socket")  # Locust patches it; ours never block

RECORD_BYTES = 16384  # the most that a record of TLS holds


@dataclass(frozen=True, slots=True)
class Target:
    """An address that was looked up once, the Host header for it, and TLS's settings if any."""

    family: int
    address: Any
    authority: str
    name: str = ""  # what TLS calls the server
    context: ssl.SSLContext | None = None

    def socket(self) -> Any:
        """A socket that never blocks; OSError if there is none left."""
        made = Socket(self.family, socket.SOCK_STREAM)
        made.setblocking(False)
        if self.family != socket.AF_UNIX:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made


def target(url: str | None) -> Target:
    """Read Locust's --host: http://HOST:PORT, https://HOST:PORT or http+unix://%2FPATH.

    StopTest, Locust's own way to say so, for what cannot be driven.
    """
    parts = urlsplit(url or "")
    if parts.scheme == "http+unix" and (path := unquote(parts.netloc)).startswith("/"):
        return Target(socket.AF_UNIX, path, "localhost")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise StopTest(
            "--host must be like http://127.0.0.1:8000, https://127.0.0.1:8443 or "
            f"http+unix://%2Fpath%2Fto.sock, and is {url!r}"
        )
    tls = parts.scheme == "https"
    try:
        port = parts.port or (443 if tls else 80)
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        raise StopTest(f"--host {url!r} cannot be looked up: {error}") from None
    # most servers for development listen on 127.0.0.1 alone, whatever else localhost is
    family, _, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    return Target(family, address, parts.netloc, parts.hostname, _context() if tls else None)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


class Tls:
    """The TLS of one connection, without I/O: bytes in, bytes out.

    Python's objects over memory know nothing of sockets, so gevent has no part in them, and a
    record that stays inside OpenSSL after a read cannot be forgotten: `open` takes out all.
    """

    def __init__(self, context: ssl.SSLContext, name: str) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self.shaken = False
        self.ended = False

    def shake(self) -> bool:
        """Go on with the handshake; whether it is done. ssl.SSLError if it fails."""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self.shaken = True
        return True

    def take(self, data: bytes) -> None:
        """Bytes that came from the server; none means that it has ended the connection."""
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def owed(self) -> bytes:
        """What has to be sent: of the handshake, or in answer to the server's own messages."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def seal(self, data: bytes) -> bytes:
        """What to send for `data`."""
        self._object.write(data)
        return self._outgoing.read()

    def open(self) -> bytes | None:
        """All that can be read by now; nothing at the end of the stream, None before it.

        Many servers end the connection without TLS's own goodbye. That is an end, too: HTTP
        and WebSocket say themselves where an answer is complete.
        """
        pieces: list[bytes] = []
        try:
            while piece := self._object.read(RECORD_BYTES):
                pieces.append(piece)
        except ssl.SSLWantReadError:
            return b"".join(pieces) if pieces else None
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            pass
        self.ended = True
        return b"".join(pieces)
