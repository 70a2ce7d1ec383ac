"""Framework x one server: every answer of the app contract, or the reason why not."""

import pytest

from harness.cells import Budget, cell_of
from harness.conversation import ContractError, Peer
from harness.environment import prepare
from harness.launch import launch, upstream
from harness.model import Load
from harness.registry import load_registry
from harness.tests.commands import gatebench
from harness.verify import CHECKS, checks_for, whoami

pytestmark = pytest.mark.servers

REGISTRY = load_registry()
FRAMEWORKS = [app.name for app in REGISTRY.apps.values() if app.packages]
SERVER = {"wsgi": "gunicorn-gthread", "asgi": "uvicorn"}
BUDGET = Budget(workers=1, threads=4, load=Load(1))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_framework_answers_the_whole_contract(framework, tmp_path):
    app = REGISTRY.apps[framework]
    server = REGISTRY.servers[SERVER[app.speaks]]
    assert not server.cannot  # so that every failure is the app's
    asked = [
        name
        for name in checks_for(app.speaks)
        if app.websocket or not name.startswith("websocket_")
    ]
    cell = cell_of(server, REGISTRY.scenarios["hello"], BUDGET, REGISTRY, framework)
    environment = prepare(server, app)
    failed = {}
    with (
        upstream(tmp_path / "upstream.log") as slow,
        launch(
            cell, environment, log=tmp_path / "server.log",
            extra_env={"GATEBENCH_UPSTREAM": slow, "GATEBENCH_HOLD_S": "0.3"},
        ) as running,
    ):  # fmt: skip
        running.wait_ready()
        for name in asked:
            try:
                CHECKS[name](Peer(running.host, running.port))
            except ContractError as error:
                failed[name] = str(error)
        facts = whoami(running.host, running.port, timeout_s=5)
        ending = running.stop()
    assert failed.keys() == app.cannot.keys(), failed
    package = server.packages[0]
    assert facts["server"] == f"{package}/{environment.receipt[package]}"
    assert facts["interface"] == app.speaks
    assert (ending.how, ending.gone) == (server.stop, True)
    log = (tmp_path / "server.log").read_text("utf-8")
    assert "Traceback" not in log, log


@pytest.mark.alone  # a verdict among other tests would be theirs
def test_framework_is_measured_like_the_raw_app(tmp_path):
    done = gatebench(
        "run", "uvicorn", "--app", "fastapi", "--scenario", "hello", "--users", "4",
        "--duration", "1s", "--warmup", "500ms", "--results", ".", "--json",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.code == 0, done.err
    [cell] = done.document["cells"]
    assert (cell["app"], cell["errors"]) == ("fastapi", 0)
    assert cell["requests"] > 100
    assert cell["verdict"] in ("valid", "server-limited", "no-steady-state"), cell["reasons"]
    assert "fastapi" in cell["versions"]
