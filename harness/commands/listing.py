"""`gatebench list`: what can be measured, and what runs can be exported to."""

from __future__ import annotations

import argparse
from typing import Any

from rich.table import Table
from rich.text import Text

from harness.commands.arguments import registry_of
from harness.commands.console import DONE, out, print_json


def do_list(arguments: argparse.Namespace) -> int:
    """`gatebench list`: the rows of a table, or of all five."""
    registry = registry_of(arguments)
    tables: dict[str, list[dict[str, Any]]] = {
        "servers": [
            {
                "name": name, "speaks": row.speaks, "concurrency": row.concurrency,
                "websocket": row.websocket, "packages": row.packages, "command": row.command,
                "notes": row.notes, "cannot": row.cannot,
            }
            for name, row in registry.shown().items()
        ],
        "fronts": [
            {
                "name": row.name, "about": row.about, "command": row.command,
                "reaches": row.reaches, "notes": row.notes, "cannot": row.cannot,
            }
            for row in registry.fronts.values()
        ],
        "apps": [
            {"name": row.name, "speaks": row.speaks, "target": row.target, "packages": row.packages}
            for row in registry.apps.values()
        ],
        "scenarios": [
            {"name": row.name, "about": row.about, "needs": row.needs, "checks": row.checks}
            for row in registry.scenarios.values()
        ],
        "exports": _exports() if arguments.what in (None, "exports") else [],
    }  # fmt: skip
    chosen = {arguments.what: tables[arguments.what]} if arguments.what else tables
    if arguments.json:
        print_json({"schema": 1, **chosen})
        return DONE
    for title, rows in chosen.items():
        table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
        shown = [name for name in rows[0] if name not in ("command", "cannot", "checks")]
        for name in shown:
            table.add_column(name, overflow="fold", no_wrap=name == "name")
        for row in rows:
            table.add_row(*(Text(_cell_text(row[name])) for name in shown))
        out.print(table)
    return DONE


def _exports() -> list[dict[str, Any]]:
    from harness.export.formats import FORMATS  # noqa: PLC0415 - pandas takes half a second

    return [
        {
            "name": row.name, "about": row.about, "readers": row.readers,
            "several runs": row.several,
        }
        for row in FORMATS.values()
    ]  # fmt: skip


def _cell_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    return ", ".join(value) if isinstance(value, tuple) else str(value)
