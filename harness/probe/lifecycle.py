"""How it starts, changes and ends. Each probe has a copy of the server to itself."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable

from harness.conversation import ContractError
from harness.probe.answer import Answer, graded, no, not_tried, partial, yes
from harness.probe.subject import ASK_WITHIN_S, Copy, Subject, accepts
from harness.probe.wire import WireError, request
from harness.verify import whoami

CHANGE_WITHIN_S = 8.0
RELOAD_WITHIN_S = 15.0  # granian takes 3.5 s for each worker
PATIENCE_S = 5.0  # to be served late is not to be dropped
AFTER_S = 0.5  # a stream of requests goes on for so long after a change
IN_SERVICE_S = 0.5  # a request that was sent so long ago is being served
SLOW_MS = 1500
SHUTDOWN = "witness: shutdown"


def lifespan(subject: Subject) -> Answer:
    """Whether the app is told of startup and shutdown, and its state reaches requests."""
    with subject.copy(app="lifespan") as copy:
        copy.wait_ready()
        reply = copy.connect().get("/lifespan")
        startup, state = b'"startup": true' in reply.body, b'"state": true' in reply.body
        copy.running.stop()
        shutdown = SHUTDOWN in copy.running.log.read_text("utf-8", errors="replace")
    told = {"startup": startup, "state": state, "shutdown": shutdown}
    evidence = ", ".join(f"{name} {'yes' if it else 'no'}" for name, it in told.items())
    return graded(all(told.values()), startup, evidence)


def worker_restart(subject: Subject) -> Answer:
    """A worker is killed; another takes its place."""
    with subject.copy() as copy:
        copy.wait_ready()
        before = copy.workers()
        victims = before - {copy.running.tree.pid}
        if not victims:
            return not_tried("one process does all: nobody is there to restart it")
        os.kill(min(victims), signal.SIGKILL)
        begin = time.monotonic()
        answered = 0
        while (took := time.monotonic() - begin) < CHANGE_WITHIN_S:
            if (code := copy.running.tree.poll()) is not None:
                return no(f"the whole server ended with exit code {code} after {took:.2f} s")
            now = copy.who()
            answered += bool(now)
            if now - before:
                return yes(f"a new worker answered after {took:.2f} s")
            time.sleep(0.02)  # the pace of asking
    return no(f"none within {CHANGE_WITHIN_S:g} s; the others answered {answered} requests")


def reload(subject: Subject) -> Answer:
    """HUP: new workers, while requests keep coming."""
    with subject.copy() as copy:
        copy.wait_ready()
        before = copy.workers()
        waiting = InFlight(copy, SLOW_MS)
        stream = Stream(copy)
        copy.running.tree.signal("HUP")
        begin = time.monotonic()
        changed = stream.run(lambda: bool(stream.seen) and not stream.seen & before)
        took = time.monotonic() - begin
        if (code := copy.running.tree.poll()) is not None:
            return no(f"ended by it with exit code {code}")
        held = waiting.answered()
    evidence = (
        f"{stream.dropped} of {stream.asked} requests dropped, the one in flight "
        f"{'answered' if held else 'dropped'}"
    )
    if not changed:
        return no(f"no new workers within {RELOAD_WITHIN_S:g} s; {evidence}")
    evidence = f"new workers after {took:.2f} s; {evidence}"
    return graded(held and not stream.dropped, True, evidence)


class InFlight:
    """One slow request, surely in service when this is made; it is read while others act.

    Read at once and closed, because some servers wait for the client's close.
    """

    def __init__(self, copy: Copy, ms: int) -> None:
        self._ok = False
        self._wire = copy.connect()
        self._wire.send(request("GET", f"/sleep/{ms}", headers={"Connection": "close"}))
        if not self._wire.waits(IN_SERVICE_S):
            raise WireError("did not hold the request that was to be in flight")
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def answered(self) -> bool:
        """Whether its answer came."""
        self._reader.join(max(0.0, self._wire.deadline - time.monotonic()))
        return self._ok

    def _read(self) -> None:
        with contextlib.suppress(WireError, OSError):  # no answer is an answer, too
            self._ok = self._wire.reply().status == 200
        self._wire.close()


class Stream:
    """Requests one after the other, each on a connection of its own."""

    def __init__(self, copy: Copy) -> None:
        self.copy = copy
        self.asked = self.dropped = 0
        self._last: list[int] = []

    @property
    def seen(self) -> set[int]:
        """Who gave the last answers: enough of them that an old worker would be among them."""
        enough = 6 * self.copy.running.cell.workers
        return set(self._last[-enough:]) if len(self._last) >= enough else set()

    def run(self, done: Callable[[], bool]) -> bool:
        """Ask until `done`, and a little longer; False if it is not within the time."""
        until = time.monotonic() + RELOAD_WITHIN_S
        while not done():
            if time.monotonic() > until or self.copy.running.tree.poll() is not None:
                return False
            self.ask()
        until = time.monotonic() + AFTER_S
        while time.monotonic() < until:
            self.ask()
        return True

    def ask(self) -> None:
        """One request; a light stream has pauses."""
        self.asked += 1
        address = self.copy.address
        try:
            self._last.append(whoami(address.host, address.port, PATIENCE_S)["pid"])
        except ContractError:
            self.dropped += 1
        time.sleep(0.02)


def scaling(subject: Subject) -> Answer:
    """TTIN makes one worker more, TTOU one less."""
    with subject.copy() as copy:
        copy.wait_ready()
        copy.workers()
        counts = [len(copy.running.tree.pids())]
        for name, step in (("TTIN", 1), ("TTOU", -1)):
            copy.running.tree.signal(name)
            wanted = counts[-1] + step
            until = time.monotonic() + CHANGE_WITHIN_S / 2
            while len(copy.running.tree.pids()) != wanted and time.monotonic() < until:
                if (code := copy.running.tree.poll()) is not None:
                    return no(f"{name} ended it with exit code {code}")
                time.sleep(0.02)  # the pace of looking
            counts.append(len(copy.running.tree.pids()))
    first, more, less = counts
    evidence = f"processes {first}, {more} after TTIN, {less} after TTOU"
    return graded(more == first + 1 and less == first, more != first or less != more, evidence)


def stop(subject: Subject) -> Answer:
    """Its stop signal comes while a request is in flight."""
    with subject.copy() as copy:
        copy.wait_ready()
        waiting = InFlight(copy, SLOW_MS)
        ending = copy.running.stop()
        answered = waiting.answered()
    name = copy.running.cell.server.stop
    evidence = (
        f"{name}: the request in flight {'answered' if answered else 'dropped'}, "
        f"{ending.seconds:.2f} s, exit code {ending.code}, {ending.killed} left running"
    )
    by_itself = ending.how != "KILL" and not ending.killed
    return graded(answered and by_itself, by_itself, evidence)


def orphans(subject: Subject) -> Answer:
    """Its main process is killed; whether the others go, too."""
    with subject.copy() as copy:
        copy.wait_ready()
        copy.workers()
        if len(copy.running.tree.pids()) == 1:
            return not_tried("one process does all")
        main = copy.running.tree.pid
        os.kill(main, signal.SIGKILL)
        begin = time.monotonic()
        while (pids := copy.running.tree.pids()) and time.monotonic() - begin < CHANGE_WITHIN_S / 2:
            time.sleep(0.02)  # the pace of looking
        took = time.monotonic() - begin
        if not pids:
            return yes(f"all gone {took:.2f} s after its main process")
        serving = "they still answer" if copy.who() else "they answer no more"
        return no(f"{len(pids)} left {took:.0f} s after its main process; {serving}")


def failed_import(subject: Subject) -> Answer:
    """An app that cannot be imported: it ends, and its exit code says so."""
    with subject.copy(app="broken") as copy:
        begin = time.monotonic()
        code = copy.running.tree.wait(CHANGE_WITHIN_S)
        took = time.monotonic() - begin
        if code is None:
            return no(f"still running after {CHANGE_WITHIN_S:g} s; {_said(copy)}")
    evidence = f"ended with exit code {code} after {took:.2f} s"
    return yes(evidence) if code else partial(evidence)


def _said(copy: Copy) -> str:
    if not accepts(copy.address):
        return "nobody listens"
    copy.subject.begin(ASK_WITHIN_S)
    with contextlib.suppress(OSError, WireError):
        return f"GET / is answered {copy.connect().get('/').status}"
    return "GET / is accepted and not answered"
