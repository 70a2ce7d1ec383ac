"""The app contract in Django (WSGI), in one file; `django_asgi.py` has it in async views.

What the contract leaves open (bad numbers, wrong methods, unknown paths) is answered in Django's
own way. Clock, upstream and facts come from the raw app in `wsgi.py`: only the framework differs.

Django sees no body without a Content-Length: a chunked one is empty unless the server, as
waitress does, reads it first and says its length.
"""

import json
import time

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.http import require_POST, require_safe
from wsgi import (
    BINARY,
    PIECE_BYTES,
    PLAIN,
    ask_upstream,
    facts,
    held,
    next_event,
    server_sent_ticks,
    sleep_until,
    whole_number,
)

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
def hello(_request: HttpRequest) -> HttpResponse:
    return answer("Hello, world!")


@require_POST
def echo(request: HttpRequest) -> HttpResponse:
    return answer(request.body, request.headers.get("Content-Type") or BINARY)


@require_POST
def stream(request: HttpRequest) -> StreamingHttpResponse:
    pieces = iter(lambda: request.read(PIECE_BYTES), b"")
    content_type = request.headers.get("Content-Type") or BINARY
    return StreamingHttpResponse(pieces, content_type=content_type)


@require_safe
def sleep(_request: HttpRequest, ms: int) -> HttpResponse:
    sleep_until(time.monotonic_ns() + ms * 1_000_000)
    return answer(f"slept {ms} ms")


@require_safe
def upstream(_request: HttpRequest, ms: int) -> HttpResponse:
    status, body = ask_upstream(ms)
    return answer(body, status=status)


@require_safe
def poll(request: HttpRequest) -> HttpResponse:
    after = whole_number(request.GET.get("after", ""))
    event = held(next_event() if after is None else after + 1)
    return HttpResponse(status=204) if event is None else answer(event)


@require_safe
def events(_request: HttpRequest) -> StreamingHttpResponse:
    headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
    return StreamingHttpResponse(server_sent_ticks(), headers=headers)


@require_safe
def whoami(request: HttpRequest) -> HttpResponse:
    return answer(json.dumps(facts(request.META)), "application/json")


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

app = get_wsgi_application()
