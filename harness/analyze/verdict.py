"""What a trial is worth: findings with their figures, and the verdict they add up to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

FAILED = "failed"
INVALID = "invalid"
GENERATOR_LIMITED = "generator-limited"
NO_STEADY_STATE = "no-steady-state"
SERVER_LIMITED = "server-limited"
VALID = "valid"
SEVERITY = (FAILED, INVALID, GENERATOR_LIMITED, NO_STEADY_STATE, SERVER_LIMITED, VALID)

# A closed run is for maximum throughput, and that is what a server at its limit shows.
RANKED = (VALID, SERVER_LIMITED)

BUSY_GENERATOR = 0.80
BUSY_SERVER = 0.95
LITTLE = 0.05
# libuv's clock counts whole milliseconds, so its timers may fire up to one early
CLOCK_S = 0.001
STALL_S = 1.0
LAG_S = 0.001
LAG_SHARE = 0.10
ACHIEVED = 0.99
OWN_CLIENT = "gatebench's load engine"
CEILING = 0.70  # of the throughput against the null responder
REOPENED = 0.5  # of the requests, where connections are not kept


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found: the rule, what the trial is worth by it, figure and advice."""

    rule: str
    verdict: str
    text: str


def verdict_of(outcome: str, found: list[Finding]) -> str:
    """The most severe verdict among the findings; `valid` if there is none."""
    if outcome == "failed":
        return FAILED
    return min((finding.verdict for finding in found), key=SEVERITY.index, default=VALID)


def findings(row: Mapping[str, Any]) -> list[Finding]:
    """All findings on one row of the trials' frame."""
    if row["outcome"] == "failed":
        return [Finding("failed", FAILED, f"failed during {row['during']}: {row['failure']}")]
    if row["lost"]:
        return [
            Finding(
                "lost worker",
                INVALID,
                f"a process of the generator ended in mid-run: worker {', '.join(row['lost'])}; "
                "what it sent after its last report is not counted",
            )
        ]
    if not row["requests"]:
        return [Finding("no answers", INVALID, f"no right answer under load{_kinds(row)}")]
    late = _late(row) if row["model"] == "open" else ()
    return [*_impossible(row), *late, *_limits(row), *_blemishes(row)]


def _impossible(row: Mapping[str, Any]) -> Iterator[Finding]:
    wait, slots, window = row["wait_s"], row["slots"], row["window_s"]
    rate, requests = row["throughput_per_s"], row["requests"]
    if wait and row["min_s"] < wait - CLOCK_S:
        yield Finding(
            "impossible latency",
            INVALID,
            f"an answer came after {row['min_s'] * 1e3:.1f} ms, and it was asked to wait "
            f"{wait * 1e3:.0f} ms: the app does not wait, or another one answered",
        )
    # each slot may end one request more that began before the window
    if wait and slots and requests > slots * (window / wait + 1):
        yield Finding(
            "impossible rate",
            INVALID,
            f"{rate:.1f}/s is more than {slots} at once can do in {wait * 1e3:.0f} ms each "
            f"({slots / wait:.1f}/s)",
        )
    used_s = row["server_cpu_s"] + (row.get("proxy_cpu_s") or 0.0)
    if used_s > row["server_cpus"] * window * 1.02 + 0.02 * row["processes"]:
        yield Finding(
            "impossible CPU",
            INVALID,
            f"the server used {used_s:.2f} CPU-seconds, and its "
            f"{row['server_cpus']} CPUs had {row['server_cpus'] * window:.2f}: it escaped its CPUs",
        )
    # a client that is not ours may think between its requests, which nobody tells us
    if row["model"] == "closed" and not row["errors"] and row["client"] == OWN_CLIENT:
        in_system = rate * (row["mean_s"] + row["pause_s"])
        # requests that cross an end of the window shift the sum by no more than the longest
        longest_s = row["longest_s"] + row["pause_s"]
        if abs(in_system / row["users"] - 1) > LITTLE + longest_s / window:
            yield Finding(
                "Little's law",
                INVALID,
                f"{rate:.1f}/s x {row['mean_s'] * 1e3:.2f} ms is {in_system:.1f} requests in "
                f"the system, and {row['users']} users sent them: times or counts are wrong",
            )


