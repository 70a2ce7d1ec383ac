"""GET /poll, held by the server until the next event."""

from harness.load import PollUser


class LongPoll(PollUser):
    """Every user waits for every event; what counts is how late it arrives."""
