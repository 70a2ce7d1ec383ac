"""The notebooks: what they show is what the files hold, and where there is nothing they say so."""

from __future__ import annotations

import ast
import json
import re
import signal
import time
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from bs4 import BeautifulSoup

from harness import histogram
from harness.history import Archive
from harness.model import ConfigurationError
from harness.notebooks import Notebook, NotebookError, catalogue, execute, require_tools, values
from harness.notebooks import execution as execution_room
from harness.tests.browser import chromium_alone
from harness.tests.builders import (
    GENERATOR,
    MIB,
    START_NS,
    Process,
    Requests,
    RunBuilder,
    cell,
    closed,
    none,
    scenario,
)
from harness.tests.commands import gatebench, started
from harness.tests.test_history_releases import run as versions_of_demo

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
NAMES = ("blocking_io", "long_lived", "regressions", "results")
SCRIPT = "<script>alert(1)</script>"
WAITING = scenario("blocking-io", wait_s=0.05)
TICKS = scenario("websocket-ticks", latency="delay")
BLOCKS = 6


def idle_then(users: int, per_user_bytes: int, idle_bytes: int = 20 * MIB) -> Process:
    """A server that grows by so much for each user once they are there."""

    def pss(at: float) -> int:
        return idle_bytes if at < -0.5 else idle_bytes + users * per_user_bytes

    return Process("server", 100, cpu=0.4, pss=pss)


def answers(took_s: float, block: int) -> Requests:
    """Blocks that differ a little, as blocks do."""
    return closed(took_s=took_s * (1 + 0.004 * ((block * 7) % 5 - 2)))


def delayed(delay_s: float, users: int) -> Requests:
    """Users that hear of two events a second, all as late."""
    at = np.repeat(np.arange(-0.9, 5.0, 0.5), users)
    return Requests(at, np.full(len(at), 0.5), none(), at, np.full(len(at), delay_s))


def write_run(results: Path) -> Path:
    """Three kinds of work; `demo` is faster than a server with an ugly name."""
    it = RunBuilder(
        results,
        [
            *(cell(name) for name in ("demo", SCRIPT)),
            cell("threaded", WAITING, workers=1, threads=4, concurrency="thread"),
            cell("loop", WAITING, users=10, workers=1, concurrency="event-loop"),
            *(cell("demo", TICKS, users=users) for users in (10, 200)),
            cell("broken"),
        ],
        blocks=BLOCKS,
    )
    for block in range(BLOCKS):
        for made, took_s in zip(it.plan.cells[:2], (0.05, 0.08), strict=True):
            it.measured(made, answers(took_s, block))
        it.measured(it.plan.cells[2], closed(took_s=0.125 + 0.0002 * block))
        it.measured(it.plan.cells[3], closed(took_s=0.0505 + 0.0002 * block))
        for made in it.plan.cells[4:6]:
            users = made.load.users
            grown = idle_then(users, 9000)
            load = {"attached_ns": START_NS - 400_000_000}
            it.measured(made, delayed(0.003 + block * 1e-5, users), [grown, GENERATOR], load=load)
        it.failed(it.plan.cells[6], log="\x1b[31m" + SCRIPT)
    return it.read().path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("notebooks"))


def asked(name: str, run: Path, folder: Path) -> Path:
    """The notebook, executed on a run."""
    own = {"run": str(run), "results": str(run.parent)}
    done = execute(catalogue()[name], own, folder)
    assert not done.nothing
    assert {it.output_type for it in outputs(done.notebook)} == {"display_data"}
    return done.notebook


def outputs(notebook: Path) -> list[Any]:
    cells = nbformat.read(notebook, 4).cells
    return [output for it in cells for output in it.get("outputs", [])]


def words(notebook: Path) -> str:
    """What a notebook says in sentences."""
    each = [it.get("data", {}).get("text/markdown", "") for it in outputs(notebook)]
    return "\n".join(each).replace("&#40;", "(").replace("&#41;", ")").replace("&#45;", "-")


def tables(notebook: Path) -> list[list[dict[str, str]]]:
    """The tables that a notebook shows, each row by its columns' heads."""
    found = []
    for output in outputs(notebook):
        if text := output.get("data", {}).get("text/html"):
            head, *rows = BeautifulSoup(text, "html.parser").find_all("tr")
            heads = [it.text for it in head.find_all("th")]
            texts = [[it.text for it in row.find_all("td")] for row in rows]
            found.append([dict(zip(heads, row, strict=True)) for row in texts])
    return found


