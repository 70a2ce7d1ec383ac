"""Locust's own web page for the trial under way, at one address as long as that is free."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from harness.drive import Drive, drive
from harness.ports import HOST, free_port, listener

USUAL_PORT = 8089  # Locust's
NOTE = (
    "--live: Locust's page costs the generator CPU while it is looked at, and a trial says how "
    "much; a browser on this machine costs more, and shows as its noise"
)


class Page:
    """The page of a run's trials, one after the other; `tell` is given its address, and is told
    when that has to change.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._port = USUAL_PORT
        if not self._moved():
            self._tell(f"Locust's page is at {self.url} while a trial is driven")

    @property
    def url(self) -> str:
        """Where it is while a trial is driven."""
        return f"http://{HOST}:{self._port}/"

    def drive(self, *arguments: Any, **options: Any) -> AbstractContextManager[Drive]:
        """As harness.drive.drive, with the page."""
        self._moved()
        return drive(*arguments, page_port=self._port, **options)

    def _moved(self) -> bool:
        """Whether it had to go to another port, because somebody has taken its own."""
        taken = self._port
        if _free(taken):
            return False
        self._port = free_port()
        who = listener(taken) or "another program"
        self._tell(
            f"Locust's page is at {self.url} while a trial is driven: {who} has port {taken}"
        )
        return True


def _free(port: int) -> bool:
    """Whether we can listen there; connections of the trial before, that wait, do not matter."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
