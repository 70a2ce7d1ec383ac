"""Echo 64-byte messages over WebSockets that stay open."""

from harness.load import WebSocketUser


class WebSocketEcho(WebSocketUser):
    """One connection per user, one message at a time."""

    message = b"gatebench echoes these sixty-four bytes, no more and no fewer: ok"[:64]