def row_of(notebook: Path, server: str, **others: str) -> dict[str, str]:
    """The first row of a server whose table has these heads, and says so."""
    for table in tables(notebook):
        for row in table:
            if row["server"] == server and others.items() <= row.items() and len(row) > 6:
                return row
    raise AssertionError(f"{notebook.name} shows no {server}")


# -- the same from the files, without harness.analyze ------------------------------------------


def trials_of(run: Path, server: str, work: str, users: int | None = None) -> list[Path]:
    found = []
    for folder in sorted((run / "trials").iterdir()):
        facts = json.loads((folder / "trial.json").read_text("utf-8"))
        told = facts["cell"]
        wanted = (told["server"], told["scenario"]) == (server, work)
        if wanted and "load" in facts and users in (None, told["load"]["users"]):
            found.append(folder)
    assert found
    return found


def median(values_: list[float]) -> float:
    return float(np.median(values_))


def per_second(trial: Path, seconds: float = 5.0) -> float:
    ticks = pq.read_table(trial / "ticks.parquet").to_pandas()
    return float(ticks.loc[ticks["tick"] >= 0, "ok"].sum()) / seconds


def middle_s(trial: Path, measure: str) -> float:
    rows = pq.read_table(trial / "latency.parquet").to_pandas()
    rows = rows[(rows["measure"] == measure) & (rows["second"] >= 0)]
    low, high = histogram.bounds(rows["bucket"].to_numpy())
    each = np.sort(np.repeat((low + high) / 2e9, rows["count"]))
    return float(each[int(np.ceil(len(each) / 2)) - 1])


def held_bytes(trial: Path, *, idle: bool = False) -> float:
    rows = pq.read_table(trial / "processes.parquet").to_pandas()
    rows = rows[rows["side"] == "server"]
    begun = rows["at_ns"] >= START_NS
    early = rows["at_ns"] < START_NS - 400_000_000
    return float(rows[early if idle else begun].groupby("at_ns")["pss_bytes"].sum().mean())


def shown(text: str) -> float:
    """A number as it is written, in seconds, bytes or per second."""
    found = re.match(r"(-?[\d,.]+) ?(ms|µs|s|KiB|MiB|/s|%)?", text)
    assert found, text
    unit = {"ms": 1e-3, "µs": 1e-6, "KiB": 1024, "MiB": MIB, "%": 0.01}.get(found[2], 1)
    return float(found[1].replace(",", "")) * unit


def test_results_show_what_the_files_hold(run, tmp_path):
    notebook = asked("results", run, tmp_path)
    said = words(notebook)
    for server in ("demo", SCRIPT):
        row = row_of(notebook, server)
        trials = trials_of(run, server, "hello")
        assert shown(row["req/s"]) == pytest.approx(median([*map(per_second, trials)]), rel=0.006)
        p50_s = median([middle_s(trial, "response") for trial in trials])
        assert shown(row["p50"]) == pytest.approx(p50_s, rel=0.006)
        assert shown(row["memory"]) == pytest.approx(median([*map(held_bytes, trials)]), rel=0.006)
    assert "`demo` (200/s) has the highest throughput, better than the other one." in said
    assert "1 of 7 cells may not be ranked" in said


def test_blocking_io_shows_waits_under_way_at_once(run, tmp_path):
    notebook = asked("blocking_io", run, tmp_path)
    said = words(notebook)
    for server, of in (("threaded", 4), ("loop", 10)):
        row = row_of(notebook, server)
        rate = median([per_second(trial) for trial in trials_of(run, server, "blocking-io")])
        assert shown(row["at once"]) == pytest.approx(rate * 0.05, rel=0.006)
        assert shown(row["of possible"]) == pytest.approx(rate * 0.05 / of, abs=0.006)
        assert shown(row["limit/s"]) == pytest.approx(of / 0.05, rel=0.006)
    assert re.search(r"slots were waiting nearly all the time: `threaded`", said)
    assert re.search(r"nearly all users were under way at once: `loop`", said)
    assert "Blocking inside the event loop: not in this run" in said


