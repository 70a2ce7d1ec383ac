"""The formats that a run can be exported to, and how it is done."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from harness.export import (
    bencher,
    benchfmt,
    csv,
    github,
    hdr,
    json,
    junit,
    markdown,
    otava,
    parquet,
)  # fmt: skip
from harness.export.figures import left_out
from harness.model import ConfigurationError
from harness.results import Results
from harness.store import StorageError


class Format(NamedTuple):
    """A format: what it is, who reads it, and the function that writes it.

    `several` is whether its files may hold several runs. A format that holds defended numbers
    alone tells by `left_out` how many cells or trials are not in it, and why.
    """

    name: str
    about: str
    readers: str
    write: Callable[[Results, Path], list[Path]]
    several: bool = False
    left_out: Callable[[Results], str] = lambda _: ""


FORMATS = {
    it.name: it
    for it in (
        Format("csv", "every frame, one value a field", "spreadsheets, anything", csv.write, True),
        Format(
            "parquet", "every frame, with its types", "pandas, Polars, DuckDB", parquet.write, True
        ),
        Format("json", "the document of `report --json`", "programs", json.write, True),
        Format("markdown", "the report's text", "wikis, pull requests", markdown.write),
        Format("hdr", "latencies of each trial", "HdrHistogram's tools", hdr.write),
        Format(
            "github-action-benchmark", "medians, in two files by direction",
            "benchmark-action/github-action-benchmark", github.write, left_out=left_out,
        ),
        Format(
            "bencher", "medians with their ranges", "bencher run --adapter json", bencher.write,
            left_out=left_out,
        ),
        Format(
            "benchfmt", "Go's benchmark format, a line a trial", "benchstat", benchfmt.write,
            several=True, left_out=benchfmt.left_out,
        ),
        Format(
            "otava", "medians, a CSV a cell, a row a run", "Apache Otava", otava.write,
            several=True, left_out=left_out,
        ),
        Format(
            "junit", "cells and comparisons as test cases", "CI systems", junit.write, several=True
        ),
    )
}  # fmt: skip


def formats_of(names: Iterable[str], runs: int) -> list[Format]:
    """The formats of these names, which may be joined by commas, each once.

    ConfigurationError if there is no such format, or if it cannot hold so many runs.
    """
    asked = dict.fromkeys(name.strip() for joined in names for name in joined.split(","))
    for name in asked:
        if name not in FORMATS:
            raise ConfigurationError(
                f"--export: unknown format {name!r}; there are {', '.join(FORMATS)}"
                + _nearest(name)
            )
        if runs > 1 and not FORMATS[name].several:
            raise ConfigurationError(
                f"--export {name}: holds one run, and {runs} are named; name one, or choose of "
                + ", ".join(it.name for it in FORMATS.values() if it.several)
            )
    return [FORMATS[name] for name in asked]


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name, list(FORMATS), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def export(results: Results, formats: Sequence[Format], folder: Path) -> dict[str, list[Path]]:
    """Write the runs in these formats into `folder`, which is made; the files of each format.

    StorageError where they cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return {it.name: it.write(results, folder) for it in formats}
    except OSError as error:
        raise StorageError(f"{folder}: cannot be written: {error.strerror}") from None
