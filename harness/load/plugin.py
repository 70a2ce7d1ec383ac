"""The part of a trial that runs inside Locust: when to measure, and what to write down.

Run as `python -m harness.load.plugin` with Locust's own arguments: it listens to Locust's
events, then is Locust's command line. The work folder named by GATEBENCH_WORK holds
`window.json` ({"warmup_s", "duration_s"}); progress and, at the end, the recorder's files are
written there. A user's own locustfile is recorded the same way, through Locust's request event.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import gevent
import locust
from locust import events
from locust.main import main

from harness.load.errors import kind_of
from harness.load.reactor import Reactor
from harness.load.recorder import recorder
from harness.load.schedule import schedule

PROGRESS_S = 0.25
DRAIN_S = 5.0
GATHER_S = 5.0


@events.init.add_listener
def attach(environment: Any, **_: Any) -> None:
    """Listen to the requests, and run the window once all users have been spawned."""
    work = Path(os.environ["GATEBENCH_WORK"])
    window = json.loads((work / "window.json").read_text("utf-8"))
    environment.events.request.add_listener(note_request)

    if "rate_per_s" in window:
        Reactor.of(environment).follow_timetable()

    def begin(user_count: int, **_: Any) -> None:
        gevent.spawn(run_window, environment, work, window, user_count)

    environment.events.spawning_complete.add_listener(begin)


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
    track = recorder.track(request_type, name)
    if exception is None:
        track.answer(done, took)
    else:
        track.error(done, took, kind_of(exception), str(exception))


def run_window(environment: Any, work: Path, window: dict[str, Any], users: int) -> None:
    """Warm up, measure, write, end Locust."""
    reactor = Reactor.of(environment)
    due = schedule(
        window.get("rate_per_s", 0.0),
        window["warmup_s"] + window["duration_s"],
        window.get("arrivals", "constant"),
        window.get("seed", 0),
    )
    if reactor.arrivals is not None:
        # Locust says that all are spawned before each has come to rest
        deadline = time.monotonic() + GATHER_S
        while len(reactor.arrivals.idle) < users and time.monotonic() < deadline:
            gevent.sleep(0.001)
    began_ns = time.monotonic_ns()
    start_ns = began_ns + int(window["warmup_s"] * 1e9)
    end_ns = start_ns + int(window["duration_s"] * 1e9)
    offered: dict[str, Any] = {}
    if reactor.arrivals is not None:
        due += began_ns
        reactor.arrivals.begin(due)
        offered = {"offered": int((due >= start_ns).sum())}
    while (left_s := (end_ns - time.monotonic_ns()) / 1e9) > 0:
        _progress(work, start_ns, end_ns)
        gevent.sleep(min(PROGRESS_S, left_s))
    starved = reactor.waiting_since(start_ns)
    if reactor.arrivals is not None:
        # what was due in the window counts to it, however late its answer
        deadline = time.monotonic() + DRAIN_S
        while (
            reactor.arrivals.left or reactor.waiting_since(end_ns)
        ) and time.monotonic() < deadline:
            gevent.sleep(0.01)
        offered["unsent"] = sum(start_ns <= instant < end_ns for instant in reactor.arrivals.unsent)
        offered["unanswered"] = reactor.waiting_since(end_ns)
    in_flight = reactor.halt()
    own = recorder.totals()["sent"] > 0
    recorder.save(
        work,
        start_ns,
        end_ns,
        {
            "users": users,
            "processes": 1,
            "in_flight": in_flight if own else None,
            "starved": starved if own else None,
            "client": "gatebench's load engine" if own else _client(environment),
            "locust": locust.__version__,
            "python": sys.version.split()[0],
            **offered,
        },
    )
    environment.runner.quit()


def _progress(work: Path, start_ns: int, end_ns: int) -> None:
    totals = recorder.totals()
    _write(
        work / "progress.json",
        {
            "at_ns": time.monotonic_ns(),
            "start_ns": start_ns,
            "end_ns": end_ns,
            "done": totals["ok"] + totals["failed"],
            "failed": totals["failed"],
        },
    )


def _client(environment: Any) -> str:
    """Which of Locust's own clients took the times, when ours did not."""
    bases = {base.__name__ for user in environment.user_classes for base in user.__mro__}
    named = " and ".join(sorted(bases & {"HttpUser", "FastHttpUser"}))
    return f"Locust's {named or 'request event'}"


def _write(path: Path, document: dict[str, Any]) -> None:
    scratch = path.with_suffix(".tmp")
    scratch.write_text(json.dumps(document), "utf-8")
    scratch.replace(path)


if __name__ == "__main__":
    main()