def test_long_lived_shows_delays_and_the_memory_of_a_connection(run, tmp_path):
    notebook = asked("long_lived", run, tmp_path)
    said = words(notebook)
    row = row_of(notebook, "demo")
    trials = trials_of(run, "demo", "websocket-ticks", 10)
    late_s = median([middle_s(trial, "delay") for trial in trials])
    assert shown(row["delay p50"]) == pytest.approx(late_s, rel=0.006)
    assert shown(row["messages/s"]) == pytest.approx(median([*map(per_second, trials)]), rel=0.006)
    few, many = (
        median([*map(held_bytes, trials_of(run, "demo", "websocket-ticks", users))])
        for users in (10, 200)
    )
    told = re.search(r"`demo` \(`?websocket-ticks`?\): a connection takes ([^ ]+ \w+)", said)
    assert told
    assert shown(told[1]) == pytest.approx((many - few) / 190, rel=0.006)


def test_ratios_over_runs_show_a_step_and_the_version_that_came_with_it(tmp_path):
    for number in range(4):
        it = RunBuilder(tmp_path, [cell("base"), cell("demo")], blocks=3)
        new = number >= 2
        for block in range(3):
            it.measured(it.plan.cells[0], answers(0.05, block))
            version = {"demo": "2.0" if new else "1.0"}
            took_s = (0.05 if new else 0.04) * (1 + 0.001 * block)
            it.measured(it.plan.cells[1], answers(took_s, block), versions=version)
        path = it.read().path
        path.rename(tmp_path / f"2026010{number + 1}T000000Z")
    finished = gatebench("notebooks", "regressions", "--results", ".", cwd=tmp_path, timeout=300)
    assert finished.code == 0, finished.err
    notebook = tmp_path / "20260104T000000Z" / "notebooks" / "regressions.ipynb"
    ratios = [shown(row["ratio"]) for row in tables(notebook)[0]]
    expected = []
    for number in range(1, 5):
        run = tmp_path / f"2026010{number}T000000Z"
        own, base = ([*map(per_second, trials_of(run, it, "hello"))] for it in ("demo", "base"))
        expected.append(float(np.exp(np.mean(np.log(np.array(own) / np.array(base))))))
    assert ratios == pytest.approx(expected, abs=0.0006)
    said = words(notebook)
    assert len(re.findall(r"went down by", said)) == 1
    assert "from run `20260102T000000Z` to `20260103T000000Z`" in said
    assert "`demo 1.0 to 2.0`" in said
    assert "this is collecting" in said


def test_releases_are_told_with_their_numbers(tmp_path):
    it = RunBuilder(tmp_path, [cell()])
    it.measured(cell(), closed())
    kept = versions_of_demo({"1.0": 1000, "1.1": 800, "1.2": 800})
    Archive(tmp_path / "releases").add(kept)
    given = {
        "run": str(it.read().path), "results": str(tmp_path), "releases": str(tmp_path / "releases")
    }  # fmt: skip
    done = execute(catalogue()["regressions"], given, tmp_path)
    said = words(done.notebook)
    old, new, newest = (np.array(cell.figures["throughput"]) for cell in kept.cells[1:])
    told = re.search(r"`demo` `1.1` after `1.0`, hello: throughput worse, ([\d.]+) times", said)
    assert told, said
    assert float(told[1]) == pytest.approx(np.exp(np.mean(np.log(new / old))), abs=0.0006)
    whole = re.search(r"`demo` `1.2` after `1.0`, hello: throughput worse, ([\d.]+) times", said)
    assert whole
    assert float(whole[1]) == pytest.approx(np.exp(np.mean(np.log(newest / old))), abs=0.0006)
    assert "`1.2` after `1.1`" not in said
    assert re.search(r"\d+ steps were judged: \d+ are equivalent and \d+ cannot be told", said)
    assert [it for it in outputs(done.notebook) if "by release" in str(it.get("metadata"))]


