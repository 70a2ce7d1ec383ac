"""A run as one HTML page that needs nothing else: the answer first, then what it rests on."""

from harness.report.page.page import render, write_page

__all__ = ["render", "write_page"]
