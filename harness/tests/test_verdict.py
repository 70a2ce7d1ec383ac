"""Verdicts: each fault is found in data that has it, and in no data without it."""

from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from harness.analyze import cells_frame, records, trials_frame
from harness.analyze.rules import RULES
from harness.analyze.verdict import (
    FAILED,
    GENERATOR_LIMITED,
    INVALID,
    NO_STEADY_STATE,
    SERVER_LIMITED,
    SEVERITY,
    VALID,
    most_severe,
)
from harness.ceiling import Ceiling
from harness.model import Load
from harness.tests.builders import (
    GENERATOR,
    SERVER,
    Requests,
    RunBuilder,
    cell,
    closed,
    constant_rate,
    nanoseconds,
    none,
    quiet_table,
    random_times,
    scenario,
)

BLOCKING = scenario("blocking-io", wait_s=0.05)
POLL = scenario("long-poll", latency="delay")
OPTIONS = ("server_cpus", "generator_cpus", "ceilings")


class Judged:
    """A trial's verdict, the rules that were broken, and what is said of each."""

    def __init__(self, frame) -> None:
        row = records(frame)[0]
        self.verdict = row["verdict"]
        found = row["findings"]
        self.rules = [finding.name for finding in found]
        self.said = {finding.name: finding.text for finding in found}
        self.figures = {finding.name: finding.figures for finding in found}
        assert row["reasons"] == [finding.text for finding in found]


@pytest.fixture
def judge(tmp_path):
    """What a trial of these requests and processes is worth, by way of the disk."""
    made = 0

    def judge(requests, processes=(SERVER, GENERATOR), it=None, *, seconds=5.0, **facts):
        nonlocal made
        made += 1
        options = {name: facts.pop(name) for name in OPTIONS if name in facts}
        builder = RunBuilder(tmp_path / str(made), seconds=seconds, **options)
        builder.measured(it or cell(), requests, processes, **facts)
        return Judged(trials_frame(builder.read()))

    return judge


@pytest.mark.parametrize("requests", [closed(), random_times()], ids=["constant", "random"])
def test_trial_without_a_fault_is_valid_and_says_nothing(judge, requests):
    judged = judge(requests)
    assert (judged.verdict, judged.rules) == (VALID, [])


def test_blocking_work_without_a_fault_is_valid(judge):
    judged = judge(closed(users=3, took_s=0.051), it=cell(work=BLOCKING, users=3, workers=4))
    assert (judged.verdict, judged.rules) == (VALID, [])


@pytest.mark.parametrize("share", [0.10, 0.79])
def test_generator_with_room_left_limits_nothing(judge, share):
    assert judge(closed(), [SERVER, replace(GENERATOR, cpu=share)]).verdict == VALID


@pytest.mark.parametrize("share", [0.81, 0.99])
def test_generator_without_room_limits_the_trial(judge, share):
    judged = judge(closed(), [SERVER, replace(GENERATOR, cpu=share)])
    assert (judged.verdict, judged.rules) == (GENERATOR_LIMITED, ["generator-limited"])
    assert f"the generator used {share:.0%} of its CPU" in judged.said["generator-limited"]


def test_generator_of_two_processes_has_two_cpus(judge):
    both = [replace(GENERATOR, pid=pid, cpu=0.79) for pid in (200, 201)]
    it, load = cell(), {"processes": 2}
    apart = judge(closed(), [SERVER, *both], it, load=load, generator_cpus=(6, 7))
    assert apart.verdict == VALID
    one = [replace(GENERATOR, pid=pid, cpu=0.45) for pid in (200, 201)]
    assert judge(closed(), [SERVER, *one], it, load=load).rules == ["generator-limited"]


def test_generator_that_lost_a_process_proves_nothing(judge):
    judged = judge(closed(), load={"processes": 2, "lost": ["2 of 2 (host_1f)"]})
    assert (judged.verdict, judged.rules) == (INVALID, ["lost worker"])
    assert "worker 2 of 2 (host_1f)" in judged.said["lost worker"]


