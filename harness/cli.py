"""The command line: parse, call, and end with an exit code that is part of the contract."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from harness.commands.calibrate import do_calibrate
from harness.commands.capacity import do_capacity
from harness.commands.compare import do_compare
from harness.commands.console import DONE, INTERRUPTED, complain, say
from harness.commands.doctor import do_doctor
from harness.commands.gate import do_gate
from harness.commands.history import do_history
from harness.commands.listing import do_list
from harness.commands.notebooks import do_notebooks
from harness.commands.probe import do_probe
from harness.commands.report import do_report
from harness.commands.run import do_run
from harness.commands.selfcheck import do_selfcheck
from harness.commands.serve import do_serve
from harness.commands.tune import do_tune
from harness.model import GatebenchError
from harness.options import parser

COMMANDS = {
    "list": do_list,
    "run": do_run,
    "compare": do_compare,
    "gate": do_gate,
    "selfcheck": do_selfcheck,
    "capacity": do_capacity,
    "tune": do_tune,
    "serve": do_serve,
    "report": do_report,
    "history": do_history,
    "notebooks": do_notebooks,
    "calibrate": do_calibrate,
    "probe": do_probe,
    "doctor": do_doctor,
}


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """The command `gatebench`; never returns, and never shows a traceback for a known fault."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        arguments = parser(COMMANDS).parse_args(argv)
        code = int(arguments.do(arguments) or DONE)
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
