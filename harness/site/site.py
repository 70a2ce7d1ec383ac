"""The site in its folder: pages, data and graphs; the same history gives the same bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl

from harness import __version__
from harness.history import History, MachineClass, State
from harness.model import ConfigurationError
from harness.report import page as report_page
from harness.report.figures.configuration import config
from harness.report.figures.expressions import FORMATS
from harness.report.figures.scale import value_text
from harness.report.figures.style import DARK, DASHES, LIGHT, SHAPES
from harness.report.figures.vega import X_SHAPE
from harness.report.history import ORDER
from harness.report.page.charts import bundle
from harness.report.page.embed import json_of, policy, script, text_of
from harness.site import graph
from harness.site.alert import Alert, alerts
from harness.site.board import AXES, Board, Entry
from harness.site.data import POINT, runs_script, topic_script
from harness.site.feed import feed
from harness.site.spark import HEIGHT, SHOWN, WIDTH, spark
from harness.store import StorageError, write_text

HERE, SHARED = Path(__file__).parent, Path(report_page.__file__).parent
OWN = "site.json"  # tells that a folder is ours, and what each graph was drawn from
MEANINGS = {
    State.REGRESSION: "the server became worse, its packages, app or command are not the same, "
    "and nobody has decided about it",
    State.SUSPECT: "the newest run alone is worse than usual: measure again",
    State.HOST: "half or more of the servers moved in the same run: the machine's doing",
    State.ENVIRONMENT: "the level changed, and the server is the same as before",
    State.IMPROVEMENT: "the server became better, and is not the same as before",
    State.COLLECTING: "too few runs to say anything",
    State.OK: "no change that anybody has to look at",
}


class Site:
    """What was written where: `series` in all, and of their graphs those `drawn` anew."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.page = folder / "index.html"
        self.series = self.drawn = 0