# closed() has 10 users and 200 answers per second
@pytest.mark.parametrize(
    ("ceiling", "rules"),
    [
        (Ceiling("hello", Load(10), 290.0, 0.99, 0.5), []),
        (Ceiling("hello", Load(10), 280.0, 0.99, 0.5), ["ceiling"]),
        (Ceiling("hello", Load(10), 280.0, 0.70, 0.99), []),  # the responder's, not ours
        (Ceiling("hello", Load(20), 280.0, 0.99, 0.5), []),  # of other users
        (Ceiling("echo", Load(10), 280.0, 0.99, 0.5), []),
        (Ceiling("hello", Load(10, processes=2), 280.0, 0.99, 0.5), []),
        (Ceiling("hello", Load(10), failure="it did not start"), []),
    ],
)
def test_throughput_near_the_generators_own_is_not_the_servers(judge, ceiling, rules):
    judged = judge(closed(), ceilings=(ceiling,))
    assert judged.rules == rules
    assert judged.verdict == (GENERATOR_LIMITED if rules else VALID)
    if rules:
        assert "71%" in judged.said["ceiling"]


def test_requests_that_this_machine_could_not_send_are_the_generators_fault(judge):
    requests = replace(closed(), failed_at_s=np.array([1.0, 2.0]))
    judged = judge(requests, errors={"generator": 2})
    assert judged.verdict == GENERATOR_LIMITED
    assert "generator's errors" in judged.rules


def test_times_of_locusts_own_clients_are_marked_as_such(judge):
    judged = judge(closed(), load={"client": "Locust's HttpUser", "in_flight": None})
    assert (judged.verdict, judged.rules) == (VALID, ["client"])
    assert "recorded by Locust's HttpUser" in judged.said["client"]
    # such a user may think between its requests
    assert judge(closed(users=5), load={"client": "Locust's HttpUser"}).rules == ["client"]


def test_littles_law_knows_of_pauses(judge):
    """Ten users that rest 0.95 s after each answer of 50 ms: 10 answers per second."""
    done = np.arange(-1.0, 5.0, 0.1) + 0.05
    requests = Requests(done, np.full(len(done), 0.05))
    assert judge(requests, it=cell(work=scenario(pause_s=0.95))).verdict == VALID
    assert judge(requests).rules == ["Little's law"]


def test_generator_limit_outweighs_that_of_the_server(judge):
    judged = judge(closed(), [replace(SERVER, cpu=0.99), replace(GENERATOR, cpu=0.95)])
    assert judged.rules == ["generator-limited", "server-limited"]
    assert judged.verdict == GENERATOR_LIMITED


def test_server_whose_cpus_are_busy_is_at_its_limit(judge):
    assert judge(closed(), [replace(SERVER, cpu=0.94), GENERATOR]).rules == []
    judged = judge(closed(), [replace(SERVER, cpu=0.96), GENERATOR])
    assert (judged.verdict, judged.rules) == (SERVER_LIMITED, ["server-limited"])
    assert judged.said["server-limited"] == "the server's CPUs were 96% busy"


def test_one_busy_cpu_of_two_is_not_the_servers_limit(judge):
    one = [replace(SERVER, cpu=0.99), GENERATOR]
    assert judge(closed(), one, server_cpus=(0, 1)).verdict == VALID
    two = [replace(SERVER, pid=pid, cpu=0.99) for pid in (100, 101)]
    assert judge(closed(), [*two, GENERATOR], server_cpus=(0, 1)).verdict == SERVER_LIMITED


def test_server_and_generator_that_fight_for_one_cpu_limit_each_other(judge):
    one = {"server_cpus": (0,), "generator_cpus": (0,)}
    busy = [replace(SERVER, cpu=0.5), replace(GENERATOR, cpu=0.35)]
    judged = judge(closed(), busy, **one)
    assert (judged.verdict, judged.rules) == (GENERATOR_LIMITED, ["shared CPUs"])
    assert judged.said["shared CPUs"].startswith("server (50%) and generator (35%) fought")
    assert judge(closed(), busy).rules == []
    idle = [replace(SERVER, cpu=0.4), replace(GENERATOR, cpu=0.35)]
    assert judge(closed(), idle, **one).rules == []


def occupied(share: float) -> Requests:
    """Ten users on four workers that wait 50 ms: `share` of what four at once can answer."""
    return closed(users=10, took_s=10 * 0.05 / 4 / share)


def test_server_whose_workers_are_all_occupied_is_at_its_limit(judge):
    it = cell(work=BLOCKING, workers=4)
    assert judge(occupied(0.93), it=it).rules == []
    judged = judge(occupied(0.97), it=it)
    assert (judged.verdict, judged.rules) == (SERVER_LIMITED, ["server-limited"])
    assert "every slot (workers x threads: 4) was occupied" in judged.said["server-limited"]


def test_server_without_bound_has_no_workers_to_occupy(judge):
    it = cell(work=BLOCKING, workers=4, concurrency="event-loop")
    assert judge(occupied(0.97), it=it).verdict == VALID


