"""The command line: parse, call, and end with an exit code that is part of the contract."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import signal
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from harness.commands.console import DONE, INTERRUPTED, complain, say
from harness.model import ConfigurationError, GatebenchError
from harness.options import parser

# the file of each command, in the order of the help
FILES = {
    "list": "listing",
    **{
        name: name
        for name in (
            *("run", "compare", "gate", "selfcheck", "capacity", "tune", "serve", "report"),
            *("history", "notebooks", "calibrate", "probe", "doctor"),
        )
    },
}
Command = Callable[[argparse.Namespace], int]


def command(name: str) -> Command:
    """A command, which is imported when it is called: what some of them need takes a second."""

    def do(arguments: argparse.Namespace) -> int:
        module = importlib.import_module(f"harness.commands.{FILES[name]}")
        return int(getattr(module, f"do_{name}")(arguments) or DONE)

    return do


COMMANDS = {name: command(name) for name in FILES}


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """The command `gatebench`; never returns, and never shows a traceback for a known fault."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        words = sys.argv[1:] if argv is None else argv
        whole = parser(COMMANDS)
        if not words:
            whole.print_help(sys.stderr)
            sys.exit(ConfigurationError.exit_code)
        arguments = whole.parse_args(words)
        code = arguments.do(arguments)
    except KeyboardInterrupt:
        say("interrupted")
        code = INTERRUPTED
    except GatebenchError as error:
        complain(error)
        code = error.exit_code
    except BrokenPipeError:
        code = DONE  # whoever read our output has seen enough
        with contextlib.suppress(OSError):
            sys.stdout.close()
    sys.exit(code)


def _interrupt(_number: int, _frame: object) -> NoReturn:
    """TERM and HUP end a run as Ctrl-C does: what was measured is kept."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
