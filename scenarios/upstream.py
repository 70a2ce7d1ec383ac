"""GET /upstream/50: each request asks another server, as a query or a service is asked."""

from harness.load import Exchange, HttpUser


class Upstream(HttpUser):
    """Blocking I/O as users have it: a connection, a request, and 50 ms until its answer."""

    exchange = Exchange("GET", "/upstream/50", expect=b"waited 50 ms")