def test_answer_faster_than_its_wait_is_impossible(judge):
    it = cell(work=BLOCKING, users=3, workers=4)
    judged = judge(closed(users=3, took_s=0.0485), it=it)
    assert (judged.verdict, judged.rules) == (INVALID, ["impossible latency"])
    assert (
        "an answer came after 48.5 ms, and it was asked to wait 50 ms"
        in (judged.said["impossible latency"])
    )


def test_one_fast_answer_of_thousands_is_enough(judge):
    requests = closed(users=3, took_s=0.055)
    took = requests.took_s.copy()
    took[len(took) // 2] = 0.011
    judged = judge(replace(requests, took_s=took), it=cell(work=BLOCKING, users=3, workers=4))
    assert judged.rules == ["impossible latency"]


def test_fast_answer_in_the_warm_up_is_not_of_the_trial(judge):
    requests = closed(users=3, took_s=0.055)
    took = np.where(requests.done_s < 0, 0.011, requests.took_s)
    judged = judge(replace(requests, took_s=took), it=cell(work=BLOCKING, users=3, workers=4))
    assert judged.rules == []


def test_timer_that_counts_whole_milliseconds_may_be_one_early(judge):
    it = cell(work=BLOCKING, users=3, workers=4)
    assert judge(closed(users=3, took_s=0.0491), it=it).rules == []


def test_short_delay_of_an_event_is_not_a_short_wait(judge):
    held = scenario("held", wait_s=0.05, latency="delay")
    requests = replace(
        closed(users=3, took_s=0.055), delayed_at_s=np.arange(0, 5, 0.1), delay_s=np.full(50, 1e-4)
    )
    assert judge(requests, it=cell(work=held, users=3, workers=4)).rules == []


def test_more_answers_than_workers_can_wait_for_is_impossible(judge):
    """Two workers that wait 50 ms answer 40 a second, and here are 200."""
    judged = judge(closed(users=10, took_s=0.05), it=cell(work=BLOCKING, workers=2))
    assert judged.verdict == INVALID
    assert "impossible rate" in judged.rules
    assert judged.said["impossible rate"] == (
        "200.0/s is more than 2 at once can do in 50 ms each (40.0/s)"
    )


def test_as_many_answers_as_workers_can_wait_for_is_possible(judge):
    judged = judge(occupied(1.0), it=cell(work=BLOCKING, workers=4))
    assert judged.rules == ["server-limited"]
    assert "impossible rate" in judge(occupied(1.02), it=cell(work=BLOCKING, workers=4)).rules


def test_threads_are_slots_as_well(judge):
    it = cell(work=BLOCKING, workers=2, threads=5, concurrency="thread")
    assert "impossible rate" not in judge(closed(users=10, took_s=0.05), it=it).rules
    it = cell(work=BLOCKING, workers=2, threads=4, concurrency="thread")
    assert "impossible rate" in judge(closed(users=10, took_s=0.05), it=it).rules


def test_slots_that_answer_in_step_may_each_end_one_more_at_the_edge(judge):
    """Four workers in step, at 0, 51, ... 1,020 ms of 1,021: 21 rounds of four, all honest."""
    rounds = np.arange(-19, 21) * 0.051
    done = np.repeat(rounds, 4)
    requests = Requests(done, np.full(len(done), 0.051))
    it = cell(work=BLOCKING, users=4, workers=4)
    assert "impossible rate" not in judge(requests, it=it, seconds=1.021).rules


def test_more_cpu_than_there_was_is_impossible(judge):
    full = judge(closed(), [replace(SERVER, cpu=1.0), GENERATOR])
    assert full.rules == ["server-limited"]
    judged = judge(closed(), [replace(SERVER, cpu=1.1), GENERATOR])
    assert judged.verdict == INVALID
    assert "impossible CPU" in judged.rules
    assert judged.said["impossible CPU"] == (
        "the server used 5.50 CPU-seconds, and its 1 CPUs had 5.00: it escaped its CPUs"
    )


def test_cpu_of_two_is_not_too_much_for_two(judge):
    two = [replace(SERVER, pid=pid, cpu=0.9) for pid in (100, 101)]
    assert judge(closed(), [*two, GENERATOR], server_cpus=(0, 1)).rules == []
    assert "impossible CPU" in judge(closed(), [*two, GENERATOR]).rules


def bent(requests: Requests, factor: float) -> Requests:
    """The same number of answers, each said to have taken `factor` as long."""
    return replace(requests, took_s=requests.took_s * factor)


@pytest.mark.parametrize("factor", [0.96, 1.0, 1.04])
def test_times_and_counts_that_agree_keep_littles_law(judge, factor):
    """The threshold is 5 % and the share of the window that the longest answer is: here 1 %."""
    assert judge(bent(closed(), factor)).rules == []


@pytest.mark.parametrize("factor", [0.93, 1.07, 0.5])
def test_times_and_counts_that_disagree_break_littles_law(judge, factor):
    judged = judge(bent(closed(), factor))
    assert (judged.verdict, judged.rules) == (INVALID, ["Little's law"])
    assert "and 10 users sent them" in judged.said["Little's law"]


def test_lost_completions_break_littles_law(judge):
    whole = closed()
    keep = np.arange(len(whole.done_s)) % 10 != 0
    lost = Requests(whole.done_s[keep], whole.took_s[keep])
    assert judge(lost).rules == ["Little's law"]


def test_littles_law_is_not_asked_where_errors_took_time_too(judge):
    requests = replace(bent(closed(), 0.5), failed_at_s=np.array([1.0]))
    assert judge(requests, errors={"timeout": 1}).rules == ["errors"]


def test_few_long_answers_do_not_break_littles_law(judge):
    """Long-polls of two seconds: what crosses the window's ends is a good part of all."""
    waiting = closed(users=10, took_s=2.0, warmup_s=2.0)
    waiting = replace(
        waiting, delayed_at_s=waiting.done_s, delay_s=np.full(len(waiting.done_s), 0.001)
    )
    assert "Little's law" not in judge(waiting, it=cell(work=POLL)).rules


def test_trial_without_a_right_answer_is_invalid(judge):
    nothing = judge(Requests(none(), none()))
    assert (nothing.verdict, nothing.rules) == (INVALID, ["no answers"])
    assert nothing.said["no answers"] == "no right answer under load"
    wrong = Requests(none(), none(), failed_at_s=np.array([0.1, 0.2, 0.3]))
    judged = judge(wrong, errors={"bad-status": 3})
    assert (judged.verdict, judged.rules) == (INVALID, ["no answers"])
    assert judged.said["no answers"] == "no right answer under load: 3 bad-status GET /"


def test_answers_in_the_warm_up_alone_are_no_answers(judge):
    assert judge(closed().without(0.0, 5.0)).rules == ["no answers"]


def test_errors_are_told_with_their_kinds_and_do_not_make_it_invalid(judge):
    requests = replace(closed(), failed_at_s=np.array([1.0, 2.0, 3.0]))
    judged = judge(requests, errors={"reset": 2, "timeout": 1})
    assert (judged.verdict, judged.rules) == (VALID, ["errors"])
    assert judged.said["errors"] == (
        "3 of 1003 requests failed and are not counted as throughput: "
        "2 reset GET /, 1 timeout GET /"
    )


def test_errors_of_the_warm_up_are_not_of_the_trial(judge):
    assert judge(replace(closed(), failed_at_s=np.array([-0.5]))).rules == []


def test_second_without_completions_is_a_stall(judge):
    requests = random_times(median_s=0.005)
    assert "stalled" not in judge(requests.without(2.0, 2.9)).rules
    assert "stalled" in judge(requests.without(2.0, 3.0)).rules
    judged = judge(requests.without(2.0, 3.2))
    assert "stalled" in judged.rules
    assert judged.said["stalled"] == (
        "no request was completed for 1.2 s while requests were in flight"
    )


def test_stall_alone_means_that_the_state_was_not_steady(judge):
    """What was in flight when it stalled took that long: Little's law holds all the same."""
    steady = closed(users=10, took_s=0.05)
    took = steady.took_s.copy()
    first = np.flatnonzero(steady.done_s >= 3.2)[:10]
    took[first] += 1.2
    judged = judge(replace(steady, took_s=took).without(2.0, 3.2))
    assert (judged.verdict, judged.rules) == (NO_STEADY_STATE, ["stalled"])


def test_stall_at_the_end_of_the_window_is_one_as_well(judge):
    assert "stalled" in judge(closed().without(3.8, 5.0)).rules


def test_server_that_waits_as_asked_does_not_stall(judge):
    """Ten users in step on a wait of two seconds complete every two seconds."""
    done = np.repeat(np.array([0.05, 2.06, 4.07]), 10)
    requests = Requests(done, np.full(30, 2.01))
    slow = scenario("slow", wait_s=2.0)
    it = cell(work=slow, workers=10, concurrency="event-loop")
    assert "stalled" not in judge(requests, it=it).rules
    assert "stalled" in judge(requests, it=cell(work=scenario("fast"))).rules


def test_workers_that_never_answered_are_told(judge):
    it = cell(workers=4)
    assert judge(closed(), it=it, workers_seen=4).rules == []
    judged = judge(closed(), it=it, workers_seen=3)
    assert (judged.verdict, judged.rules) == (VALID, ["workers"])
    assert judged.said["workers"] == "only 3 of 4 workers answered while it was made ready"


def test_users_that_never_got_an_answer_are_told(judge):
    judged = judge(closed(), load={"starved": 3})
    assert (judged.verdict, judged.rules) == (SERVER_LIMITED, ["starved"])
    assert judged.said["starved"].startswith("3 of 10 users got no answer in the whole window")


def test_what_a_stock_client_cannot_know_is_not_a_fault(judge):
    unknown = {"sent": 0, "ok": 1200, "failed": 0, "connects": 0}
    judged = judge(
        closed(), load={"starved": None, "in_flight": None, "since_start": unknown, "client": "x"}
    )
    assert (judged.verdict, judged.rules) == (VALID, ["client"])


def test_connections_that_serve_one_request_each_are_told(judge):
    total = {"sent": 1200, "ok": 1200, "failed": 0}
    kept = judge(closed(), load={"since_start": total | {"connects": 10}})
    assert kept.rules == []
    judged = judge(closed(), load={"since_start": total | {"connects": 1200}})
    assert (judged.verdict, judged.rules) == (VALID, ["no keep-alive"])


def test_slow_answers_on_one_connection_per_user_are_kept_connections(judge):
    """Six seconds in all, and four for an answer: nobody had the time to send twice on it."""
    slow = closed(users=10, took_s=4.0)
    total = {"sent": 19, "ok": 10, "failed": 0, "connects": 10}
    assert "no keep-alive" not in judge(slow, load={"since_start": total}).rules


def late_by(delay_s, share=0.5, *, wait_s=0.0):
    """Answers of 2 ms (and the wait), of which a share comes so much later."""
    source = np.random.default_rng(3)
    late = source.random(4000) < share
    took = wait_s + 0.002 + source.uniform(0, 0.002, 4000) + late * delay_s
    users = took.reshape(10, -1)
    done = -1.0 + np.cumsum(users, axis=1)
    kept = nanoseconds(done) < 5e9
    order = np.argsort(done[kept])
    return Requests(done[kept][order], users[kept][order])


@pytest.mark.parametrize("delay_s", [0.040, 0.200])
def test_mode_where_a_delayed_ack_ends_is_a_plateau(judge, delay_s):
    judged = judge(late_by(delay_s))
    assert (judged.verdict, judged.rules) == (VALID, ["plateau"])
    assert f"came about {delay_s * 1e3:.0f} ms late" in judged.said["plateau"]
    assert judged.figures["plateau"]["share"] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("delay_s", "share"), [(0.030, 0.5), (0.060, 0.5), (0.100, 0.5), (0.040, 0.02), (0.0, 0.0)]
)
def test_other_modes_and_few_answers_are_no_plateau(judge, delay_s, share):
    assert "plateau" not in judge(late_by(delay_s, share)).rules


