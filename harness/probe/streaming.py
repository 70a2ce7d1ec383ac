"""Whether bytes move while others are still to come."""

from __future__ import annotations

import time

from harness.probe.answer import Answer, graded, milliseconds, no, partial, yes
from harness.probe.subject import Subject
from harness.probe.wire import ClosedError, Reply, Wire, chunk, request

PIECE = b"p" * 64 * 1024  # what the raw WSGI app reads at once
BACK_WITHIN_S = 2.0
EVENTS = 4


def streaming(subject: Subject) -> Answer:
    """The beginning of an answer that has no end."""
    wire = subject.connect()
    begin = time.monotonic()
    wire.send(request("GET", "/events"))
    reply = wire.begun()
    while not reply.pieces:
        if not wire.more():
            return no(f"{reply.status}, closed without a piece")
    took = milliseconds(reply.pieces[0][0] - begin)
    evidence = f"first piece after {took} while more was to come ({reply.framing})"
    return graded(reply.status == 200 and not reply.whole, False, evidence)


def server_sent_events(subject: Subject) -> Answer:
    """Each event before the next one happens: the app says when each did."""
    wire = subject.connect()
    wire.send(request("GET", "/events"))
    reply = wire.begun()
    while len(arrivals := _arrivals(reply)) < EVENTS:
        if not wire.more():
            raise ClosedError(f"closed after {len(arrivals)} events")
    period = arrivals[1][0] - arrivals[0][0]
    delays = [came - due for due, came in arrivals]
    fresh = sum(delay < period for delay in delays)
    evidence = (
        f"{fresh} of {len(delays)} came before the next happened ({milliseconds(period)} apart), "
        f"the latest after {milliseconds(max(delays))}"
    )
    return graded(fresh == len(delays), fresh > 0, evidence)


def _arrivals(reply: Reply) -> list[tuple[float, float]]:
    """When each event was due, by the app's word, and when it was here; in seconds."""
    found: list[tuple[float, float]] = []
    body = b""
    for came, piece in reply.pieces:
        body += piece
        lines = body.rpartition(b"\n\n")[0].split(b"\n")
        dues = [int(line.split()[2]) / 1e9 for line in lines if line.startswith(b"data: ")]
        found += [(due, came) for due in dues[len(found) :]]
    return found


def streaming_echo(subject: Subject) -> Answer:
    """The first piece of a body comes back before the second is sent."""
    size = str(2 * len(PIECE))
    plain = _first_piece(subject.connect(), {"Content-Length": size}, PIECE, PIECE)
    coded = _first_piece(
        subject.connect(), {"Transfer-Encoding": "chunked"}, chunk(PIECE), chunk(PIECE) + chunk(b"")
    )
    evidence = f"Content-Length: {plain[1]}; chunked: {coded[1]}"
    if plain[0] and coded[0]:
        return yes(evidence)
    return partial(evidence) if plain[0] or coded[0] else no(evidence)


def _first_piece(
    wire: Wire, headers: dict[str, str], first: bytes, second: bytes
) -> tuple[bool, str]:
    """Whether the first piece came back alone, and what was seen."""
    begin = time.monotonic()
    wire.deadline, end = begin + BACK_WITHIN_S, wire.deadline
    try:
        wire.send(request("POST", "/stream", headers=headers) + first)
        reply = wire.begun()
        while len(reply.body) < len(PIECE) and not reply.whole and wire.more():
            pass
    except TimeoutError:
        wire.deadline = end
        return False, _after_all(wire, second)
    except ClosedError as error:
        return False, str(error)
    took = milliseconds(time.monotonic() - begin)
    if reply.status != 200:
        return False, f"answered {reply.status}"
    if reply.whole or reply.body != PIECE:
        return False, f"{len(reply.body):,} bytes back of {len(PIECE):,}"
    return True, f"first piece back after {took}"


def _after_all(wire: Wire, second: bytes) -> str:
    """What comes once the whole body was sent, after nothing had."""
    try:
        wire.send(second)
        return f"buffered: {len(wire.reply().body):,} bytes after the last piece was sent"
    except TimeoutError:
        return "nothing back, nor after the last piece"
    except ClosedError as error:
        return f"nothing back; after the last piece it {error}"
