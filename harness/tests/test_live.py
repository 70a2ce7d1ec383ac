"""The view in a terminal: what it says of where a run stands, at every width."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from harness.model import Front, Placement, Progress
from harness.report.live import Standing, lines
from harness.report.progress import Watcher
from harness.store import StoredTrial
from harness.tests.builders import cell, scenario

PLACEMENT = Placement((0,), (1,))
S = 1_000_000_000
USAGE = {"server_rss_bytes": 23 * 2**20}


def standing(left_s: float | None = 60.0, **known) -> Standing:
    return Standing(known.pop("placement", PLACEMENT), known.pop("blocks", 1), left_s, 100.0)


def usage(at_s: float, server: float, generator: float, **more: float) -> dict[str, float]:
    """CPU seconds used until an instant."""
    sums = {"at_s": at_s, "server_cpu_s": server, "generator_cpu_s": generator}
    return {**USAGE, **sums, **more}


def progress(at_s: float, done: int, failed: int = 0, **more) -> Progress:
    """Of a warm-up of 2 s from 10 s on, and 5 s of measuring."""
    return Progress(round(at_s * S), 12 * S, 17 * S, done, failed, **more)


def text(it: Standing, now_s: float = 100.0, width: int = 100) -> str:
    return "\n".join(line.plain for line in lines(it, now_s, width))


def measuring() -> Standing:
    """A trial whose measuring began 2 s ago."""
    it = standing(blocks=2)
    it.begin(3, 8, cell("uvicorn"))
    it.enter("measure", 112.0)
    it.look(progress(13.0, 100_000), usage(13.0, 4.0, 1.0))
    it.look(progress(13.5, 124_000), usage(13.5, 4.49, 1.22))
    it.look(progress(14.0, 148_879, p50_s=611e-6, p99_s=1.3e-3), usage(14.0, 4.99, 1.44))
    return it


def test_view_of_a_trial_that_is_measured():
    assert text(measuring(), 114.0).splitlines() == [
        "run   ━━━━━─────────────── 23% · trial 3 of 8 · block 1 of 2 · 46 s left",
        "now   uvicorn · wsgi · hello · measure, 2 of 5 s",
        "live  48,879 req/s · p50 611 µs · p99 1.30 ms · 0 errors",
        "uses  server 99% of 1 CPU, 23 MiB · generator 44% of 1 CPU",
    ]


def test_view_before_the_first_answer_has_no_figures_and_the_same_height():
    it = standing()
    it.begin(1, 1, cell("uvicorn"))
    it.enter("ready", 100.0)
    shown = text(it, 103.0)
    assert "now   uvicorn · wsgi · hello · ready, 3 s" in shown
    assert "live  – req/s · p50 – · p99 – · 0 errors" in shown
    assert "uses  server – of 1 CPU, – · generator – of 1 CPU" in shown
    assert len(shown.splitlines()) == len(text(measuring()).splitlines())


@pytest.mark.parametrize("width", [10, 20, 40, 60, 79, 80, 100, 200])
def test_no_line_is_wider_than_the_terminal(width):
    it = measuring()
    it.page = "http://127.0.0.1:8089/"
    it.begin(3, 8, cell("nginx+gunicorn-uvicorn@0.30 (Python 3.13)"))
    drawn = lines(it, 114.0, width)
    assert max(line.cell_len for line in drawn) <= width
    assert all("\n" not in line.plain for line in drawn)
    if width >= 60:
        assert len(drawn) <= 12
        assert "nginx+gunicorn-uvicorn@0.30 (Python 3.13)" in text(it, 114.0, width)


def test_narrow_terminal_loses_nothing():
    wide, narrow = (" ".join(text(measuring(), 114.0, it).split()) for it in (200, 60))
    words = wide.replace(" · ", " ").split()
    assert words == narrow.replace(" · ", " ").replace(" ·", "").split()


def test_rate_is_of_the_last_second():
    it = standing()
    it.begin(1, 1, cell())
    for tenth in range(100):
        at_s = 12.0 + tenth / 10
        done = 1000 * tenth if tenth < 80 else 80_000 + 10 * (tenth - 80)
        it.look(progress(at_s, done), {})
    assert "live  100 req/s" in text(it)


def test_progress_that_was_seen_already_tells_nothing():
    it = standing()
    it.begin(1, 1, cell())
    for _ in range(5):
        it.look(progress(12.5, 50), {})
    assert "– req/s" in text(it)


def test_share_is_of_all_the_cpus_of_a_side_and_a_proxy_has_its_own():
    it = standing(placement=Placement((0, 1), (2,)))
    front = Front("nginx", "", "nginx", None, "http", "nginx -v", "here")
    plain = cell("uvicorn")
    it.begin(1, 1, replace(plain, server=replace(plain.server, front=front)))
    it.look(progress(13.0, 1), usage(13.0, 1.0, 1.0, proxy_cpu_s=1.0))
    it.look(progress(14.0, 2), usage(14.0, 2.5, 1.1, proxy_cpu_s=1.2))
    assert "server 75% of 2 CPUs, 23 MiB · proxy 10% of 2 CPUs, –" in text(it, width=200)


def test_process_that_ended_leaves_no_negative_share():
    it = standing()
    it.begin(1, 1, cell())
    it.look(progress(13.0, 1), usage(13.0, 9.0, 1.0))
    it.look(progress(14.0, 2), usage(14.0, 2.0, 1.1))
    assert "server – of 1 CPU" in text(it)


def test_delays_are_called_delays_and_errors_are_counted():
    it = standing()
    it.begin(1, 1, cell(work=scenario("long-poll", latency="delay")))
    it.look(progress(13.0, 1, 1, p50_s=0.001, p99_s=0.002), {})
    assert "delay p50 1.00 ms · delay p99 2.00 ms · 1 error" in text(it)
    assert "1 errors" not in text(it)


def test_search_has_no_end_that_is_known():
    it = standing(left_s=None)
    it.begin(7, None, cell())
    it.expect(0.0, 103.0)
    assert text(it, 104.0).splitlines()[0] == "run   trial 7"


def test_figures_of_one_trial_are_not_the_next_ones():
    it = measuring()
    it.begin(4, 8, cell("waitress"))
    assert "611" not in text(it)
    assert "48,879" not in text(it)


def test_bar_goes_from_nothing_to_full():
    it = standing(left_s=60.0)
    assert " 0% " in text(it, 100.0)
    assert "━" not in text(it, 100.0)
    it.expect(30.0, 130.0)
    assert " 50% " in text(it, 130.0)
    assert " 100% " in text(it, 200.0)
    assert "─" not in text(it, 200.0)


def test_name_from_outside_cannot_write_to_the_terminal():
    it = standing()
    odd = cell()
    it.begin(1, 1, replace(odd, app=replace(odd.app, name="a\x1b[2Jb[red]c\n")))
    assert "a\\x1b[2Jb[red]c\\x0a" in text(it)
    assert "\x1b" not in text(it)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def trial(**facts) -> StoredTrial:
    load = {"ok": 100, "failed": 0, "start_ns": 0, "end_ns": 2 * S}
    return StoredTrial(None, {"outcome": "measured", "load": load, **facts})


def watched(console: Console) -> str:
    """What is written for a run of one trial."""
    with Watcher(console, 10.0) as watch:
        watch.ceiling("hello")
        watch.begin(1, 1, cell("uvicorn"))
        watch.phase("measure")
        watch.live(progress(13.0, 100), {})
        watch._live.refresh()
        watch.done(trial(), 0.0)
    written: str = console.file.getvalue()
    return written


def test_what_is_no_terminal_gets_plain_lines():
    written = watched(Console(file=io.StringIO()))
    assert written.splitlines() == [
        "the generator's own ceiling for hello",
        "[1/1] uvicorn · wsgi · hello: 50.0 req/s",
    ]


def test_colours_that_are_forced_on_a_file_do_not_make_it_a_terminal(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    written = watched(Console(file=io.StringIO()))
    assert "\x1b[?25l" not in written
    assert "live" not in written
    assert len(written.splitlines()) == 2


def test_terminal_without_a_cursor_gets_plain_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert len(watched(Console(file=Terminal())).splitlines()) == 2


def test_terminal_without_colours_gets_none(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    coloured = watched(Console(file=Terminal(), width=80))
    monkeypatch.setenv("NO_COLOR", "1")
    plain = watched(Console(file=Terminal(), width=80))
    assert "\x1b[36m" in coloured
    assert "\x1b[36m" not in plain
    assert "\x1b[32m" not in plain
    assert "p50" in plain


def test_cursor_comes_back_after_an_interruption(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    console = Console(file=Terminal(), width=80)
    with pytest.raises(KeyboardInterrupt), Watcher(console, 10.0):
        raise KeyboardInterrupt
    written = console.file.getvalue()
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")