def test_times_spread_over_the_delay_of_an_ack_are_no_plateau(judge):
    assert "plateau" not in judge(random_times(median_s=0.04)).rules


def test_plateau_is_looked_for_beyond_the_wait(judge):
    it = cell(work=BLOCKING, users=10, workers=10)
    assert "plateau" in judge(late_by(0.040, wait_s=0.05), it=it).rules
    asked = cell(work=scenario("waits", wait_s=0.042), users=10, workers=11)
    assert "plateau" not in judge(late_by(0.042), it=asked).rules


def test_delay_of_an_event_that_an_ack_held_up_is_a_plateau(judge):
    """Held for half a second by right, and its first byte with it; delivered 41 ms late."""
    held = closed(users=10, took_s=0.5)
    many = len(held.done_s)
    late = replace(
        held,
        delayed_at_s=held.done_s,
        delay_s=np.full(many, 0.041),
        first_s=held.took_s,
    )
    work = scenario("held", wait_s=0.4, latency="delay")
    judged = judge(late, it=cell(work=work, concurrency="event-loop"))
    assert "if the app does not wait so long itself" in judged.said["plateau"]


def test_queue_of_a_server_at_its_limit_is_no_plateau_but_a_late_rest_is(judge):
    """All answers after 42 ms, from a server whose CPUs are busy: ten of them wait in a queue."""
    full, busy = closed(took_s=0.042), [replace(SERVER, cpu=0.99), GENERATOR]
    assert judge(full, busy).rules == ["server-limited"]
    apart = replace(full, first_s=np.full(len(full.done_s), 0.001))
    judged = judge(apart, busy)
    assert judged.rules == ["server-limited", "plateau"]
    assert "their first byte had come at once" in judged.said["plateau"]


