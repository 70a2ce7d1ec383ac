"""What users, the page and the notebooks read runs by."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from harness import Results, load_run, load_runs
from harness.analyze import records
from harness.analyze.arrays import Arrays
from harness.analyze.usage import rounds
from harness.store import UnreadableRunError
from harness.tests.builders import (
    GENERATOR,
    MIB,
    Process,
    Requests,
    RunBuilder,
    cell,
    closed,
    constant_rate,
    none,
    processes_table,
)
from harness.tests.manytrials import ALIKE, FAILING, INVALID, LIMITED, LOG, SCRIPT, big_run
from harness.tests.test_columns import PROBE

WORKER, SECOND, MASTER = (
    Process("server", 101, cpu=0.3, pss=30 * MIB),
    Process("server", 102, cpu=0.1, pss=10 * MIB),
    Process("server", 100, cpu=0.01, role="master"),
)


def took(*times_s: float, at_s: float = 1.05) -> Requests:
    """Answers that took these times, all complete at one instant."""
    return Requests(np.full(len(times_s), at_s), np.array(times_s, dtype=float))


def stored(tmp_path: Path, *trials: Requests, name: str = "demo", **row) -> Results:
    """A run of one cell, a block for each of its trials."""
    it = cell(name, **row)
    builder = RunBuilder(tmp_path, [it], blocks=len(trials))
    for requests in trials:
        builder.measured(it, requests)
    return load_run(builder.read().path)


def refused(call: Callable[[], object], kind: type[Exception] = UnreadableRunError) -> str:
    """The one line by which something is refused."""
    with pytest.raises(kind) as caught:
        call()
    line = str(caught.value)
    assert "\n" not in line
    return line


# --- percentiles -----------------------------------------------------------------------------


def test_percentiles_are_of_merged_counts_and_no_mean_of_percentiles(tmp_path):
    """Nine in ten answers are the fast trial's: the median is its own, and not half-way."""
    run = stored(tmp_path, took(*[0.01] * 900), took(*[0.5] * 100))
    (row,) = records(run.percentiles((0.5, 0.95), used=False))
    assert row["p50_s"] == pytest.approx(0.01, rel=0.001)
    assert row["p95_s"] == pytest.approx(0.5, rel=0.001)
    assert (row["samples"], row["trials"]) == (1000, 2)


def test_percentiles_are_the_order_statistics_of_all_samples(tmp_path):
    random = np.random.default_rng(7)
    trials = [random.lognormal(-4 + block, 0.5, 4000) for block in range(3)]
    run = stored(tmp_path, *(took(*times) for times in trials))
    (row,) = records(run.percentiles(used=False))
    for q, name in ((0.5, "p50_s"), (0.9, "p90_s"), (0.99, "p99_s"), (0.999, "p99_9_s")):
        exact = np.sort(np.concatenate(trials))[int(np.ceil(q * 12000)) - 1]
        assert row[name] == pytest.approx(exact, rel=0.001)


@pytest.mark.parametrize(("samples", "known"), [(9_999, False), (10_000, True)])
def test_percentile_with_fewer_than_ten_samples_beyond_is_missing(tmp_path, samples, known):
    run = stored(tmp_path, took(*[0.01] * samples))
    (row,) = records(run.percentiles())
    assert (row["p99_9_s"] is not None) is known
    assert row["p99_s"] is not None
    assert row["samples"] == samples


def test_median_and_low_percentiles_need_ten_samples_on_either_side(tmp_path):
    (row,) = records(stored(tmp_path, took(*[0.01] * 19)).percentiles((0.01, 0.5)))
    assert (row["p50_s"], row["p1_s"]) == (None, None)
    (row,) = records(stored(tmp_path / "more", took(*[0.01] * 20)).percentiles((0.01, 0.5)))
    assert (row["p50_s"] is None, row["p1_s"]) == (False, None)


