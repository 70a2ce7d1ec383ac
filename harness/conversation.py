"""One bounded conversation with a live server: our side of every answer check."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect


class ContractError(Exception):
    """An answer that is not what the app contract says: `expected ..., got ...`."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The live server under check, and the seconds that one whole check may take."""

    host: str
    port: int
    timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One finite HTTP answer; `took_s` is from the first byte sent to the last one read."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes
    took_s: float


class Client:
    """Our side of one conversation. Every connection is new, so that any worker may answer."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.is_cut = False
        self._deadline = time.monotonic() + peer.timeout_s
        self._sockets: list[socket.socket] = []

    def remaining_s(self) -> float:
        """Seconds left of this check; TimeoutError if there are none."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def open_socket(self) -> socket.socket:
        """A new connection, cut at the deadline and closed after the check."""
        address = (self.peer.host, self.peer.port)
        connection = socket.create_connection(address, timeout=self.remaining_s())
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sockets.append(connection)
        return connection

    def open_http(self) -> http.client.HTTPConnection:
        """A new HTTP connection."""
        connection = http.client.HTTPConnection(self.peer.host, self.peer.port)
        connection.sock = self.open_socket()
        return connection

    def open_websocket(self, path: str) -> ClientConnection:
        """A new WebSocket without compression or proxy, to be used in a `with`."""
        return connect(
            f"ws://{self.peer.host}:{self.peer.port}{path}",
            sock=self.open_socket(),
            proxy=None,
            compression=None,
            open_timeout=self.remaining_s(),
            close_timeout=1.0,
        )

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        **headers: str,
    ) -> Answer:
        """One request on a connection of its own; a body that is not bytes goes in chunks."""
        chunked = body is not None and not isinstance(body, bytes)
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if chunked:
            fields["Transfer-Encoding"] = "chunked"
        connection = self.open_http()
        begin = time.monotonic()
        # a server that refuses a body closes while we send: its answer says why
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request(
                method, path, body, fields | {"Connection": "close"}, encode_chunked=chunked
            )
        return self.read(connection, begin)

    def read(self, connection: http.client.HTTPConnection, begin: float) -> Answer:
        """The whole answer on `connection`; `begin` is when its request was, in seconds."""
        with connection.getresponse() as response:
            body = response.read()
        return Answer(response.status, response.headers, body, time.monotonic() - begin)

    def cut(self) -> None:
        """End every read and write of this check, now; called from another thread."""
        self.is_cut = True
        for connection in self._sockets.copy():
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close every connection."""
        for connection in self._sockets:
            connection.close()


@contextlib.contextmanager
def conversation(peer: Peer) -> Iterator[Client]:
    """A client whose every failure is a ContractError, and that is cut off at its deadline."""
    client = Client(peer)
    watchdog = threading.Timer(peer.timeout_s, client.cut)
    watchdog.daemon = True
    watchdog.start()
    try:
        yield client
    except ContractError as error:
        if client.is_cut:
            raise ContractError(f"{error}; cut off after {peer.timeout_s:g} s") from error
        raise
    except (OSError, http.client.HTTPException, WebSocketException) as error:
        what = f"{type(error).__name__}: {error}"[:160]
        if client.is_cut or isinstance(error, TimeoutError):
            what = f"none within {peer.timeout_s:g} s"
        raise ContractError(f"expected a whole answer, got {what}") from error
    finally:
        watchdog.cancel()
        client.close()
