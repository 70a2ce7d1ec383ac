"""bjoern in processes that share a socket: `python -P bjoern_server.py APP HOST PORT WORKERS`.

It has no command line and starts no workers of its own; its manual says to fork.
"""

import os
import pkgutil
import signal
import sys

import bjoern  # type: ignore[import-not-found] # a server's own environment has it

target, host, port, workers = sys.argv[1:]
bjoern.listen(pkgutil.resolve_name(target), host, int(port))
children = []


def stop(number: int, _: object) -> None:
    """Pass the signal on: a bjoern whose parent has gone serves for ever."""
    for child in children:
        os.kill(child, number)


for _ in range(int(workers)):
    child = os.fork()
    if child == 0:
        bjoern.run()
        sys.exit()
    children.append(child)
signal.signal(signal.SIGTERM, stop)
for _ in children:
    os.wait()
