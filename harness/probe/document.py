"""What was found as one document: what `--json` prints and probe.json holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.probe.conductor import Finding, Findings
from harness.probe.table import Probe

SCHEMA = 1


def document(
    probes: Sequence[Probe], servers: Iterable[Findings], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Probes and servers in their order. `ended` in `facts` says whether all was asked."""
    return {
        "schema": SCHEMA,
        **facts,
        "probes": [
            {"name": it.name, "group": it.group, "question": it.question, "only": it.only}
            for it in probes
        ],
        "servers": [_server(findings) for findings in servers],
    }


def _server(findings: Findings) -> dict[str, Any]:
    cell, failure = findings.cell, findings.failure
    return {
        "server": cell.server.label,
        "front": cell.front and cell.front.name,
        "app": cell.app.name,
        "speaks": cell.server.speaks,
        "workers": cell.workers,
        "threads": cell.threads,
        "command": cell.server.command,
        "versions": findings.versions,
        "python": findings.python,
        "failure": failure and {"reason": str(failure), "log": failure.log},
        "probes": [_finding(it) for it in findings.found],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "name": finding.name,
        "answer": finding.answer.word,
        "evidence": finding.answer.evidence,
        "expected": finding.expected,
        "differs": finding.differs,
        "took_s": finding.took_s,
    }
