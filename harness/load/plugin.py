"""The part of a trial that runs inside Locust: when to measure, and what to write down.

Run as `python -m harness.load.plugin` with Locust's own arguments: it listens to Locust's
events, then is Locust's command line. The work folder named by GATEBENCH_WORK holds
`window.json` ({"warmup_s", "duration_s", "latency"}, and under an open load "rate_per_s",
"arrivals" and "seed"); progress and, at the end, the collector's files are written there. A
user's own locustfile is recorded the same way, through Locust's request event.

One process, or a master and its workers (`--processes N`, or `--master` and `--worker`): each
that sends is a Part; the one that decides when, and collects, is the Lead. All run on one
machine, whose monotonic clock they share.
"""

from __future__ import annotations

import gc
import json
import mmap
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import locust
from gevent.event import Event
from locust import events, runners
from locust.main import main

from harness.load.collector import Collector, Report
from harness.load.errors import kind_of
from harness.load.page import Page
from harness.load.reactor import Reactor
from harness.load.recorder import Window, recorder
from harness.load.schedule import schedule
from harness.load.statistics import PAUSE_S, feed

PROGRESS_S = 0.25
SLATE_BYTES = 256  # more than any progress is long
GATHER_S = 5.0
LEAD_S = 0.2  # from the word to the beginning, where the word has to travel
DRAIN_S = 5.0
LOST_S = 5.0  # a worker that says nothing for that long after its end will say nothing more
REPORT_S = 0.5  # Locust's own 3 s would leave a trial waiting for its last report

Request = dict[str, Any]


@events.init.add_listener
def attach(environment: Any, runner: Any, web_ui: Any = None, **_: Any) -> None:
    """Take this process's part in the load, once all users have been spawned."""
    work = Path(os.environ["GATEBENCH_WORK"])
    request: Request = json.loads((work / "window.json").read_text("utf-8"))
    environment.events.request.add_listener(note_request)
    if isinstance(runner, runners.MasterRunner):
        lead = Lead(environment, work, request, web_ui)
        _among_workers(environment, runner, lead)
        return
    part = Part(environment, request)
    if isinstance(runner, runners.WorkerRunner):
        _as_worker(environment, runner, part)
        return
    lead = Lead(environment, work, request, web_ui)

    def begin(user_count: int, **_: Any) -> None:
        part.gather(user_count)
        lead.begin(["local"], lambda _process, order: gevent.spawn(part.work, order))

    def conclude() -> None:
        lead.add("local", part.report())

    lead.refresh = conclude
    _once(environment.events.spawning_complete, begin)


def _among_workers(environment: Any, runner: Any, lead: Lead) -> None:
    """The master: the window begins when every worker is ready."""
    ready: list[str] = []

    def on_ready(msg: Any, **_: Any) -> None:
        ready.append(msg.node_id)

    def begin(**_: Any) -> None:
        workers = [client.id for client in runner.clients.all]
        deadline = time.monotonic() + GATHER_S
        while set(workers) - set(ready) and time.monotonic() < deadline:
            gevent.sleep(0.01)
        lead.alive = lambda process: (
            process in runner.clients and runner.clients[process].state != runners.STATE_MISSING
        )
        lead.begin(workers, lambda process, order: runner.send_message("begin", order, process))

    def on_report(client_id: str, data: Request) -> None:
        if "gatebench" in data:
            lead.add(client_id, data["gatebench"])

    runner.register_message("ready", on_ready)
    environment.events.worker_report.add_listener(on_report)
    _once(environment.events.spawning_complete, begin)


def _as_worker(environment: Any, runner: Any, part: Part) -> None:
    """A worker: says when it is ready, sends when it is told, and reports with Locust."""
    runners.WORKER_REPORT_INTERVAL = REPORT_S

    def gather(**_: Any) -> None:
        part.gather(runner.user_count)
        runner.send_message("ready")

    def on_begin(msg: Any, **_: Any) -> None:
        gevent.spawn(part.work, msg.data)

    def on_report(data: Request, **_: Any) -> None:
        data["gatebench"] = part.report()

    runner.register_message("begin", on_begin)
    environment.events.report_to_master.add_listener(on_report)
    _once(environment.events.spawning_complete, gather)


