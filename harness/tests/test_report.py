"""Reports: the JSON contract, the ranking, what is said of it, and nothing lost or let through."""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from harness.analyze import cells_frame, comparisons_frame, trials_frame
from harness.report import units
from harness.report.document import document
from harness.report.markdown import markdown
from harness.report.table import columns_for, ranking, remarks
from harness.report.terminal import print_report
from harness.report.verdicts import sentences
from harness.store import StoredRun
from harness.tests.builders import (
    GENERATOR,
    SERVER,
    RunBuilder,
    cell,
    closed,
    scenario,
)

LONG = "nginx-gunicorn-uvicorn-behind-a-proxy-with-a-long-name@23.0.0"
HOSTILE = "<script>|x"
BUSY = (SERVER, replace(GENERATOR, cpu=0.95))
SPREAD = {"median", "low", "high"}


@dataclass(frozen=True)
class Reported:
    """A run and its frames, ready for every report."""

    run: StoredRun
    cells: pd.DataFrame
    comparisons: pd.DataFrame

    @classmethod
    def of(cls, run: StoredRun) -> Reported:
        trials = trials_frame(run)
        return cls(run, cells_frame(trials), comparisons_frame(run, trials))

    @property
    def document(self) -> dict[str, Any]:
        return document(self.run, self.cells, self.comparisons)

    @property
    def markdown(self) -> str:
        return markdown(self.run, self.cells, self.comparisons)

    def terminal(self, width: int) -> str:
        file = io.StringIO()
        console = Console(file=file, width=width, highlight=False)
        print_report(self.run, self.cells, self.comparisons, console)
        return file.getvalue()

    def ranking(self, name: str = "hello") -> list[dict[str, Any]]:
        return ranking(self.cells, self.comparisons, name)


@pytest.fixture
def mixed(tmp_path):
    """Six servers: fast, slow with errors, limited by the generator, failed, invalid, long."""
    cells = {name: cell(name) for name in (LONG, HOSTILE, "liar")}
    cells["fast"] = cell("fast", threads=5, concurrency="thread")
    cells["slow"] = cell("slow", concurrency="event-loop")
    cells["greedy"] = cell("greedy", concurrency="greenlet")
    builder = RunBuilder(tmp_path, cells.values(), notes=("left out: scenario x",))
    good = closed(took_s=0.05)
    builder.failed(
        cells[HOSTILE],
        reason="it printed <b>[bold]|`x` & *left*",
        log="# first\n\x1b[31mred\x1b[0m [bold]not markup\n```",
    )
    builder.measured(cells["liar"], replace(good, took_s=good.took_s / 2))
    builder.measured(
        cells["slow"],
        replace(closed(took_s=0.25), failed_at_s=np.array([1.0])),
        errors={"reset": 1},
    )
    builder.measured(cells[LONG], closed(took_s=0.1))
    builder.measured(cells["fast"], good)
    builder.measured(cells["greedy"], closed(took_s=0.06), BUSY)
    return Reported.of(builder.read())


@pytest.fixture
def empty(tmp_path):
    return Reported.of(RunBuilder(tmp_path, [cell()]).read("interrupted"))


def numbers(value):
    """Every leaf of a document."""
    if isinstance(value, dict):
        for item in value.values():
            yield from numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from numbers(item)
    else:
        yield value


