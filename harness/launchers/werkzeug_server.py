"""Werkzeug's development server: `python -P werkzeug_server.py APP HOST PORT [threaded]`."""

import logging
import pkgutil
import sys

from werkzeug.serving import run_simple

logging.getLogger("werkzeug").setLevel(logging.ERROR)  # no access log
target, host, port, *how = sys.argv[1:]
run_simple(host, int(port), pkgutil.resolve_name(target), threaded=how == ["threaded"])
