"""GET /sleep/50: each request waits 50 ms for something, as a query or another service."""

from harness.load import Exchange, HttpUser


class BlockingIO(HttpUser):
    """How many waits the server overlaps decides this one."""

    exchange = Exchange("GET", "/sleep/50", expect=b"slept 50 ms")
