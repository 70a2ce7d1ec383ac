"""Users that echo one message at a time over a WebSocket of their own."""

from __future__ import annotations

import socket
import time
from typing import ClassVar
from urllib.parse import urlsplit

import gevent
from locust import User, task
from websocket import ABNF, WebSocket, create_connection

from harness.load.errors import BAD_BODY, WrongAnswerError
from harness.load.recorder import recorder


class WebSocketUser(User):  # type: ignore[misc]
    """Sends `message` (binary) on `path`, waits for its echo, again and again.

    A connection that breaks is counted as the error it is and opened anew.
    """

    abstract = True
    path: ClassVar[str] = "/ws"
    message: ClassVar[bytes]

    @task
    def repeat(self) -> None:
        """Echo for ever; Locust ends it by killing the greenlet."""
        url = f"ws://{urlsplit(self.host).netloc}{self.path}"
        while True:
            begin = time.perf_counter()
            try:
                connection = create_connection(
                    url,
                    timeout=60,
                    enable_multithread=False,
                    sockopt=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
                )
            except Exception as error:  # noqa: BLE001 - every failure to open is counted by name
                recorder.sent += 1
                self._fire(begin, error)
                gevent.sleep(0.1)  # a server that refuses is not helped by a busy loop
                continue
            try:
                while True:
                    self._echo(connection)
            except BrokenConnectionError:
                continue
            finally:
                connection.shutdown()

    def _echo(self, connection: WebSocket) -> None:
        recorder.sent += 1
        begin = time.perf_counter()
        try:
            connection.send(self.message, ABNF.OPCODE_BINARY)
            opcode, answer = connection.recv_data()
        except Exception as error:
            self._fire(begin, error)
            raise BrokenConnectionError from error
        if opcode != ABNF.OPCODE_BINARY or answer != self.message:
            error = WrongAnswerError(
                BAD_BODY, f"opcode {opcode}, {len(answer)} bytes: {answer[:80]!r}"
            )
            self._fire(begin, error)
            raise BrokenConnectionError from error
        self._fire(begin, None)

    def _fire(self, begin: float, error: Exception | None) -> None:
        self.environment.events.request.fire(
            request_type="WS",
            name=self.path,
            response_time=(time.perf_counter() - begin) * 1000,
            response_length=0 if error else len(self.message),
            exception=error,
            context=self.context(),
        )


class BrokenConnectionError(Exception):
    """This connection is of no more use; its error has been recorded."""
