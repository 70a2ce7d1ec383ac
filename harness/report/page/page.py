"""The page itself: what is known of a run, put through the template."""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from harness import __version__
from harness.analyze import records
from harness.analyze.verdict import RANKED, SEVERITY
from harness.report import units
from harness.report.document import document
from harness.report.figures.figure import Figure
from harness.report.figures.gallery import cell_figures, figures
from harness.report.page.capabilities import capabilities
from harness.report.page.charts import Chart, bundle, chart, charts, stacks
from harness.report.page.crowding import ABOUT, crowding
from harness.report.page.detail import details
from harness.report.page.differences import differences
from harness.report.page.embed import packed, policy, script, text_of
from harness.report.page.headline import answers, caution, circumstances, question
from harness.report.page.ranked import Entry, Ranked, ranked
from harness.report.searched import searched
from harness.report.sheets import sheets_of
from harness.report.sittings import sitting_lines
from harness.report.table import remarks
from harness.report.terminal import run_lines
from harness.report.verdicts import sentences, verdicts
from harness.results import Results
from harness.store import write_text

HERE = Path(__file__).parent
MEANINGS = {
    "valid": "neither side was at its limit: latencies are the server's",
    "server-limited": "the server's CPUs, or all its workers and threads, were occupied: "
    "throughput is its maximum, latency is its queue",
    "generator-limited": "the generator was the limit: the server may be faster than shown",
    "no-steady-state": "it stalled, or never came to a steady state: an average says little",
    "invalid": "the numbers contradict physics or each other",
    "failed": "it could not be measured; reason and log are in its details",
    "crowded": ABOUT,
}


def write_page(
    results: Results, path: Path | None = None, drawn: Sequence[Figure] | None = None
) -> Path:
    """Write the page of one run to `path`, else to `report.html` in its folder; where it is.

    `drawn` are its figures, where they are made already. OSError if it cannot be written, and
    then an older page stays as it was.
    """
    path = path or results.run.path / "report.html"
    write_text(path, render(results, drawn))
    return path


def render(results: Results, drawn: Sequence[Figure] | None = None) -> str:
    """The page of one run as HTML that needs no network and no other file."""
    run, table = results.run, ranked(results)
    sheets = sheets_of(run, results.trials)
    several = charts(figures(results) if drawn is None else drawn)
    inside = details(results, table.entries, _cell_charts)
    scripts = {name: _read(f"{name}.js") for name in ("theme", "charts", "page")}
    scripts["page"] = _read("common.js") + scripts["page"]
    drawing = bundle() if several or any(it.charts for it in inside) else ""
    style = _read("page.css")
    return _template().render(
        run=run,
        name=run.path.name,
        version=__version__,
        policy=policy([*scripts.values(), drawing], [style]),
        style=script(style),
        theme_script=script(scripts["theme"]),
        charts_script=script(scripts["charts"]),
        page_script=script(scripts["page"]),
        bundle=script(drawing),
        document=packed(
            document(run, results.cells, results.comparisons) | searched(run, results.trials)
        ),
        question=question(results),
        circumstances=circumstances(results),
        answers=answers(results, sheets),
        cautions=[line for line in (caution(results), crowding(records(results.cells))) if line],
        verdicts=_verdicts(results),
        sheets=[sheet for those in sheets.values() for sheet in those],
        tally=_tally(table),
        table=table,
        choices=table.filters(),
        ranked_verdicts=RANKED,
        charts=stacks(several),
        differences=differences(results),
        capabilities=capabilities(
            results.probes,
            {it.row["server"] for it in table.entries},
        ),
        remarks=list(_remarks(table)),
        meanings=MEANINGS.items(),
        command=shlex.join(run.facts["command"]),
        conditions=run_lines(run, results.cells) if table.groups else [],
        sittings=sitting_lines(run),
        servers=list(_servers(results)),
        details=inside,
    )


def _cell_charts(results: Results, entry: Entry) -> list[Chart]:
    """One cell over time, under names of its own: a server stands in several cells."""
    drawn = cell_figures(results, entry.row)
    return [chart(figure, f"{number}-{entry.id}") for number, figure in enumerate(drawn)]


def _verdicts(results: Results) -> list[str]:
    """Of two servers each metric's verdict, and what the placebo says of these."""
    told = verdicts(results.comparisons)
    return [*told, *sentences(results.comparisons)] if told else []


def _tally(table: Ranked) -> list[tuple[str, int]]:
    """How many cells have which verdict, the best verdict first."""
    counts = Counter(entry.row["verdict"] for entry in table.entries)
    return [(verdict, counts[verdict]) for verdict in reversed(SEVERITY) if counts[verdict]]


def _remarks(table: Ranked) -> Iterator[tuple[str, list[tuple[str, list[str]]]]]:
    """What stands beside the numbers of each scenario, each line with the cells that it is of."""
    for group in table.groups:
        cells: dict[str, list[str]] = defaultdict(list)
        for entry in group.entries:
            for line in remarks([dict(entry.row)]):
                cells[line].append(entry.id)
        everyone = [entry.id for entry in group.entries]  # of what is said of several together
        if lines := remarks([dict(entry.row) for entry in group.entries]):
            yield group.scenario, [(line, cells[line] or everyone) for line in lines]


def _servers(results: Results) -> Iterator[dict[str, Any]]:
    """Each server's versions, its exact command and its notes."""
    for row in records(results.cells.drop_duplicates("server")):
        versions = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
        yield row | {"versions": versions, "command": shlex.join(row["argv"])}


@cache
def _read(name: str) -> str:
    return (HERE / name).read_text("utf-8")


@cache
def _template() -> jinja2.Template:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, undefined=jinja2.StrictUndefined,
        finalize=text_of, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters |= {
        "seconds": units.seconds, "rate": units.rate, "count": units.count, "figure": _figure,
    }  # fmt: skip
    return made.get_template("page.html")


def _figure(value: float) -> str:
    """A finding's figure, in the unit that its name says."""
    return f"{value:,d}" if isinstance(value, int) else f"{value:.4g}"