@pytest.mark.parametrize(("busy", "rules"), [(0.99, ["crowded server"]), (0.90, []), (0.43, [])])
def test_server_whose_cpus_others_fill_is_not_at_its_own_limit(judge, busy, rules):
    """It used 0.4 of its CPU itself."""
    noise = quiet_table(server_busy_s=lambda at: busy * at)
    judged = judge(closed(), [replace(SERVER, waited=0.3), GENERATOR], noise=noise)
    assert judged.rules == rules
    assert judged.verdict == (SERVER_LIMITED if rules else VALID)
    if rules:
        assert judged.said["crowded server"] == (
            "others had 59% or more of the server's CPUs, which were full: alone it would do more"
        )


def test_server_that_fills_its_cpus_is_not_crowded_by_itself(judge):
    noise = quiet_table(server_busy_s=lambda at: 0.99 * at)
    judged = judge(closed(), [replace(SERVER, cpu=0.98), GENERATOR], noise=noise)
    assert judged.rules == ["server-limited"]


def test_generator_whose_cpus_others_fill_limits_the_trial(judge):
    """It used 0.3 of its CPU itself, and the hypervisor took as much as others."""
    noise = quiet_table(
        generator_busy_s=lambda at: 0.65 * at, generator_steal_s=lambda at: 0.34 * at
    )
    judged = judge(closed(), noise=noise)
    assert (judged.verdict, judged.rules) == (GENERATOR_LIMITED, ["crowded generator"])
    patient = quiet_table(generator_busy_s=lambda at: 0.99 * at)
    assert judge(closed(), noise=patient).rules == []  # others gave way to it
    assert judged.figures["crowded generator"]["steal_share"] == pytest.approx(0.34)


