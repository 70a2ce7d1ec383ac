"""The WebSockets of the app contract in Django Channels; HTTP is Django's, in `django_asgi.py`."""

import asyncio
import contextlib

from asgi import ticks
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import path
from django_asgi import app as http


class Echo(AsyncWebsocketConsumer):
    """Each message back, as it came."""

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.send(text_data, bytes_data)


class Ticks(AsyncWebsocketConsumer):
    """Every tick, until the client goes."""

    async def connect(self) -> None:
        await self.accept()
        self.pushing = asyncio.create_task(self.push())

    async def push(self) -> None:
        with contextlib.suppress(OSError):  # sent to one gone
            async for event, due_ns in ticks():
                await self.send(f"{event} {due_ns}")

    async def disconnect(self, _code: int) -> None:
        self.pushing.cancel()


# No AuthMiddlewareStack or OriginValidator: the contract asks for neither users nor browsers.
app = ProtocolTypeRouter(
    {
        "http": http,
        "websocket": URLRouter([path("ws", Echo.as_asgi()), path("ws/ticks", Ticks.as_asgi())]),
    }
)
