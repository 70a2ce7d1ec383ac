"""One user's connection: what all protocols share of asking, waiting and opening anew."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar

from harness.load.errors import PROTOCOL, TIMEOUT, WrongAnswerError, kind_of
from harness.load.reactor import Reactor
from harness.load.recorder import Track, recorder
from harness.load.transport import Target, Tls

# Read at first: a bytes object of up to 512 comes from Python's own pools. A server whose
# answers are longer is read in larger pieces from its first one on.
RECEIVE_BYTES = 470
RECEIVE_MOST_BYTES = 65536
REFUSED_PAUSE_NS = 100_000_000  # a server that refuses is not helped by a busy loop
FULL_PAUSE_NS = 2_000_000
SHAKING = (errno.EINPROGRESS, errno.EAGAIN, errno.ENOTCONN)

clock = time.monotonic_ns


class Connection:
    """Opened, used again and again, opened anew when it ends.

    A protocol gives `opened` (the bytes may flow), `ask` (send the next request), `received`
    (bytes that came) and `ended`; it calls `begin` once it is ready and `settle` when an answer
    is whole and right. An answer that comes in one read and equals `hoped` to the byte is
    settled without asking the protocol: this is the way that has to be short.
    """

    # what the short way reads: a slot is found faster than one of forty entries of a dictionary
    __slots__ = (
        "__dict__",
        "_answer",
        "_descriptor",
        "_limit",
        "_read",
        "_write",
        "at_once",
        "hoped",
        "request",
        "sent_at",
        "track",
    )

    persistent: ClassVar[bool] = False  # is of use at rest, and must not end there

    def __init__(
        self, reactor: Reactor, target: Target, method: str, name: str, pause_s: float = 0.0
    ) -> None:
        self.reactor = reactor
        self.target = target
        self.track: Track = recorder.track(method, name)
        self.request = b""  # the next one, or the one that is out
        self.hoped: bytes | None = None  # set by `ask`, where only one answer can be right
        self.waiting = 0  # requests that are out, and whose answers are not complete
        self.called = False  # a request is due, and the connection being opened for it
        self.opening = False
        self.due = 0  # when the request should have been sent, in an open load
        self.sent_at = 0
        self._first_at = 0  # when the answer began, if not the usual way
        self._dialled_at = 0
        self._wake_at = 0
        self._retired = False
        self._pause_ns = int(pause_s * 1e9)
        # users begin apart, so that they do not all send at the end of the first pause
        self._wait_ns = int(self._pause_ns * reactor.share())
        self._closed_load = reactor.arrivals is None
        self.at_once = self._closed_load and not self._pause_ns
        self._answer = self.track.answer
        self._unsent = b""
        self._wants_write = False
        self._connecting = False
        self._socket: Any = None
        self._descriptor = -1
        self._limit = RECEIVE_BYTES
        self._tls: Tls | None = None
        self._read: Callable[[int, int], bytes] = os.read
        self._write: Callable[[int, bytes], int] = os.write

    # -- a protocol's part -----------------------------------------------------------------

    def opened(self) -> None:
        """Bytes may flow."""
        raise NotImplementedError

    def ask(self) -> None:
        """Send the next request."""
        raise NotImplementedError

    def received(self, data: bytes, now: int) -> None:
        """Take in bytes that came at `now`."""
        raise NotImplementedError

    def ended(self, now: int) -> None:
        """The server closed the connection. Whether that is an error is the protocol's part."""
        raise NotImplementedError

    def farewell(self) -> bytes:
        """What to send before an open connection is closed."""
        return b""

    # -- asking ----------------------------------------------------------------------------

    def start(self) -> None:
        """The user is there."""
        if self.persistent and self._closed_load:
            self.open()
        else:
            self.rest()

    def begin(self) -> None:
        """The connection is ready: ask if a request is due, else rest until one is."""
        self.opening = False
        if self.called:
            self.called = False
            self.ask()
        else:
            self.rest()

    def rest(self) -> None:
        """Until the next request is due, which in a closed load without pause is now."""
        if self.reactor.arrivals is not None:
            self.reactor.arrivals.idle.append(self)
        elif self._pause_ns:
            self._wake_at = clock() + self._wait_ns
            self._wait_ns = self._pause_ns
            self.reactor.later.at(self._wake_at, self._wake)
        else:
            self._wake()

    def call(self, due: int) -> None:
        """A request is due, since `due`. Connections are opened when first needed: a server
        with few workers would be blocked by one that is open and silent.
        """
        self.due = due
        if self._socket is None:
            self.called = True
            self.open()
        else:
            self.ask()

    def _wake(self) -> None:
        """The pause is over, unless this is the end of one that was given up for another."""
        now = clock()
        if now >= self._wake_at and not (self._retired or self.reactor.halted or self.pending):
            self.call(now)

    def send(self) -> None:
        """Send the request."""
        self.waiting = 1
        self.again()

    def again(self) -> None:
        """Send the request, or the next, where one was out until now.

        What the socket does not take now follows when it does.
        """
        self.track.sent += 1
        request = self.request
        self.sent_at = clock()
        try:
            taken = self._write(self._descriptor, request)
        except OSError as error:
            self._refused(error, request)
            return
        if taken != len(request):
            self._postpone(request[taken:])

    def tell(self, data: bytes) -> None:
        """Send what belongs to the protocol and is nobody's request."""
        try:
            taken = self._write(self._descriptor, data)
        except OSError as error:
            self._refused(error, data)
            return
        if taken != len(data):
            self._postpone(data[taken:])

    def settle(self, now: int) -> None:
        """The answer is whole and right: record it, then rest until a request is due."""
        self.record(now)
        self.rest()

    def record(self, now: int) -> None:
        """Record a right answer."""
        self.waiting = 0
        self.hoped = None
        if self._first_at:
            if self._first_at != now:
                self.track.first(now - self.sent_at, self._first_at - self.sent_at)
            self._first_at = 0
        if self._closed_load:
            self._answer(now, now - self.sent_at)
        else:
            self.track.timely(self.due, self.sent_at, now)

    def refuse(self, error: WrongAnswerError) -> None:
        """Count an answer that is whole but wrong; the connection is as good as before."""
        now = clock()
        self.waiting = 0
        counts_to = now if self._closed_load else self.due
        self.track.error(counts_to, now - self.since, error.kind, str(error))

    def fail(self, error: Exception) -> None:
        """Count an error by its name, and open anew."""
        now = clock()
        kind = kind_of(error)
        taken, counts_to = now - self.since, now if self._closed_load else self.due
        if not self.waiting:  # connecting failed, or a server spoke that was not asked
            self.track.sent += 1
            if not (self.called or self.opening):
                taken, counts_to = 0, now
                self._leave()
        if kind == TIMEOUT:
            taken = int(self.reactor.deadline_s * 1e9)
        refused = self.opening
        self.waiting = 0
        self.called = self.opening = self._connecting = False
        self.track.error(counts_to, taken, kind, str(error))
        self.close()
        self.reactor.later.at(now + (REFUSED_PAUSE_NS if refused else 0), self._again)

    def wrong(self, kind: str, detail: str) -> None:
        """An answer that breaks the rules or the expectation."""
        self.fail(WrongAnswerError(kind or PROTOCOL, detail))

    def retire(self) -> None:
        """The user is gone: close, and do not open again."""
        self._retired = True
        self._leave()
        self.close()

    def _again(self) -> None:
        if not (self._retired or self.reactor.halted):
            self.start()

    def _leave(self) -> None:
        """Rest no longer."""
        if self.reactor.arrivals is not None:
            with suppress(ValueError):
                self.reactor.arrivals.idle.remove(self)

    @property
    def pending(self) -> bool:
        """Whether a request is out, or waits for the connection to open."""
        return bool(self.waiting) or self.called or self.opening

    @property
    def since(self) -> int:
        """When the request that is out was due, or in a closed load sent or begun."""
        return self.sent_at if self._closed_load else self.due

    # -- the socket ------------------------------------------------------------------------

    def open(self) -> None:
        """Connect without waiting; a failure is counted, and tried again a little later."""
        if self.reactor.halted or self._retired:
            return
        self.opening = self._connecting = True
        self.sent_at = self._dialled_at = clock()
        self.track.connects += 1
        try:
            self._socket = self.target.socket()
        except OSError as error:
            self.fail(error)
            return
        self._descriptor = self._socket.fileno()
        self._read, self._write = os.read, os.write
        if self.target.context is not None:
            self._tls = Tls(self.target.context, self.target.name)
            self._limit = RECEIVE_MOST_BYTES  # records are long
            self._read, self._write = self._read_sealed, self._write_sealed
        self._dial()

    def _dial(self) -> None:
        code = self._socket.connect_ex(self.target.address)
        if code == errno.EAGAIN and self.target.family == socket.AF_UNIX:
            self._dial_later()
            return
        self.reactor.add(self, self._descriptor)
        if code not in (0, errno.EINPROGRESS):
            self.fail(OSError(code, f"connect: {os.strerror(code)}"))
        elif not self._connected():  # on loopback it mostly is by now
            self._watch_writing(True)

    def _dial_later(self) -> None:
        """The backlog of a unix socket is full, and unlike TCP's its kernel does not wait."""
        dialled_at, deadline_s = self._dialled_at, self.reactor.deadline_s
        if clock() - dialled_at > deadline_s * 1e9:
            self.fail(TimeoutError(f"not connected within {deadline_s:g} s"))
            return
        self.reactor.later.at(
            clock() + FULL_PAUSE_NS,
            lambda: self._dial() if self._connecting and self._dialled_at == dialled_at else None,
        )

    def _connected(self) -> bool:
        """Whether the socket is connected; if so, go on with what follows."""
        try:
            self._socket.getpeername()
        except OSError:
            return False
        self._connecting = False
        if self._tls is None:
            self._usable()
        else:
            self._shake_tls(self._tls)
        return True

    def _usable(self) -> None:
        now = clock()
        self.track.connected(now, now - self._dialled_at)
        self.opened()

    def readable(self) -> None:
        """Bytes came, or the end, or an error."""
        try:
            data = self._read(self._descriptor, self._limit)
        except BlockingIOError:
            return
        except OSError as error:
            self.fail(error)
            return
        now = clock()
        if data == self.hoped:
            if self.at_once:
                self._answer(now, now - self.sent_at)
                self.again()
            else:
                self.settle(now)
        elif data:
            if len(data) == self._limit:
                self._limit = RECEIVE_MOST_BYTES  # and the rest wakes us again
            self.received(data, now)
        elif self.pending or self.persistent:
            self.ended(now)
        else:
            self.close()  # it rested too long for the server, which is no error

    def writable(self) -> None:
        """The socket takes more, or its connecting ended."""
        if self._connecting:
            code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self.fail(OSError(code, f"connect: {os.strerror(code)}"))
                return
            if not self._connected() or self._socket is None:
                return
        unsent, self._unsent = self._unsent, b""
        try:
            taken = os.write(self._descriptor, unsent) if unsent else 0
        except OSError as error:
            if error.errno not in SHAKING:
                self.fail(error)
                return
            taken = 0
        self._unsent = unsent[taken:] + self._unsent
        self._watch_writing(bool(self._unsent))

    def close(self) -> None:
        """Close the socket, if there is one; idempotent."""
        if self._socket is None:
            return
        if not self._connecting and (last := self.farewell()):
            with suppress(OSError):  # what it does not take now will not be waited for
                sealed = self._tls.seal(last) if self._tls is not None else last
                os.write(self._descriptor, self._unsent + sealed)
        self._forget().close()

    def _forget(self) -> Any:
        """Let go of the socket, and of all that belongs to this opening of the connection."""
        self.reactor.remove(self._descriptor)
        left, self._socket, self._descriptor, self._tls = self._socket, None, -1, None
        self._unsent, self._wants_write = b"", False
        self._connecting = self.opening = False
        self.hoped, self._first_at = None, 0
        return left

    def _refused(self, error: OSError, data: bytes) -> None:
        """The socket took nothing."""
        if error.errno in SHAKING:
            self._postpone(data)
        else:
            self.fail(error)

    def _postpone(self, data: bytes) -> None:
        """Send this when the socket takes more."""
        self._unsent += data
        self._watch_writing(True)

    def _watch_writing(self, wanted: bool) -> None:
        if wanted != self._wants_write:
            self._wants_write = wanted
            self.reactor.want_write(self._descriptor, wanted)
            if self._tls is None:
                self._write = self._write_later if wanted else os.write

    def _write_later(self, _descriptor: int, data: bytes) -> int:
        """As os.write, behind what is still to be sent."""
        self._unsent += data
        return len(data)

    # -- TLS -------------------------------------------------------------------------------

    def _shake_tls(self, tls: Tls) -> None:
        """Go on with TLS's handshake; ssl.SSLError is an OSError."""
        try:
            done = tls.shake()
        except OSError as error:
            self.fail(error)
            return
        self._send_sealed(tls.owed())
        if done and self._socket is not None:
            self._usable()

    def _read_sealed(self, descriptor: int, limit: int) -> bytes:
        """As os.read, of what TLS carries; BlockingIOError while that is nothing."""
        tls = self._tls
        assert tls is not None  # noqa: S101  only reached with TLS
        if not tls.ended:
            tls.take(os.read(descriptor, limit))
        if not tls.shaken:
            self._shake_tls(tls)
            if self._tls is not tls or not tls.shaken:
                raise BlockingIOError
        data = tls.open()
        if owed := tls.owed():
            self._send_sealed(owed)
        if data is None or self._tls is not tls:
            raise BlockingIOError
        if data and tls.ended:  # both at once: the socket has nothing more to wake us with
            self.reactor.later.at(0, lambda: self.readable() if self._tls is tls else None)
        return data

    def _write_sealed(self, _descriptor: int, data: bytes) -> int:
        """As os.write, but all of `data` is taken: what is sealed and cannot go yet is kept."""
        assert self._tls is not None  # noqa: S101
        self._send_sealed(self._tls.seal(data))
        return len(data)

    def _send_sealed(self, sealed: bytes) -> None:
        self._unsent += sealed
        if not self._wants_write:
            self.writable()
