"""The guardian: starts one program and answers for everything it ever starts.

Runs as `python -I -S guardian.py` between gatebench and a server (or Locust, or uv), with
the standard library alone. It is the child subreaper of the tree, so a worker whose master
is killed becomes the guardian's own child instead of init's, and "no children left" is the
kernel's word that nothing is left. It holds the reading end of a pipe whose only writer is
gatebench: when gatebench dies, by `kill -9` too, the pipe closes and the tree is killed.

Protocol, a JSON document per line. First on standard input:
    {"argv": [...], "cwd": "...", "env": {...}, "log": "...", "cpus": [0]}
then any of {"do": "signal", "signal": 15} (to the program), {"do": "end"} (kill the tree).
On standard output: {"started": pid} or {"failed": "why"}; {"exited": code} when the program
ended (negative: killed by that signal); {"gone": true} when no process of the tree is left.
The guardian ends after that, or after a failure.
"""

import contextlib
import ctypes
import json
import os
import select
import signal
import time
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PATIENCE_S = 10.0  # a killed process that will not go sits in the kernel; then say so and leave

prctl = ctypes.CDLL(None, use_errno=True).prctl


def say(message: dict[str, Any]) -> None:
    """Write one line to gatebench; if it is gone nobody listens, and that is fine."""
    with contextlib.suppress(OSError):
        os.write(1, (json.dumps(message) + "\n").encode())


def descendants(root: int) -> list[int]:
    """Every process below `root`, nearest first, from the parents that /proc names."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as file:
                    # the command in parentheses may hold anything, so read behind the last one
                    parent = int(file.read().rpartition(b")")[2].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry))
    found: list[int] = []
    todo = [root]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def start(order: dict[str, Any]) -> int:
    """Fork and execute the program in its own session, pinned, with its log; return its pid."""
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    reading, writing = os.pipe()  # carries the reason if the program cannot be executed
    guardian = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            # if even the guardian is killed, at least the program itself goes with it
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != guardian:
                os._exit(127)
            if order.get("cpus"):
                os.sched_setaffinity(0, order["cpus"])
            os.chdir(order["cwd"])
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(log, 1)
            os.dup2(log, 2)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            os.execvpe(order["argv"][0], order["argv"], order["env"])
        except BaseException as error:  # noqa: BLE001 - a forked child must not go on as guardian
            os.write(writing, str(error).encode())
        os._exit(127)
    os.close(writing)
    os.close(log)
    reason = os.read(reading, 4096)
    os.close(reading)
    if reason:
        os.waitpid(pid, 0)
        raise OSError(reason.decode(errors="replace"))
    return pid


def reap(program: int) -> tuple[int | None, bool]:
    """Collect the dead; return (the program's exit code or None, whether any child is left)."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code, False
        if pid == 0:
            return code, True
        if pid == program:
            code = os.waitstatus_to_exitcode(status)


def end(program: int) -> tuple[int | None, bool]:
    """Kill the tree; return (the program's exit code if it came now, whether all are gone)."""
    deadline = time.monotonic() + PATIENCE_S
    code = None
    while time.monotonic() < deadline:
        for pid in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        now, left = reap(program)
        code = code if now is None else now
        if not left:
            return code, True
        time.sleep(0.005)  # let the kernel deliver; the loop's condition is reap, not this
    return code, False


def listen(wake: int, pending: bytes) -> tuple[list[dict[str, Any]], bytes]:
    """Wait for orders or for a child's end; return (orders, what is left of a line)."""
    ready, _, _ = select.select([0, wake], [], [])
    if wake in ready:
        os.read(wake, 4096)
    if 0 not in ready:
        return [], pending
    data = os.read(0, 65536)
    if not data:
        return [{"do": "end"}], b""  # gatebench is gone
    *lines, pending = (pending + data).split(b"\n")
    return [json.loads(line) for line in lines], pending


def guard(program: int, wake: int, pending: bytes) -> None:
    """Do as gatebench says until the tree is gone."""
    exited = False
    while True:
        code, left = reap(program)
        if code is not None:
            exited = True
            say({"exited": code})
        if not left:
            say({"gone": True})
            return
        orders, pending = listen(wake, pending)
        for order in orders:
            if order["do"] == "end":
                code, gone = end(program)
                if not exited:
                    say({"exited": code})
                say({"gone": gone})
                return
            if not exited:
                os.kill(program, order["signal"])


def main() -> None:
    """Serve one tree until it is gone."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)  # gatebench decides; its end is seen on the pipe
    wake, waker = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)

    pending = b""
    while b"\n" not in pending:
        data = os.read(0, 65536)
        if not data:
            return
        pending += data
    line, _, pending = pending.partition(b"\n")
    try:
        program = start(json.loads(line))
    except OSError as error:
        say({"failed": str(error)})
        return
    say({"started": program})
    guard(program, wake, pending)


if __name__ == "__main__":
    main()