def _once(event: Any, act: Callable[..., None]) -> None:
    """Act at the first such event, in a greenlet of its own; it comes again when users change."""
    heard: list[bool] = []

    def listener(**values: Any) -> None:
        if not heard:
            heard.append(True)
            gevent.spawn(act, **values)

    event.add_listener(listener)


def note_request(
    request_type: str,
    name: str,
    response_time: float,
    exception: BaseException | str | None,
    **_: Any,
) -> None:
    """Record one request as a client of Locust reports it (`response_time` in milliseconds)."""
    done = time.monotonic_ns()
    took = int(response_time * 1e6)
    track = recorder.track(request_type, name, foreign=True)
    if exception is None:
        track.answer(done, took)
    else:
        track.error(done, took, kind_of(exception), str(exception))


class Part:
    """The sending of one process, from the window's beginning to its end."""

    def __init__(self, environment: Any, request: Request) -> None:
        self._environment = environment
        self._request = request
        self._final: Report | None = None
        self._users = 0
        self._rss_bytes = _rss_bytes()
        self._reactor = Reactor.of(environment)
        if "deadline_s" in request:
            self._reactor.deadline_s = request["deadline_s"]
        if "rate_per_s" in request:
            self._reactor.follow_timetable()

    def gather(self, users: int) -> None:
        """Wait until the users are at rest: Locust says that all are spawned before."""
        self._users = users
        # what is there now stays: a collector that looks at all of it costs tens of milliseconds
        gc.collect()
        gc.freeze()
        arrivals = self._reactor.arrivals
        deadline = time.monotonic() + GATHER_S
        while arrivals and len(arrivals.idle) < users and time.monotonic() < deadline:
            gevent.sleep(0.001)

    def work(self, order: Request) -> None:
        """Send as ordered: {"began_ns", "start_ns", "end_ns", "index", "of"}."""
        began_ns, start_ns, end_ns = (order[key] for key in ("began_ns", "start_ns", "end_ns"))
        recorder.measure(Window(start_ns, end_ns))
        arrivals = self._reactor.arrivals
        final: Report = {"pid": os.getpid(), "users": self._users}
        if arrivals is not None:
            # every process draws the whole schedule, and sends its share of it
            due = began_ns + self._schedule()[order["index"] :: order["of"]]
            final["offered"] = int((due >= start_ns).sum())
            arrivals.begin(due)
        _sleep_until(start_ns)
        cpu_s = time.process_time()
        _sleep_until(end_ns)
        final["cpu_s"] = time.process_time() - cpu_s
        # without users, and with them: what a connection costs the generator
        final["rss_before_bytes"], final["rss_bytes"] = self._rss_bytes, _rss_bytes()
        final["starved"] = self._reactor.waiting_since(start_ns)
        if arrivals is not None:
            # what was due in the window counts to it, however late its answer
            deadline = time.monotonic() + DRAIN_S
            while (
                arrivals.left or self._reactor.waiting_since(end_ns)
            ) and time.monotonic() < deadline:
                gevent.sleep(0.01)
            final["unsent"] = sum(start_ns <= instant < end_ns for instant in arrivals.unsent)
            final["unanswered"] = self._reactor.waiting_since(end_ns)
        final["in_flight"] = self._reactor.halt()
        self._final = final

    def report(self) -> Report:
        """What was counted since the last report; its `final` is there once all is over."""
        final = self._final
        if final is not None:
            feed(self._environment.stats)
        return recorder.take() | {"final": final}

    def _schedule(self) -> Any:
        request = self._request
        length_s = request["warmup_s"] + request["duration_s"]
        return schedule(request["rate_per_s"], length_s, request["arrivals"], request["seed"])