def test_stall_is_longer_than_users_rest(judge):
    """Ten users in step that rest two seconds."""
    done = np.repeat(np.arange(-0.5, 5.0, 2.0), 10)
    requests = Requests(done, np.full(len(done), 0.01))
    assert "stalled" not in judge(requests, it=cell(work=scenario(pause_s=1.99))).rules
    assert "stalled" in judge(requests).rules


@pytest.mark.parametrize(
    ("warmup_s", "took_s", "rules"),
    [
        (2.0, 0.05, []),
        (0.5, 0.05, ["short warm-up"]),
        (0.5, 0.004, []),
        (0.0, 4.0, ["short warm-up"]),
    ],
)
def test_warm_up_has_to_have_its_seconds_or_its_requests(judge, warmup_s, took_s, rules):
    """A worker's thousand requests are enough; ten users send 2,500 at 4 ms in a second."""
    facts = {"timing": {"warmup_s": warmup_s, "duration_s": 5.0}}
    judged = judge(closed(took_s=took_s), it=cell(workers=1), **facts)
    assert [rule for rule in judged.rules if rule == "short warm-up"] == rules
    assert judged.verdict != INVALID


OPEN = cell(users=100, rate_per_s=200.0)


def due(offered=1000, unsent=0, unanswered=0):
    return {"offered": offered, "unsent": unsent, "unanswered": unanswered}


def test_open_load_without_a_fault_is_valid_and_says_nothing(judge):
    """Two requests are in the system, and not as many as may be: no law is broken by that."""
    judged = judge(constant_rate(), it=OPEN, load=due())
    assert (judged.verdict, judged.rules) == (VALID, [])


@pytest.mark.parametrize(
    ("took_s", "lag_s", "rules"),
    [
        (0.002, 0.0009, []),  # a millisecond is allowed
        (0.002, 0.0011, ["lag"]),
        (0.050, 0.0045, []),  # or a tenth of the median
        (0.050, 0.0055, ["lag"]),
    ],
)
def test_generator_that_sends_late_limits_the_trial(judge, took_s, lag_s, rules):
    judged = judge(constant_rate(took_s=took_s, lag_s=lag_s), it=OPEN, load=due())
    assert judged.rules == rules
    assert judged.verdict == (GENERATOR_LIMITED if rules else VALID)


