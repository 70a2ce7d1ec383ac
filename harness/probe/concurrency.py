"""How much it does at once."""

from __future__ import annotations

import time
from collections.abc import Iterable

from harness.conversation import ContractError
from harness.probe import sockets
from harness.probe.answer import Answer, graded, no, not_tried, partial, yes
from harness.probe.subject import Subject
from harness.probe.wire import Reply, Wire, gather, left, request
from harness.verify import whoami

SLEEP_MS = 300
ROUNDS = 3
UNBOUNDED = 32  # requests, where only memory bounds how many are served
AMPLE = 128  # the system's own default for a listen queue of old


def concurrency(subject: Subject) -> Answer:
    """How many waits overlap, all sent at once to a server that is fresh and complete."""
    slots = subject.cell.slots
    count = UNBOUNDED if slots is None else 2 * slots + 2
    with subject.copy() as copy:
        copy.wait_ready()
        copy.workers()
        promised = count if slots is None else slots
        rounds: list[int] = []
        wrong: list[str] = []
        # one worker may have taken all connections: that is luck, and other rounds have other
        while len(rounds) < ROUNDS and max(rounds, default=0) < promised and not wrong:
            most, wrong = _round([copy.connect() for _ in range(count)])
            rounds.append(most)
    best, cell = max(rounds), subject.cell
    budget = f"{cell.workers} worker(s)" + (f" x {cell.threads} threads" if cell.threads else "")
    evidence = f"{best} of {count} at once ({budget})"
    if len(rounds) > 1:
        evidence += f", best of the rounds {', '.join(map(str, rounds))}"
    if wrong:
        return partial(f"{evidence}; {len(wrong)} failed, such as: {wrong[0]}")
    return graded(best >= promised, best > 1, evidence)


def _round(wires: list[Wire]) -> tuple[int, list[str]]:
    """How many of as many waits overlapped, and what went wrong."""
    begin = time.monotonic()
    for wire in wires:
        wire.send(request("GET", f"/sleep/{SLEEP_MS}", headers={"Connection": "close"}))
    ended: list[float] = []
    wrong: list[str] = []
    for when, found in gather(wires):
        if isinstance(found, Reply) and found.status == 200:
            ended.append(when)
        else:
            wrong.append(f"answered {found.status}" if isinstance(found, Reply) else str(found))
    wrong += ["no answer in time"] * (len(wires) - len(ended) - len(wrong))
    return overlapping(ended, begin), wrong


def overlapping(ends: Iterable[float], begin: float) -> int:
    """How many of the waits asked for at `begin` ended before two in a row could have.

    Only these surely overlapped: a server that does one after the other and sends the answers
    together has none of them. A tenth is left for the noise of the machine.
    """
    times = list(ends)
    in_time = sum(end - begin < 1.8 * SLEEP_MS / 1000 for end in times)
    return max(in_time, 1) if times else 0


def workers(subject: Subject) -> Answer:
    """How many processes answer."""
    cell, address = subject.cell, subject.address
    seen: set[int] = set()
    asked = 0
    try:
        while left(subject.deadline) > 2.0 and (len(seen) < cell.workers or asked < 3):
            seen.add(whoami(address.host, address.port, 2.0)["pid"])
            asked += 1
    except ContractError as error:
        return no(f"cannot say which process answers: {error}")
    except TimeoutError:
        pass
    evidence = f"{len(seen)} of {cell.workers} seen in {asked} requests"
    if not cell.server.takes_workers:
        return not_tried(f"the row has no number of workers; {evidence}")
    return graded(len(seen) >= cell.workers, len(seen) > 1, evidence)


def backlog(subject: Subject) -> Answer:
    """How many connections may wait to be accepted, by the kernel's word."""
    try:
        queues = sockets.listen_queues(subject.address.port)
    except OSError as error:
        return not_tried(f"the kernel does not say: {error}")
    if not queues:
        return no("no listening socket found")
    each = " + ".join(f"{size:,}" for size in queues)
    evidence = f"a listen queue of {each}" + (" (a socket each)" if len(queues) > 1 else "")
    return yes(evidence) if min(queues) >= AMPLE else partial(evidence)
