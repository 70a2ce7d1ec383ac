"""The app contract in Starlette.

What the contract leaves open (bad numbers, wrong methods, unknown paths) is answered in
Starlette's own way. Clock, upstream and facts come from the raw app in `asgi.py`: only the
framework differs.
"""

import time
from contextlib import suppress

from asgi import (
    ask_upstream,
    facts,
    held,
    next_event,
    server_sent_ticks,
    sleep_until,
    ticks,
    until_gone,
    whole_number,
)
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

BINARY = "application/octet-stream"


async def hello(_request: Request) -> Response:
    return PlainTextResponse("Hello, world!")


def content_type_of(request: Request) -> dict[str, str]:
    """The request's own, as a header: as a media type, Starlette would add a charset to text."""
    return {"Content-Type": request.headers.get("content-type", BINARY)}


async def echo(request: Request) -> Response:
    return Response(await request.body(), headers=content_type_of(request))


async def stream(request: Request) -> Response:
    return DuplexResponse(request.stream(), headers=content_type_of(request))


class DuplexResponse(StreamingResponse):
    """Streams while the request is read.

    A StreamingResponse listens for the client's leave meanwhile, and so eats pieces of the
    body on servers of ASGI older than 2.4; here `request.stream()` is who hears of it.
    """

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        with suppress(ClientDisconnect, OSError):
            await self.stream_response(send)


async def sleep(request: Request) -> Response:
    ms = request.path_params["ms"]
    match request.query_params.get("how"):
        case None:
            await sleep_until(time.monotonic_ns() + ms * 1_000_000)
        case "block":
            time.sleep(ms / 1000)  # the classic mistake, to be measured
        case "thread":
            await run_in_threadpool(time.sleep, ms / 1000)
        case _:
            return Response(status_code=400)
    return PlainTextResponse(f"slept {ms} ms")


async def upstream(request: Request) -> Response:
    status, body = await ask_upstream(request.path_params["ms"])
    return PlainTextResponse(body, status)


async def poll(request: Request) -> Response:
    after = whole_number(request.query_params.get("after", ""))
    event = await held(next_event() if after is None else after + 1)
    return Response(status_code=204) if event is None else PlainTextResponse(event)


async def events(_request: Request) -> Response:
    headers = {"Cache-Control": "no-cache"}
    return StreamingResponse(server_sent_ticks(), headers=headers, media_type="text/event-stream")


async def websocket_echo(websocket: WebSocket) -> None:
    await websocket.accept()
    while (message := await websocket.receive())["type"] == "websocket.receive":
        if (text := message.get("text")) is None:
            await websocket.send_bytes(message["bytes"])
        else:
            await websocket.send_text(text)


async def websocket_ticks(websocket: WebSocket) -> None:
    await websocket.accept()

    async def push() -> None:
        with suppress(WebSocketDisconnect):
            async for event, due_ns in ticks():
                await websocket.send_text(f"{event} {due_ns}")

    await until_gone(push(), websocket.receive, "websocket.disconnect")


async def whoami(request: Request) -> Response:
    return JSONResponse(facts(request.scope))


app = Starlette(
    routes=[
        Route("/", hello),
        Route("/echo", echo, methods=["POST"]),
        Route("/stream", stream, methods=["POST"]),
        Route("/sleep/{ms:int}", sleep),
        Route("/upstream/{ms:int}", upstream),
        Route("/poll", poll),
        Route("/events", events),
        Route("/whoami", whoami),
        WebSocketRoute("/ws", websocket_echo),
        WebSocketRoute("/ws/ticks", websocket_ticks),
    ]
)
