"""Listen to the events of GET /events."""

from harness.load import EventUser


class ServerSentEvents(EventUser):
    """Every user hears every event; what counts is how late it arrives."""
