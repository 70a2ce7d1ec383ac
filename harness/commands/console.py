"""Where commands print: what was asked for on standard output, all else on standard error.

The exit codes are part of the contract: 0 done; 1 gatebench's own fault; 2 usage or
configuration; 3 could not measure; 4 refused; 10 a gate failed; 11 inconclusive, with --strict
alone; 130 interrupted, and what was measured is kept.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from harness.model import GatebenchError, MeasurementError
from harness.store import plain

DONE, OWN_FAULT, USAGE, NOT_MEASURED = 0, 1, 2, 3
GATE_FAILED, UNDECIDED, INTERRUPTED = 10, 11, 130

# a report that goes to a file or a pipe is not cut to 80 columns
WIDTH = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 140
out = Console(highlight=False, width=WIDTH)
err = Console(stderr=True, highlight=False)


def print_json(value: Any) -> None:
    """One JSON document, on standard output."""
    sys.stdout.write(json.dumps(plain(value), indent=1, allow_nan=False) + "\n")
    sys.stdout.flush()


def say(line: str) -> None:
    """A line of how it goes, on standard error."""
    err.print(Text(line), soft_wrap=True)


def complain(error: GatebenchError) -> None:
    """What went wrong, and the end of the log if there is one."""
    err.print(Text(f"gatebench: {error}", style="red"), soft_wrap=True)
    if isinstance(error, MeasurementError) and error.log:
        err.print(Text("  " + error.log.replace("\n", "\n  ")), soft_wrap=True)
