"""Every column of every frame: its type, its unit, and what it says.

Frames are made by `frame` from this table, so that an empty one, a full one and one of failed
trials have the same columns and types. Missing is missing (`pd.NA`, NaN, None), never 0. A name
ends in its unit: `_s` seconds, `_bytes`, `_per_s` a second, `_share` of 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

# text and numbers may be missing in each of these; nested are lists and dictionaries, or None
TEXT, WORD, COUNT, NUMBER, FLAG, NESTED = (
    "string", "category", "Int64", "float64", "boolean", "object",
)  # fmt: skip
UNITS = {
    "s": "_s",
    "bytes": "_bytes",
    "1/s": "_per_s",
    "share": "_share",
    "CPU": "cpu_share",
    "s per 1,000 answers": "_s_per_1k",
    "bytes per user": "_bytes_per_user",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column's name, its pandas dtype, its unit (empty for words and pure numbers), a sentence.

    The unit `CPU` is a share of one CPU, which several exceed.
    """

    name: str
    dtype: str
    unit: str
    about: str


Columns = tuple[Column, ...]


def _text(name: str, about: str) -> Column:
    return Column(name, TEXT, "", about)


def _count(name: str, about: str, unit: str = "count") -> Column:
    return Column(name, COUNT, unit, about)


def _number(name: str, about: str, unit: str = "") -> Column:
    return Column(name, NUMBER, unit, about)


def _seconds(name: str, about: str) -> Column:
    return Column(name, NUMBER, "s", about)


def _bytes(name: str, about: str) -> Column:
    return Column(name, NUMBER, "bytes", about)


def _per_s(name: str, about: str) -> Column:
    return Column(name, NUMBER, "1/s", about)


def _share(name: str, about: str, unit: str = "share") -> Column:
    return Column(name, NUMBER, unit, about)


def _flag(name: str, about: str) -> Column:
    return Column(name, FLAG, "", about)


def _nested(name: str, about: str) -> Column:
    return Column(name, NESTED, "", about)


RUN = _text("run", "The run: its folder's name.")
SERVER = _text("server", "The server: a row of the table, with its version where one was asked.")
APP = _text("app", "The app that it served.")
SCENARIO = _text("scenario", "The kind of work.")
WORKERS = _count("workers", "Worker processes it was given.")
THREADS = _count("threads", "Threads in each worker; missing where it takes no such number.")
LOAD: Columns = (
    _text("model", "Of the load: closed (users wait for their answers) or open (a schedule)."),
    _count("users", "Users of a closed load; of an open one how many may be in flight."),
    _per_s("rate_per_s", "The rate asked of an open load; missing for a closed one."),
    _text("arrivals", "Of an open load: constant or poisson."),
)
CELL: Columns = (SERVER, APP, SCENARIO, WORKERS, THREADS, *LOAD)
NUMBER_OF = _count("number", "The trial's place in the order of its run, from 1 on.", "")
BLOCK = _count("block", "The block, from 1 on.", "")

