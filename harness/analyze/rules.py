"""What can be found on a trial: each rule with its threshold, verdict and advice, as a table.

The findings are made by harness.analyze.findings; programs and people read the same words. The
sources of the thresholds are in the method: a generator above 80 % of its CPUs adds to the
times, a delayed ACK is 40 or 200 ms, Little's law is Little 1961.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.analyze.latency import DELAYED_ACKS_S, PLATEAU
from harness.analyze.steady import DELTA
from harness.analyze.verdict import (
    FAILED,
    GENERATOR_LIMITED,
    INVALID,
    NO_STEADY_STATE,
    SERVER_LIMITED,
    VALID,
)

BUSY_GENERATOR = 0.80
BUSY_SERVER = 0.95
IDLE_SERVER = 0.50
LITTLE = 0.05
# libuv's clock counts whole milliseconds, so its timers may fire up to one early
CLOCK_S = 0.001
STALL_S = 1.0
LAG_S = 0.001
LAG_SHARE = 0.10
ACHIEVED = 0.99
CEILING = 0.70  # of the throughput against the null responder
REOPENED = 0.5  # of the requests, where connections are not kept
FULL = 0.95
CROWD = 0.05  # of a side's CPUs
QUEUED = 0.10  # of the time; those who run at a low priority give way
WARMUP_S = 2.0
WARMUP_REQUESTS = 1000  # of each worker
OWN_CLIENT = "gatebench's load engine"

_FREE = "give the generator more CPUs (--processes), or the server less load"


@dataclass(frozen=True, slots=True)
class Rule:
    """What is looked for, what a trial is worth by it, and what to do; the last may be empty."""

    name: str
    verdict: str
    rule: str
    advice: str = ""


_DELAYS = " or ".join(f"{delay * 1e3:.0f}" for delay in DELAYED_ACKS_S)

RULES = {
    rule.name: rule
    for rule in (
        Rule("failed", FAILED, "the trial ended before it had measured", "read its log"),
        Rule(
            "lost worker",
            INVALID,
            "a process of the generator ended before its last report",
            "read locust.log of the trial; memory may have run out",
        ),
        Rule("no answers", INVALID, "no request was answered right in the window"),
        Rule(
            "impossible latency",
            INVALID,
            f"an answer came more than {CLOCK_S * 1e3:.0f} ms before the wait was over that the "
            "app was asked for",
            "make sure that the app waits, and that nothing else answers in its place",
        ),
        Rule(
            "impossible rate",
            INVALID,
            "more answers than workers x threads can give, one for each wait",
            "check how many workers and threads the server really runs",
        ),
        Rule(
            "impossible CPU",
            INVALID,
            "more CPU-seconds than CPUs x time, by 2 % and what sampling may miss",
            "keep the server to the CPUs it was given",
        ),
        Rule(
            "Little's law",
            INVALID,
            "closed load without errors: users differ from throughput x (response + pause) by "
            f"more than {LITTLE:.0%} and the share of the window that the longest answer is",
            "look for a pause that the scenario does not declare, or times that are not whole",
        ),
        Rule(
            "own pace",
            INVALID,
            "open load: the client does not follow the schedule",
            "use HttpUser of harness.load, or a closed load",
        ),
        Rule(
            "lag",
            GENERATOR_LIMITED,
            f"open load: lag p99 > max({LAG_S * 1e3:.0f} ms, {LAG_SHARE:.0%} of p50)",
            _FREE,
        ),
        Rule(
            "not sent in time",
            GENERATOR_LIMITED,
            f"open load: fewer than {ACHIEVED:.0%} of the requests that were due were begun",
            _FREE,
        ),
        Rule(
            "in-flight cap",
            GENERATOR_LIMITED,
            f"open load: fewer than {ACHIEVED:.0%} of the requests that were due got an answer or "
            "an error, because as many were in flight as may be, while the server was idle (CPUs "
            f"< {IDLE_SERVER:.0%}, a worker or thread free)",
            "allow more in flight with --users, or find what the server waits for",
        ),
        Rule(
            "generator-limited",
            GENERATOR_LIMITED,
            f"generator CPU > {BUSY_GENERATOR:.0%} of its CPUs",
            _FREE,
        ),
        Rule(
            "ceiling",
            GENERATOR_LIMITED,
            f"throughput > {CEILING:.0%} of what the same generator reached against the null "
            "responder in this run, where it was itself the limit",
            _FREE,
        ),
        Rule(
            "generator's errors",
            GENERATOR_LIMITED,
            "requests could not be sent for want of ports or descriptors here",
            "raise ulimit -n, or open fewer connections",
        ),
        Rule(
            "shared CPUs",
            GENERATOR_LIMITED,
            f"server and generator run on the same CPUs, and use > {BUSY_GENERATOR:.0%} of them",
            "use a machine with two CPUs or more",
        ),
        Rule(
            "crowded generator",
            GENERATOR_LIMITED,
            f"the generator's CPUs were idle for less than {1 - FULL:.0%} of the time, others, or "
            f"the hypervisor, had {CROWD:.0%} or more of them, and it waited for its CPU for "
            f"{QUEUED:.0%} of the time",
            "stop what else runs on this machine, and measure again",
        ),
        Rule(
            "no-steady-state",
            NO_STEADY_STATE,
            "MSER-5 on batches of 100 ms cuts in the second half of warm-up and window, between "
            f"responses that differ by more than {DELTA:.0%}",
            "measure for longer, with a longer --warmup",
        ),
        Rule(
            "stalled",
            NO_STEADY_STATE,
            f"nothing was completed for {STALL_S:.0f} s (and the wait, and the longest pause "
            "between requests) while requests were in flight",
            "read server.log of the trial",
        ),
        Rule(
            "server-limited",
            SERVER_LIMITED,
            f"the server's CPUs >= {BUSY_SERVER:.0%} busy, or its workers x threads >= "
            f"{BUSY_SERVER:.0%} occupied by the wait",
        ),
        Rule(
            "crowded server",
            SERVER_LIMITED,
            f"the server's CPUs were idle for less than {1 - FULL:.0%} of the time, others, or the "
            f"hypervisor, had {CROWD:.0%} or more of them, and the server's threads waited for a "
            f"CPU for {QUEUED:.0%} of the time",
            "stop what else runs on this machine, and measure again",
        ),
        Rule(
            "unsent",
            SERVER_LIMITED,
            "open load: requests were not sent, because as many were in flight as may be",
            "lower --rate: this one is above the capacity",
        ),
        Rule(
            "unanswered",
            SERVER_LIMITED,
            "open load: requests had no answer some seconds after the window",
            "lower --rate: this one is above the capacity",
        ),
        Rule(
            "starved",
            SERVER_LIMITED,
            "closed load: users that got no answer in the whole window",
            "give it more workers or threads, or use fewer --users",
        ),
        Rule(
            "plateau",
            VALID,
            f"at least {PLATEAU:.0%} of the answers, and three times as many as around, came "
            f"{_DELAYS} ms late: Nagle's algorithm against a delayed ACK",
            "set TCP_NODELAY in the server, or write head and body at once",
        ),
        Rule(
            "no keep-alive",
            VALID,
            f"connections opened beyond the first of each user > {REOPENED:.0%} of the requests, "
            "where the scenario keeps connections",
            "turn keep-alive on, if the server has it",
        ),
        Rule("errors", VALID, "any request failed; it is not in the throughput"),
        Rule("client", VALID, "the times were taken by a client that is not ours"),
        Rule(
            "page",
            VALID,
            "Locust's page (--live) was looked at in the window",
            "measure without --live what others are to be compared with",
        ),
        Rule(
            "workers",
            VALID,
            "fewer workers answered while it was made ready than it was asked to start",
        ),
        Rule(
            "short warm-up",
            VALID,
            f"the warm-up had neither {WARMUP_S:g} s nor {WARMUP_REQUESTS:,} requests per worker",
            "leave --warmup at 2s",
        ),
        Rule(
            "late start",
            VALID,
            "MSER-5 on batches of 100 ms says that steady state began after the window did",
            "use a longer --warmup",
        ),
    )
}
