"""The document that `gatebench report --json` prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.export.frames import each_run
from harness.report.document import document
from harness.report.searched import searched
from harness.results import Results
from harness.store import SCHEMA, plain, write_text


def write(results: Results, folder: Path) -> list[Path]:
    """`report.json`; of several runs `{"schema": 1, "runs": [...]}`."""
    documents = [_document(each) for each in each_run(results)]
    whole = documents[0] if len(documents) == 1 else {"schema": SCHEMA, "runs": documents}
    path = folder / "report.json"
    write_text(path, json.dumps(plain(whole), indent=1, allow_nan=False) + "\n")
    return [path]


def _document(results: Results) -> dict[str, Any]:
    run = results.run
    return document(run, results.cells, results.comparisons) | searched(run, results.trials)