class Lead:
    """Decides when the window is, collects what the parts report, and writes it down."""

    def __init__(self, environment: Any, work: Path, request: Request, web_ui: Any = None) -> None:
        self._environment = environment
        self._work = work
        self._request = request
        self._collector = Collector(request.get("latency", "response"))
        self._page = None if web_ui is None else Page(web_ui)
        self._heard = Event()
        self._attached_ns = time.monotonic_ns()  # no user is there before
        self._slate: int | None = None
        self.refresh: Callable[[], None] = lambda: None
        self.alive: Callable[[str], bool] = lambda _process: True

    def add(self, process: str, report: Report) -> None:
        """Take in what a part reports."""
        self._collector.add(process, report)
        if report["final"] is not None:
            self._heard.set()

    def begin(self, processes: list[str], order: Callable[[str, Request], Any]) -> None:
        """Order the parts to send, see them through the window, write, end Locust."""
        if self._page is not None:
            self._page.begun = True
        began_ns = time.monotonic_ns() + int(LEAD_S * 1e9) * (len(processes) > 1)
        start_ns = began_ns + int(self._request["warmup_s"] * 1e9)
        end_ns = start_ns + int(self._request["duration_s"] * 1e9)
        common = {"began_ns": began_ns, "start_ns": start_ns, "end_ns": end_ns}
        for index, process in enumerate(processes):
            order(process, common | {"index": index, "of": len(processes)})
        window = Window(start_ns, end_ns)
        lost = self._see_through(processes, window)
        facts = self._facts() | {"processes": len(processes)}
        if self._page is not None:
            facts |= {"page": self._page.cost(*window), "pressed": self._page.pressed}
        self._collector.save(self._work, window, lost, facts)
        self._environment.runner.quit()
        if self._page is not None:
            self._page.close()

    def _see_through(self, processes: list[str], window: Window) -> list[str]:
        """Wait for every part's last report; those that never came, for people."""
        given_up_ns = window.end_ns + int((DRAIN_S + LOST_S) * 1e9)
        waiting = list(processes)
        while waiting and time.monotonic_ns() < given_up_ns:
            self.refresh()
            gevent.sleep(PAUSE_S)  # in which the connections have their turn
            self._progress(window)
            waiting = [each for each in waiting if not self._collector.complete(each)]
            over = time.monotonic_ns() > window.end_ns
            if over and not any(self.alive(process) for process in waiting):
                break
            if self._page is not None and self._page.pressed:
                break
            self._heard.clear()
            self._heard.wait(0.02 if over else PROGRESS_S)
        of = len(processes)
        return [f"{processes.index(each) + 1} of {of} ({each})" for each in waiting]

    def _progress(self, window: Window) -> None:
        """Say how far it is, in the same place always: a new file would take milliseconds."""
        done, failed = self._collector.progress()
        p50_s, p99_s = self._collector.percentiles_s()
        known = {"at_ns": time.monotonic_ns(), **window._asdict(), "done": done, "failed": failed}
        known |= {"p50_s": p50_s, "p99_s": p99_s}
        text = json.dumps(known).ljust(SLATE_BYTES).encode("ascii")
        if self._slate is None:
            path = self._work / "progress.json"
            self._slate = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.pwrite(self._slate, text, 0)

    def _facts(self) -> Report:
        return {
            "attached_ns": self._attached_ns,
            "client": _client(self._environment),
            "locust": locust.__version__,
            "python": sys.version.split()[0],
        }


def _client(environment: Any) -> str:
    """Who took the times: our users, or a client of Locust's."""
    bases = {base for user in environment.user_classes for base in user.__mro__}
    named = [
        f"Locust's {base.__name__}"
        for base in bases
        if base.__module__.startswith("locust.") and base.__name__ in ("HttpUser", "FastHttpUser")
    ]
    if any(base.__module__.startswith("harness.load.") for base in bases):
        named.append("gatebench's load engine")
    return " and ".join(sorted(named)) or "Locust's request event"


def _rss_bytes() -> int:
    """This process's memory; 0 where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text("ascii").split()[1]
    except OSError:
        return 0
    return int(pages) * mmap.PAGESIZE


def _sleep_until(instant_ns: int) -> None:
    while (left_s := (instant_ns - time.monotonic_ns()) / 1e9) > 0:
        gevent.sleep(left_s)


if __name__ == "__main__":
    main()
