"""HTTP/3, with QUIC left to the library aioquic, where it is installed."""

from __future__ import annotations

import asyncio
import importlib.util
import time
from pathlib import Path
from typing import Any

from harness.probe.answer import Answer, graded, milliseconds, no
from harness.probe.wire import HELLO

ANSWER_WITHIN_S = 5.0


def missing() -> str:
    """Why HTTP/3 cannot be asked for here; nothing if it can."""
    found = importlib.util.find_spec("aioquic")
    return "" if found else "needs the package aioquic: pip install aioquic"


def ask(host: str, port: int, cert: Path) -> Answer:
    """The greeting over QUIC."""
    begin = time.monotonic()
    try:
        status, body = asyncio.run(asyncio.wait_for(_get(host, port, cert), ANSWER_WITHIN_S))
    except (TimeoutError, OSError) as error:
        return no(f"{type(error).__name__} {error} within {ANSWER_WITHIN_S:g} s")
    took = milliseconds(time.monotonic() - begin)
    evidence = f"GET / answered {status} with {len(body)} bytes after {took}"
    return graded(status == "200" and body == HELLO, False, evidence)


async def _get(host: str, port: int, cert: Path) -> tuple[str, bytes]:
    from aioquic.asyncio import QuicConnectionProtocol, connect  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415
    from aioquic.h3.connection import H3_ALPN, H3Connection  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415
    from aioquic.h3.events import DataReceived, HeadersReceived  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415
    from aioquic.quic.configuration import QuicConfiguration  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415

    events: asyncio.Queue[Any] = asyncio.Queue()

    class Client(QuicConnectionProtocol):  # type: ignore[misc, unused-ignore]
        def quic_event_received(self, event: Any) -> None:
            for found in session.handle_event(event) if session else ():
                events.put_nowait(found)

    session: Any = None
    settings = QuicConfiguration(
        is_client=True, alpn_protocols=H3_ALPN, server_name="localhost", cafile=str(cert)
    )
    async with connect(host, port, configuration=settings, create_protocol=Client) as client:
        session = H3Connection(client._quic)
        stream = client._quic.get_next_available_stream_id()
        fields = {":method": "GET", ":path": "/", ":scheme": "https", ":authority": "localhost"}
        headers = [(name.encode(), value.encode()) for name, value in fields.items()]
        session.send_headers(stream, headers, end_stream=True)
        client.transmit()
        status, body = "", b""
        while True:
            event = await events.get()
            if isinstance(event, HeadersReceived):
                status = dict(event.headers)[b":status"].decode()
            elif isinstance(event, DataReceived):
                body += event.data
            if getattr(event, "stream_ended", False):
                return status, body
