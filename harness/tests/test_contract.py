"""App x server: every answer of the app contract, on every server, or the reason why not."""

import pytest

from harness.cells import Budget, cell_of
from harness.conversation import ContractError, Peer
from harness.environment import prepare
from harness.launch import launch, upstream
from harness.model import Load
from harness.registry import load_registry
from harness.verify import CHECKS, checks_for

pytestmark = pytest.mark.servers

REGISTRY = load_registry()
PAIRS = [
    (server.name, app.name)
    for server in REGISTRY.servers.values()
    for app in REGISTRY.apps.values()
    if app.speaks == server.speaks
]
BUDGET = Budget(workers=2, threads=4, load=Load(1))


@pytest.mark.parametrize(("server", "app"), PAIRS)
def test_app_answers_the_whole_contract(server, app, tmp_path):
    cell = cell_of(REGISTRY.servers[server], REGISTRY.scenarios["hello"], BUDGET, REGISTRY, app)
    environment = prepare(cell.server, cell.app)
    assert set(cell.server.cannot) <= set(checks_for(cell.server.speaks))
    wrong = []
    with (
        upstream(tmp_path / "upstream.log") as slow,
        launch(
            cell, environment, log=tmp_path / "server.log",
            extra_env={"GATEBENCH_UPSTREAM": slow, "GATEBENCH_HOLD_S": "0.3"},
        ) as running,
    ):  # fmt: skip
        running.wait_ready()
        assert len(running.workers_seen) == cell.workers
        for name in checks_for(cell.server.speaks):
            try:
                CHECKS[name](Peer(running.host, running.port))
            except ContractError as error:
                if name not in cell.server.cannot:
                    wrong.append(f"{name}: {error}")
            else:
                if name in cell.server.cannot:
                    wrong.append(f"{name}: passes now; the row's `cannot` is out of date")
        ending = running.stop()
    assert not wrong, "\n".join(wrong)
    assert (ending.how, ending.gone) == (cell.server.stop, True)