def test_percentiles_rest_on_the_trials_that_their_cell_rests_on(tmp_path):
    it = cell()
    builder = RunBuilder(tmp_path, [it], blocks=2)
    builder.measured(it, closed(took_s=0.05))
    builder.measured(it, closed(took_s=0.2), load={"lost": ["worker-1"]})
    run = load_run(builder.read().path)
    (row,) = records(run.percentiles((0.5,)))
    assert (row["trials"], row["verdict"]) == (1, "valid")
    assert row["p50_s"] == pytest.approx(0.05, rel=0.001)
    (row,) = records(run.percentiles((0.9,), used=False))
    assert (row["trials"], row["verdict"]) == (2, "invalid")
    assert row["p90_s"] == pytest.approx(0.2, rel=0.001)


def test_cell_that_failed_has_a_row_of_percentiles_without_numbers(tmp_path):
    builder = RunBuilder(tmp_path, [cell("a"), cell("b")])
    builder.measured(cell("a"), closed())
    builder.failed(cell("b"))
    rows = records(load_run(builder.read().path).percentiles(by=["server"]))
    assert [row["server"] for row in rows] == ["a", "b"]
    assert (rows[1]["verdict"], rows[1]["samples"], rows[1]["p50_s"]) == ("failed", 0, None)


def test_percentiles_of_one_trial_are_those_of_the_trials_frame(whole):
    each = whole.percentiles((0.5, 0.99), by=["number"]).set_index("number")
    trials = whole.trials.set_index("number")
    told = each["p99_s"].notna()
    assert told.sum() > 20
    for name in ("p50_s", "p99_s"):
        same = each.loc[told, name] == trials[name].reindex(each.index)[told]
        assert same.all()


def test_measure_of_each_cell_is_its_own_and_never_mixed(tmp_path):
    from harness.tests.builders import scenario

    pushed = scenario("ticks", latency="delay")
    cells = [cell("a"), cell("a", pushed)]
    builder = RunBuilder(tmp_path, cells)
    builder.measured(cells[0], closed(took_s=0.05))
    late = Requests(none(), none(), delayed_at_s=np.full(100, 1.5), delay_s=np.full(100, 0.002))
    builder.measured(cells[1], late)
    run = load_run(builder.read().path)
    rows = {row["measure"]: row for row in records(run.percentiles((0.5,), by=["server"]))}
    assert rows["response"]["p50_s"] == pytest.approx(0.05, rel=0.001)
    assert rows["delay"]["p50_s"] == pytest.approx(0.002, rel=0.001)


def test_lag_is_asked_for_by_name(tmp_path):
    run = stored(tmp_path, constant_rate(lag_s=0.0003), rate_per_s=200.0)
    (row,) = records(run.percentiles((0.9,), measure="lag"))
    assert row["p90_s"] == pytest.approx(0.0003, rel=0.001)


def test_percentiles_by_request_name(tmp_path):
    run = stored(tmp_path, closed())
    (row,) = records(run.percentiles((0.5,), by=["server", "name"]))
    assert (row["server"], row["name"]) == ("demo", "GET /")
    assert records(run.percentiles((0.5,), by="name")) == [
        {name: value for name, value in row.items() if name != "server"}
    ]


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"qs": (50,)}, "a percentile is given as a share between 0 and 1, and 50 is not"),
        ({"qs": (1.0,)}, "a percentile is given as a share between 0 and 1, and 1.0 is not"),
        ({"by": ["sever"]}, "percentiles cannot be told by 'sever', but by run, number, block"),
        ({"by": "sever"}, "percentiles cannot be told by 'sever', but by run, number, block"),
        ({"measure": "p99"}, "there is no measure 'p99'; there are response, service"),
    ],
)
def test_percentiles_of_what_there_is_not_are_refused(whole, asked, line):
    assert refused(lambda: whole.percentiles(**asked), ValueError).startswith(line)


