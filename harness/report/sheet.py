"""A table with its title and what stands below it, for the terminal and for Markdown alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.report.escape import safe


@dataclass(frozen=True, slots=True)
class Head:
    """A column's head, and whether its texts stand to the right."""

    text: str
    right: bool = True


@dataclass(frozen=True, slots=True)
class Sheet:
    """`findings` are what the table comes to; `notes` stand beside its numbers.

    `marked` is the number of the row that is the answer, if one is.
    """

    title: str
    heads: tuple[Head, ...]
    rows: tuple[tuple[str, ...], ...]
    findings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    marked: int | None = None


NONE: Mapping[str, Sequence[Sheet]] = MappingProxyType({})


def print_sheet(sheet: Sheet, console: Console) -> None:
    """In a terminal."""
    table = Table(
        title=Text(sheet.title), title_justify="left", title_style="bold", header_style="bold",
        box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0),
    )  # fmt: skip
    for head in sheet.heads:
        table.add_column(
            Text(head.text), justify="right" if head.right else "left",
            overflow="fold", no_wrap=head.right,
        )  # fmt: skip
    for number, row in enumerate(sheet.rows):
        style = "bold green" if number == sheet.marked else ""
        table.add_row(*(Text(text) for text in row), style=style)
    console.print(table)
    for line in sheet.findings:
        console.print(Text(f"  {line}", style="bold"), soft_wrap=True)
    for line in sheet.notes:
        console.print(Text(f"  ! {line}", style="yellow"), soft_wrap=True)
    console.print()


def sheet_table(sheet: Sheet) -> str:
    """Its table alone, as Markdown."""
    lines = [
        _line([head.text for head in sheet.heads]),
        _line(["---:" if head.right else "---" for head in sheet.heads]),
    ]
    for number, row in enumerate(sheet.rows):
        texts = [safe(text) for text in row]
        lines.append(_line([f"**{text}**" if number == sheet.marked else text for text in texts]))
    return "\n".join(lines)


def sheet_markdown(sheet: Sheet) -> str:
    """As a section of a report."""
    parts = [f"## {safe(sheet.title)}", sheet_table(sheet)]
    if sheet.findings:
        parts.append("\n".join(f"- **{safe(line)}**" for line in sheet.findings))
    if sheet.notes:
        parts.append("\n".join(f"- {safe(line)}" for line in sheet.notes))
    return "\n\n".join(parts)


def _line(texts: list[str]) -> str:
    return "| " + " | ".join(texts) + " |"
