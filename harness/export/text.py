"""Texts from outside, as the formats can hold them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from harness.model import visible

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
UNSAFE_IN_NAMES = "/% "


def printable(text: str) -> str:
    """The text with its line breaks, and every other control character made visible."""
    return "".join(char if char in "\n\t" else visible(char) for char in text)


def field(text: str) -> str:
    """The text as a spreadsheet takes it: what would be a formula gets an apostrophe before it.

    A program begins a formula at = + - @, and at these behind a tab or a line break (OWASP, CSV
    injection).
    """
    plain = printable(text)
    return f"'{plain}" if plain.startswith(FORMULA) else plain


def word(text: str) -> str:
    """The text without white space, slashes or control characters: these as %20, %2F and so on."""
    return "".join(
        quote(char, safe="", errors="backslashreplace")
        if char in UNSAFE_IN_NAMES or not char.isprintable() or char.isspace()
        else char
        for char in text
    )


def file_name(text: str) -> str:
    """The text in characters that every file system takes; two texts may become one."""
    return re.sub(r"[^A-Za-z0-9._@+-]", "_", text)


def parts(row: Mapping[str, Any]) -> dict[str, str]:
    """What tells a cell from all others, of this run and of later ones, in words of their own."""
    told = {name: str(row[name]) for name in ("server", "app", "scenario")}
    if row["model"] == "open":
        told |= {"rate": f"{row['rate_per_s']:g}", "arrivals": str(row["arrivals"])}
    told |= {"users": f"{row['users']:g}", "workers": f"{row['workers']:g}"}
    if row["threads"] is not None:
        told["threads"] = f"{row['threads']:g}"
    return {name: word(value) for name, value in told.items()}


def title(row: Mapping[str, Any]) -> str:
    """A cell's name that stays the same from run to run: uvicorn/asgi/hello/users=32/workers=1."""
    told = parts(row)
    names = [told.pop(name) for name in ("server", "app", "scenario")]
    return "/".join([*names, *(f"{name}={value}" for name, value in told.items())])
