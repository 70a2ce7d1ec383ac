"""Launchers serve an app without standing before anything that the app imports."""

import pytest

from harness.cells import Budget, cell_of
from harness.environment import prepare
from harness.launch import LAUNCHERS, launch
from harness.model import Load
from harness.registry import load_registry
from harness.verify import whoami

USES = [
    (name, word)
    for name, server in load_registry().servers.items()
    for word in server.command.split()
    if "{launchers}" in word
]

# an app beside modules of its own with every name that ours has
APP = """
import importlib, json, os

NAMES = {names!r}
OURS = [name for name in NAMES if importlib.import_module(name).__doc__ != "mine"]

def app(environ, start_response):
    whoami = {{"pid": os.getpid(), "thread": "", "server": "", "interface": "", "http": "",
              "python": "", "loop": None, "ours": OURS}}
    hello = environ["PATH_INFO"] == "/"
    body = b"Hello, world!" if hello else json.dumps(whoami).encode()
    kind = "text/plain" if hello else "application/json"
    start_response("200 OK", [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]
"""


@pytest.mark.parametrize(("server", "word"), USES)
def test_launcher_is_there_and_runs_by_its_path_alone(server, word):
    command = load_registry().servers[server].command
    assert command.startswith(f"python -P {word} {{app}} ")
    assert (LAUNCHERS / word.removeprefix("{launchers}/")).is_file()


def test_every_launcher_is_used():
    used = {word.removeprefix("{launchers}/") for _, word in USES}
    assert used == {path.name for path in LAUNCHERS.glob("*.py")}


@pytest.mark.servers
def test_packages_of_the_app_are_its_own_whatever_their_names(tmp_path):
    names = ["apps", "harness", "launchers", *sorted(path.stem for path in LAUNCHERS.glob("*.py"))]
    for name in names:
        (tmp_path / f"{name}.py").write_text('"mine"')
    (tmp_path / "shop.py").write_text(APP.format(names=names))
    (tmp_path / "mine.toml").write_text('[apps.shop]\nspeaks = "wsgi"\ntarget = "shop:app"\n')
    registry = load_registry([tmp_path / "mine.toml"])
    server, hello = registry.servers["wsgiref"], registry.scenarios["hello"]
    cell = cell_of(server, hello, Budget(1, 1, Load(1)), registry, "shop")
    environment = prepare(server, cell.app)
    with launch(cell, environment, log=tmp_path / "server.log") as running:
        running.wait_ready()
        assert whoami(running.host, running.port, timeout_s=5)["ours"] == []
        assert running.stop().gone
