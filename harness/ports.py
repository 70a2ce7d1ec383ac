"""Ports of loopback: which are free, and who listens."""

from __future__ import annotations

import random
import socket
from pathlib import Path

import psutil

from harness.model import ConfigurationError

HOST = "127.0.0.1"
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """A port of loopback on which nobody listens, outside the range of outgoing connections.

    Inside that range a client that asks a port before its server listens can connect to
    itself, and an outgoing connection of the generator can take the port first.
    """
    low, high = _outgoing_range()
    outside = [port for port in range(10_000, 65_536) if not low <= port <= high]
    for port in random.sample(outside, len(outside)) or random.sample(range(low, high), 1000):
        with socket.socket() as probe:
            # without SO_REUSEADDR a port with connections in TIME_WAIT counts as taken, too
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        if listener(port) is None:
            return port
    raise ConfigurationError(f"no port of {HOST} is free: too many connections wait there; retry")


def listener(port: int) -> str | None:
    """Who listens on a port of this machine, as `name (pid N)`; None if nobody does."""
    return next((told(pid) for pid in listeners(port)), None)


def listeners(port: int) -> list[int | None]:
    """The process of each listening socket of a port; None for one of another user.

    Several may share a port without an error (SO_REUSEPORT), and the kernel divides the
    connections among them.
    """
    return [
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
        and connection.laddr
        and connection.laddr.port == port
    ]


def told(pid: int | None) -> str:
    """A process as `name (pid N)`."""
    try:
        return f"{psutil.Process(pid).name()} (pid {pid})" if pid else "another user's process"
    except psutil.Error:
        return f"another process (pid {pid})"


def _outgoing_range() -> tuple[int, int]:
    try:
        low, high = EPHEMERAL.read_text("ascii").split()
    except (OSError, ValueError):
        return 32768, 60999
    return int(low), int(high)