def test_seconds_before_the_steady_state_are_in_no_histogram(tmp_path):
    slow, fast = closed(took_s=0.5, seconds=2.0), closed(took_s=0.05, seconds=5.0)
    later = fast.done_s > 2.0
    both = Requests(
        np.concatenate([slow.done_s, fast.done_s[later]]),
        np.concatenate([slow.took_s, fast.took_s[later]]),
    )
    run = stored(tmp_path, both)
    (trial,) = records(run.trials)
    assert trial["skipped_s"] == 2
    assert run.histograms["count"].sum() == trial["requests"] == later.sum()
    assert run.percentiles((0.9,)).loc[0, "p90_s"] == pytest.approx(0.05, rel=0.001)
    assert run.ticks.groupby("counts")["at_s"].agg(["min", "max"]).loc[True, "min"] == 2.0


# --- histograms, series and ticks ---------------------------------------------------------------


def test_histograms_hold_every_sample_in_a_bucket_around_it(tmp_path):
    run = stored(tmp_path, took(0.01, 0.01, 0.2))
    rows = run.histograms[run.histograms["measure"] == "response"]
    assert list(rows["count"]) == [2, 1]
    for value, (_, row) in zip((0.01, 0.2), rows.iterrows(), strict=True):
        assert row["low_s"] <= value < row["high_s"]
        assert row["high_s"] / row["low_s"] < 1.001
    assert set(rows["name"]) == {"GET /"}
    assert rows["server"].eq("demo").all()


def test_roles_use_what_their_processes_use(tmp_path):
    builder = RunBuilder(tmp_path, [cell()])
    builder.measured(cell(), closed(), (MASTER, WORKER, SECOND, GENERATOR))
    series = load_run(builder.read().path).series
    inside = series[series["counts"]]
    middle = inside.groupby(["side", "role"], observed=True)[["cpu_share", "pss_bytes"]].median()
    assert middle.loc[("server", "worker"), "cpu_share"] == pytest.approx(0.4)
    assert middle.loc[("server", "master"), "cpu_share"] == pytest.approx(0.01)
    assert middle.loc[("generator", "worker"), "cpu_share"] == pytest.approx(0.3)
    assert middle.loc[("server", "worker"), "pss_bytes"] == 40 * MIB
    assert (
        inside[inside["side"] == "server"]
        .groupby("role", observed=True)["processes"]
        .max()["worker"]
        == 2
    )
    assert inside["at_s"].between(0, 5).all()
    assert (series["at_s"] < 0).any()


def test_process_that_comes_and_goes_makes_no_spike_and_no_dip_below_zero(tmp_path):
    """It has used a hundred seconds of CPU when it is first seen."""
    heavy = Process("server", 103, cpu=lambda at: 100 + 0.2 * at, born_s=2.0, died_s=3.0)
    builder = RunBuilder(tmp_path, [cell()])
    builder.measured(cell(), closed(), (WORKER, heavy, GENERATOR))
    series = load_run(builder.read().path).series
    server = series[series["side"] == "server"]
    assert server["cpu_share"].dropna().between(0.29, 0.51).all()
    alive = server[server["processes"] == 2]
    assert alive["cpu_share"].iloc[1:].tolist() == pytest.approx([0.5] * (len(alive) - 1))


def test_number_given_to_another_process_is_no_negative_use(tmp_path):
    again = Process("server", 101, cpu=0.2, born_s=3.0)
    first = Process("server", 101, cpu=0.3, died_s=2.0)
    builder = RunBuilder(tmp_path, [cell()])
    builder.measured(cell(), closed(), (first, again, GENERATOR))
    series = load_run(builder.read().path).series
    used = series.loc[series["side"] == "server", "cpu_share"].dropna()
    assert used.between(0.19, 0.31).all()


