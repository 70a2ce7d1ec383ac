"""The kernel's own list of listening sockets (man 7 sock_diag), as `ss -ltn` reads it."""

from __future__ import annotations

import socket
import struct

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST_DUMP = 0x301
NLMSG_ERROR, NLMSG_DONE = 2, 3
LISTEN = 10
HEADER = struct.Struct("=IHHII")
REQUEST = struct.Struct("=BBBBI48x")
# state; source port; then, behind the rest of the socket's name and its timer, both queues
FOUND = struct.Struct("=xBxx2s46xIII")


def listen_queues(port: int) -> list[int]:
    """The greatest length of the listen queue of every socket that listens on a TCP port.

    OSError where the kernel does not answer such questions.
    """
    found = []
    for family in (socket.AF_INET, socket.AF_INET6):
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_SOCK_DIAG) as link:
            link.settimeout(2.0)
            ask = REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, 1 << LISTEN)
            size = HEADER.size + len(ask)
            link.send(HEADER.pack(size, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST_DUMP, 1, 0) + ask)
            found += _read(link, port)
    return found


def _read(link: socket.socket, port: int) -> list[int]:
    found: list[int] = []
    while True:
        data = link.recv(1 << 16)
        while data:
            size, kind, _, _, _ = HEADER.unpack_from(data)
            if kind == NLMSG_DONE:
                return found
            if kind == NLMSG_ERROR:
                raise OSError("the kernel refused to list its sockets")
            state, source, _, _, queue = FOUND.unpack_from(data, HEADER.size)
            if state == LISTEN and int.from_bytes(source, "big") == port:
                found.append(queue)
            data = data[(size + 3) & ~3 :]
