"""FastPySGI with workers, as its command line has none: `... APP HOST PORT WORKERS`."""

import pkgutil
import sys

import fastpysgi  # type: ignore[import-not-found] # a server's own environment has it

target, host, port, workers = sys.argv[1:]
# the app's contract has 10 MiB; its own limit is 10 MB
fastpysgi.server.max_content_length = 2**28
fastpysgi.run(pkgutil.resolve_name(target), host, int(port), workers=int(workers))
