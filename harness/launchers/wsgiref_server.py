"""The standard library's own server: `python -P wsgiref_server.py APP HOST PORT`.

It answers one request at a time in HTTP/1.0, and is here as the floor.
"""

import pkgutil
import sys
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server


class Server(WSGIServer):
    """With room for users who connect at once: its own queue of 5 measures TCP's retries."""

    request_queue_size = 128


class Handler(WSGIRequestHandler):
    """Without an access log."""

    def log_message(self, *_: object) -> None:
        """Say nothing of each request."""


target, host, port = sys.argv[1:]
app = pkgutil.resolve_name(target)
make_server(host, int(port), app, Server, Handler).serve_forever()
