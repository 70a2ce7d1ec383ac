"""Raw app x every server: starts, gives every answer of the contract or is known not to, stops.

Most of that is waiting, so a few servers are asked at once, and each test waits for its own.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from harness.cells import Budget, cell_of
from harness.conversation import ContractError, Peer
from harness.environment import prepare
from harness.launch import launch, upstream
from harness.model import Load
from harness.process import Ending
from harness.registry import load_registry
from harness.verify import CHECKS, checks_for

pytestmark = pytest.mark.servers

REGISTRY = load_registry()
BUDGET = Budget(workers=2, threads=4, load=Load(1))
AT_ONCE = 4
# longer than the period of events, so that a poll for the next one has an answer
SETTINGS = {"GATEBENCH_HOLD_S": "0.6"}
# what they cannot give, they may go on waiting for
PATIENCE_S = {True: 3.0, False: 10.0}
# they give it, but go on when the client has gone, and cannot be stopped any more
NEVER_LEAVES_OFF = {"uvicorn-wsgi": {"events"}, "uvicorn-a2wsgi": {"events"}}


@dataclass
class Witnessed:
    """What one server did: its workers seen, what failed and how it ended."""

    workers: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    ending: Ending | None = None


def witness(name, folder):
    """Ask one server everything; what may leave it stuck is asked of another one like it."""
    cell = cell_of(REGISTRY.servers[name], REGISTRY.scenarios["hello"], BUDGET, REGISTRY)
    environment = prepare(cell.server, cell.app)
    seen = Witnessed()
    asked = checks_for(cell.server.speaks)
    apart = {*cell.server.cannot, *NEVER_LEAVES_OFF.get(name, ())}
    folder.mkdir()
    with upstream(folder / "upstream.log") as slow:
        settings = SETTINGS | {"GATEBENCH_UPSTREAM": slow}
        for checks in (set(asked) - apart, apart):
            with launch(
                cell, environment, log=folder / "server.log", extra_env=settings
            ) as running:
                running.wait_ready()
                seen.workers = len(running.workers_seen)
                for check in (it for it in asked if it in checks):
                    patience_s = PATIENCE_S[check in cell.server.cannot]
                    try:
                        CHECKS[check](Peer(running.host, running.port, patience_s))
                    except ContractError as error:
                        seen.failed[check] = str(error)
                if checks is not apart:
                    seen.ending = running.stop()
            if not apart:
                break
    return seen


@pytest.fixture(scope="module")
def witnessed(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("contract")
    names = [
        item.callspec.params["server"]
        for item in request.session.items
        if item.path == request.path and hasattr(item, "callspec")
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {name: pool.submit(witness, name, folder / name) for name in dict.fromkeys(names)}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("server", REGISTRY.servers)
def test_server_answers_the_whole_contract_and_stops(server, witnessed):
    row = REGISTRY.servers[server]
    assert set(row.cannot) <= set(checks_for(row.speaks))
    seen = witnessed[server].result()
    assert seen.failed.keys() == row.cannot.keys(), seen.failed
    assert seen.workers == (BUDGET.workers if row.takes_workers else 1)
    assert (seen.ending.how, seen.ending.gone) == (row.stop, True)