TRIALS: Columns = (
    RUN,
    NUMBER_OF,
    BLOCK,
    SERVER,
    _text("twin_of", "The server that this is a second entry of (the placebo)."),
    _text("front", "The proxy that stood before it."),
    APP,
    SCENARIO,
    WORKERS,
    THREADS,
    _count("slots", "Requests that it can work on at once; missing where nothing bounds them."),
    _text("speaks", "The interface: wsgi or asgi."),
    _text("concurrency", "How it serves many at once: process, thread, greenlet, event-loop."),
    *LOAD,
    _seconds("wait_s", "The wait that the app was asked for."),
    _seconds("pause_s", "The longest pause of a user between its requests."),
    _flag("keeps_connections", "Whether the scenario keeps connections open."),
    _nested("notes", "Lines on the server from its row."),
    _text("python", "The Python that the server ran on."),
    _nested("versions", "The version of each distribution in the server's environment."),
    _nested("argv", "The command that started the server, word by word."),
    _text("outcome", "measured or failed."),
    _text("failure", "Why it failed."),
    _text("during", "In which step of its life it failed."),
    _text("log", "The end of the server's log, of a failed trial."),
    _seconds("startup_s", "From the start of the process to its first answer."),
    _count("workers_seen", "Workers that answered while it was made ready."),
    _seconds("warmup_s", "The warm-up that was asked for."),
    _seconds("window_s", "The part of the measured window that counts."),
    _count("warmup_requests", "Requests completed in the warm-up, right or failed."),
    _flag("steady", "Whether it reached a steady state (MSER-5); missing where it is not known."),
    _seconds("steady_at_s", "When, from the window's start; below 0 in the warm-up."),
    _seconds("skipped_s", "What of the window's beginning does not count."),
    _seconds("before_s", "The response before the steady state (median of 100 ms means)."),
    _seconds("after_s", "The response in the steady state (median of 100 ms means)."),
    _count("requests", "Right answers in the part of the window that counts."),
    _per_s("throughput_per_s", "Right answers per second there."),
    _count("errors", "Failed requests there."),
    _nested("error_kinds", "Failed requests of the whole window by kind and name."),
    _count("in_flight", "Requests in flight at the window's end."),
    _count("starved", "Users that got no answer in the whole window."),
    _per_s("offered_per_s", "Requests that were due per second, of an open load."),
    _count("offered", "Requests that were due in the window, of an open load."),
    _count("unsent", "Of these, not sent, because as many were in flight as may be."),
    _count("unanswered", "Of these, without an answer some seconds after the window."),
    _count("begun", "Of these, taken up: answered, failed, unsent or unanswered."),
    _seconds("lag_p99_s", "How late the generator sent 1 % of the requests at the least."),
    _share("reopened_share", "Connections opened beyond each user's first, for each request."),
    _seconds("plateau_s", "The delay at which a mode stands that the app did not ask for."),
    _share("plateau_share", "The share of the answers in that mode."),
    _share("plateau_first_share", "The share of the first bytes in that mode."),
    _text("latency_measure", "What p50_s to max_s are of: response, or delay from an event on."),
    _seconds("mean_s", "The mean response."),
    _seconds("min_s", "No response was shorter."),
    _seconds("longest_s", "No response was longer."),
    _seconds("p50_s", "The median latency."),
    _seconds("p90_s", "The 90th percentile of the latency."),
    _seconds("p99_s", "The 99th percentile of the latency."),
    _flag("p99_by_chance", "Whether it is chance's: fewer than ten latencies lie beyond it."),
    _seconds("max_s", "The longest latency."),
    _seconds("gap_s", "The longest time without any completion."),
    _seconds("server_cpu_s", "CPU seconds of the server's processes."),
    Column(
        "server_cpu_s_per_1k", NUMBER, "s per 1,000 answers",
        "CPU seconds of the server for 1,000 right answers.",
    ),
    _share("server_cpu_share", "CPU of the server's processes.", "CPU"),
    _count("server_cpus", "CPUs that the server was given."),
    _flag("shared_cpus", "Whether server and generator ran on the same CPUs."),
    _bytes("server_pss_bytes", "The server's proportional set size under load, on average."),
    _bytes("server_rss_bytes", "The server's resident set size under load, on average."),
    _bytes("server_idle_pss_bytes", "Its proportional set size before the first user."),
    _count("processes", "Processes of the server and its proxy in the window."),
    _seconds("proxy_cpu_s", "CPU seconds of the proxy before the server."),
    Column(
        "proxy_cpu_s_per_1k", NUMBER, "s per 1,000 answers",
        "CPU seconds of the proxy for 1,000 right answers.",
    ),
    _share("proxy_cpu_share", "CPU of the proxy's processes.", "CPU"),
    _bytes("proxy_pss_bytes", "The proxy's proportional set size under load, on average."),
    Column(
        "generator_bytes_per_user", NUMBER, "bytes per user",
        "Memory that a user and its connection cost the generator.",
    ),
    _share("generator_cpu_share", "CPU that the generator used, of those that it can use."),
    _count("generator_cpus", "CPUs that the generator can use."),
    _nested("lost", "Processes of the generator that ended before their last report."),
    _per_s("ceiling_per_s", "What the generator reached against the null responder in this run."),
    _share("sampler_cpu_share", "CPU that sampling cost.", "CPU"),
    _text("client", "Who took the times: our engine, or a scenario's own client."),
    _nested("page", "What Locust's page (--live) cost the generator: requests, cpu_s, longest_s."),
    _nested("noise", "What else the machine did: figures of harness.analyze.noise by name."),
    _text("verdict", "What the trial is worth, in one word."),
    _nested("reasons", "What was found on it, in sentences."),
    _nested("findings", "The same with rules, figures and advice."),
)  # fmt: skip

