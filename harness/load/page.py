"""Locust's own web page beside a load that is measured: to be looked at, at a cost that is told.

It is served by the process that sends, or by the master of those that do. What would change the
load is refused, and the trial is over: its numbers would be of something else.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

LOOKS = ("GET", "HEAD", "OPTIONS")  # what changes nothing of the load
RESET = "/stats/reset"  # of Locust's own numbers, which are not ours
STOP_WITHIN_S = 0.2  # an open page holds its connections
REFUSED = "gatebench: this page is for looking; what would change the load ends its trial"
SOON = "gatebench: the users are not all there yet; this page asks again"
JSON, PLAIN = ("Content-Type", "application/json"), ("Content-Type", "text/plain")

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Page:
    """Stands before the page's application; `pressed` names what it was asked to change.

    Until the load has `begun` there is a page that asks again: Locust's own would stay at the form
    for a load's beginning.
    """

    def __init__(self, web_ui: Any) -> None:
        self.begun = False
        self.pressed: str | None = None
        self._web_ui = web_ui
        self._application: Application = web_ui.app.wsgi_app
        self._costs: list[tuple[int, float]] = []
        web_ui.app.wsgi_app = self

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer one request, as WSGI has it."""
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "/")
        if method not in LOOKS and path != RESET:
            self.pressed = self.pressed or f"{method} {path}"
            refused = json.dumps({"success": False, "message": REFUSED})
            return _say(start_response, "409 Conflict", refused, JSON)
        if not self.begun:
            return _say(start_response, "503 Service Unavailable", SOON, PLAIN, ("Refresh", "1"))
        began_s = time.thread_time()
        try:
            return self._application(environ, start_response)
        finally:
            self._costs.append((time.monotonic_ns(), time.thread_time() - began_s))

    def cost(self, start_ns: int, end_ns: int) -> dict[str, float]:
        """What answering took in a window of monotonic time: the `requests`, their `cpu_s`, and
        the `longest_s` of one, in which no answer to the load was taken. Reading and writing
        HTTP for it is not in these.
        """
        spent = [cpu_s for at_ns, cpu_s in self._costs if start_ns <= at_ns < end_ns]
        return {
            "requests": len(spent),
            "cpu_s": round(sum(spent), 6),
            "longest_s": round(max(spent, default=0.0), 6),
        }

    def close(self) -> None:
        """Serve it no longer: Locust ends when it is not served."""
        self._web_ui.server.stop_timeout = STOP_WITHIN_S
        self._web_ui.stop()


def _say(
    start_response: Callable[..., Any], status: str, text: str, *headers: tuple[str, str]
) -> Iterable[bytes]:
    body = text.encode()
    start_response(status, [*headers, ("Content-Length", str(len(body)))])
    return [body]