def test_memory_that_was_not_read_of_one_process_is_missing_and_no_smaller_sum(tmp_path):
    dumb = Process("server", 102, pss=lambda at: 20 * MIB if at > 2 else None)
    builder = RunBuilder(tmp_path, [cell()])
    builder.measured(cell(), closed(), (WORKER, dumb, GENERATOR))
    series = load_run(builder.read().path).series
    server = series[series["side"] == "server"]
    assert server.loc[server["at_s"] < 2, "pss_bytes"].isna().all()
    assert (server.loc[server["at_s"] > 2, "pss_bytes"] == 50 * MIB).all()


def test_late_round_of_the_sampler_is_a_round_of_its_own():
    """The next one comes in time, which is 30 ms after it."""
    at_ns = np.array([0, 1, 170, 171, 200, 201]) * 1_000_000
    rows = Arrays({"at_ns": at_ns, "pid": np.array([7, 8, 7, 8, 7, 8])}, {})
    assert list(rounds(rows)) == [0, 0, 1, 1, 2, 2]


def test_waits_for_a_cpu_are_shares_of_the_time(tmp_path):
    builder = RunBuilder(tmp_path, [cell()])
    builder.measured(cell(), closed(), (Process("server", 1, waited=0.25), GENERATOR))
    series = load_run(builder.read().path).series
    told = series.loc[series["side"] == "server", "waited_share"].dropna()
    assert told.to_numpy() == pytest.approx(0.25)


def test_ticks_are_the_throughput_and_a_pause_is_zero_and_no_hole(tmp_path):
    run = stored(tmp_path, closed(users=10, took_s=0.05).without(2.0, 3.0))
    ticks = run.ticks
    inside = ticks[ticks["at_s"].between(0, 5, inclusive="left")]
    assert len(inside) == 50
    assert np.diff(ticks["at_s"]) == pytest.approx(0.1)
    paused = inside[inside["at_s"].between(2.0, 2.95)]
    assert (paused["ok_per_s"] == 0).all()
    assert paused["mean_s"].isna().all()
    steady = inside[inside["at_s"] < 1.9]
    assert steady["ok_per_s"].mean() == pytest.approx(200, rel=0.01)
    assert steady["mean_s"].to_numpy() == pytest.approx(0.05)


def test_trial_of_which_nothing_was_seen_has_no_series_and_ticks_of_zeros(tmp_path):
    builder = RunBuilder(tmp_path, [cell()])
    builder.measured(cell(), took(), processes_table([]))
    run = load_run(builder.read().path)
    assert run.series.empty
    assert len(run.ticks) == 50
    assert (run.ticks["ok_per_s"] == 0).all()
    assert run.histograms.empty
    assert run.percentiles()["samples"].tolist() == [0]


def test_ticks_add_up_to_the_trials_requests(whole):
    counts = whole.ticks[whole.ticks["counts"]].groupby("number")["ok_per_s"].sum() / 10
    trials = whole.trials[whole.trials["outcome"] == "measured"].set_index("number")
    assert (counts - trials["requests"]).abs().max() < 1e-6


def test_rows_are_grouped_without_a_join(whole):
    keys = ["run", "server", "app", "scenario", "workers", "threads", "model", "users"]
    for name in ("histograms", "series", "ticks"):
        found = getattr(whole, name)
        assert found.groupby(keys, dropna=False, observed=True).ngroups == 23, name


# --- probes -----------------------------------------------------------------------------------


def probed(folder: Path, name: str, document: object = PROBE) -> Path:
    place = folder / name
    place.mkdir(parents=True)
    (place / "probe.json").write_text(json.dumps(document), "utf-8")
    return place


def test_newest_probe_beside_the_run_is_read(tmp_path):
    run = stored(tmp_path, closed())
    probed(tmp_path, "probe-20260101T000000000001Z", {**PROBE, "servers": []})
    probed(tmp_path, "probe-20260201T000000000001Z")
    first, second = records(run.probes)
    assert first["run"] == "probe-20260201T000000000001Z"
    assert (first["server"], first["probe"], first["answer"]) == ("demo", "keep-alive", "no")
    assert (first["expected"], first["differs"]) == ("yes", True)
    assert (first["group"], first["question"]) == ("HTTP/1", "Is it kept?")
    assert first["versions"] == {"demo": "1.2"}
    assert (second["server"], second["probe"]) == ("other", None)
    assert second["failure"] == "it did not start"