_BY_NAME = {column.name: column for column in TRIALS}
# the figures of a cell: the median of its used trials, with the least and the greatest of them
FIGURES = (
    "throughput_per_s", "p50_s", "p90_s", "p99_s", "max_s",
    "server_cpu_s_per_1k", "server_pss_bytes", "proxy_cpu_s_per_1k", "proxy_pss_bytes",
    "generator_cpu_share", "sampler_cpu_share",
    "startup_s", "steady_at_s", "server_idle_pss_bytes", "generator_bytes_per_user",
)  # fmt: skip
# what the trials of a cell have in common, taken from the first that is used
SAME = (
    "twin_of", "front", "slots", "speaks", "concurrency", "wait_s", "pause_s", "latency_measure",
    "client", "python", "versions", "argv", "notes", "workers_seen", "log",
)  # fmt: skip


def _spread(name: str) -> Iterable[Column]:
    column = _BY_NAME[name]
    about = f"{column.about.removesuffix('.')}: the median of the used trials."
    yield replace(column, about=about)
    yield replace(column, name=f"{name}_low", about="The least of these; missing with one trial.")
    yield replace(column, name=f"{name}_high", about="The greatest; missing with one trial.")


CELLS: Columns = (
    RUN,
    *CELL,
    _BY_NAME["offered_per_s"],
    replace(_BY_NAME["unsent"], about="Not sent in the used trials, because of the cap."),
    _count("trials", "Trials of this cell."),
    _count("used", "Trials that its verdict and figures rest on."),
    _text("verdict", "The best that its trials reached."),
    _nested("reasons", "What was found on all its trials, in sentences."),
    _nested("findings", "The same with rules, figures and advice."),
    _count("requests", "Right answers of the used trials."),
    _count("errors", "Failed requests of the used trials."),
    _nested("noise", "What else the machine did: medians over the used trials."),
    _nested("disturbances", "What was worst of it in all trials, in words."),
    *(column for name in FIGURES for column in _spread(name)),
    replace(_BY_NAME["p99_by_chance"], about="Whether the p99 of a used trial is chance's."),
    *(_BY_NAME[name] for name in SAME),
)

COMPARISONS: Columns = (
    RUN,
    _text("a", "The server that is compared with."),
    _text("b", "The server that is compared; the verdict is of it."),
    SCENARIO,
    *LOAD,
    _text("metric", "What is compared."),
    _number("ratio", "b over a: the geometric mean over the pairs; of errors b's share over a's."),
    _number("low", "The lower end of the ratio's interval."),
    _number("high", "The upper end of the ratio's interval."),
    _text("verdict", "better, worse, equivalent or inconclusive."),
    _text("bound", "at most, at least or unknown, where the generator was the limit; or empty."),
    _number("confidence", "The confidence of the interval, 0.99 for 99 %."),
    _count("pairs", "Blocks in which both trials are valid or server-limited."),
    _number("p", "p of the paired t test."),
    _number("p_holm", "p after Holm's correction; missing where nothing is judged."),
    _number("p_sign_flip", "p of the sign-flip test."),
    _flag("fragile", "Whether the two tests do not say the same."),
    _number("delta", "What difference matters, 0.03 for 3 %."),
    _number("smallest_effect", "The smallest difference that this run would have found."),
    _number("difference", "b less a, of the share of errors."),
    _number("difference_low", "The lower end of the difference's interval."),
    _number("difference_high", "The upper end of the difference's interval."),
    _flag("gates", "Whether this metric is judged."),
    _flag("headline", "Whether the servers are ranked by this metric."),
    _flag("placebo", "Whether a server is compared with itself."),
    _text("best", "Who does best by the headline's metric."),
)

RANKINGS: Columns = (
    RUN,
    SCENARIO,
    *LOAD,
    _text("metric", "What is ranked by."),
    _text("server", "The server, and what else it takes to tell it from the others."),
    _count("rank", "1 and those called better than it.", ""),
    _count("rank_last", "How far back it may be: all but those called worse.", ""),
    _nested("tied", "Those that it is not told apart from."),
)

# Long frames: their words are categories, or they would take ten times the memory.
_TRIAL: Columns = tuple(
    replace(column, dtype=WORD) if column.dtype == TEXT else column
    for column in (RUN, NUMBER_OF, BLOCK, *CELL)
)
_COUNTS = _flag("counts", "Whether it lies in the part of the window that counts.")
_AT = "in seconds from the window's start; below 0 is the warm-up."

