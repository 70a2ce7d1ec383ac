"""GET / with a new connection for each request."""

from harness.load import Exchange, HttpUser


class Connect(HttpUser):
    """What accepting, and forgetting, a connection costs."""

    exchange = Exchange("GET", "/", expect=b"Hello, world!")
    requests_per_connection = 1
