"""What is found on a trial: each rule of harness.analyze.rules held against its figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.analyze.finding import Finding
from harness.analyze.rules import (
    ACHIEVED,
    BUSY_GENERATOR,
    BUSY_SERVER,
    CEILING,
    CLOCK_S,
    CROWD,
    FULL,
    IDLE_SERVER,
    LAG_S,
    LAG_SHARE,
    LITTLE,
    OWN_CLIENT,
    QUEUED,
    REOPENED,
    RULES,
    STALL_S,
    WARMUP_REQUESTS,
    WARMUP_S,
)

Row = Mapping[str, Any]


def findings(row: Row) -> list[Finding]:
    """All findings on one row of the trials' frame, but for its verdict and reasons."""
    if row["outcome"] == "failed":
        return [_found("failed", f"failed during {row['during']}: {row['failure']}")]
    if row["lost"]:
        return [
            _found(
                "lost worker",
                f"a process of the generator ended in mid-run: worker {', '.join(row['lost'])}; "
                "what it sent after its last report is not counted",
                lost=len(row["lost"]),
            )
        ]
    if not row["requests"]:
        text = f"no right answer under load{_kinds(row)}"
        return [_found("no answers", text, errors=row["errors"])]
    late = _late(row) if row["model"] == "open" else ()
    return [*_impossible(row), *late, *_limits(row), *_unsteady(row), *_blemishes(row)]


def _found(name: str, text: str, **figures: float) -> Finding:
    return Finding(RULES[name], figures, text)


def _impossible(row: Row) -> Iterator[Finding]:
    wait, slots, window = row["wait_s"], row["slots"], row["window_s"]
    rate, requests = row["throughput_per_s"], row["requests"]
    if wait and row["min_s"] < wait - CLOCK_S:
        yield _found(
            "impossible latency",
            f"an answer came after {row['min_s'] * 1e3:.1f} ms, and it was asked to wait "
            f"{wait * 1e3:.0f} ms: the app does not wait, or another one answered",
            min_s=row["min_s"],
            wait_s=wait,
        )
    # each slot may end one request more that began before the window
    if wait and slots and requests > slots * (window / wait + 1):
        yield _found(
            "impossible rate",
            f"{rate:.1f}/s is more than {slots} at once can do in {wait * 1e3:.0f} ms each "
            f"({slots / wait:.1f}/s)",
            throughput_per_s=rate,
            possible_per_s=slots / wait,
        )
    used_s, had_s = row["server_cpu_s"] + (row["proxy_cpu_s"] or 0.0), row["server_cpus"] * window
    if used_s > had_s * 1.02 + 0.02 * row["processes"]:
        yield _found(
            "impossible CPU",
            f"the server used {used_s:.2f} CPU-seconds, and its "
            f"{row['server_cpus']} CPUs had {had_s:.2f}: it escaped its CPUs",
            used_s=used_s,
            had_s=had_s,
        )
    # a client that is not ours may think between its requests, which nobody tells us
    if row["model"] == "closed" and not row["errors"] and row["client"] == OWN_CLIENT:
        in_system = rate * (row["mean_s"] + row["pause_s"])
        # requests that cross an end of the window shift the sum by no more than the longest
        longest_s = row["longest_s"] + row["pause_s"]
        if abs(in_system / row["users"] - 1) > LITTLE + longest_s / window:
            yield _found(
                "Little's law",
                f"{rate:.1f}/s x {row['mean_s'] * 1e3:.2f} ms is {in_system:.1f} requests in "
                f"the system, and {row['users']} users sent them: times or counts are wrong",
                in_system=in_system,
                users=row["users"],
            )


def _late(row: Row) -> Iterator[Finding]:
    """What an open load shows of the generator, and of what it had no room to send."""
    if row["lag_p99_s"] is None or row["offered"] is None:
        yield _found(
            "own pace",
            "the scenario's own client does not follow --rate: the load was not the one asked for",
        )
        return
    allowed = max(LAG_S, LAG_SHARE * row["p50_s"])
    if row["lag_p99_s"] > allowed:
        yield _found(
            "lag",
            f"1 % of the requests were sent {row['lag_p99_s'] * 1e3:.2f} ms late or more "
            f"(allowed: {allowed * 1e3:.2f} ms): the generator was not in time",
            lag_p99_s=row["lag_p99_s"],
            allowed_s=allowed,
        )
    if row["begun"] < ACHIEVED * row["offered"]:
        yield _found(
            "not sent in time",
            f"only {row['begun']} of {row['offered']} requests that were due were even begun",
            begun=row["begun"],
            offered=row["offered"],
        )
    if row["unsent"]:
        yield _unsent(row)
    if row["unanswered"]:
        yield _found(
            "unanswered",
            f"{row['unanswered']} of {row['offered']} requests had no answer seconds after the "
            "window, and the latencies are those of the others",
            unanswered=row["unanswered"],
            offered=row["offered"],
        )


