"""All probes of a server, one after the other: each with its answer, none a hang."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from harness.launch import RunningServer, launch
from harness.model import Cell, Environment, MeasurementError
from harness.ports import HOST
from harness.probe.answer import Answer, no, not_tried
from harness.probe.subject import Copy, Start, Subject
from harness.probe.table import Probe
from harness.probe.wire import Address, WireError
from harness.process import scratch_folder
from harness.verify import answers_hello

# events come this often while streaming is probed
PERIOD_NS = 250_000_000
STILL_THERE_S = 3.0


@dataclass(frozen=True, slots=True)
class Finding:
    """A probe's answer, and what the server's row says it should be (None: nothing)."""

    name: str
    answer: Answer
    expected: str | None
    took_s: float

    @property
    def differs(self) -> bool:
        """Whether the server has changed its behaviour."""
        tried = self.answer.word != "not tried"
        return tried and self.expected not in (None, self.answer.word)


@dataclass
class Findings:
    """What was found out about one server; `failure` is why it could not be probed."""

    cell: Cell
    versions: Mapping[str, str] = field(default_factory=dict)
    python: str = ""
    found: list[Finding] = field(default_factory=list)
    failure: MeasurementError | None = None


def conduct(
    cell: Cell,
    environment: Callable[[Cell], Environment],
    probes: Sequence[Probe],
    findings: Findings,
    cpus: Sequence[int] = (),
) -> Iterator[Finding]:
    """Put the probes to a server, entering each finding as soon as it is there.

    MeasurementError if the server does not start at all.
    """
    made = environment(cell)
    findings.versions, findings.python = made.receipt, made.python
    with scratch_folder() as work, contextlib.ExitStack() as stack:
        server = _Live(cell, starter(made, work, cpus), work, stack)
        server.begin()
        for probe in probes:
            if not probe.alone:
                server.revive()
            begin = time.monotonic()
            answer = attempt(probe, server.subject)
            finding = Finding(
                probe.name,
                answer,
                None if cell.front else cell.server.expects.get(probe.name),
                round(time.monotonic() - begin, 3),
            )
            findings.found.append(finding)
            yield finding


def attempt(probe: Probe, subject: Subject) -> Answer:
    """One probe's answer. Silence, a reset, and a copy that does not start are answers, too."""
    if why := unasked(probe, subject.cell):
        return not_tried(why)
    subject.begin(probe.within_s)
    try:
        return probe.ask(subject)
    except TimeoutError:
        return no(f"no answer within {probe.within_s:g} s")
    except (WireError, MeasurementError) as error:
        return no(str(error))
    except OSError as error:
        return no(error.strerror or str(error) or type(error).__name__)
    finally:
        subject.end()


def unasked(probe: Probe, cell: Cell) -> str | None:
    """Why a probe is not put to this server; None if it is."""
    if probe.only not in (None, cell.server.speaks):
        return f"not for {cell.server.speaks.upper()}"
    if probe.direct and cell.front:
        return "of the server alone: see its row without the proxy"
    if probe.waits and (why := cell.server.cannot.get("sleep")):
        return f"the app cannot wait here: {why}"
    return None


class _Live:
    """The live server, and another in its place when a probe has left it unable to answer."""

    def __init__(self, cell: Cell, start: Start, work: Path, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self.subject = Subject(cell, Address(HOST, 0), start, work)

    def begin(self) -> None:
        """Start it; MeasurementError if it does not answer."""
        self._stack.close()
        env = {"GATEBENCH_PERIOD_NS": str(PERIOD_NS)}
        running = self._stack.enter_context(self.subject.start(self.subject.cell, env))
        self.subject.address = Address(running.host, running.port)
        Copy(running, self.subject.address, self.subject).wait_ready()

    def revive(self) -> None:
        """Start another if this one does not answer any more."""
        address = self.subject.address
        if not answers_hello(address.host, address.port, STILL_THERE_S):
            self.begin()


def starter(environment: Environment, work: Path, cpus: Sequence[int]) -> Start:
    """How copies of a server are started: as any cell is, in the server's own environment."""

    numbers = itertools.count(1)

    def start(cell: Cell, env: Mapping[str, str]) -> AbstractContextManager[RunningServer]:
        log = work / f"{next(numbers)}.log"
        return launch(cell, environment, log=log, cpus=cpus, extra_env=env)

    return start


def survey(
    cells: Sequence[Cell],
    environment: Callable[[Cell], Environment],
    probes: Sequence[Probe],
    into: list[Findings],
    cpus: Sequence[int] = (),
) -> Generator[tuple[Findings, Finding | None], None, None]:
    """Every server in turn: each finding as it comes, and None for a server that did not start.

    `into` holds what was found so far, also when the survey is interrupted.
    """
    for cell in cells:
        findings = Findings(cell)
        into.append(findings)
        try:
            for finding in conduct(cell, environment, probes, findings, cpus):
                yield findings, finding
        except MeasurementError as error:
            findings.failure = error
            yield findings, None