def of(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(row for row in found["cells"] if row["server"] == name)


def test_document_fulfils_the_contract(mixed):
    found = mixed.document
    assert found["schema"] == 1
    assert found["run"] == str(mixed.run.path)
    assert found["machine"]["cpu"] == "Imaginary 9000"
    assert len(found["cells"]) == 6
    for row in found["cells"]:
        assert {
            "server", "app", "scenario", "workers", "threads", "load", "trials", "verdict",
            "reasons", "throughput_per_s", "latency_s", "errors", "requests",
            "server_cpu_s_per_1k", "server_pss_bytes", "generator_cpu_share", "versions",
        } <= set(row)  # fmt: skip
        assert row["load"] == {"model": "closed", "users": 10}
        assert set(row["throughput_per_s"]) == SPREAD
        assert set(row["latency_s"]) == {"p50", "p90", "p99", "max"}
        assert all(set(spread) == SPREAD for spread in row["latency_s"].values())
        assert isinstance(row["versions"], dict)
        assert all(isinstance(reason, str) for reason in row["reasons"])
    assert found["comparisons"]
    for row in found["comparisons"]:
        assert {"a", "b", "scenario", "metric", "ratio", "low", "high", "verdict"} <= set(row)
        assert row["verdict"] in {"better", "worse", "equivalent", "inconclusive"}


def test_document_is_json_with_null_for_what_is_no_number(mixed):
    text = json.dumps(mixed.document, allow_nan=False)
    assert json.loads(text) == mixed.document
    kinds = {type(value) for value in numbers(mixed.document)}
    assert kinds <= {str, int, float, bool, type(None)}


def test_document_has_the_numbers_that_were_measured(mixed):
    row = of(mixed.document, "fast")
    assert row["throughput_per_s"] == {"median": 200.0, "low": None, "high": None}
    assert row["latency_s"]["p99"]["median"] == pytest.approx(0.05, rel=1e-3)
    assert row["p99_by_chance"] is False
    assert (row["requests"], row["errors"], row["trials"]) == (1000, 0, 1)
    assert row["server_cpu_s_per_1k"] == pytest.approx(2.0)
    assert row["generator_cpu_share"] == pytest.approx(0.3)
    assert row["server_pss_bytes"] == 50 * 2**20
    assert (row["workers"], row["threads"], row["slots"]) == (2, 5, 10)
    assert row["versions"] == {"fast": "1.2.3"}
    assert row["verdict"] == "valid"
    assert of(mixed.document, "slow")["threads"] is None
    assert of(mixed.document, "slow")["slots"] is None


def test_failed_cell_has_nulls_and_its_reason_and_log(mixed):
    row = of(mixed.document, HOSTILE)
    assert row["verdict"] == "failed"
    empty_spread = dict.fromkeys(SPREAD)
    assert row["throughput_per_s"] == empty_spread
    assert all(spread == empty_spread for spread in row["latency_s"].values())
    for name in ("server_cpu_s_per_1k", "server_pss_bytes", "generator_cpu_share"):
        assert row[name] is None, name
    assert row["reasons"] == ["failed during ready: it printed <b>[bold]|`x` & *left*"]
    assert row["log"].startswith("# first")


def test_failed_cell_counts_no_requests_and_no_errors(mixed):
    row = of(mixed.document, HOSTILE)
    assert (row["requests"], row["errors"]) == (None, None)


def test_document_of_several_blocks_has_intervals(tmp_path):
    it = cell()
    builder = RunBuilder(tmp_path, [it], blocks=3)
    for took_s in (0.05, 0.04, 0.1):
        builder.measured(it, closed(took_s=took_s))
    row = of(Reported.of(builder.read()).document, "demo")
    assert row["throughput_per_s"] == {"median": 200.0, "low": 100.0, "high": 250.0}
    assert row["latency_s"]["p50"]["low"] == pytest.approx(0.04, rel=1e-3)
    assert row["latency_s"]["p50"]["high"] == pytest.approx(0.1, rel=1e-3)
    assert (row["trials"], row["requests"]) == (3, 1000 + 1250 + 500)


def test_ranking_is_by_throughput_with_failed_and_invalid_last(mixed):
    # the liar's 200/s are impossible, so they do not make it the first
    assert [row["server"] for row in mixed.ranking()] == [
        "fast",
        "greedy",
        LONG,
        "slow",
        "liar",
        HOSTILE,
    ]


def test_ranking_shows_shares_of_the_best_and_none_of_what_is_not_to_be_compared(mixed):
    assert {row["server"]: row.get("relative") for row in mixed.ranking()} == {
        "fast": "best",
        "greedy": "≥ 83%",
        LONG: "50%",
        "slow": "20%",
        "liar": None,
        HOSTILE: None,
    }


def two(tmp_path, first, second) -> Reported:
    """A at 200 requests per second and b at 100."""
    a, b = cell("a"), cell("b")
    builder = RunBuilder(tmp_path, [a, b])
    builder.measured(a, closed(took_s=0.05), first)
    builder.measured(b, closed(took_s=0.1), second)
    return Reported.of(builder.read())


FREE = (SERVER, GENERATOR)
BOUNDS = {
    "neither": (FREE, FREE, "", "50%", "hello: a answered 2.00 times as many requests as b"),
    "the best": (
        BUSY,
        FREE,
        "at most",
        "≤ 50%",
        "hello: a answered at least 2.00 times as many requests as b (a was generator-limited)",
    ),
    "the other": (
        FREE,
        BUSY,
        "at least",
        "≥ 50%",
        "hello: a answered at most 2.00 times as many requests as b (b was generator-limited)",
    ),
    "both": (
        BUSY,
        BUSY,
        "unknown",
        "? 50%",
        "hello: a and b were both generator-limited: "
        "their ratio (2.00 measured) is the generator's, not theirs",
    ),
}


@pytest.mark.parametrize("limited", BOUNDS)
def test_comparison_says_which_way_a_limited_generator_bounds_it(tmp_path, limited):
    first, second, bound, share, said = BOUNDS[limited]
    reported = two(tmp_path, first, second)
    row = reported.document["comparisons"][0]
    assert (row["a"], row["b"], row["metric"], row["ratio"]) == ("a", "b", "throughput", 0.5)
    assert (row["bound"], row["verdict"]) == (bound, "inconclusive")
    assert [cell["relative"] for cell in reported.ranking()] == ["best", share]
    assert sentences(reported.comparisons) == [said]


def test_scenarios_are_compared_apart(tmp_path):
    cells = [cell(name, scenario(work)) for work in ("hello", "echo") for name in ("a", "b")]
    builder = RunBuilder(tmp_path, cells)
    for it, took_s in zip(cells, (0.05, 0.1, 0.25, 0.025), strict=True):
        builder.measured(it, closed(took_s=took_s))
    reported = Reported.of(builder.read())
    assert [row["relative"] for row in reported.ranking("hello")] == ["best", "50%"]
    assert [row["server"] for row in reported.ranking("echo")] == ["b", "a"]
    assert [row["relative"] for row in reported.ranking("echo")] == ["best", "10%"]
    for text in (reported.markdown, reported.terminal(100)):
        assert "hello" in text
        assert "echo" in text


def test_remarks_are_every_reason_of_every_cell(mixed):
    lines = remarks(mixed.ranking())
    said = [f"{row['server']}: {it}" for row in mixed.ranking() for it in row["reasons"]]
    assert len(said) == 4
    assert lines[:4] == said
    # and what to do about each finding, once
    about = [line for line in lines[4:] if line.startswith("about ")]
    assert [line.partition(":")[0] for line in about] == [
        "about generator-limited",
        "about Little's law",
        "about failed",
    ]
    assert lines == said + about  # no noise: the machine was quiet
    assert any(line.startswith("liar: 200.0/s x 25.00 ms is 5.0 requests") for line in lines)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0 µs"),
        (0.000000812, "0.812 µs"),
        (0.000812, "812 µs"),
        (0.000999, "999 µs"),
        (0.001, "1.00 ms"),
        (0.00431, "4.31 ms"),
        (0.0431, "43.1 ms"),
        (0.999, "999 ms"),
        (1.0, "1.00 s"),
        (1.6249, "1.62 s"),
        (61.26, "61.3 s"),
        (3600.0, "3600 s"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_seconds_have_three_digits_and_their_unit(value, shown):
    assert units.seconds(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (0.00123456, "0.00123"),
        (0.0564, "0.0564"),
        (0.1, "0.100"),
        (1, "1.00"),
        (12.345, "12.3"),
        (123.45, "123"),
        (12345.6, "12346"),
        (-2.345, "-2.35"),
    ],
)
def test_significant_has_three_digits_and_no_exponent(value, shown):
    assert units.significant(value) == shown


@pytest.mark.parametrize(("value", "shown"), [(9.996, "10.0"), (99.96, "100"), (0.9996, "1.00")])
def test_rounding_up_does_not_add_a_fourth_digit(value, shown):
    assert units.significant(value) == shown


@pytest.mark.parametrize(
    ("show", "value", "shown"),
    [
        (units.rate, 0.0, "0.0"),
        (units.rate, 9.96, "10.0"),
        (units.rate, 57.25, "57.2"),
        (units.rate, 100.0, "100"),
        (units.rate, 12345.6, "12,346"),
        (units.size, 0, "0.0 MiB"),
        (units.size, 1.5 * 2**20, "1.5 MiB"),
        (units.size, 10 * 2**20, "10 MiB"),
        (units.size, 2048 * 2**20, "2048 MiB"),
        (units.share, 0.0, "0%"),
        (units.share, 0.834, "83%"),
        (units.share, 1.0, "100%"),
        (units.share, 2.5, "250%"),
        (units.cpu, 0.0564, "0.0564"),
        (units.cpu, 12.0, "12.0"),
        (units.count, 0, "0"),
        (units.count, 1234567, "1,234,567"),
    ],
)
def test_figures_are_shown_as_people_read_them(show, value, shown):
    assert show(value) == shown


@pytest.mark.parametrize("show", [units.rate, units.size, units.share, units.cpu, units.count])
@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_missing_figure_is_a_dash_and_never_a_zero(show, nothing):
    assert show(nothing) == units.NOTHING == "–"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(-3.0, "0 s"), (0.4, "0 s"), (59.4, "59 s"), (60, "1 min 00 s"), (200, "3 min 20 s")],
)
def test_clock_is_as_people_say_it(value, shown):
    assert units.clock(value) == shown


