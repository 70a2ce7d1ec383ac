"""The contract of the app, asked of a server that runs."""

from __future__ import annotations

from harness.conversation import ContractError, Peer
from harness.launch import RunningServer
from harness.verify import CHECKS

# where two sides wait for each other one may be in time by luck: of 40 exchanges on a crowded
# machine one went through, of 20 on a quiet one none
BY_LUCK = "stream"


def complaint(check: str, running: RunningServer, patience_s: float = 10.0) -> str | None:
    """What a check says is wrong; None if all is right."""
    try:
        CHECKS[check](Peer(running.host, running.port, patience_s))
    except ContractError as error:
        return str(error)
    return None


def broken(check: str, running: RunningServer) -> str | None:
    """What is wrong with an answer that a row says the server cannot give; None if it gives it.

    It has to go wrong at once; the one that luck may spare, in the next two tries, both.
    What a server cannot give, it may go on waiting for: a try is short.
    """
    found = complaint(check, running, patience_s=3.0)
    if found is None and check == BY_LUCK:
        again = [complaint(check, running, patience_s=3.0) for _ in range(2)]
        found = again[0] if all(again) else None
    return found