def test_lag_that_only_a_few_requests_have_is_forgiven(judge):
    requests = constant_rate()
    for share, rules in ((0.005, []), (0.015, ["lag"])):
        lag = requests.lag_s.copy()
        inside = np.flatnonzero(requests.done_s >= 0)
        lag[inside[: round(share * len(inside))]] = 0.2
        assert judge(replace(requests, lag_s=lag), it=OPEN, load=due()).rules == rules


def test_requests_that_were_due_and_never_begun_limit_the_trial(judge):
    assert judge(constant_rate(), it=OPEN, load=due(offered=1009)).rules == []
    judged = judge(constant_rate(), it=OPEN, load=due(offered=1015))
    assert (judged.verdict, judged.rules) == (GENERATOR_LIMITED, ["not sent in time"])


def test_requests_that_had_no_room_in_flight_are_the_servers_limit(judge):
    judged = judge(constant_rate(), it=OPEN, load=due(offered=1200, unsent=200))
    assert (judged.verdict, judged.rules) == (SERVER_LIMITED, ["unsent"])
    assert judged.said["unsent"].startswith("200 of 1200 requests were not sent, because 100 ")


@pytest.mark.parametrize(
    ("cpu", "workers", "rule"),
    [
        (0.1, 8, "in-flight cap"),
        (0.6, 8, "unsent"),  # it works
        (0.1, 2, "unsent"),  # its two workers are occupied
    ],
)
def test_whose_limit_the_number_in_flight_is_depends_on_the_servers_work(judge, cpu, workers, rule):
    """200/s of 10 ms, of which 20 % had no room: two requests are in the system on average."""
    it = cell(users=2, rate_per_s=250.0, workers=workers)
    requests = constant_rate(took_s=0.0101)
    judged = judge(requests, [replace(SERVER, cpu=cpu), GENERATOR], it, load=due(1250, unsent=250))
    assert judged.rules == [rule]
    assert judged.verdict == (GENERATOR_LIMITED if rule == "in-flight cap" else SERVER_LIMITED)
    assert judged.said[rule].startswith("250 of 1250 requests were not sent, because 2 ")


def test_requests_that_never_had_an_answer_are_the_servers_limit(judge):
    judged = judge(constant_rate(), it=OPEN, load=due(offered=1030, unanswered=30))
    assert (judged.verdict, judged.rules) == (SERVER_LIMITED, ["unanswered"])


def test_nothing_is_in_flight_between_two_arrivals_of_a_slow_open_load(judge):
    it = cell(users=100, rate_per_s=2.0)
    slow = constant_rate(2.0).without(1.2, 3.4)
    few = {"sent": 12, "ok": 8, "failed": 0, "connects": 1}
    load = due(offered=int((slow.done_s >= 0).sum())) | {"since_start": few}
    assert judge(slow, it=it, load=load).rules == []
    fast = constant_rate().without(1.2, 3.4)
    assert "stalled" in judge(fast, it=OPEN, load=due(offered=600)).rules


def test_failed_trial_says_during_what_and_why(tmp_path):
    builder = RunBuilder(tmp_path)
    builder.failed(cell(), "verify", "answer check 'echo' failed: expected 200, got 500")
    judged = Judged(trials_frame(builder.read()))
    assert (judged.verdict, judged.rules) == (FAILED, ["failed"])
    assert judged.said["failed"] == (
        "failed during verify: answer check 'echo' failed: expected 200, got 500"
    )


def test_verdict_is_the_most_severe_finding():
    assert most_severe([SERVER_LIMITED, INVALID, VALID]) == INVALID
    assert most_severe([]) == VALID
    for severe, mild in itertools.pairwise(SEVERITY):
        assert most_severe([mild, severe]) == severe


def test_finding_names_its_rule_its_figures_and_what_to_do(tmp_path):
    builder = RunBuilder(tmp_path / "advice")
    builder.measured(cell(), closed(), [SERVER, replace(GENERATOR, cpu=0.9)])
    (found,) = records(trials_frame(builder.read()))[0]["findings"]
    assert (found.name, found.verdict) == ("generator-limited", GENERATOR_LIMITED)
    assert found.rule == "generator CPU > 80% of its CPUs"
    assert found.figures == {"generator_cpu_share": pytest.approx(0.9)}
    assert "--processes" in found.advice


def test_table_of_rules_names_known_verdicts_and_each_rule_once():
    assert all(name == rule.name and rule.rule for name, rule in RULES.items())
    assert {rule.verdict for rule in RULES.values()} == set(SEVERITY)