def table_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("|")]


def test_markdown_table_has_a_row_per_cell_and_every_column(mixed):
    lines = table_lines(mixed.markdown)
    assert len(lines) == 2 + 6
    for line in lines:
        # a bar that is not escaped ends a field
        assert len(re.split(r"(?<!\\)\|", line)) == len(columns_for(mixed.ranking())) + 2, line


def test_markdown_takes_hostile_text_as_text(mixed):
    text = mixed.markdown
    prose = "\n".join(
        line for line in text.splitlines() if not line.startswith("    ") and "`" not in line[:3]
    )
    prose = re.sub(r"`[^`\n]*`", "", prose)  # code is taken as it is
    assert not re.search(r"(?<!\\)<", prose)
    assert "\\<script\\>\\|x" in prose
    assert "exploded" not in prose
    assert r"it printed \<b\>\[bold\]\|\`x\` &amp; \*left\*" in text


def test_markdown_log_is_a_block_of_code(mixed):
    text = mixed.markdown
    assert "log:\n\n    # first\n" in text
    assert "\n    ```\n" in text
    assert not re.search(r"^(#\s*first|```)", text, re.MULTILINE)


CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def test_control_characters_of_names_and_reasons_stay_out_of_markdown(tmp_path):
    it = cell("bell\x07\x1b[2J")
    builder = RunBuilder(tmp_path, [it])
    builder.failed(it, reason="it said \x1b[31m\nand\r\n## more")
    text = Reported.of(builder.read()).markdown
    assert not CONTROL.search(text)
    assert "\n## more" not in text


