"""Texts from outside, made harmless."""

from __future__ import annotations

import re


def code(text: str) -> str:
    """Text that stands between backticks."""
    return "".join(char if char.isprintable() and char != "`" else "'" for char in text)


def safe(text: str) -> str:
    """Text that Markdown and HTML take as text."""
    visible = "".join(char if char.isprintable() else " " for char in text)
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", visible).replace("&", "&amp;")
