"""One request of a user's own application, as `gatebench run --app --request` says.

GATEBENCH_REQUEST names a JSON file: method, path, headers, status, and body and expect in base64;
any may be missing, and a missing `expect` is any body. Without the variable: GET / and 200.
"""

import base64
import json
import os
from pathlib import Path
from typing import Any

from harness.load import Exchange, HttpUser


def exchange(asked: dict[str, Any]) -> Exchange:
    """The request, and what holds for its answers."""
    body, expect = (asked.get(name) for name in ("body", "expect"))
    return Exchange(
        asked.get("method", "GET"),
        asked.get("path", "/"),
        expect=base64.b64decode(expect) if expect is not None else lambda _body: True,
        body=base64.b64decode(body) if body is not None else None,
        status=asked.get("status", 200),
        headers=tuple((name, value) for name, value in asked.get("headers", ())),
    )


def asked() -> dict[str, Any]:
    """What the file says; nothing without one."""
    if (place := os.environ.get("GATEBENCH_REQUEST")) is None:
        return {}
    said: dict[str, Any] = json.loads(Path(place).read_text("utf-8"))
    return said


class Request(HttpUser):
    """The same request again and again."""

    exchange = exchange(asked())
