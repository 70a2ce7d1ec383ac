"""A WSGI app on uvicorn by a2wsgi: `python -P a2wsgi_server.py APP HOST PORT WORKERS THREADS`."""

import pkgutil
import sys

import uvicorn  # type: ignore[import-not-found] # a server's own environment has both
from a2wsgi import WSGIMiddleware  # type: ignore[import-not-found]

target, host, port, workers, threads = sys.argv[1:]


def bridge() -> object:
    """The app, run in `threads` threads of each worker."""
    return WSGIMiddleware(pkgutil.resolve_name(target), workers=int(threads))


if __name__ == "__main__":
    # a worker that uvicorn spawns has this file as its __main__, too
    uvicorn.run(
        "__main__:bridge",
        factory=True,
        host=host,
        port=int(port),
        workers=int(workers),
        access_log=False,
    )