def test_four_notebooks_make_pages_that_stand_alone_and_run_nothing(run, tmp_path):
    finished = gatebench(
        "notebooks", str(run), "--output", str(tmp_path), "--json", cwd=run.parent, timeout=170
    )
    assert finished.code == 0, finished.err
    rows = finished.document["notebooks"]
    assert [(row["name"], row["state"]) for row in rows] == [(name, "done") for name in NAMES]
    assert [row["page"] for row in rows] == [str(tmp_path / f"{name}.html") for name in NAMES]
    with chromium_alone() as browser:
        page = browser.new_page()
        asked: list[str] = []
        dialogs: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("dialog", lambda dialog: dialogs.append(dialog.message))
        for name in NAMES:
            asked.clear()
            file = (tmp_path / f"{name}.html").as_uri()
            page.goto(file)
            assert [url for url in asked if not url.startswith("data:")] == [file]
            assert page.title() == catalogue()[name].title
            pictures = page.evaluate(
                "[...document.images].map(it => [it.complete && it.naturalWidth > 200, it.alt])"
            )
            assert pictures, name
            assert all(whole and about for whole, about in pictures)
            assert page.evaluate("document.body.scrollWidth <= innerWidth")
            assert page.locator("pre:visible").count() == 0  # neither code nor tracebacks
            if name == "results":
                assert SCRIPT in page.inner_text("body")
    assert not dialogs


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", ["empty", "failed"])
def test_run_without_numbers_ends_in_words(tmp_path, name, what):
    it = RunBuilder(tmp_path, [cell("demo", WAITING), cell("demo", TICKS)])
    if what == "failed":
        for made in it.plan.cells:
            it.failed(made, log=SCRIPT)
    run = it.read().path
    done = execute(catalogue()[name], {"run": str(run), "results": str(tmp_path)}, tmp_path)
    assert done.nothing
    assert "Nothing to show." in words(done.notebook)
    assert all(it.output_type != "error" for it in outputs(done.notebook))
    assert "Traceback" not in done.page.read_text("utf-8")


def test_run_that_does_not_suit_names_the_command_that_makes_one(tmp_path):
    it = RunBuilder(tmp_path, [cell()])
    it.measured(cell(), closed())
    path = str(it.read().path)
    for name, command in (("blocking_io", "blocking-*"), ("long_lived", "websocket-*")):
        done = execute(catalogue()[name], {"run": path, "results": str(tmp_path)}, tmp_path)
        assert "`gatebench run " in done.nothing
        assert command in done.nothing
    done = execute(catalogue()["results"], {"run": path, "scenario": "helo"}, tmp_path)
    assert done.nothing == "The run has no scenario `helo`; it has `hello`."


@pytest.mark.parametrize(
    ("words_", "said"),
    [
        (["-p", "scenaro=hello"], "no parameter 'scenaro'; did you mean scenario?; there are"),
        (["results", "-p", "last=3"], "no parameter 'last'"),
        (["regressions", "-p", "last=many"], "'many' is not of the kind int"),
        (["-p", "scenario"], "write NAME=VALUE"),
        (["-p", "run=x"], "run is said by `gatebench notebooks RUN`"),
        (["blocking-io"], "neither a notebook nor a run; did you mean blocking_io?"),
        ([".", "harness"], "is not a run"),
    ],
)
def test_mistake_is_one_line_and_starts_nothing(run, words_, said):
    it = gatebench("notebooks", *words_, "--results", str(run.parent), cwd=run)
    assert it.code == 2
    assert said.replace("is not a run", "") in it.complaint
    assert "[1/" not in it.err


def test_values_are_of_the_kind_that_the_notebook_says():
    book = Notebook("x", Path("x.py"), "X", {"a": "int", "b": "float", "c": "bool", "d": "str"})
    assert values(["a=3", "b=0.5", "c=true", "d=e=f"], [book]) == {
        "a": 3, "b": 0.5, "c": True, "d": "e=f",
    }  # fmt: skip
    for wrong in ("a=0.5", "b=x", "c=1"):
        with pytest.raises(ConfigurationError, match="is not of the kind"):
            values([wrong], [book])


def test_cell_that_fails_is_one_line_and_leaves_what_was_done(tmp_path):
    file = tmp_path / "bad.py"
    file.write_text("# %% [markdown]\n# # Bad\n\n# %%\nprint('before')\n\n# %%\n1 / 0\n", "utf-8")
    (tmp_path / "bad.html").write_text("of an earlier run", "utf-8")
    with pytest.raises(NotebookError) as caught:
        execute(Notebook("bad", file, "Bad", {}), {}, tmp_path)
    assert "bad: cell 2: ZeroDivisionError: division by zero" in str(caught.value)
    assert str(tmp_path / "bad.ipynb") in str(caught.value)
    assert caught.value.exit_code == 1
    assert outputs(tmp_path / "bad.ipynb")[0].text == "before\n"
    assert not (tmp_path / "bad.html").exists()