def _unsent(row: Row) -> Finding:
    """Whose fault it is that as many were in flight as may be: the server's, if it was at work."""
    counts = {"unsent": row["unsent"], "offered": row["offered"], "users": row["users"]}
    not_sent = (
        f"{row['unsent']} of {row['offered']} requests were not sent, because "
        f"{row['users']} were in flight"
    )
    achieved = row["begun"] - row["unsent"] - row["unanswered"]
    in_system = row["throughput_per_s"] * row["mean_s"]
    at_work = _busy(row) >= IDLE_SERVER or (row["slots"] and in_system >= row["slots"])
    if at_work or achieved >= ACHIEVED * row["offered"]:
        return _found("unsent", f"{not_sent}: the server does not keep up with this rate", **counts)
    return _found(
        "in-flight cap",
        f"{not_sent}, while the server's CPUs were {_busy(row):.0%} busy: the limit is that number",
        server_busy_share=_busy(row),
        **counts,
    )


def _busy(row: Row) -> float:
    """How busy the server's CPUs were; a proxy runs on them, too."""
    spent = row["server_cpu_share"] + (row["proxy_cpu_share"] or 0.0)
    return float(spent / row["server_cpus"])


def _limits(row: Row) -> Iterator[Finding]:
    share = row["generator_cpu_share"]
    if share > BUSY_GENERATOR:
        yield _found(
            "generator-limited",
            f"the generator used {share:.0%} of its CPU: the server may be faster than this",
            generator_cpu_share=share,
        )
    rate, ceiling = row["throughput_per_s"], row["ceiling_per_s"]
    if ceiling and rate > CEILING * ceiling:
        yield _found(
            "ceiling",
            f"{rate:,.0f}/s is {rate / ceiling:.0%} of what the generator reached in this run "
            f"against a server that costs nothing ({ceiling:,.0f}/s)",
            throughput_per_s=rate,
            ceiling_per_s=ceiling,
        )
    own_faults = sum(
        count for kind, count in row["error_kinds"].items() if kind.startswith("generator ")
    )
    if own_faults:
        yield _found(
            "generator's errors",
            f"{own_faults} requests could not be sent for want of ports or descriptors here",
            errors=own_faults,
        )
    busy = _busy(row)
    both = busy + share * row["generator_cpus"] / row["server_cpus"]
    if row["shared_cpus"] and both > BUSY_GENERATOR:
        yield _found(
            "shared CPUs",
            f"server ({busy:.0%}) and generator ({share:.0%}) fought for the same CPUs: "
            "the server alone may be faster than this",
            server_busy_share=busy,
            generator_cpu_share=share,
        )
    if _at_limit(row):
        yield _server_limited(row)
    yield from _crowded(row)


def _crowded(row: Row) -> Iterator[Finding]:
    """Whose CPUs were full, and not by our own processes alone."""
    more = "it was bound by its slots all the same" if _occupied(row) else "alone it would do more"
    for side, meant in (
        ("server", more),
        ("generator", "the server may be faster than this"),
    ):
        full, others, steal, waited = (
            row["noise"][f"{side}_{name}_share"] or 0.0
            for name in ("full", "others", "steal", "waited")
        )
        # what the hypervisor takes is waited for outside of any queue that we know of
        if full >= FULL and others + steal >= CROWD and waited + steal >= QUEUED:
            yield _found(
                f"crowded {side}",
                f"others had {others + steal:.0%} or more of the {side}'s CPUs, which were full: "
                f"{meant}",
                full_share=full,
                waited_share=waited,
                others_share=others,
                steal_share=steal,
            )


def _at_limit(row: Row) -> bool:
    return _busy(row) >= BUSY_SERVER or _occupied(row)


def _occupied(row: Row) -> bool:
    wait, slots = row["wait_s"], row["slots"]
    return bool(wait and slots and row["throughput_per_s"] * wait >= BUSY_SERVER * slots)


def _server_limited(row: Row) -> Finding:
    busy, proxy = _busy(row), row["proxy_cpu_share"]
    if busy < BUSY_SERVER:
        return _found(
            "server-limited",
            f"every slot (workers x threads: {row['slots']}) was occupied: "
            "more of them would do more",
            slots=row["slots"],
            occupied=row["throughput_per_s"] * row["wait_s"],
        )
    of_it = f" ({proxy / row['server_cpus']:.0%} by the proxy)" if proxy else ""
    return _found(
        "server-limited",
        f"the server's CPUs were {busy:.0%} busy{of_it}",
        server_busy_share=busy,
    )


