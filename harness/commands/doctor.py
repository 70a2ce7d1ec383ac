"""`gatebench doctor`: what is missing here, and the command that installs it."""

from __future__ import annotations

import argparse

from rich.text import Text

from harness.commands.console import DONE, NOT_MEASURED, out, print_json
from harness.doctor import examine
from harness.store import plain


def do_doctor(arguments: argparse.Namespace) -> int:
    """`gatebench doctor`: what is missing here, and the command that installs it."""
    checks = examine(arguments.results)
    needed = any(check.state == "missing" for check in checks)
    if arguments.json:
        print_json({"schema": 1, "ok": not needed, "checks": plain(checks)})
    else:
        signs = {"ok": ("✓", "green"), "missing": ("✗", "red"), "optional": ("-", "yellow")}
        for check in checks:
            sign, style = signs[check.state]
            out.print(Text(f"{sign} {check.name}: {check.found}", style=style), soft_wrap=True)
            if check.mend:
                out.print(Text(f"    {check.mend}"), soft_wrap=True)
    return NOT_MEASURED if needed else DONE