def test_kernel_that_dies_is_one_line(tmp_path):
    file = tmp_path / "bad.py"
    file.write_text("# %%\nimport os\nos._exit(3)\n", "utf-8")
    with pytest.raises(NotebookError, match="its kernel ended"):
        execute(Notebook("bad", file, "Bad", {}), {}, tmp_path)


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_interruption_ends_the_kernel(run, tmp_path, number):
    with started("notebooks", str(run), "--output", str(tmp_path), cwd=run.parent) as process:
        own = psutil.Process(process.pid)
        deadline = time.monotonic() + 60
        while not (kernels := [it for it in own.children(recursive=True) if is_kernel(it)]):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(1.0)  # amid a cell, or amid the kernel's start
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert not [it for it in kernels if it.is_running() and it.status() != psutil.STATUS_ZOMBIE]


def is_kernel(process: psutil.Process) -> bool:
    try:
        return "ipykernel_launcher" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def test_missing_tools_are_told_with_what_installs_them(monkeypatch):
    monkeypatch.setattr(execution_room, "TOOLS", (*execution_room.TOOLS, "no_such_tool"))
    with pytest.raises(ConfigurationError, match="need no_such_tool: `make notebooks` installs"):
        require_tools()


def test_notebooks_know_the_public_reading_functions_alone():
    public = {"History", "load_run", "load_runs", "UnreadableRunError"}
    for file in NOTEBOOKS.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "harness":
                assert node.module == "harness", file.name
                assert {it.name for it in node.names} <= public, file.name
            if isinstance(node, ast.Import):
                assert not any(it.name.startswith("harness") for it in node.names), file.name


def test_notebooks_are_what_jupyterlab_opens_and_saves():
    import jupytext

    assert set(catalogue()) == set(NAMES)
    for book in catalogue().values():
        read = jupytext.read(book.file)
        assert read.metadata["jupytext"]["formats"] == "ipynb,py:percent"
        assert book.title
        assert {"run", "results"} <= set(book.parameters)
        assert read.cells[0].cell_type == "markdown"
        assert jupytext.writes(read, fmt="py:percent").count("# %%") == len(read.cells)


@pytest.mark.servers
def test_real_run_of_waits_comes_to_its_conclusion(tmp_path):
    """As the README has it, with short trials, one server and two scenarios."""
    measured = gatebench(
        "run", "uvicorn", "--scenario", "blocking-io,blocking-in-loop", "--duration", "2s",
        "--warmup", "2s", "--users", "8", "--workers", "1", "--results", str(tmp_path), "--json",
        cwd=tmp_path,
    )  # fmt: skip
    assert measured.code == 0, measured.err
    cells = {(it["server"], it["scenario"]): it for it in measured.document["cells"]}
    assert cells["uvicorn", "blocking-in-loop"]["slots"] == 1
    assert set(cells) == {("uvicorn", "blocking-io"), ("uvicorn", "blocking-in-loop")}
    run = Path(measured.document["run"])
    it = gatebench("notebooks", str(run), "blocking_io", cwd=tmp_path, timeout=300)
    assert it.code == 0, it.err
    said = words(run / "notebooks" / "blocking_io.ipynb")
    told = re.search(r"Blocking inside the event loop, `uvicorn` answered ([\d.,]+)/s", said)
    ranked = {it for it, cell in cells.items() if cell["verdict"] in ("valid", "server-limited")}
    if {("uvicorn", "blocking-in-loop"), ("uvicorn", "blocking-io")} <= ranked:
        (trial,) = trials_of(run, "uvicorn", "blocking-in-loop")
        assert told, said
        assert float(told[1]) == pytest.approx(per_second(trial, 2.0), rel=0.01)
        assert float(told[1]) <= 20.5  # one at a time, 50 ms each
    else:  # the machine was busy beside it
        assert not told, said
        assert "for want of a pair that may be ranked" in said
