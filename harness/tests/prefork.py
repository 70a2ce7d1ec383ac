"""A server with workers, for tests: it does each thing well, but for those that it is told not to.

    python prefork.py [FAULT,...] HOST PORT

It serves `/`, `/whoami`, `/sleep/<ms>` and imports nothing of ours.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import time
from types import FrameType

faults = set(sys.argv[1].split(","))
host, port = sys.argv[-2], int(sys.argv[-1])
listening = socket.create_server((host, port), backlog=200)
workers: list[int] = []
wanted = {"count": 1 if "alone" in faults else 2, "stop": 0}
FACTS = {"thread": "", "server": "", "interface": "wsgi", "http": "", "python": "", "loop": None}


def serve() -> None:
    """One request at a time, until TERM; then the one in service is finished."""
    ending = []
    signal.signal(signal.SIGTERM, lambda *_: ending.append(1))
    signal.siginterrupt(signal.SIGTERM, False)
    parent = os.getppid()
    listening.settimeout(0.05)
    while not ending and (os.getppid() == parent or "orphans" in faults):
        with contextlib.suppress(TimeoutError, OSError):
            connection, _ = listening.accept()
            connection.settimeout(2.0)
            with connection:
                answer(connection)
    os._exit(0)


def answer(connection: socket.socket) -> None:
    """Whatever the path asks for."""
    path = connection.recv(65536).split(b" ")[1]
    if path.startswith(b"/sleep/"):
        time.sleep(int(path[7:]) / 1000)
    body = b"Hello, world!" if path == b"/" else b"slept"
    kind = "text/plain"
    if path == b"/whoami":
        body, kind = json.dumps({"pid": os.getpid(), **FACTS}).encode(), "application/json"
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    connection.sendall(f"{head}Connection: close\r\n\r\n".encode() + body)


def spawn() -> None:
    """One worker more."""
    pid = os.fork()
    if pid == 0:
        for number in (signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU):
            signal.signal(number, signal.SIG_DFL)
        serve()
    workers.append(pid)


def ask(number: int, _frame: FrameType | None) -> None:
    """A signal is noted, and obeyed in the loop below."""
    if number == signal.SIGHUP:
        if "drops" in faults:
            for pid in workers:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.5)
        for _ in workers.copy():
            spawn()
        for pid in workers[: wanted["count"]]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        del workers[: wanted["count"]]
    elif number == signal.SIGTERM:
        wanted["stop"] = 1
    else:
        wanted["count"] += 1 if number == signal.SIGTTIN else -1


if "import" not in faults and "broken" in sys.argv[2]:
    sys.exit(0 if "exit" in faults else 1)
signal.signal(signal.SIGTERM, ask)
if "reload" not in faults:
    signal.signal(signal.SIGHUP, ask)
if "scaling" not in faults:
    signal.signal(signal.SIGTTIN, ask)
    signal.signal(signal.SIGTTOU, ask)
if "alone" in faults:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    serve()
while not wanted["stop"]:
    while len(workers) < wanted["count"]:
        spawn()
    while len(workers) > wanted["count"]:
        os.kill(workers.pop(), signal.SIGTERM)
    with contextlib.suppress(ChildProcessError):
        while (gone := os.waitpid(-1, os.WNOHANG)[0]) > 0:
            if gone in workers:
                workers.remove(gone)
                if "restart" in faults:
                    wanted["count"] -= 1
                if "dies" in faults:
                    sys.exit(7)
    time.sleep(0.02)
if "stop" in faults:
    time.sleep(60)
for pid in workers:
    os.kill(pid, signal.SIGKILL if "hasty" in faults else signal.SIGTERM)
for pid in workers:
    os.waitpid(pid, 0)
sys.exit(5 if "code" in faults else 0)
