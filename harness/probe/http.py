"""What it does with HTTP/1 requests that are not everyday ones."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping

from harness.expectation import payload
from harness.probe.answer import Answer, graded, milliseconds, no, partial, yes
from harness.probe.subject import Subject
from harness.probe.wire import HELLO, ClosedError, Wire, WireError, chunk, request
from harness.verify import MIB

KIB = 1024
HEAD_SIZES = (2, 4, 7, 8, 16, 32, 64, 128, 256)  # KiB
URL_SIZES = (1, 2, 4, 8, 16, 32, 64)
CONTINUE_WITHIN_S = 2.0
ORDER_WITHIN_S = 2.0


def keep_alive(subject: Subject) -> Answer:
    """A second answer on the connection of the first."""
    return _second(subject.connect(), "1.1")


def keep_alive_10(subject: Subject) -> Answer:
    """The same in HTTP/1.0, which has to be asked for it and has to say so."""
    return _second(subject.connect(), "1.0", Connection="keep-alive")


def _second(wire: Wire, version: str, **headers: str) -> Answer:
    first = wire.get("/", version, **headers)
    first.hold_hello()
    try:
        wire.get("/", version, **headers).hold_hello()
    except ClosedError:
        how = "as announced" if first.closes else "without announcing it"
        return no(f"closed after the first answer, {how}")
    except TimeoutError:
        return no("a second request is neither answered nor refused")
    except WireError as error:
        return no(f"second answer: {error}")
    if version == "1.0" and first.framing == "chunked":
        return partial("kept, but answered HTTP/1.0 in chunks")
    if version == "1.0" and first.closes:
        return partial("kept, without the header Connection: keep-alive")
    return yes("two answers on one connection")


def pipelining(subject: Subject) -> Answer:
    """Requests sent at once, answered in order; also where the first takes longer."""
    tried: dict[str, dict[bytes, bytes]] = {
        "GET": {
            request("GET", "/"): HELLO,
            request("GET", "/none"): b"not found",
            request("GET", "/whoami"): b"{",
        },
        "POST": {request("POST", "/echo", word): word for word in (b"first", b"second")},
    }
    if "sleep" not in subject.cell.server.cannot:
        tried["after a wait"] = {
            request("GET", "/sleep/20"): b"slept 20 ms",
            request("GET", "/"): HELLO,
        }
    wrong = {name: _in_order(subject.connect(), asked) for name, asked in tried.items()}
    evidence = "; ".join(f"{name}: {what or 'in order'}" for name, what in wrong.items())
    return graded(not any(wrong.values()), not wrong["GET"], evidence)


def _in_order(wire: Wire, asked: Mapping[bytes, bytes]) -> str:
    """What went wrong with requests and how each answer begins; nothing if all is in order."""
    wire.deadline = min(wire.deadline, time.monotonic() + ORDER_WITHIN_S)
    wire.send(b"".join(asked))
    for number, beginning in enumerate(asked.values()):
        try:
            reply = wire.reply()
        except TimeoutError:
            return f"{number} of {len(asked)}, then silence"
        except WireError as error:
            return f"{number} of {len(asked)}, then it {error}"
        if not reply.body.startswith(beginning):
            return f"answer {number + 1} was {reply.status} {reply.body[:20]!r}"
    return ""


def chunked_request(subject: Subject) -> Answer:
    """A body whose length is not told beforehand, in chunks of many sizes."""
    whole = payload(200_000)
    cuts = [0, 1, 17, 1_000, 9_192, 74_728, 140_264, len(whole), len(whole)]
    body = b"".join(chunk(whole[a:b]) for a, b in itertools.pairwise(cuts))
    head = request("POST", "/echo", headers={"Transfer-Encoding": "chunked"})
    return _echoed(subject, head + body, whole)


def large_body(subject: Subject) -> Answer:
    """10 MiB, there and back."""
    whole = payload(10 * MIB)
    return _echoed(subject, request("POST", "/echo", whole), whole)


def _echoed(subject: Subject, data: bytes, whole: bytes) -> Answer:
    wire = subject.connect()
    begin = time.monotonic()
    wire.send(data)
    reply = wire.reply()
    took = milliseconds(time.monotonic() - begin)
    if reply.status == 200 and reply.body == whole:
        return yes(f"{len(whole):,} bytes came back right in {took}")
    right = len(reply.body) == len(whole)
    what = "wrong ones" if right else f"of {len(whole):,}"
    return no(f"{reply.status}, {len(reply.body):,} bytes came back, {what}")


def expect_100(subject: Subject) -> Answer:
    """A client that sends its body only after `100 Continue`."""
    body = b"after the go-ahead"
    head = request(
        "POST", "/echo", headers={"Expect": "100-continue", "Content-Length": str(len(body))}
    )
    wire = subject.connect()
    begin = time.monotonic()
    wire.send(head)
    if wire.waits(CONTINUE_WITHIN_S):
        wire.send(body)
        reply = wire.reply()
        right = "right" if reply.body == body else "wrong"
        return no(
            f"no 100 within {CONTINUE_WITHIN_S:g} s; the body, sent unasked, was answered "
            f"{reply.status} and {right}"
        )
    first = wire.reply()
    if first.status != 100:
        return no(f"answered {first.status} instead of 100")
    took = milliseconds(time.monotonic() - begin)
    wire.send(body)
    try:
        reply = wire.reply()
    except TimeoutError:
        return no(f"100 after {took}, then no answer to the body")
    evidence = f"100 after {took}, then {reply.status} and {len(reply.body)} of {len(body)} bytes"
    return graded(reply.status == 200 and reply.body == body, False, evidence)


def head(subject: Subject) -> Answer:
    """HEAD has the head of GET, and no body."""
    wire = subject.connect()
    wire.send(request("HEAD", "/"))
    reply = wire.head()
    length = reply.headers.get("content-length", "none")
    evidence = f"{reply.status}, Content-Length {length}"
    if reply.status != 200:
        return no(evidence)
    try:
        wire.send(request("GET", "/"))
        wire.head()
    except ClosedError:
        after = ", then closed" if not reply.closes else ", then closed as announced"
    except WireError:
        return no(f"{evidence}, and a body after it")
    else:
        after = ", no body, next answer right behind it"
    return graded(length == "13", True, evidence + after)


def large_headers(subject: Subject) -> Answer:
    """How long one header may be."""
    accepted, refusal = 0, ""
    for size in HEAD_SIZES:
        if refusal := _refusal(subject, "/", size, {"X-Long": "a" * (size * KIB)}):
            break
        accepted = size
    return _limit(accepted, refusal, HEAD_SIZES, whole=32, part=7)


def long_url(subject: Subject) -> Answer:
    """How long a request line may be; RFC 9110 recommends 8,000 bytes at least."""
    accepted, refusal = 0, ""
    for size in URL_SIZES:
        if refusal := _refusal(subject, f"/?q={'a' * (size * KIB - 100)}", size, {}):
            break
        accepted = size
    return _limit(accepted, refusal, URL_SIZES, whole=8, part=2)


def _refusal(subject: Subject, path: str, size: int, headers: dict[str, str]) -> str:
    """What is said to a head of so many KiB; nothing if it is taken."""
    wire = subject.connect()
    try:
        wire.send(request("GET", path, headers=headers))
        reply = wire.reply()
    except ClosedError:
        return f"{size} KiB: connection closed"
    except TimeoutError:
        return f"{size} KiB: no answer"
    finally:
        wire.close()
    if reply.status == 200:
        reply.hold_hello()
        return ""
    return f"{size} KiB: {reply.status}"


def _limit(accepted: int, refusal: str, sizes: tuple[int, ...], *, whole: int, part: int) -> Answer:
    taken = f"{accepted} KiB taken" if accepted else "none taken"
    evidence = f"{taken}, {refusal}" if refusal else f"{sizes[-1]} KiB taken, no more tried"
    return graded(accepted >= whole, accepted >= part, evidence)