HISTOGRAMS: Columns = (
    *_TRIAL,
    _flag("used", "Whether the cell's verdict and figures rest on this trial."),
    Column("name", WORD, "", "The request's name."),
    Column(
        "measure", WORD, "",
        "response (since it was due), service (since it was sent), first (byte), lag (sent late), "
        "connect, delay (since the event), or lateness of the generator's own loop.",
    ),
    _seconds("low_s", "The least that the bucket holds."),
    _seconds("high_s", "The first beyond the bucket."),
    _count("count", "How many it holds."),
)  # fmt: skip

PERCENTILES: Columns = (
    Column("measure", WORD, "", "What the percentiles are of."),
    _text("verdict", "The worst verdict of the trials that are merged."),
    _count("trials", "Trials that are merged."),
    _count("samples", "Samples of these."),
)

SERIES: Columns = (
    *_TRIAL,
    Column("side", WORD, "", "server, proxy or generator."),
    Column("role", WORD, "", "master, worker, helper, or the proxy's own."),
    _seconds("at_s", f"When it was sampled, {_AT}"),
    _COUNTS,
    _count("processes", "Processes of this role."),
    _share("cpu_share", "CPU that they used since the sample before; ticks of 10 ms.", "CPU"),
    _bytes("rss_bytes", "Their resident set size, shared pages counted by each."),
    _bytes("pss_bytes", "Their proportional set size; missing between its readings."),
    _count("os_threads", "Their threads, as the system counts them; missing between readings."),
    _count("fds", "Their open descriptors; missing between readings."),
    _per_s("switches_voluntary_per_s", "Context switches by which they gave way."),
    _per_s("switches_involuntary_per_s", "Context switches that they were made to."),
    _share("waited_share", "Time that their threads were ready and had no CPU; may exceed 1."),
)

TICKS: Columns = (
    *_TRIAL,
    _seconds("at_s", f"When the tick of 100 ms began, {_AT}"),
    _COUNTS,
    _per_s("ok_per_s", "Right answers per second."),
    _per_s("errors_per_s", "Failed requests per second."),
    _seconds("mean_s", "The mean response of the right answers; missing without any."),
)

PROBES: Columns = (
    _text("run", "The probe's folder."),
    SERVER,
    APP,
    WORKERS,
    THREADS,
    _text("group", "The group of the probe."),
    _text("probe", "The probe; missing of a server that could not be asked."),
    _text("question", "What was asked."),
    _text("answer", "yes, no, partial or not tried."),
    _text("expected", "What the server's row expects; missing where it says nothing."),
    _flag("differs", "Whether the answer is not the expected one."),
    _text("evidence", "What was seen."),
    _text("failure", "Why the server could not be asked, or not to the end."),
    _text("python", "The Python that the server ran on."),
    _nested("versions", "The version of each distribution in the server's environment."),
)

FRAMES: dict[str, Columns] = {
    "trials": TRIALS,
    "cells": CELLS,
    "comparisons": COMPARISONS,
    "rankings": RANKINGS,
    "histograms": HISTOGRAMS,
    "percentiles": PERCENTILES,
    "series": SERIES,
    "ticks": TICKS,
    "probes": PROBES,
}


def names(frame: str) -> tuple[str, ...]:
    """The names of a frame's columns."""
    return tuple(column.name for column in FRAMES[frame])


def described(frame: str) -> pd.DataFrame:
    """A row for each column of a frame: name, dtype, unit, about. ValueError for no such frame."""
    if frame not in FRAMES:
        raise ValueError(f"there is no frame {frame!r}; there are {', '.join(FRAMES)}")
    rows = [astuple(column) for column in FRAMES[frame]]
    return pd.DataFrame(rows, columns=["name", "dtype", "unit", "about"], dtype=TEXT)


def frame(name: str, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A row for each of `rows`, in the columns of the frame `name`; what a row lacks is missing."""
    return pd.DataFrame(
        {
            column.name: typed([row.get(column.name) for row in rows], column.dtype)
            for column in FRAMES[name]
        }
    )


def typed(values: Sequence[Any], dtype: str) -> pd.Series:
    """Values as a column of a dtype of ours, whatever the missing ones were."""
    known = [None if missing(value) else value for value in values]
    if dtype == NUMBER:
        return pd.Series(np.array([np.nan if it is None else it for it in known], dtype=float))
    return pd.Series(known, dtype=dtype)


def missing(value: Any) -> bool:
    """Whether a value is none: None, NaN or pd.NA."""
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))