def test_probe_that_is_named_is_read_from_wherever_it_is(tmp_path):
    run = stored(tmp_path / "results", closed()).run.path
    place = probed(tmp_path / "else", "probe-1")
    assert len(load_run(run, probe=place).probes) == 2
    assert len(load_run(run, probe=place / "probe.json").probes) == 2
    assert load_run(run).probes.empty


def test_probe_that_is_none_is_refused_at_once(tmp_path):
    run = stored(tmp_path, closed()).run.path
    line = refused(lambda: load_run(run, probe=tmp_path / "nowhere"))
    assert re.search(r"nowhere: is not a probe \(it has no probe\.json\)", line)


@pytest.mark.parametrize(
    "document",
    [
        {"schema": 1, "probes": []},
        {**PROBE, "servers": [{"server": "demo"}]},
        {**PROBE, "probes": []},
        {**PROBE, "servers": [7]},
        [],
    ],
)
def test_damaged_probe_is_said_in_one_line(tmp_path, document):
    run = stored(tmp_path, closed())
    probed(tmp_path, "probe-1", document)
    assert "probe.json: is" in refused(lambda: run.probes)


# --- bad input --------------------------------------------------------------------------------


def test_run_that_is_not_there_is_answered_by_those_that_are(tmp_path):
    path = stored(tmp_path, closed()).run.path
    for stamp in range(1, 7):
        shutil.copytree(path, tmp_path / f"2020010{stamp}T000000Z")
    line = refused(lambda: load_run("20200108T000000Z", tmp_path))
    assert line.startswith("20200108T000000Z: no such run; in ")
    newest = [path.name, *(f"2020010{stamp}T000000Z" for stamp in (6, 5, 4, 3))]
    assert line.endswith(f"there are: {', '.join(newest)} and 2 older")


def test_run_that_is_not_there_is_looked_for_where_it_was_said_to_be(tmp_path):
    run = stored(tmp_path, closed()).run.path
    line = refused(lambda: load_run(tmp_path / "20200108T000000Z"))
    assert line.endswith(f"in {tmp_path} there are: {run.name}")


def test_folder_without_any_run_says_so(tmp_path):
    assert "holds no run yet" in refused(lambda: load_run(results=tmp_path))
    assert refused(lambda: load_run("x", tmp_path)).endswith("there are: none")


def test_file_in_place_of_a_run_is_no_run(tmp_path):
    (tmp_path / "x").write_text("")
    assert "no such run" in refused(lambda: load_run(tmp_path / "x"))


@pytest.mark.parametrize(
    ("name", "number"),
    [("latency", "count"), ("ticks", "ok"), ("processes", "pid"), ("noise", "late_ns")],
)
@pytest.mark.parametrize("how", ["cut", "other columns", "other types"])
def test_damaged_series_is_named(tmp_path, name, number, how):
    run = stored(tmp_path, closed())
    file = run.run.trials[0].path / f"{name}.parquet"
    table = pq.read_table(file)
    if how == "cut":
        file.write_bytes(file.read_bytes()[:100])
    elif how == "other columns":
        pq.write_table(table.select(table.column_names[:1]), file)
    else:
        place = table.column_names.index(number)
        pq.write_table(table.set_column(place, number, [["x"] * len(table)]), file)
    line = refused(lambda: run.trials)
    assert str(file) in line
    assert "is damaged" in line


def test_two_runs_of_one_name_are_refused(tmp_path):
    run = stored(tmp_path / "a", closed()).run.path
    copy = Path(shutil.copytree(run, tmp_path / "b" / run.name))
    line = refused(lambda: load_runs([run, copy]))
    assert line.startswith(f"{copy}: has the name of {run}")
    assert "has the name of" in refused(lambda: load_runs([run, run]))


