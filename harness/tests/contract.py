"""The contract of the app, asked of a server that runs."""

from __future__ import annotations

from harness.conversation import ContractError, Peer
from harness.launch import RunningServer
from harness.verify import CHECKS

TRIES = 5


def complaint(check: str, running: RunningServer, patience_s: float = 10.0) -> str | None:
    """What a check says is wrong; None if all is right."""
    try:
        CHECKS[check](Peer(running.host, running.port, patience_s))
    except ContractError as error:
        return str(error)
    return None


def broken(check: str, running: RunningServer) -> str | None:
    """What is wrong with an answer that a row says the server cannot give; None if it gives it.

    Two sides that wait for each other may be spared it by luck: on a crowded machine one exchange
    in 40 went through where all do not on a quiet one. So it has several tries to go wrong. What
    a server cannot give, it may go on waiting for: these tries are short.
    """
    tried = (complaint(check, running, patience_s=3.0) for _ in range(TRIES))
    return next((it for it in tried if it is not None), None)
