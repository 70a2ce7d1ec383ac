"""GET / on kept connections."""

from harness.load import Exchange, HttpUser


class Hello(HttpUser):
    """The smallest honest request: what is left is the server's own cost."""

    exchange = Exchange("GET", "/", expect=b"Hello, world!")