def test_several_runs_stand_below_one_another(tmp_path):
    first = stored(tmp_path / "a", closed(), closed())
    second = big_run(tmp_path / "b", servers=2, scenarios=1, blocks=1)
    renamed = second.rename(second.with_name("20990101T000000Z"))
    both = load_runs([first.run.path, renamed])
    assert list(both.trials["run"]) == [first.run.path.name] * 2 + [renamed.name] * 2
    assert list(both.cells["run"]) == [first.run.path.name] + [renamed.name] * 2
    assert set(both.ticks["run"]) == {first.run.path.name, renamed.name}
    assert len(both.percentiles()) == 3
    with pytest.raises(ValueError, match="too many values"):
        _ = both.run


def test_no_runs_are_empty_frames():
    nothing = load_runs([])
    assert nothing.trials.empty
    assert nothing.percentiles().empty
    assert nothing.rankings.empty


# --- a big run --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Results:
    return load_run(big_run(tmp_path_factory.mktemp("whole"), servers=6, scenarios=4, blocks=6))


def test_big_run_has_what_readers_must_get_over(whole):
    cells = {(row["server"], row["scenario"]): row for row in records(whole.cells)}
    assert len(cells) == 24
    assert cells[FAILING, "hello"]["verdict"] == "failed"
    assert cells[FAILING, "hello"]["log"] == LOG
    assert cells[INVALID, "hello"]["verdict"] == "invalid"
    assert cells[LIMITED, "hello"]["verdict"] == "generator-limited"
    assert (SCRIPT, "echo") in cells
    assert all(
        row["verdict"] in ("valid", "server-limited")
        for (_, scenario), row in cells.items()
        if scenario != "hello"
    )
    assert set(whole.series["role"]) == {"master", "worker"}


def test_big_runs_alike_servers_are_tied_and_the_others_apart(whole):
    echo = whole.rankings[whole.rankings["scenario"] == "echo"].set_index("server")
    first, second = ALIKE
    assert second in echo.loc[first, "tied"]
    assert echo.loc[first, "rank"] == echo.loc[second, "rank"]
    slowest = whole.cells.set_index(["scenario", "server"])["throughput_per_s"]["echo"].idxmin()
    assert slowest not in echo.loc[first, "tied"]
    assert echo.loc[slowest, "rank"] == 6


def test_big_run_is_the_same_for_the_same_seed(tmp_path):
    made = [load_run(big_run(tmp_path / it, 2, 2, 1)).trials for it in "ab"]
    made.append(load_run(big_run(tmp_path / "c", 2, 2, 1, seed=2)).trials)
    same, other = (it["p50_s"].tolist() == made[0]["p50_s"].tolist() for it in made[1:])
    assert same
    assert not other


READ = """
import resource, sys, time
import harness
begin = time.process_time()
run = harness.load_run(sys.argv[1])
rows = [len(frame) for frame in (run.trials, run.cells, run.comparisons, run.rankings)]
rows.append(len(run.percentiles()))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(*rows, time.process_time() - begin, peak)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_thousand_trials_are_read_in_bounded_memory(tmp_path):
    """It prints seconds and MiB; only the memory is held to a bound, which seconds cannot be."""
    run = big_run(tmp_path, servers=12, scenarios=4, blocks=21)
    done = subprocess.run(
        [sys.executable, "-c", READ, str(run)], capture_output=True, text=True, check=True
    )
    trials, cells, comparisons, rankings, merged, seconds, mib = map(float, done.stdout.split())
    print(f"\n{trials:.0f} trials read in {seconds:.1f} s of CPU, {mib:.0f} MiB at most")
    assert (trials, cells, merged) == (1008, 48, 48)
    apart = 3 * 66 + 45  # pairs of 12 servers, and of the 10 of hello that can be compared
    assert comparisons == apart * 8
    assert rankings == 3 * 12 + 9
    assert mib < 700
