"""The app contract in Flask (WSGI).

What the contract leaves open (bad numbers, wrong methods, unknown paths) is answered in Flask's
own way. Clock, upstream and facts come from the raw app in `wsgi.py`: only the framework differs.
"""

import time
from typing import Any

from flask import Flask, Response, request
from wsgi import (
    BINARY,
    PIECE_BYTES,
    ask_upstream,
    facts,
    held,
    next_event,
    server_sent_ticks,
    sleep_until,
)

app = Flask(__name__, static_folder=None)


def text(body: str | bytes, status: int = 200) -> Response:
    return Response(body, status, mimetype="text/plain")  # a plain str would be text/html


@app.get("/")
def hello() -> Response:
    return text("Hello, world!")


@app.post("/echo")
def echo() -> Response:
    return Response(request.get_data(), content_type=request.content_type or BINARY)


@app.post("/stream")
def stream() -> Response:
    source = request.stream
    pieces = iter(lambda: source.read(PIECE_BYTES), b"")
    return Response(pieces, content_type=request.content_type or BINARY)


@app.get("/sleep/<int:ms>")
def sleep(ms: int) -> Response:
    sleep_until(time.monotonic_ns() + ms * 1_000_000)
    return text(f"slept {ms} ms")


@app.get("/upstream/<int:ms>")
def upstream(ms: int) -> Response:
    status, body = ask_upstream(ms)
    return text(body, status)


@app.get("/poll")
def poll() -> Response:
    after = request.args.get("after", type=int)
    event = held(next_event() if after is None else after + 1)
    return Response(status=204) if event is None else text(event)


@app.get("/events")
def events() -> Response:
    headers = {"Cache-Control": "no-cache"}
    return Response(server_sent_ticks(), headers=headers, mimetype="text/event-stream")


@app.get("/whoami")
def whoami() -> dict[str, Any]:
    return facts(request.environ)
