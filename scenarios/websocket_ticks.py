"""Listen to the events that are pushed over WebSockets."""

from harness.load import TickUser


class WebSocketTicks(TickUser):
    """Every user hears every event; what counts is how late it arrives."""
