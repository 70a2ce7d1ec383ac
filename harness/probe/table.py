"""Every probe: its name, its question, whom it is for, and how long it may take."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import MappingProxyType

from harness.model import ConfigurationError, Interface
from harness.probe import concurrency, http, http2, lifecycle, streaming, tls, websocket
from harness.probe.answer import Answer
from harness.probe.subject import Subject


@dataclass(frozen=True, slots=True)
class Probe:
    """One question to a server.

    `only` is the interface it is for, None for both. `alone` says that it starts copies of its
    own and needs no live server; `waits` that the app has to be able to wait; `direct` that it
    asks nothing of a proxy before the server. `within_s` bounds what it waits for, in seconds,
    beside the starting and stopping of its copies.
    """

    name: str
    group: str
    question: str
    ask: Callable[[Subject], Answer]
    only: Interface | None = None
    alone: bool = False
    waits: bool = False
    direct: bool = False
    within_s: float = 5.0


def _table() -> Iterable[Probe]:
    group = "HTTP/1"
    yield Probe("keep-alive", group, "Does a connection serve a second request?", http.keep_alive)
    yield Probe(
        "keep-alive-1.0", group, "And in HTTP/1.0, asked by its header?", http.keep_alive_10
    )
    yield Probe(
        "pipelining", group, "Are requests sent at once answered in order?", http.pipelining,
        within_s=10.0,
    )  # fmt: skip
    yield Probe(
        "chunked", group, "Does a chunked request body reach the app whole?", http.chunked_request
    )
    yield Probe("expect-100", group, "Is Expect: 100-continue answered?", http.expect_100)
    yield Probe("head", group, "Has HEAD the head of GET, and no body?", http.head)
    yield Probe(
        "headers", group, "Is a header of 32 KiB taken (partial: 7 KiB)?", http.large_headers,
        within_s=10.0,
    )  # fmt: skip
    yield Probe(
        "long-url", group, "Is a URL of 8 KiB taken (partial: 2 KiB)?", http.long_url, within_s=10.0
    )
    yield Probe("large-body", group, "Do 10 MiB come back right?", http.large_body, within_s=15.0)

    group = "streaming"
    yield Probe(
        "streaming", group, "Does an answer's beginning come before its end?",
        streaming.streaming, waits=True,
    )  # fmt: skip
    yield Probe(
        "sse", group, "Does each event come when it happens?", streaming.server_sent_events,
        waits=True,
    )  # fmt: skip
    yield Probe(
        "streaming-echo", group, "Can the app answer while the body still comes?",
        streaming.streaming_echo, within_s=12.0,
    )  # fmt: skip

    group = "WebSocket"
    for name, question, ask in (
        ("websocket", "Do text and binary messages come back?", websocket.echo),
        ("ws-empty", "Do messages of no length come back?", websocket.empty),
        ("ws-large", "Does a message of 1 MiB come back?", websocket.large),
        ("ws-fragments", "Is a fragmented message put together?", websocket.fragments),
        ("ws-ping", "Is a ping answered?", websocket.ping),
        ("ws-close", "Are close codes echoed, and bad UTF-8 refused?", websocket.close),
    ):
        yield Probe(name, group, question, ask, only="asgi", within_s=8.0)

    group = "ways in"
    yield Probe("http2", group, "HTTP/2 in cleartext, by prior knowledge?", http2.cleartext)
    yield Probe("tls", group, "TLS?", tls.tls, alone=True, direct=True)
    yield Probe(
        "http2-tls", group, "HTTP/2 over TLS, by ALPN?", tls.http2_tls, alone=True, direct=True
    )
    yield Probe("http3", group, "HTTP/3?", tls.http3_quic, alone=True, direct=True)
    yield Probe("unix", group, "A unix socket?", tls.unix_socket, alone=True, direct=True)

    group = "at once"
    yield Probe(
        "concurrency", group, "Do as many waits overlap as the row promises?",
        concurrency.concurrency, alone=True, waits=True, within_s=15.0,
    )  # fmt: skip
    yield Probe(
        "workers", group, "Do all workers answer?", concurrency.workers, direct=True, within_s=8.0
    )
    yield Probe("backlog", group, "May 128 connections wait to be accepted?", concurrency.backlog)

    group = "life"
    for name, question, ask in (
        ("restart", "Is a killed worker replaced?", lifecycle.worker_restart),
        ("reload", "Does HUP reload without dropping a request?", lifecycle.reload),
        ("scaling", "Do TTIN and TTOU change the workers?", lifecycle.scaling),
        ("stop", "Does its stop signal let the request in flight end?", lifecycle.stop),
        ("orphans", "Do all go when the main process is killed?", lifecycle.orphans),
        ("bad-import", "Does it end, and say so, if the app cannot be imported?",
         lifecycle.failed_import),
    ):  # fmt: skip
        yield Probe(
            name, group, question, ask, alone=True, waits=name in ("reload", "stop"), direct=True
        )
    yield Probe(
        "lifespan", group, "Is the app told of startup and shutdown, with state?",
        lifecycle.lifespan, only="asgi", alone=True, direct=True,
    )  # fmt: skip


PROBES = MappingProxyType({probe.name: probe for probe in _table()})


def select(names: Iterable[str]) -> list[Probe]:
    """The probes named, in the table's order; all without names."""
    wanted = set(names)
    if unknown := sorted(wanted - PROBES.keys()):
        there = ", ".join(PROBES)
        raise ConfigurationError(f"unknown probe {unknown[0]!r}; there are {there}")
    return [probe for probe in PROBES.values() if not wanted or probe.name in wanted]
