"""The names of errors: every failure of a request is one of these, whoever raised it."""

from __future__ import annotations

import errno
import ssl

CONNECT_REFUSED = "connect-refused"
RESET = "reset"
TIMEOUT = "timeout"
BAD_STATUS = "bad-status"
BAD_BODY = "bad-body"
PROTOCOL = "protocol"
EARLY_CLOSE = "early-close"
GENERATOR = "generator"  # our own fault: no port, no descriptor, no memory was left for it

OURS = {errno.EADDRNOTAVAIL, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

BY_CLASS: dict[str, tuple[type[BaseException], ...]] = {
    CONNECT_REFUSED: (ConnectionRefusedError,),
    TIMEOUT: (TimeoutError,),
    RESET: (ConnectionResetError, BrokenPipeError, ConnectionAbortedError),
    EARLY_CLOSE: (ssl.SSLEOFError,),
    PROTOCOL: (ssl.SSLError,),
}
# clients that are not imported here, or only by a user's own scenario
BY_CLASS_NAME = {
    "HTTPConnectionClosed": EARLY_CLOSE,
    "IncompleteRead": EARLY_CLOSE,
    "RemoteDisconnected": EARLY_CLOSE,
    "Timeout": TIMEOUT,
    "ConnectTimeout": TIMEOUT,
    "ReadTimeout": TIMEOUT,
    "HTTPError": BAD_STATUS,
    "BadStatusCode": BAD_STATUS,
}


class WrongAnswerError(Exception):
    """An answer that came but is not the expected one; `kind` is its name."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind


def kind_of(error: BaseException | str) -> str:
    """The name of a failure, from the exception (or text) that Locust reports."""
    if isinstance(kind := getattr(error, "kind", None), str):
        return kind  # a WrongAnswerError, or a codec's own error
    for each in _chain(error):
        if isinstance(each, OSError) and not isinstance(each, ssl.SSLError) and each.errno in OURS:
            return GENERATOR
        for kind, classes in BY_CLASS.items():
            if isinstance(each, classes):
                return kind
        if type(each).__name__ in BY_CLASS_NAME:
            return BY_CLASS_NAME[type(each).__name__]
    return BAD_BODY if type(error).__name__ == "CatchResponseError" else PROTOCOL


def _chain(error: BaseException | str) -> list[BaseException]:
    found: list[BaseException] = []
    todo: list[object] = [error]
    while todo and len(found) < 10:
        each = todo.pop(0)
        if isinstance(each, BaseException) and each not in found:
            found.append(each)
            todo += [each.__cause__, each.__context__, *each.args]
    return found
