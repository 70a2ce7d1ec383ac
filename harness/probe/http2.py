"""HTTP/2, with the frames left to the library h2."""

from __future__ import annotations

import importlib.util
import time
from typing import Any

from harness.probe.answer import Answer, graded, milliseconds, no, not_tried
from harness.probe.concurrency import SLEEP_MS, overlapping
from harness.probe.subject import Subject
from harness.probe.wire import HELLO, ClosedError, Wire

STREAMS = 5
ANSWER_WITHIN_S = 4.0


def missing() -> str:
    """Why HTTP/2 cannot be asked for here; nothing if it can."""
    return "" if importlib.util.find_spec("h2") else "needs the package h2: pip install h2"


def cleartext(subject: Subject) -> Answer:
    """HTTP/2 without TLS and without asking, by prior knowledge."""
    if why := missing():
        return not_tried(why)
    return ask(subject.connect(), "http")


def ask(wire: Wire, scheme: str) -> Answer:
    """The greeting, then several waits at once on the one connection."""
    from h2.exceptions import ProtocolError  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415

    wire.deadline = min(wire.deadline, time.monotonic() + ANSWER_WITHIN_S)
    session = _Session(wire, scheme)
    try:
        session.get("/")
        (first,) = session.answers(1)
    except ProtocolError as error:
        return no(f"answered with no HTTP/2: {session.first[:28]!r} ({type(error).__name__})")
    except ClosedError as error:
        said = f" after {session.first[:28]!r}" if session.first else ""
        return no(f"{error}{said}")
    except TimeoutError:
        return no(f"no answer within {ANSWER_WITHIN_S:g} s")
    if first.status != "200" or first.body != HELLO:
        return no(f"answered {first.status} with {len(first.body)} bytes")
    begin = time.monotonic()
    for _ in range(STREAMS):
        session.get(f"/sleep/{SLEEP_MS}")
    try:
        ends = [it.ended for it in session.answers(STREAMS)]
    except (ProtocolError, ClosedError, TimeoutError) as error:
        return graded(False, True, f"one answer right, {STREAMS} at once failed: {error!r}")
    most = overlapping(ends, begin)
    took = milliseconds(max(ends) - begin)
    evidence = f"{STREAMS} waits of {SLEEP_MS} ms on one connection took {took}, {most} at once"
    return graded(most > 1, True, evidence)


class _Answer:
    def __init__(self) -> None:
        self.status = ""
        self.body = b""
        self.ended = 0.0


class _Session:
    """One connection that speaks HTTP/2 from its first byte."""

    def __init__(self, wire: Wire, scheme: str) -> None:
        from h2.config import H2Configuration  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415
        from h2.connection import H2Connection  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415

        self.wire = wire
        self.scheme = scheme
        self.first = b""
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._h2.initiate_connection()
        self._open: dict[int, _Answer] = {}
        self._flush()

    def get(self, path: str) -> None:
        """Ask on a new stream."""
        stream = self._h2.get_next_available_stream_id()
        fields = {
            ":method": "GET", ":path": path, ":scheme": self.scheme, ":authority": "localhost",
        }  # fmt: skip
        self._h2.send_headers(stream, list(fields.items()), end_stream=True)
        self._open[stream] = _Answer()
        self._flush()

    def answers(self, count: int) -> list[_Answer]:
        """The next so many answers that end."""
        ended: list[_Answer] = []
        while len(ended) < count:
            data = self.wire.take()
            if not data:
                raise ClosedError("closed the connection")
            self.first = self.first or data
            events: list[Any] = self._h2.receive_data(data)  # each kind has its own fields
            for event in events:
                answer = self._open.get(getattr(event, "stream_id", 0) or 0)
                kind = type(event).__name__
                if kind == "ConnectionTerminated":
                    raise ClosedError("ended the connection")
                if answer is None:
                    continue
                if kind == "ResponseReceived":
                    answer.status = dict(event.headers)[":status"]
                elif kind == "DataReceived":
                    answer.body += event.data
                    size = event.flow_controlled_length
                    self._h2.acknowledge_received_data(size, event.stream_id)
                elif kind == "StreamReset":
                    raise ClosedError("reset the stream")
                elif kind == "StreamEnded":
                    answer.ended = time.monotonic()
                    ended.append(answer)
            self._flush()
        return ended

    def _flush(self) -> None:
        self.wire.send(self._h2.data_to_send())
