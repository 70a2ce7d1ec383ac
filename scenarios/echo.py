"""POST 64 bytes and read them back."""

from harness.load import Exchange, HttpUser

BODY = b"gatebench echoes these sixty-four bytes, no more and no fewer: ok"[:64]


class Echo(HttpUser):
    """A small body each way."""

    exchange = Exchange("POST", "/echo", body=BODY, expect=BODY)
