"""Locust's own clients at the scenarios' work, as people write them. Run by Locust only.

`python -m locust -f rivals.py HelloHttpUser --headless ...` with GATEBENCH_WORK naming a folder
that holds `window.json` ({"warmup_s", "duration_s"}). They measure themselves: Locust's own
count and the process's CPU-seconds at both ends of the window, written to `figures.json`.
Nothing of the load engine is imported, so no listener of ours costs them anything.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import gevent
from locust import FastHttpUser, HttpUser, User, events

BODY = b"e" * 64
OCTETS = {"Content-Type": "application/octet-stream"}
CLOSE = {"Connection": "close"}


def attach(environment: Any, **_: Any) -> None:
    """Measure once all users have been spawned."""
    work = Path(os.environ["GATEBENCH_WORK"])
    window = json.loads((work / "window.json").read_text("utf-8"))

    def begin(**_: Any) -> None:
        gevent.spawn(measure, environment, work, **window)

    environment.events.spawning_complete.add_listener(begin)


events.init.add_listener(attach)


def measure(environment: Any, work: Path, warmup_s: float, duration_s: float) -> None:
    """Warm up, measure, write, end Locust."""
    gevent.sleep(warmup_s)
    begin = reading(environment)
    gevent.sleep(duration_s)
    figures = {"begin": begin, "end": reading(environment)}
    (work / "figures.json").write_text(json.dumps(figures), "utf-8")
    environment.runner.quit()


def reading(environment: Any) -> dict[str, Any]:
    """Where everything stands now."""
    total = environment.stats.total
    return {
        "at_ns": time.monotonic_ns(),
        "cpu_s": time.process_time(),
        "requests": total.num_requests,
        "failures": total.num_failures,
    }


def hello(user: Any) -> None:
    """GET / on a kept connection."""
    user.client.get("/")


def echo(user: Any) -> None:
    """POST 64 bytes on a kept connection."""
    user.client.post("/echo", data=BODY, headers=OCTETS)


def connect(user: Any) -> None:
    """GET / on a connection that ends with it."""
    user.client.get("/", headers=CLOSE)


class HelloHttpUser(HttpUser):  # type: ignore[misc]
    """The client of most locustfiles: requests."""

    tasks = (hello,)


class EchoHttpUser(HttpUser):  # type: ignore[misc]
    """As above."""

    tasks = (echo,)


class ConnectHttpUser(HttpUser):  # type: ignore[misc]
    """As above."""

    tasks = (connect,)


class HelloFastHttpUser(FastHttpUser):  # type: ignore[misc]
    """Locust's faster client: geventhttpclient."""

    tasks = (hello,)


class EchoFastHttpUser(FastHttpUser):  # type: ignore[misc]
    """As above."""

    tasks = (echo,)


class ConnectFastHttpUser(FastHttpUser):  # type: ignore[misc]
    """As above."""

    tasks = (connect,)


def echo_message(user: Any) -> None:
    """One message there and back, told to Locust the way its manual shows."""
    begin = time.perf_counter()
    problem: Exception | None = None
    try:
        user.socket.send_binary(BODY)
        if user.socket.recv() != BODY:
            problem = ValueError("another message came back")
    except Exception as error:  # noqa: BLE001 - Locust counts it as a failure
        problem = error
    user.environment.events.request.fire(
        request_type="WS",
        name="/ws",
        response_time=(time.perf_counter() - begin) * 1000,
        response_length=len(BODY),
        exception=problem,
        context={},
    )


class WebSocketEcho(User):  # type: ignore[misc]
    """What people use for WebSockets in Locust: the websocket-client package, in greenlets."""

    tasks = (echo_message,)

    def on_start(self) -> None:
        """Open the user's WebSocket."""
        import websocket  # noqa: PLC0415 - the HTTP users can do without the package

        self.socket = websocket.create_connection(self.host.replace("http:", "ws:") + "/ws")
