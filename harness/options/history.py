"""The options of `gatebench history`: what is kept, what is looked at, what is decided."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

CHOICES = {
    "acknowledge": "call a regression real and accepted: its level is the new one",
    "ignore": "call a change none of the server's",
    "fixed": "call a regression mended: it stands again if three later runs do not show that",
}


def history(made: argparse.ArgumentParser) -> None:
    """A command for each; each has `--history` and `--json`."""
    commands = made.add_subparsers(required=True, metavar="WHAT", dest="what")

    def command(name: str, about: str) -> Callable[..., argparse.Action]:
        part = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
        part.add_argument(
            "--history", type=Path, default=Path("results/history"), metavar="DIR",
            help="where it is kept (default: results/history)",
        )  # fmt: skip
        # the one before the name of the command holds if this one is not given
        part.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON document"
        )
        return part.add_argument

    option = command("add", "keep runs, each in a small file of its own")
    option("run", nargs="+", metavar="RUN", help="folder or name")
    option(
        "--results", type=Path, default=Path("results"), metavar="DIR",
        help="where runs are (default: results)",
    )  # fmt: skip

    option = command("list", "the runs, and the state of every series")
    _view(option)

    option = command("check", "whether a regression stands on this class of machine")
    _view(option)
    option("--strict", action="store_true", help="exit 11 if a series is suspect")
    option("--summary", type=Path, metavar="FILE", help="write what was found as Markdown")

    option = command("site", "a site of graphs, for a browser, from a file or any web server")
    option(
        "--output", type=Path, metavar="DIR",
        help="a folder of its own (default: site, beside the history)",
    )  # fmt: skip
    option("--url", type=_address, metavar="URL", help="where it will be, for its feed")
    _reference(option)

    option = command("releases", "what each release changed, of servers measured in versions")
    _view(option)
    option(
        "--splice", type=Path, metavar="FILE",
        help="put the table between <!-- releases --> and <!-- /releases --> of a Markdown file",
    )  # fmt: skip

    for name, about in CHOICES.items():
        option = command(name, about)
        option("change", nargs="+", metavar="CHANGE", help="the id that `check` shows")
        option("--why", required=True, metavar="TEXT", help="kept beside the decision")
        _view(option)


def _view(option: Callable[..., argparse.Action]) -> None:
    option("--machine", metavar="ID", help="the class of machine (default: this one's)")
    _reference(option)


def _address(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(f"{text!r} does not begin with https:// or http://")
    return text


def _reference(option: Callable[..., argparse.Action]) -> None:
    option(
        "--reference", metavar="SERVER",
        help="what ratios are taken to (default: of each scenario the first server measured "
        "beside others, pinned to a version if there is one)",
    )  # fmt: skip
