"""What a probe is given: the address of a live server, and the means to start copies of it."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.conversation import ContractError
from harness.launch import RunningServer
from harness.model import App, Cell, MeasurementError
from harness.probe.answer import EVIDENCE_CHARS
from harness.probe.wire import Address, Reply, Wire, WireError, gather, request
from harness.verify import whoami

READY_WITHIN_S = 30.0
ASK_WITHIN_S = 2.0
WITNESS = Path(__file__).with_name("witness")

# starts a server for this cell, with these variables; harness.launch.launch, but for tests
Start = Callable[[Cell, Mapping[str, str]], AbstractContextManager[RunningServer]]


@dataclass
class Subject:
    """One server under probing.

    `address` is that of the live server; probes that end or change a server start a copy of
    their own. All connections of a probe end by its deadline, and are closed after it.
    """

    cell: Cell
    address: Address
    start: Start
    work: Path
    deadline: float = 0.0
    _wires: list[Wire] = field(default_factory=list)

    def begin(self, within_s: float) -> None:
        """A probe begins that may take so many seconds."""
        self.deadline = time.monotonic() + within_s

    def end(self) -> None:
        """It has ended: nothing of it stays open."""
        for wire in self._wires:
            wire.close()
        self._wires.clear()

    def connect(self, address: Address | None = None) -> Wire:
        """A new connection to the live server, or to another address."""
        wire = (address or self.address).connect(self.deadline)
        self._wires.append(wire)
        return wire

    @contextlib.contextmanager
    def copy(
        self,
        *,
        more: str = "",
        app: str = "",
        env: Mapping[str, str] | None = None,
        **address: object,
    ) -> Iterator[Copy]:
        """A copy of the server: with more arguments, or an app of our own from WITNESS.

        `address` is what its address has beside host and port. The deadline counts anew once
        it is there. Not ready yet: see Copy.wait_ready.
        """
        cell, variables = self.cell, dict(env or {})
        if more:
            command = cell.server.command_with(more)
            cell = replace(cell, server=replace(cell.server, command=command))
        if app:
            # the witness stands on the raw app, so it needs its folder as well
            variables["GATEBENCH_RAW"] = str(cell.app.folder)
            cell = replace(cell, app=witness(cell.app, app))
        seconds = max(0.0, self.deadline - time.monotonic())
        with self.start(cell, variables) as running:
            place = Address(running.host, running.port, **address)  # type: ignore[arg-type]
            copy = Copy(running, place, self)
            try:
                yield copy
            finally:
                self.begin(seconds)
                self.end()


@dataclass
class Copy:
    """A copy of the server that belongs to one probe alone."""

    running: RunningServer
    address: Address
    subject: Subject

    def connect(self) -> Wire:
        """A new connection to it."""
        return self.subject.connect(self.address)

    def wait_ready(self) -> None:
        """Return once it greets; MeasurementError with the reason if it does not."""
        seconds = max(1.0, self.subject.deadline - time.monotonic())
        until = time.monotonic() + READY_WITHIN_S
        said = "no answer"
        while (code := self.running.tree.poll()) is None:
            if time.monotonic() > until:
                raise self.failed(f"did not greet within {READY_WITHIN_S:.0f} s ({said})")
            try:
                self.subject.begin(ASK_WITHIN_S)
                wire = self.connect()
                wire.get("/", Connection="close").hold_hello()
                wire.close()  # some servers keep a worker for it until the client has closed
            except (OSError, WireError) as error:
                said = str(error) or type(error).__name__
                time.sleep(0.05)  # the pace of asking; readiness is the answer
            else:
                self.subject.begin(seconds)
                return
        raise self.failed(f"ended with exit code {code}")

    def workers(self) -> set[int]:
        """The processes that answer, once as many have as were asked for (or 10 s passed)."""
        seen: set[int] = set()
        until = time.monotonic() + 10.0
        while len(seen) < self.running.cell.workers and time.monotonic() < until:
            seen |= self.who() | self.crowd()
        return seen

    def crowd(self) -> set[int]:
        """Who answers several at once, while others wait: else one worker may take them all."""
        seen, cell = set(), self.running.cell
        paths = ["/sleep/20", "/whoami"] * cell.workers * (cell.threads or 1)
        with contextlib.suppress(OSError, ValueError):
            wires = [self.connect() for _ in paths]
            for wire, path in zip(wires, paths, strict=True):
                wire.send(request("GET", path, headers={"Connection": "close"}))
            for _, found in gather(wires):
                if isinstance(found, Reply) and found.body.startswith(b"{"):
                    seen.add(int(json.loads(found.body)["pid"]))
        return seen

    def who(self) -> set[int]:
        """The process that answers now; nobody if the answer is wrong."""
        try:
            return {whoami(self.address.host, self.address.port, ASK_WITHIN_S)["pid"]}
        except ContractError:
            return set()

    def failed(self, what: str) -> MeasurementError:
        """What happened to the copy, with the line of its log that says most."""
        failure = self.running.failed(what)
        lines = [line.strip() for line in failure.log.splitlines() if line.strip()]
        telling = [line for line in lines if "rror" in line] or lines
        said = f": {telling[-1][:EVIDENCE_CHARS]}" if telling else ""
        return MeasurementError(f"{what}{said}", log=failure.log)


def witness(raw: App, module: str) -> App:
    """An app of ours that shows what the raw app does not."""
    return replace(raw, name=module, folder=WITNESS, target=f"{module}:app", packages=())


def accepts(address: Address) -> bool:
    """Whether somebody accepts connections there."""
    with contextlib.suppress(OSError), socket.create_connection((address.host, address.port), 1.0):
        return True
    return False