def write_site(history: History, folder: Path, reference: str | None = None, url: str = "") -> Site:
    """Write the site of a history to `folder`, which is made, or was made by this before.

    `reference` is as in `history.series`; `url` is where the site will be, for the feed. A graph
    is drawn only if its series is not as it was. ConfigurationError if something else lies in
    the folder, StorageError if it cannot be written.
    """
    site = Site(folder)
    before = _before(folder)
    url = url and url.rstrip("/") + "/"
    boards = [Board(history, machine, reference) for machine in history.machines]
    told = [(board, alerts(board)) for board in boards]
    try:
        for name in ("data", "graphs"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        write_text(folder / OWN, _marked(before))  # before anything else of ours
        drawn: dict[str, str] = {}
        for board in boards:
            drawn |= _write_data(site, board, before)
        write_text(folder / "vega.js", f"(() => {{{bundle()}}})();\n")
        begun = history.records[0].created if history.records else ""
        changes = [(board.machine, it) for board, several in told for it in several]
        write_text(folder / "alerts.xml", feed(changes, url, begun))
        write_text(site.page, _page(told))
        write_text(folder / OWN, _marked(drawn))
        _tidy(folder, boards, drawn)
    except OSError as error:
        raise StorageError(f"{folder}: cannot be written: {error.strerror or error}") from None
    return site


def _before(folder: Path) -> dict[str, str]:
    """What the graphs that are there were drawn from, by name."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return {}
    try:
        graphs = json.loads((folder / OWN).read_text("utf-8"))["graphs"]
        return {str(name): str(digest) for name, digest in graphs.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        raise ConfigurationError(
            f"{folder}: holds other things than a site of gatebench; give --output a folder of "
            "its own"
        ) from None


def _marked(graphs: Mapping[str, str]) -> str:
    return json.dumps({"schema": 1, "graphs": dict(sorted(graphs.items()))}, indent=1) + "\n"


def _write_data(site: Site, board: Board, before: Mapping[str, str]) -> dict[str, str]:
    """A class's data and graphs; what each graph was drawn from."""
    data, graphs = site.folder / "data", site.folder / "graphs"
    write_text(data / f"{board.machine.id}.js", runs_script(board))
    found = {}
    for topic in board.topics:
        write_text(data / f"{topic.id}.js", topic_script(board, topic))
        for entry in topic.entries:
            found[entry.slug] = digest = _digest(entry)
            stem = graphs / entry.slug
            there = all(stem.with_suffix(kind).exists() for kind in (".svg", ".png"))
            site.series += 1
            if before.get(entry.slug) != digest or not there:
                graph.draw(topic, entry, stem)
                site.drawn += 1
    return found


def _digest(entry: Entry) -> str:
    """Of all that its graph is drawn from, and with."""
    known = (entry.name, entry.series, mpl.__version__, _read(HERE, "graph.py"))
    return hashlib.sha256(repr(known).encode("utf-8", "backslashreplace")).hexdigest()[:16]


def _tidy(folder: Path, boards: list[Board], drawn: Mapping[str, str]) -> None:
    """Take away what an earlier history left."""
    data = {it.machine.id for it in boards} | {it.id for board in boards for it in board.topics}
    for name, known in (("data", data), ("graphs", drawn.keys())):
        for path in (folder / name).iterdir():
            if path.is_file() and path.stem not in known:
                path.unlink()


def _page(told: list[tuple[Board, list[Alert]]]) -> str:
    scripts = {
        "theme": _read(SHARED, "theme.js"),
        "page": _read(SHARED, "common.js") + _read(HERE, "site.js") + _read(HERE, "graph.js"),
    }
    style = _read(SHARED, "page.css") + _read(HERE, "site.css")
    entries = [entry for board, _ in told for _, entry in board.entries]
    return _template().render(
        version=__version__,
        policy=policy(scripts.values(), [style], files=True),
        style=script(style),
        theme_script=script(scripts["theme"]),
        page_script=script(scripts["page"]),
        facts=json_of(_facts()),
        told=told,
        headline=_headline(entries),
        servers=sorted({entry.name for entry in entries}),
        columns=list(dict.fromkeys(it for board, _ in told for it in board.columns)),
        metrics=[it for it in AXES if any(it in board.metrics for board, _ in told)],
        axes=AXES,
        states=[str(state) for state in ORDER],
        meanings=MEANINGS.items(),
    )


def _facts() -> dict[str, Any]:
    """What the scripts have to know besides the data."""
    themes = {"light": LIGHT, "dark": DARK}
    return {
        "point": POINT,
        "themes": {name: asdict(it) | {"config": config(it)} for name, it in themes.items()},
        "shapes": SHAPES,
        "dashes": DASHES,
        "cross": X_SHAPE,
        "ratio": FORMATS[""],
    }


def _headline(entries: list[Entry]) -> str:
    """The answer, before anything else."""
    series = [entry.series for entry in entries if entry.series.gates]
    standing = sum(it.state == State.REGRESSION for it in series)
    suspect = sum(it.state == State.SUSPECT for it in series)
    if not any(it.state != State.COLLECTING for it in series):
        return "There are too few runs yet to say anything"
    answer = {0: "No regression stands", 1: "One regression stands"}
    doubt = {0: "", 1: ", and one series is suspect"}
    return answer.get(standing, f"{standing} regressions stand") + doubt.get(
        suspect, f", and {suspect} series are suspect"
    )


def machine_facts(board: Board) -> Iterator[tuple[str, str]]:
    """What is known of a class of machines; of what may vary in it, what the newest run had."""
    machine, newest = board.machine, board.runs[-1].machine
    known = _class_facts(machine) | {
        name: str(newest.get(name) or "") for name in ("kernel", "system", "governor")
    }
    first, last = board.runs[0].created[:10], board.runs[-1].created[:10]
    yield "runs", f"{len(board.runs)}, from {first} to {last}"
    yield from ((name, text) for name, text in known.items() if text)


def _class_facts(machine: MachineClass) -> dict[str, str]:
    return {
        "CPU": f"{machine.cpus} × {machine.cpu} ({machine.architecture})",
        "SMT": {True: "yes", False: "no", None: ""}[machine.smt],
        "caches": machine.caches,
        "memory": f"{machine.memory_gib:g} GiB",
        "virtual": {True: "yes", False: "no", None: ""}[machine.hypervisor],
        "layout": machine.layout,
    }


@cache
def _read(folder: Path, name: str) -> str:
    return (folder / name).read_text("utf-8")


@cache
def _template() -> jinja2.Template:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, undefined=jinja2.StrictUndefined,
        finalize=text_of, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters |= {"spark": spark, "facts": machine_facts, "shown": _shown, "percent": _percent}
    made.globals |= {
        "width": WIDTH,
        "height": HEIGHT,
        "newest": SHOWN,
        "order": [str(it) for it in ORDER],
    }
    return made.get_template("site.html")


def _shown(entry: Entry) -> str:
    """The newest value, for people."""
    valued = entry.series.valued
    if not valued:
        return "no value"
    text = value_text(valued[-1].value, entry.axis)
    return text + ("×" if entry.series.key.reference else "/s" * (entry.axis.unit == "/s"))


def _percent(ratio: float) -> str:
    return f"{ratio - 1:+.1%}"