def _late(row: Mapping[str, Any]) -> Iterator[Finding]:
    """What an open load shows of the generator."""
    if row["lag_p99_s"] is None or row["offered"] is None:
        yield Finding(
            "own pace",
            INVALID,
            "the scenario's own client does not follow --rate: the load was not the one asked for",
        )
        return
    allowed = max(LAG_S, LAG_SHARE * row["p50_s"])
    if row["lag_p99_s"] > allowed:
        yield Finding(
            "lag",
            GENERATOR_LIMITED,
            f"1 % of the requests were sent {row['lag_p99_s'] * 1e3:.2f} ms late or more "
            f"(allowed: {allowed * 1e3:.2f} ms): the generator was not in time",
        )
    known = row["requests"] + row["errors"] + row["unsent"] + row["unanswered"]
    if known < ACHIEVED * row["offered"]:
        yield Finding(
            "not sent in time",
            GENERATOR_LIMITED,
            f"only {known} of {row['offered']} requests that were due were even begun",
        )
    if row["unsent"]:
        yield Finding(
            "unsent",
            SERVER_LIMITED,
            f"{row['unsent']} of {row['offered']} requests were not sent, because "
            f"{row['users']} were in flight: the server does not keep up with this rate",
        )
    if row["unanswered"]:
        yield Finding(
            "unanswered",
            SERVER_LIMITED,
            f"{row['unanswered']} of {row['offered']} requests had no answer seconds after the "
            "window, and the latencies are those of the others",
        )


def _limits(row: Mapping[str, Any]) -> Iterator[Finding]:
    share = row["generator_cpu_share"]
    if share > BUSY_GENERATOR:
        yield Finding(
            "generator-limited",
            GENERATOR_LIMITED,
            f"the generator used {share:.0%} of its CPU: the server may be faster than this",
        )
    ceiling = row["ceiling_per_s"]
    if ceiling and row["throughput_per_s"] > CEILING * ceiling:
        yield Finding(
            "ceiling",
            GENERATOR_LIMITED,
            f"{row['throughput_per_s']:,.0f}/s is {row['throughput_per_s'] / ceiling:.0%} of what "
            f"the generator reached in this run against a server that costs nothing "
            f"({ceiling:,.0f}/s): use more --processes on more CPUs",
        )
    own_faults = sum(
        count for kind, count in row["error_kinds"].items() if kind.startswith("generator ")
    )
    if own_faults:
        yield Finding(
            "generator's errors",
            GENERATOR_LIMITED,
            f"{own_faults} requests could not be sent for want of ports or descriptors here",
        )
    # a proxy runs on its server's CPUs
    proxy = row.get("proxy_cpu_share") or 0.0
    busy = (row["server_cpu_share"] + proxy) / row["server_cpus"]
    both = busy + share * row["generator_cpus"] / row["server_cpus"]
    if row["shared_cpus"] and both > BUSY_GENERATOR:
        yield Finding(
            "shared CPUs",
            GENERATOR_LIMITED,
            f"server ({busy:.0%}) and generator ({share:.0%}) fought for the same CPUs: "
            "the server alone may be faster than this",
        )
    wait, slots = row["wait_s"], row["slots"]
    if busy >= BUSY_SERVER:
        of_it = f" ({proxy / row['server_cpus']:.0%} by the proxy)" if proxy else ""
        yield Finding(
            "server-limited", SERVER_LIMITED, f"the server's CPUs were {busy:.0%} busy{of_it}"
        )
    elif wait and slots and row["throughput_per_s"] * wait >= BUSY_SERVER * slots:
        yield Finding(
            "server-limited",
            SERVER_LIMITED,
            f"every slot (workers x threads: {slots}) was occupied: more of them would do more",
        )


def _blemishes(row: Mapping[str, Any]) -> Iterator[Finding]:
    if row["client"] != OWN_CLIENT:
        yield Finding(
            "client",
            VALID,
            f"recorded by {row['client']}: the times hold that client's own work, too, and "
            "compare only with others that it recorded",
        )
    if row["errors"]:
        total = row["errors"] + row["requests"]
        yield Finding(
            "errors",
            VALID,
            f"{row['errors']} of {total} requests failed and are not counted as "
            f"throughput{_kinds(row)}",
        )
    # between two arrivals of a slow open load nothing is in flight
    between_s = 0.0 if row["model"] == "closed" else 10 / row["rate_per_s"]
    if row["gap_s"] >= STALL_S + row["wait_s"] + between_s:
        yield Finding(
            "stalled",
            NO_STEADY_STATE,
            f"no request was completed for {row['gap_s']:.1f} s while requests were in flight",
        )
    reopened = row["reopened_share"]
    if reopened is not None and reopened > REOPENED:
        yield Finding(
            "no keep-alive",
            VALID,
            f"a connection was opened anew for {min(reopened, 1):.0%} of the requests",
        )
    if row["starved"] and row["model"] == "closed":
        yield Finding(
            "starved",
            SERVER_LIMITED,
            f"{row['starved']} of {row['users']} users got no answer in the whole window; "
            "the latencies are those of the others",
        )
    seen = row["workers_seen"]
    if seen is not None and seen < row["workers"]:
        yield Finding(
            "workers",
            VALID,
            f"only {seen} of {row['workers']} workers answered while it was made ready",
        )


def _kinds(row: Mapping[str, Any]) -> str:
    kinds = row.get("error_kinds") or {}
    return ": " + ", ".join(f"{count} {kind}" for kind, count in kinds.items()) if kinds else ""