def _unsteady(row: Row) -> Iterator[Finding]:
    """What says that an average is of different states."""
    at_s, before_s, after_s = row["steady_at_s"], row["before_s"], row["after_s"]
    if row["steady"] is False:
        yield _found(
            "no-steady-state",
            f"the response changed from {_ms(before_s)} to {_ms(after_s)} about "
            f"{at_s:.1f} s into the window: there is no steady state in warm-up and window",
            at_s=at_s,
            before_s=before_s,
            after_s=after_s,
        )
    # between two arrivals of a slow open load nothing is in flight
    between_s = row["pause_s"] if row["model"] == "closed" else 10 / row["rate_per_s"]
    if row["gap_s"] >= STALL_S + row["wait_s"] + between_s:
        yield _found(
            "stalled",
            f"no request was completed for {row['gap_s']:.1f} s while requests were in flight",
            gap_s=row["gap_s"],
        )
    if row["starved"] and row["model"] == "closed":
        yield _found(
            "starved",
            f"{row['starved']} of {row['users']} users got no answer in the whole window; "
            "the latencies are those of the others",
            starved=row["starved"],
            users=row["users"],
        )
    if row["steady"] and row["skipped_s"]:
        yield _found(
            "late start",
            f"steady state began {at_s:.1f} s into the window (the response went from "
            f"{_ms(before_s)} to {_ms(after_s)}): its first {row['skipped_s']} s "
            "are not counted",
            at_s=at_s,
            skipped_s=row["skipped_s"],
            before_s=before_s,
            after_s=after_s,
        )


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds * 1e3:.0f} ms"


def _blemishes(row: Row) -> Iterator[Finding]:
    if row["client"] != OWN_CLIENT:
        yield _found(
            "client",
            f"recorded by {row['client']}: the times hold that client's own work, too, and "
            "compare only with others that it recorded",
        )
    if row["errors"]:
        total = row["errors"] + row["requests"]
        yield _found(
            "errors",
            f"{row['errors']} of {total} requests failed and are not counted as "
            f"throughput{_kinds(row)}",
            errors=row["errors"],
            requests=row["requests"],
            **row["error_kinds"],
        )
    yield from _plateau(row)
    reopened = row["reopened_share"]
    if reopened is not None and reopened > REOPENED:
        yield _found(
            "no keep-alive",
            f"a connection was opened anew for {min(reopened, 1):.0%} of the requests",
            reopened_share=min(reopened, 1),
        )
    if (page := row["page"]) and page["requests"]:
        yield _found(
            "page",
            f"Locust's page was asked {page['requests']} times in the window, and its answers took "
            f"{page['cpu_s'] * 1e3:.1f} ms of the generator's CPU, up to "
            f"{page['longest_s'] * 1e3:.1f} ms at once",
            **page,
        )
    seen = row["workers_seen"]
    if seen is not None and seen < row["workers"]:
        yield _found(
            "workers",
            f"only {seen} of {row['workers']} workers answered while it was made ready",
            seen=seen,
            workers=row["workers"],
        )
    long, many = row["warmup_s"] >= WARMUP_S, WARMUP_REQUESTS * row["workers"]
    if not long and row["warmup_requests"] < many:
        yield _found(
            "short warm-up",
            f"{row['warmup_s']:g} s and {row['warmup_requests']:,} requests of warm-up are less "
            f"than {WARMUP_S:g} s and {many:,}",
            warmup_s=row["warmup_s"],
            warmup_requests=row["warmup_requests"],
        )


def _plateau(row: Row) -> Iterator[Finding]:
    """A mode at the delay of a delayed ACK.

    Where the first bytes do not share it, head and body were sent apart, and there is no doubt.
    Where they do, a queue would look the same, and only a server that is not at its limit tells.
    """
    share, first = row["plateau_share"], row["plateau_first_share"]
    if share is None:
        return
    apart = first is not None and first < share / 2
    if not apart and _at_limit(row):
        return
    yield _found(
        "plateau",
        f"{share:.0%} of the answers came about {row['plateau_s'] * 1e3:.0f} ms late, which nobody "
        "asked for: " + (
            "their first byte had come at once, the rest waited for an ACK"
            if apart
            else "if the app does not wait so long itself, Nagle's algorithm met a delayed ACK"
        ),
        plateau_s=row["plateau_s"],
        share=share,
    )  # fmt: skip


def _kinds(row: Row) -> str:
    """Which requests failed; those of seconds that do not count are among them."""
    kinds = row["error_kinds"]
    within = " in the whole window" if row["skipped_s"] else ""
    return f"{within}: " + ", ".join(f"{n} {kind}" for kind, n in kinds.items()) if kinds else ""
