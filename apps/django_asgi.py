"""The app contract in Django (ASGI), in async views and one file; `django_wsgi.py` has sync ones.

What the contract leaves open (bad numbers, wrong methods, unknown paths) is answered in Django's
own way. Clock, upstream and facts come from the raw app in `asgi.py`: only the framework differs.

Django reads the whole body before it calls a view, so /stream sends nothing back until then.
It begins and ends each request in threads made for it (its signals' receivers and
`response.close` are sync): most of what it costs beside WSGI. It speaks no WebSocket;
`channels_app.py` adds them.
"""

import json
import time
from collections.abc import AsyncIterator

from asgi import (
    ask_upstream,
    facts,
    held,
    next_event,
    server_sent_ticks,
    sleep_until,
    whole_number,
)
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, StreamingHttpResponse
from django.urls import path
from django.views.decorators.http import require_POST, require_safe

PLAIN = "text/plain"
BINARY = "application/octet-stream"
PIECE_BYTES = 64 * 1024

settings.configure(
    ROOT_URLCONF=__name__,
    SECRET_KEY="signs nothing here",  # noqa: S106 - Django wants one
    MIDDLEWARE=[],  # sessions, CSRF, users: the contract asks for none of them
    DATA_UPLOAD_MAX_MEMORY_SIZE=None,  # /echo takes 10 MiB; the default is 2.5 MiB
)


def answer(body: str | bytes, content_type: str = PLAIN, status: int = 200) -> HttpResponse:
    """An answer with its length, which CommonMiddleware would add."""
    response = HttpResponse(body, content_type, status)
    response["Content-Length"] = len(response.content)
    return response


@require_safe
async def hello(_request: HttpRequest) -> HttpResponse:
    return answer("Hello, world!")


@require_POST
async def echo(request: HttpRequest) -> HttpResponse:
    return answer(request.body, request.headers.get("Content-Type") or BINARY)


@require_POST
async def stream(request: HttpRequest) -> StreamingHttpResponse:
    async def pieces() -> AsyncIterator[bytes]:  # Django collects all of a sync iterator first
        while piece := request.read(PIECE_BYTES):
            yield piece

    content_type = request.headers.get("Content-Type") or BINARY
    return StreamingHttpResponse(pieces(), content_type=content_type)


@require_safe
async def sleep(request: HttpRequest, ms: int) -> HttpResponse:
    match request.GET.get("how"):
        case None:
            await sleep_until(time.monotonic_ns() + ms * 1_000_000)
        case "block":
            time.sleep(ms / 1000)  # the classic mistake, to be measured
        case "thread":
            await sync_to_async(time.sleep)(ms / 1000)
        case _:
            return HttpResponseBadRequest()
    return answer(f"slept {ms} ms")


@require_safe
async def upstream(_request: HttpRequest, ms: int) -> HttpResponse:
    status, body = await ask_upstream(ms)
    return answer(body, status=status)


@require_safe
async def poll(request: HttpRequest) -> HttpResponse:
    after = whole_number(request.GET.get("after", ""))
    event = await held(next_event() if after is None else after + 1)
    return HttpResponse(status=204) if event is None else answer(event)


@require_safe
async def events(_request: HttpRequest) -> StreamingHttpResponse:
    headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
    return StreamingHttpResponse(server_sent_ticks(), headers=headers)


@require_safe
async def whoami(request: HttpRequest) -> HttpResponse:
    return answer(json.dumps(facts(request.scope)), "application/json")


urlpatterns = [
    path("", hello),
    path("echo", echo),
    path("stream", stream),
    path("sleep/<int:ms>", sleep),
    path("upstream/<int:ms>", upstream),
    path("poll", poll),
    path("events", events),
    path("whoami", whoami),
]

app = get_asgi_application()
