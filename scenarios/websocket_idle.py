"""Many WebSockets that are mostly silent: a message of each every 20 s."""

from harness.load import WebSocketUser


class WebSocketIdle(WebSocketUser):
    """What holding connections costs, and whether the one that speaks is still heard at once."""

    message = b"gatebench echoes these sixty-four bytes, no more and no fewer: ok"[:64]
    pause_s = 20.0
