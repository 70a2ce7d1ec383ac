"""Texts and data put into a page so that they can do no harm there."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Iterable
from typing import Any

from markupsafe import Markup

from harness.model import visible
from harness.store import plain

# what would end a script, begin a comment, or break a line of JavaScript
HARMFUL = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


def text_of(value: Any) -> Any:
    """What a template shows of a value: a text from outside with its control characters visible."""
    if value is None:
        return ""
    return visible(value) if type(value) is str else value


def json_of(value: Any) -> Markup:
    """A value as JSON, which is safe between <script> and </script>."""
    text = json.dumps(plain(value), allow_nan=False, separators=(",", ":"))
    return Markup(text.translate(HARMFUL))  # noqa: S704 - escaped in the line above


def packed(value: Any) -> Markup:
    """A value as JSON, packed by gzip, in base 64: for a download, a tenth of its size."""
    text = json.dumps(plain(value), allow_nan=False, indent=1) + "\n"
    data = base64.b64encode(gzip.compress(text.encode(), mtime=0))
    return Markup(data.decode("ascii"))  # noqa: S704 - letters, digits, + / and =


def script(text: str) -> Markup:
    """Our own JavaScript or CSS, verbatim; ValueError if it would end the element it stands in."""
    if "</script" in text.lower() or "</style" in text.lower() or "<!--" in text:
        raise ValueError("a script or style that holds </script, </style or <!--")
    return Markup(text)  # noqa: S704 - it is ours, and cannot end its element


def policy(scripts: Iterable[str], styles: Iterable[str], *, files: bool = False) -> str:
    """A Content-Security-Policy under which these scripts and styles run, and nothing else does.

    `files` lets in the scripts of the place that the page comes from, too.
    """
    own = ["'self'"] if files else []
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join([*own, *map(_digest, scripts)])}",
            f"style-src {' '.join(map(_digest, styles))}",
            "img-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
