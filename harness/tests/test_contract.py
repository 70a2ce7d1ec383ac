"""Raw app x every server: starts, gives every answer of the contract or is known not to, stops."""

from dataclasses import dataclass, field

import pytest

from harness.cells import Budget, cell_of
from harness.environment import prepare
from harness.launch import launch, upstream
from harness.model import Load
from harness.process import Ending
from harness.registry import load_registry
from harness.tests.contract import broken, complaint
from harness.verify import checks_for

pytestmark = pytest.mark.servers

REGISTRY = load_registry()
BUDGET = Budget(workers=2, threads=4, load=Load(1))
# longer than the period of events, so that a poll for the next one has an answer
SETTINGS = {"GATEBENCH_HOLD_S": "0.6"}
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
    with upstream(folder / "upstream.log") as slow:
        settings = SETTINGS | {"GATEBENCH_UPSTREAM": slow}
        for checks in (set(asked) - apart, apart):
            with launch(
                cell, environment, log=folder / "server.log", extra_env=settings
            ) as running:
                running.wait_ready()
                seen.workers = len(running.workers_seen)
                for check in (it for it in asked if it in checks):
                    failed = (
                        broken(check, running)
                        if check in cell.server.cannot
                        else complaint(check, running)
                    )
                    if failed is not None:
                        seen.failed[check] = failed
                if checks is not apart:
                    seen.ending = running.stop()
            if not apart:
                break
    return seen


@pytest.mark.parametrize("server", REGISTRY.servers)
def test_server_answers_the_whole_contract_and_stops(server, tmp_path):
    row = REGISTRY.servers[server]
    assert set(row.cannot) <= set(checks_for(row.speaks))
    seen = witness(server, tmp_path)
    assert seen.failed.keys() == row.cannot.keys(), seen.failed
    assert seen.workers == (BUDGET.workers if row.takes_workers else 1)
    assert (seen.ending.how, seen.ending.gone) == (row.stop, True)
