"""A command line as it may be stored."""

from __future__ import annotations

import re
from collections.abc import Sequence

SECRETS = ("--app-env", "--request-header", "--request-body")


def without_secrets(words: Sequence[str]) -> list[str]:
    """A command line as it is stored: what only an application should know is left out."""
    kept: list[str] = []
    for word in words:
        option, equals, value = word.partition("=")
        if option in SECRETS and equals:
            kept.append(f"{option}={_left_out(value)}")
        else:
            kept.append(_left_out(word) if kept and kept[-1] in SECRETS else word)
    return kept


def _left_out(value: str) -> str:
    """The name in `NAME=VALUE` or `Name: value`, and nothing of what has no name."""
    name = re.match(r"[\w-]+(?=[=:])", value)
    return f"{name[0]}=..." if name else "..."