def test_control_characters_of_a_log_stay_out_of_markdown(mixed):
    assert not CONTROL.search(mixed.markdown)


@pytest.mark.parametrize("width", [80, 140])
def test_control_characters_of_a_log_stay_out_of_the_terminal(mixed, width):
    assert not CONTROL.search(mixed.terminal(width))


def test_server_that_was_never_installed_has_no_python(tmp_path):
    it = cell()
    builder = RunBuilder(tmp_path, [it])
    builder.failed(it, "environment", "no such package")
    reported = Reported.of(builder.read())
    assert "Python – · not installed" in reported.terminal(100)
    assert "Python None" not in reported.markdown


def first_column(text: str) -> str:
    """What stands in the first column of the first table, its lines joined."""
    lines = text.splitlines()
    rule = next(number for number, line in enumerate(lines) if "───" in line)
    pieces = []
    for line in lines[rule + 1 :]:
        if not line.strip():
            break
        if line[1] != " ":
            pieces.append(line.split()[0])
    return "".join(pieces)


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


@pytest.mark.parametrize("width", [80, 100, 140])
def test_terminal_shows_every_server_whole_at_any_width(mixed, width):
    text = mixed.terminal(width)
    assert first_column(text) == "".join(row["server"] for row in mixed.ranking())
    assert "…" not in text
    table = text.splitlines()[: text.splitlines().index("Servers")]
    assert all(len(line) <= width for line in table)


