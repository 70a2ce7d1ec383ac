"""The app contract in FastAPI.

What the contract leaves open (bad numbers, wrong methods, unknown paths) is answered in
FastAPI's own way. Clock, upstream and facts come from the raw app in `asgi.py`: only the
framework differs. FastAPI is built on Starlette, and streams as the app in `starlette_app.py`.
"""

import time
from contextlib import suppress
from typing import Any, Literal

from asgi import (
    ask_upstream,
    facts,
    held,
    next_event,
    server_sent_ticks,
    sleep_until,
    ticks,
    until_gone,
)
from fastapi import FastAPI, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse, StreamingResponse
from pydantic import NonNegativeInt
from starlette_app import DuplexResponse, content_type_of

app = FastAPI(openapi_url=None)  # no schema, no docs pages: they would be the first routes tried


@app.exception_handler(RequestValidationError)
async def refuse(_request: Request, error: RequestValidationError) -> Response:
    return PlainTextResponse(str(error), 400)  # FastAPI's own is 422; the contract says 400


@app.get("/", response_class=PlainTextResponse)
async def hello() -> str:
    return "Hello, world!"


@app.post("/echo")
async def echo(request: Request) -> Response:
    return Response(await request.body(), headers=content_type_of(request))


@app.post("/stream")
async def stream(request: Request) -> Response:
    return DuplexResponse(request.stream(), headers=content_type_of(request))


@app.get("/sleep/{ms}", response_class=PlainTextResponse)
async def sleep(ms: NonNegativeInt, how: Literal["block", "thread"] | None = None) -> str:
    if how == "block":
        time.sleep(ms / 1000)  # the classic mistake, to be measured
    elif how == "thread":
        await run_in_threadpool(time.sleep, ms / 1000)
    else:
        await sleep_until(time.monotonic_ns() + ms * 1_000_000)
    return f"slept {ms} ms"


@app.get("/upstream/{ms}")
async def upstream(ms: NonNegativeInt) -> Response:
    status, body = await ask_upstream(ms)
    return PlainTextResponse(body, status)


@app.get("/poll")
async def poll(after: NonNegativeInt | None = None) -> Response:
    event = await held(next_event() if after is None else after + 1)
    return Response(status_code=204) if event is None else PlainTextResponse(event)


@app.get("/events")
async def events() -> Response:
    # FastAPI's own EventSourceResponse writes `data` before `id`: not the contract's bytes
    headers = {"Cache-Control": "no-cache"}
    return StreamingResponse(server_sent_ticks(), headers=headers, media_type="text/event-stream")


@app.websocket("/ws")
async def websocket_echo(websocket: WebSocket) -> None:
    await websocket.accept()
    while (message := await websocket.receive())["type"] == "websocket.receive":
        if (text := message.get("text")) is None:
            await websocket.send_bytes(message["bytes"])
        else:
            await websocket.send_text(text)


@app.websocket("/ws/ticks")
async def websocket_ticks(websocket: WebSocket) -> None:
    await websocket.accept()

    async def push() -> None:
        with suppress(WebSocketDisconnect):
            async for event, due_ns in ticks():
                await websocket.send_text(f"{event} {due_ns}")

    await until_gone(push(), websocket.receive, "websocket.disconnect")


@app.get("/whoami")
async def whoami(request: Request) -> dict[str, Any]:
    return facts(request.scope)
