"""GET /sleep/50?how=thread: a call that blocks, handed to a thread by an event loop."""

from harness.load import Exchange, HttpUser


class BlockingInThread(HttpUser):
    """The usual cure: as many waits overlap as the app's pool has threads."""

    exchange = Exchange("GET", "/sleep/50?how=thread", expect=b"slept 50 ms")