def test_several_faults_are_all_told(judge):
    requests = replace(closed().without(2.0, 3.2), failed_at_s=np.array([1.0]))
    judged = judge(requests, [SERVER, replace(GENERATOR, cpu=0.9)], cell(workers=4), workers_seen=1)
    assert judged.verdict == GENERATOR_LIMITED
    assert judged.rules == ["generator-limited", "stalled", "errors", "workers"]


GOOD = closed()
BUSY = [SERVER, replace(GENERATOR, cpu=0.95)]


def cell_of(tmp_path, *makers):
    """The cell's row out of trials that `makers` store."""
    it = cell()
    builder = RunBuilder(tmp_path, [it], blocks=len(makers))
    for make in makers:
        make(builder, it)
    rows = records(cells_frame(trials_frame(builder.read())))
    assert len(rows) == 1
    return rows[0]


def good(builder, it, took_s=0.05):
    builder.measured(it, closed(took_s=took_s))


def bad(builder, it):
    builder.measured(it, bent(GOOD, 0.5))


def limited(builder, it):
    builder.measured(it, closed(took_s=0.02), BUSY)


def at_its_limit(builder, it):
    builder.measured(it, closed(took_s=0.025), [replace(SERVER, cpu=0.99), GENERATOR])


def failed(builder, it):
    builder.failed(it)


def test_cell_rests_on_its_good_trials_and_names_the_others(tmp_path):
    row = cell_of(tmp_path, good, failed, bad, limited, good, good)
    assert (row["verdict"], row["trials"], row["used"]) == (VALID, 6, 3)
    assert (row["throughput_per_s"], row["requests"]) == (200.0, 3000)
    assert (row["throughput_per_s_low"], row["throughput_per_s_high"]) == (200.0, 200.0)
    assert len(row["reasons"]) == 3
    assert all(reason.startswith("1 of 6 trials: ") for reason in row["reasons"])
    assert "1 of 6 trials: failed during ready: it did not start" in row["reasons"]


def limited_and_slow(builder, it):
    builder.measured(it, closed(took_s=0.1), BUSY)


@pytest.mark.parametrize(
    ("trials", "verdict", "used", "rate"),
    [
        ((good, good, limited), GENERATOR_LIMITED, 1, 500.0),
        ((good, good, good, limited), VALID, 3, 200.0),
        # what the generator held back to less than the others says nothing against them
        ((good, good, limited_and_slow, limited_and_slow), VALID, 2, 200.0),
    ],
)
def test_slow_trials_alone_do_not_stand_for_a_cell_whose_fast_ones_were_held_back(
    tmp_path, trials, verdict, used, rate
):
    row = cell_of(tmp_path, *trials)
    assert (row["verdict"], row["used"], row["throughput_per_s"]) == (verdict, used, rate)


def test_cell_with_a_trial_at_its_limit_says_so(tmp_path):
    row = cell_of(tmp_path, good, at_its_limit)
    assert (row["verdict"], row["used"]) == (SERVER_LIMITED, 2)
    assert row["throughput_per_s"] == 300.0  # the median of 200 and 400
    assert (row["throughput_per_s_low"], row["throughput_per_s_high"]) == (200.0, 400.0)


def test_cell_without_good_trials_says_the_best_that_it_reached(tmp_path):
    row = cell_of(tmp_path, failed, limited, bad)
    assert row["verdict"] == GENERATOR_LIMITED
    assert row["trials"] == 3


def test_cell_that_never_measured_has_no_numbers(tmp_path):
    row = cell_of(tmp_path, failed, failed)
    assert (row["verdict"], row["requests"], row["errors"]) == (FAILED, None, None)
    assert row["throughput_per_s"] is None
    assert row["p50_s"] is None
    assert row["reasons"] == ["2 of 2 trials: failed during ready: it did not start"]


def test_cell_does_not_mix_impossible_numbers_into_possible_ones(tmp_path):
    """Its verdict is that of its best trial, so its figures have to be that trial's as well."""
    row = cell_of(tmp_path, limited, bad)
    assert row["verdict"] == GENERATOR_LIMITED
    assert (row["used"], row["throughput_per_s"]) == (1, 500.0)


def test_single_trial_has_no_interval(tmp_path):
    row = cell_of(tmp_path, good)
    assert row["throughput_per_s"] == 200.0
    assert row["throughput_per_s_low"] is None
    assert row["throughput_per_s_high"] is None


def test_command_line_imports_neither_gevent_nor_locust():
    """They would replace the standard library's sockets and threads in gatebench itself."""
    code = (
        "import sys, harness.cli; "
        "print([name for name in sys.modules if name.split('.')[0] in ('gevent', 'locust')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"
