"""What servers can do, as a matrix: a block for each group of probes, a row for each server.

Written from the document of `gatebench probe` alone, in a terminal and as Markdown.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.report.escape import safe

Found = Mapping[str, Any]

STYLES = {"yes": "green", "no": "red", "partial": "yellow", "not tried": "dim"}
SHORT = {"partial": "part", "not tried": "-"}
CHANGED = "≠"
FEW = 3  # servers whose evidence is printed as well; for more it is in matrix.md
LEGEND = (
    "part: partly. -: not tried, because the row does not claim it, or it is not for this "
    f"interface. {CHANGED}: not what the server's row expects. matrix.md has the evidence."
)


def print_matrix(document: Found, console: Console) -> None:
    """The matrix, then what differs, what failed, and the evidence if the servers are few."""
    servers = document["servers"]
    for group, names in _groups(document):
        table = Table(
            title=group, title_justify="left", title_style="bold", header_style="bold",
            box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0),
        )  # fmt: skip
        table.add_column("server", no_wrap=True)
        for name in names:
            table.add_column(name.replace("-", "-\n"), vertical="bottom", no_wrap=True)
        for server in servers:
            if server["probes"]:
                found = _by_name(server)
                table.add_row(server["server"], *(_cell(found.get(name)) for name in names))
        if table.row_count:
            console.print(table)
    if 0 < len(servers) <= FEW:
        for server in servers:
            _evidence(server, console)
    for line in differences(document):
        console.print(Text(f"  {CHANGED} {line}", style="yellow"), soft_wrap=True)
    for line in failures(document):
        console.print(Text(f"  ! {line}", style="red"), soft_wrap=True)
    console.print(Text(LEGEND, style="dim"))


def matrix_markdown(document: Found) -> str:
    """The matrix with the evidence for every answer; texts from outside are escaped."""
    command = shlex.join(document["command"]).replace("`", "'")
    machine = document["machine"]
    parts = [
        "# What each server can really do",
        f"Made by `{command}` at {document['created']} on {safe(machine['cpu'])}, "
        f"{safe(machine['system'])}; {document['ended']}.",
        safe(LEGEND.rpartition(". ")[0] + "."),
    ]
    for group, names in _groups(document):
        lines = [_line(["server", *names]), _line(["---"] * (len(names) + 1))]
        for server in document["servers"]:
            if server["probes"]:
                found = _by_name(server)
                answers = [_cell(found.get(name)).plain for name in names]
                lines.append(_line([safe(server["server"]), *answers]))
        questions = [
            f"- **{probe['name']}**: {safe(probe['question'])}"
            for probe in document["probes"]
            if probe["group"] == group
        ]
        parts += [f"## {group}", "\n".join(lines), "\n".join(questions)]
    said = [*differences(document), *failures(document)]
    if said:
        parts += ["## To look at", "\n".join(f"- {safe(line)}" for line in said)]
    parts.append("## Evidence")
    for server in document["servers"]:
        if server["probes"]:
            versions = ", ".join(f"{name} {it}" for name, it in server["versions"].items())
            rows = [
                _line([it["name"], it["answer"], safe(it["evidence"])]) for it in server["probes"]
            ]
            parts += [
                f"### {safe(server['server'])}",
                f"{safe(versions)}; {_budget(server)}",
                "\n".join([_line(["probe", "answer", "what was seen"]), _line(["---"] * 3), *rows]),
            ]
    return "\n\n".join(parts) + "\n"


def differences(document: Found) -> Iterator[str]:
    """Each answer that is not the one its row expects."""
    for server in document["servers"]:
        for found in server["probes"]:
            if found["differs"]:
                yield (
                    f"{server['server']}, {found['name']}: {found['answer']} instead of "
                    f"{found['expected']} ({found['evidence']})"
                )


def failures(document: Found) -> Iterator[str]:
    """Each server that could not be probed, and why."""
    for server in document["servers"]:
        if server["failure"]:
            yield f"{server['server']}: {server['failure']['reason']}"


def finding_line(server: str, name: str, answer: str, evidence: str) -> str:
    """One answer in one line, when it is there."""
    return f"{server}, {name}: {answer} ({evidence})"


def _groups(document: Found) -> Iterator[tuple[str, list[str]]]:
    groups: dict[str, list[str]] = {}
    for probe in document["probes"]:
        groups.setdefault(probe["group"], []).append(probe["name"])
    yield from groups.items()


def _by_name(server: Found) -> dict[str, Found]:
    return {found["name"]: found for found in server["probes"]}


def _cell(found: Found | None) -> Text:
    if found is None:  # interrupted before it was asked
        return Text("")
    word = found["answer"]
    mark = CHANGED if found["differs"] else ""
    return Text(f"{SHORT.get(word, word)}{mark}", style=STYLES[word])


def _evidence(server: Found, console: Console) -> None:
    if not server["probes"]:
        return
    table = Table(
        title=f"{server['server']} · {_budget(server)}", title_justify="left", title_style="bold",
        header_style="bold", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0),
    )  # fmt: skip
    table.add_column("probe", no_wrap=True)
    table.add_column("answer", no_wrap=True)
    table.add_column("what was seen", overflow="fold")
    for found in server["probes"]:
        if found["answer"] != "not tried":
            word = Text(found["answer"], style=STYLES[found["answer"]])
            table.add_row(found["name"], word, Text(found["evidence"]))
    console.print(table)


def _budget(server: Found) -> str:
    threads = f" x {server['threads']} threads" if server["threads"] else ""
    return f"{server['workers']} worker(s){threads}"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
