"""HdrHistogram logs: what the `hdrhistogram` package reads is what we counted."""

from __future__ import annotations

import base64
import zlib
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]
from hdrh.log import HistogramLogReader  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from harness import histogram
from harness.analyze import trials_frame
from harness.export.hdr import encode, log, tag, write
from harness.histogram import HIGHEST_NS, SIGNIFICANT_DIGITS, SIZE
from harness.results import Results
from harness.store import StoredRun
from harness.tests.builders import Requests, RunBuilder, cell, latency_table, scenario, ticks_table
from harness.tests.commands import called
from harness.tests.test_histogram import durations

QS = [50.0, 90.0, 99.0, 100.0]
SECONDS = 5

# words of every length, each bucket, and neighbours as well as long gaps
sparse = st.dictionaries(
    st.integers(0, SIZE - 1),
    st.integers(0, 57).flatmap(lambda bits: st.integers(0, 2**bits)),
    max_size=20,
)
dense = st.lists(st.integers(0, 3), max_size=60).map(lambda counts: dict(enumerate(counts)))


def vector(counts: dict[int, int]) -> histogram.Counts:
    made = np.zeros(SIZE, np.int64)
    made[list(counts)] = list(counts.values())
    return made


def decode(text: str) -> HdrHistogram:
    return HdrHistogram.decode(text.encode())


def counts_of(read: HdrHistogram) -> histogram.Counts:
    counts = np.array(read.counts[: read.counts_len], dtype=np.int64)
    assert not counts[SIZE:].any()
    return counts[:SIZE]


def empty() -> HdrHistogram:
    return HdrHistogram(1, HIGHEST_NS, SIGNIFICANT_DIGITS)


def payload(text: bytes | str) -> bytes:
    return zlib.decompress(base64.b64decode(text)[8:])


def middle_s(value_ns: int) -> float:
    """What we say for a value that HdrHistogram says: the middle of its bucket."""
    low, high = histogram.bounds(histogram.indices([value_ns]))
    return float(low[0] + high[0] - 1) / 2 / 1e9


@given(sparse | dense)
def test_package_reads_back_exactly_the_counts(counts):
    read = decode(encode(vector(counts)))
    assert (counts_of(read) == vector(counts)).all()
    assert read.get_total_count() == sum(counts.values())


@pytest.mark.parametrize("bits", range(1, 62))
def test_count_of_any_size_is_read_back(bits):
    for count in (2**bits - 1, 2**bits):
        assert counts_of(decode(encode([0, count])))[1] == count


@given(st.lists(durations, max_size=50))
def test_bytes_before_compression_are_those_of_the_package(values):
    theirs = empty()
    for value in values:
        theirs.record_value(value)
    assert payload(encode(histogram.count(values))) == payload(theirs.encode())


@given(st.lists(durations, min_size=1, max_size=300), st.sampled_from(QS))
def test_percentiles_agree(values, q):
    read = decode(encode(histogram.count(values)))
    # the package rounds the rank where we take the next: ask for its rank
    rank = read.get_target_count_at_percentile(q)
    ours = histogram.percentile_s(
        histogram.indices(values), np.ones(len(values)), 100 * rank / len(values)
    )
    assert ours == middle_s(read.get_value_at_percentile(q))


def test_layout_says_nanoseconds_with_three_digits_up_to_an_hour():
    read = decode(encode(histogram.count([1])))
    assert read.get_int_to_double_conversion_ratio() == 1.0
    assert (read.lowest_trackable_value, read.highest_trackable_value) == (1, HIGHEST_NS)
    assert read.significant_figures == SIGNIFICANT_DIGITS


def test_histogram_without_counts_is_read_back():
    assert decode(encode(np.zeros(SIZE))).get_total_count() == 0


@given(st.text(min_size=1), st.text(min_size=1))
def test_tags_are_in_allowed_characters_and_differ_where_names_do(one, other):
    for made in (tag(one, "response"), tag(other, "response")):
        assert made.isascii()
        assert made.isprintable()
        assert not set(made) & set(", ")
    assert (tag(one, "response") == tag(other, "response")) == (one == other)


def test_tag_of_an_ordinary_name_is_readable():
    assert tag("/", "response") == "/_response"
    assert tag("GET /sleep/50?how=block", "delay") == "GET%20/sleep/50?how=block_delay"


def mixed_requests() -> Requests:
    """5,000 in the window and 500 before it, an open load's, with delays of some, none in 3..4."""
    random = np.random.default_rng(3)
    done = np.concatenate([np.linspace(-0.9, -0.1, 500), np.linspace(0, 2.999, 4000)])
    done = np.concatenate([done, np.linspace(4, 4.999, 1000)])
    return Requests(
        done,
        random.lognormal(np.log(0.0005), 0.7, len(done)),
        delayed_at_s=done[600:1600],
        delay_s=random.exponential(0.002, 1000),
        lag_s=random.exponential(0.00002, len(done)),
    )


def logs_of(run: StoredRun) -> list[Path]:
    folder = run.path / "export"
    folder.mkdir()
    return write(Results((run,)), folder)


def read_log(path: Path) -> list[HdrHistogram]:
    reader = HistogramLogReader(str(path), empty())
    try:
        return list(iter(reader.get_next_interval_histogram, None))
    finally:
        reader.close()


def merged(intervals: list[HdrHistogram], label: str) -> HdrHistogram:
    whole = empty()
    for interval in intervals:
        if interval.get_tag() == label:
            whole.add(interval)
    return whole


