"""What servers can do, as a frame: the document of `gatebench probe`, a row for each answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from harness.analyze.columns import frame
from harness.store import UnreadableRunError, read_json

FILE = "probe.json"


def newest_probe(results: Path) -> Path | None:
    """The folder of the probe that was begun last; None if there is none in `results`."""
    return max((file.parent for file in results.glob(f"probe-*/{FILE}")), default=None)


def probe_folder(path: Path) -> Path:
    """The folder of a probe, given itself or by its document; UnreadableRunError if it is none."""
    folder = path.parent if path.name == FILE else path
    if not (folder / FILE).is_file():
        raise UnreadableRunError(
            f"{path}: is not a probe (it has no {FILE}); make one with `gatebench probe SERVER`"
        )
    return folder


def probes_frame(folders: Iterable[Path]) -> pd.DataFrame:
    """A row for each probe of each server; a server that could not be asked has one without.

    UnreadableRunError in one line if a document is damaged.
    """
    return frame("probes", [row for folder in folders for row in _rows(folder)])


def _rows(folder: Path) -> Iterator[dict[str, Any]]:
    document = read_json(folder / FILE, "probes", "servers")
    try:
        asked = {probe["name"]: probe for probe in document["probes"]}
        for server in document["servers"]:
            yield from _answers(server, asked, folder.name)
    except (KeyError, TypeError) as error:
        raise UnreadableRunError(
            f"{folder / FILE}: is damaged (a server or a probe of it lacks {error})"
        ) from None


def _answers(
    server: Mapping[str, Any], asked: Mapping[str, Any], run: str
) -> Iterator[dict[str, Any]]:
    failure = server["failure"] and server["failure"]["reason"]
    same = {
        "run": run,
        "failure": failure,
        **{name: server[name] for name in ("server", "app", "workers", "threads")},
        **{name: server[name] for name in ("python", "versions")},
    }
    for found in server["probes"]:
        probe = asked[found["name"]]
        answer = {name: found[name] for name in ("answer", "expected", "differs", "evidence")}
        said = {name: probe[name] for name in ("group", "question")}
        yield {**same, **answer, **said, "probe": found["name"]}
    if not server["probes"]:
        yield same