@pytest.mark.parametrize("width", [80, 100, 140])
def test_terminal_shows_every_reason_and_log_at_any_width(mixed, width):
    text = squeezed(mixed.terminal(width))
    for row in mixed.document["cells"]:
        for reason in row["reasons"]:
            assert squeezed(f"! {row['server']}: {reason}") in text
    assert squeezed(f"last lines of {HOSTILE}'s log: # first") in text
    assert squeezed("[bold]not markup") in text  # and no markup was taken from it
    for line in sentences(mixed.comparisons):
        assert squeezed(line) in text


@pytest.mark.parametrize("width", [80, 100, 140])
def test_terminal_shows_the_figures_and_the_verdict_at_any_width(mixed, width):
    lines = mixed.terminal(width).splitlines()
    shown = next(line.split() for line in lines if line.startswith(" fast "))
    assert "200" in shown
    assert shown[-1] == "valid"
    assert any(line.startswith(" slow ") and line.rstrip().endswith("valid") for line in lines)
    failed = next(line.split() for line in lines if line.startswith(f" {HOSTILE} "))
    assert failed[-1] == "failed"
    assert "0" not in failed


def test_wide_terminal_shows_more_columns_than_a_narrow_one(tmp_path):
    it = cell()
    builder = RunBuilder(tmp_path, [it])
    builder.measured(it, closed())
    reported = Reported.of(builder.read())
    columns = columns_for(reported.ranking("hello"))
    heads = [column.head for column in columns]
    wide = reported.terminal(140)
    assert all(head in wide for head in heads)
    narrow = reported.terminal(60)
    assert not all(re.search(rf"^ server.* {re.escape(head)}", narrow, re.M) for head in heads[1:])
    for head in (column.head for column in columns if not column.spare):
        assert head.split()[0] in narrow


def test_narrow_terminal_does_not_break_a_number(tmp_path):
    cells = [cell(LONG, users=2000), cell("b", users=2000)]
    builder = RunBuilder(tmp_path, cells, blocks=2)
    full = (replace(SERVER, cpu=0.99), GENERATOR)
    for took_s in (0.12, 0.108):
        for it in cells:
            builder.measured(it, closed(users=2000, took_s=took_s), full)
    reported = Reported.of(builder.read())
    assert "16,667..18,519" in reported.terminal(140)
    assert "18,519" in reported.terminal(80)


def test_reports_name_the_run_the_machine_and_the_notes(mixed):
    for text in (mixed.markdown, mixed.terminal(140)):
        for words in (
            "Imaginary 9000",
            "server on CPU 0, generator on CPU 7",
            "gatebench's load engine",
            "seed 11",
            "left out: scenario x",
            str(mixed.run.path.name),
            "demo --port 8000",
        ):
            assert squeezed(words) in squeezed(text.replace("\\", "")), words


def test_delivery_delay_is_told_in_the_title(tmp_path):
    it = cell(work=scenario("long-poll", latency="delay"))
    builder = RunBuilder(tmp_path, [it])
    waiting = closed(took_s=0.5)
    builder.measured(
        it, replace(waiting, delayed_at_s=waiting.done_s, delay_s=waiting.took_s / 1000)
    )
    reported = Reported.of(builder.read())
    assert "latency = delivery delay" in reported.terminal(140)
    assert of(reported.document, "demo")["latency_measure"] == "delay"
    assert of(reported.document, "demo")["latency_s"]["p50"]["median"] == pytest.approx(5e-4, 1e-3)


def test_run_without_trials_is_reported_as_such(empty):
    assert "no trial was finished (interrupted)" in empty.terminal(80).replace("\n", " ")
    assert "No trial was finished (interrupted)." in empty.markdown
    found = empty.document
    assert (found["cells"], found["comparisons"], found["ended"]) == ([], [], "interrupted")
    json.dumps(found, allow_nan=False)


def test_run_in_which_all_failed_is_reported_without_comparisons(tmp_path):
    cells = [cell("a"), cell("b")]
    builder = RunBuilder(tmp_path, cells)
    for it in cells:
        builder.failed(it, "environment", "no network")
    reported = Reported.of(builder.read())
    assert reported.document["comparisons"] == []
    assert [row["verdict"] for row in reported.document["cells"]] == ["failed", "failed"]
    json.dumps(reported.document, allow_nan=False)
    for text in (reported.terminal(80), reported.markdown):
        assert text.count("no network") == 2
        assert "best" not in first_column(reported.terminal(80))