@pytest.mark.parametrize("measure", ["response", "delay"])
def test_log_of_a_trial_has_the_counts_and_percentiles_of_our_own_analysis(tmp_path, measure):
    builder = RunBuilder(tmp_path)
    builder.measured(cell(work=scenario(latency=measure)), mixed_requests())
    run = builder.read()
    (path,) = logs_of(run)
    assert path == run.path / "export" / "hdr" / "0001-demo-wsgi-hello.hlog"

    row = trials_frame(run).iloc[0]
    intervals = read_log(path)
    responses = merged(intervals, "GET%20/_response")
    assert responses.get_total_count() == row["requests"] == 5000
    felt = merged(intervals, f"GET%20/_{measure}").get_percentile_to_value_dict(QS)
    for name, q in {"p50": 50.0, "p90": 90.0, "p99": 99.0, "max": 100.0}.items():
        assert middle_s(felt[q]) == row[f"{name}_s"]
    lag = merged(intervals, "GET%20/_lag")
    assert middle_s(lag.get_value_at_percentile(99.0)) == row["lag_p99_s"]


def test_log_has_a_line_per_second_and_measure_in_the_order_of_time(tmp_path):
    builder = RunBuilder(tmp_path, seconds=SECONDS)
    trial = builder.measured(cell(), mixed_requests())
    (path,) = logs_of(builder.read())
    intervals = read_log(path)
    assert [it.get_tag() for it in intervals] == [
        "GET%20/_delay", "GET%20/_lag", "GET%20/_response",
    ] * SECONDS  # fmt: skip
    responses = [it.get_total_count() for it in intervals[2::3]]
    assert (responses[3], sum(responses)) == (0, 5000)  # a second without answers is shown
    begins = [it.get_start_time_stamp() for it in intervals[::3]]
    assert np.diff(begins) == pytest.approx([1000.0] * (SECONDS - 1), abs=0.01)
    assert [it.get_end_time_stamp() - it.get_start_time_stamp() for it in intervals] == (
        pytest.approx([1000.0] * len(intervals), abs=0.01)
    )

    lines = path.read_text().splitlines()
    assert "nanoseconds" in lines[0]
    assert lines[1] == "#[Histogram log format version 1.3]"
    most_ms = [float(line.split(",")[3]) for line in lines if "_response," in line]
    longest_ns = [it.get_max_value() for it in intervals[2::3]]
    assert most_ms == pytest.approx([value / 1e6 for value in longest_ns], abs=1e-6)
    assert log(trial, "2026-01-01T00:00:00+00:00") is not None


def test_log_begins_when_the_window_did(tmp_path):
    builder = RunBuilder(tmp_path)
    builder.measured(
        cell(), mixed_requests(), began="2026-03-01T12:00:00.250+00:00",
        life_s={"environment": 1.0, "ready": 0.5, "warm up": 2.0, "measure": 5.0, "stop": 0.1},
    )  # fmt: skip
    builder.measured(cell(), mixed_requests())  # stored before trials knew when they began
    run = builder.read()
    first, second = logs_of(run)
    begin = datetime(2026, 3, 1, 12, 0, 3, 750_000, UTC)
    assert read_log(first)[0].get_start_time_stamp() == begin.timestamp() * 1000
    assert f"#[StartTime: {begin.timestamp():.3f} (seconds since epoch)" in first.read_text()
    created = datetime.fromisoformat(run.facts["created"])
    assert read_log(second)[0].get_start_time_stamp() == created.timestamp() * 1000


def test_last_interval_of_a_broken_second_is_as_long_as_it_was(tmp_path):
    builder = RunBuilder(tmp_path, seconds=1.5)
    builder.measured(cell(), Requests(np.array([0.2, 1.2, 1.4]), np.full(3, 0.001)))
    (path,) = logs_of(builder.read())
    lengths = [it.get_end_time_stamp() - it.get_start_time_stamp() for it in read_log(path)]
    assert lengths == pytest.approx([1000.0, 500.0], abs=0.01)


def test_names_are_apart_and_hostile_ones_stay_one_field(tmp_path):
    requests = mixed_requests()
    names = ("/a b", "/a,b", "/a\nb", "/a_b")
    table = pa.concat_tables([latency_table(requests, name) for name in names])
    builder = RunBuilder(tmp_path)
    builder.measured(cell(), requests, tables=(table.unify_dictionaries(), ticks_table(requests)))
    (path,) = logs_of(builder.read())
    intervals = read_log(path)
    assert len(intervals) == len(names) * 3 * SECONDS
    for label in ("/a%20b", "/a%2Cb", "/a%0Ab", "/a_b"):
        assert merged(intervals, f"{label}_response").get_total_count() == 5000


@pytest.mark.parametrize("option", [["--hdr"], ["--export", "hdr"]])
def test_command_writes_a_log_of_each_measured_trial_and_says_where(tmp_path, option):
    builder = RunBuilder(tmp_path / "results")
    builder.measured(cell("uvi/corn@0.30"), mixed_requests())
    builder.failed(cell("broken"))
    run = builder.read()
    finished = called("report", *option, "--json", cwd=tmp_path)
    assert finished.code == 0
    assert finished.document["run"].endswith(run.path.name)
    assert [it.name for it in (run.path / "export" / "hdr").iterdir()] == [
        "0001-uvi_corn@0.30-wsgi-hello.hlog"
    ]
    assert f"{run.path.name}/export/hdr/0001-uvi_corn@0.30-wsgi-hello.hlog" in finished.err
