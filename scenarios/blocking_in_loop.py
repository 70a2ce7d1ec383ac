"""GET /sleep/50?how=block: a call that blocks, where an event loop runs."""

from harness.load import Exchange, HttpUser


class BlockingInLoop(HttpUser):
    """The classic mistake of ASGI: while one request waits, its worker does nothing else."""

    exchange = Exchange("GET", "/sleep/50?how=block", expect=b"slept 50 ms")
