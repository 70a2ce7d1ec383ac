"""A user's own application: measured under the same servers, its mistakes told as its own."""

from __future__ import annotations

import os
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.application import (
    Asked,
    asked_of,
    asked_request,
    inspect,
    own_registry,
    read_request,
    what_is_held,
)
from harness.ceiling import comparable
from harness.cli import COMMANDS
from harness.launch import RunningServer
from harness.model import (
    App,
    Cell,
    ConfigurationError,
    Environment,
    Load,
    MeasurementError,
    Request,
    Scenario,
)
from harness.options import parser
from harness.ports import listeners
from harness.registry import load_registry
from harness.tests.commands import gatebench, served, started

REGISTRY = load_registry()
WSGI = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'hi']\n"
QUICK = ["--duration", "1s", "--warmup", "0.5s", "--json"]


@pytest.fixture
def folder(tmp_path):
    """A folder with a small WSGI application in it."""
    (tmp_path / "main.py").write_text(WSGI)
    return tmp_path


# --- what is asked for


def test_own_application_takes_the_place_of_every_app_and_scenario(folder):
    asked = Asked("main:app", folder, variables=["A=b=c", "EMPTY="], request="get /items/3?x=%20")
    registry, words = own_registry(REGISTRY, asked, ["waitress", "gunicorn-gthread@23"])
    assert words == ["waitress", "gunicorn-gthread@23"]
    (app,), (scenario,) = registry.apps.values(), registry.scenarios.values()
    assert (app.name, app.speaks, app.target, app.own) == ("main:app", "wsgi", "main:app", True)
    assert app.folder == folder.resolve()
    assert app.variables == {"A": "b=c", "EMPTY": ""}
    assert scenario.name == "GET /items/3?x=%20"
    assert scenario.file.is_file()
    assert registry.servers == REGISTRY.servers


def test_interface_is_said_or_else_that_of_all_servers_named(folder):
    def spoken(*words: str, **said):
        registry, _ = own_registry(REGISTRY, Asked("main:app", folder, **said), words)
        return registry.apps["main:app"].speaks

    assert spoken("waitress", "gunicorn-sync@22..23") == "wsgi"
    assert spoken("uvicorn") == "asgi"
    assert spoken("uvicorn", "waitress", interface="wsgi") == "wsgi"
    with pytest.raises(ConfigurationError, match=r"--interface .* speak both, as uvicorn \(ASGI\)"):
        spoken("uvicorn", "waitress")
    with pytest.raises(ConfigurationError, match=r"--interface wsgi or .* no server is named"):
        spoken()


def test_without_servers_it_is_the_first_look_at_those_of_its_interface(folder):
    _, words = own_registry(REGISTRY, Asked("main:app", folder, interface="wsgi"), [])
    assert words == ["gunicorn-sync", "gunicorn-gthread", "waitress"]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"target": "main:create()"}, "is not written package.module:app"),
        ({"target": "a/b.py:app"}, "is not written package.module:app"),
        ({"target": ":app"}, "is not written package.module:app"),
        ({"target": "mian:app"}, "there is no module mian in "),
        ({"folder": Path("/nowhere")}, "--app-dir /nowhere: is not a folder"),
        ({"requirements": Path("gone.txt")}, "--requirements gone.txt: is not a file"),
        ({"variables": ["DATABASE"]}, "--app-env 'DATABASE' is not written NAME=VALUE"),
        ({"variables": ["PYTHONPATH=x"]}, "--app-env PYTHONPATH: is what gatebench itself sets"),
        ({"request": "GET"}, "--request 'GET' is not written like"),
        ({"request": "GET items"}, "is not written like"),
        ({"request": "GET /a b"}, "is not written like"),
        ({"request": "HEAD /"}, "methods are GET, POST"),
        ({"request": "GET /é"}, "is not written like"),
        ({"request": ""}, "is not written like"),
        ({"body": "x"}, "--request-body: a GET has no body; write POST /"),
        ({"request": "POST /", "body": "@/nowhere"}, "--request-body @/nowhere: cannot be read"),
        ({"expect": "@/nowhere"}, "--expect-body @/nowhere: cannot be read"),
        ({"headers": ["Accept"]}, "--request-header 'Accept' is not written"),
        ({"headers": ["A: b\r\nC: d"]}, "is not written"),
        ({"headers": ["Connection: close"]}, "--request-header Connection: is what the generator"),
    ],
)
def test_mistake_is_one_line_that_names_its_option(said, words, folder):
    asked = Asked(**({"target": "main:app", "folder": folder} | said))
    with pytest.raises(ConfigurationError) as caught:
        own_registry(REGISTRY, asked, ["waitress"])
    assert words in str(caught.value)


def test_module_that_is_not_in_the_folder_may_come_with_the_requirements(folder):
    (folder / "needs.txt").write_text("somewhere\n")
    asked = Asked("somewhere.wsgi:app", folder, requirements=folder / "needs.txt")
    registry, _ = own_registry(REGISTRY, asked, ["waitress"])
    assert registry.apps["somewhere.wsgi:app"].requirements == folder / "needs.txt"


@pytest.mark.parametrize(
    ("asked", "request_"),
    [
        (Asked("a:b"), Request()),
        (Asked("a:b", request="/x"), Request("GET", "/x")),
        (Asked("a:b", request="delete /x"), Request("DELETE", "/x")),
        (Asked("a:b", request="POST /x"), Request("POST", "/x", body=b"")),
        (Asked("a:b", request="PUT /x", body="é"), Request("PUT", "/x", body="é".encode())),
        (Asked("a:b", headers=["A-B:c: d "]), Request(headers=(("A-B", "c: d"),))),
        (Asked("a:b", status=404, expect=""), Request(status=404, expect=b"")),
    ],
)
def test_request_is_read_from_its_options(asked, request_):
    assert read_request(asked) == request_


def test_body_and_expected_body_may_be_files(tmp_path):
    (tmp_path / "in").write_bytes(b"\0\xff")
    place = f"@{tmp_path / 'in'}"
    request = read_request(Asked("a:b", request="POST /", body=place, expect=place))
    assert (request.body, request.expect) == (b"\0\xff", b"\0\xff")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({}, "held to the status of the first (2xx or 3xx), not to a body"),
        ({"status": 404, "expect": "gone"}, "held to status 404, to a body of 4 bytes"),
    ],
)
def test_report_says_what_was_held(said, words, folder):
    registry, _ = own_registry(REGISTRY, Asked("main:app", folder, **said), ["waitress"])
    assert words in what_is_held(registry)
    assert what_is_held(registry).startswith("own application main:app (WSGI), GET /: ")


def test_own_application_is_told_from_a_row():
    def said(*words: str) -> Asked | None:
        arguments = parser(dict.fromkeys(COMMANDS, print)).parse_args(["run", "waitress", *words])
        return asked_of(arguments, REGISTRY)

    assert said() is said("--app", "wsgi") is None
    assert said("--app", "a:b", "--request", "/x") == Asked("a:b", request="/x")
    assert said("--app", "a:b", "--app-env", "A=", "--app-dir", "d") == Asked(
        "a:b", folder=Path("d"), variables=["A="]
    )
    assert said("--app", "wsgi", "--request", "/x") is None
    with pytest.raises(ConfigurationError, match="--app-env goes with --app package"):
        said("--app", "wsgi", "--app-env", "A=1")


def test_request_of_ours_takes_the_place_of_a_scenario():
    def said(*words: str) -> Scenario | None:
        arguments = parser(dict.fromkeys(COMMANDS, print)).parse_args(["run", "waitress", *words])
        return asked_request(arguments)

    assert said("--app", "wsgi") is None
    plain = said("--request", "/whoami", "--expect-status", "200")
    assert (plain.name, plain.wait_s, plain.checks) == ("GET /whoami", 0.0, ())
    assert plain.request == Request("GET", "/whoami", status=200)
    # what the app is asked to wait is known, so that faster answers are found impossible
    assert said("--request", "GET /sleep/20").wait_s == 0.02
    assert said("--request", "/sleep/20?how=block").wait_s == 0.02
    with pytest.raises(ConfigurationError, match="go with --request"):
        said("--expect-body", "x")


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (Request(status=302), Request(status=200)),
        (Request(status=201, expect=b"x"), Request(status=200, expect=b"Hello, world!")),
        (
            Request("POST", "/", body=b"ab", expect=b"x"),
            Request("POST", "/", body=b"ab", status=200, expect=b"ab"),
        ),
        (Request("PUT", "/", body=b""), None),
    ],
)
def test_ceiling_is_held_to_the_null_responders_own_answer(request_, answer):
    scenario = replace(REGISTRY.scenarios["hello"], checks=(), request=request_)
    cell = Cell(REGISTRY.servers["waitress"], REGISTRY.apps["wsgi"], scenario, Load(3), 1, 4)
    found = comparable([cell])
    assert [it.request for it, _ in found] == ([answer] if answer else [])


# --- what is imported

ASGI = "class App:\n    async def __call__(self, scope, receive, send): ...\napp = App()\n"
UNKNOWN = "class App:\n    def __call__(self, *args): ...\napp = App()\n"


def inspected(folder: Path, target: str, *, speaks="wsgi", **said) -> MeasurementError | None:
    """What importing it in this very Python comes to."""
    app = App(target, speaks, folder, target, "--app", own=True, **said)
    own = Environment(Path(sys.prefix), "3", {})
    try:
        inspect(REGISTRY.servers["waitress"], app, own)
    except MeasurementError as error:
        return error
    return None


@pytest.mark.parametrize("text", [WSGI, UNKNOWN, f"print('{{}}')\n{WSGI}"])
def test_application_that_imports_is_left_in_peace(text, folder):
    (folder / "main.py").write_text(text)
    assert inspected(folder, "main:app") is None


@pytest.mark.parametrize(
    ("text", "target", "words"),
    [
        (WSGI, "main:ap", "app main:ap: module main has no ap; did you mean app?"),
        (WSGI, "mian:app", "app mian:app: there is no module mian in "),
        (WSGI, "main.sub:app", "there is no module main.sub in "),
        ("app = {}", "main:app", "is a dict and no application"),
        (
            "import flusk",
            "main:app",
            "cannot be imported: ModuleNotFoundError: No module named 'flusk' (main.py, line 1): "
            "name what it needs with --requirements FILE",
        ),
        ("\nraise OSError('no db')", "main:app", "imported: OSError: no db (main.py, line 2)"),
        ("import sys; sys.exit(3)", "main:app", "imported: SystemExit: 3 (main.py, line 1)"),
        ("def app(:", "main:app", "SyntaxError: invalid syntax (main.py, line 1)"),
        ("import os; os.abort()", "main:app", "its import ended Python with exit code -6"),
        (ASGI, "main:app", "speaks ASGI, as its call shows, and server waitress speaks WSGI"),
    ],
)
def test_mistake_of_the_application_is_one_line_of_its_own(text, target, words, folder):
    (folder / "main.py").write_text(text)
    error = inspected(folder, target)
    assert words in str(error)
    assert str(error).startswith(f"app {target}: ")


def test_what_the_application_wrote_before_it_failed_is_its_log(folder):
    (folder / "main.py").write_text("print('connecting')\nraise OSError('no db')")
    log = inspected(folder, "main:app").log
    assert log.startswith("connecting\n")
    assert log.endswith("OSError: no db")


def test_import_that_starts_a_server_is_ended(folder, monkeypatch):
    (folder / "main.py").write_text("import time\nprint('serving')\ntime.sleep(60)")
    monkeypatch.setattr("harness.application.READY_WITHIN_S", 1.0)
    error = inspected(folder, "main:app")
    assert "its import did not end within 1 s: does it start a server?" in str(error)
    assert error.log == "serving"


def test_application_gets_its_variables_and_none_of_ours(folder, monkeypatch):
    monkeypatch.setenv("OURS", "1")
    (folder / "main.py").write_text(
        f"import os\nassert 'OURS' not in os.environ\nassert os.environ['DB'] == 'x'\n{WSGI}"
    )
    assert inspected(folder, "main:app", variables={"DB": "x"}) is None


# --- whose port it is


def test_every_socket_that_shares_a_port_is_seen():
    with socket.socket() as first, socket.socket() as second:
        for each in (first, second):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        first.bind(("127.0.0.1", 0))
        second.bind(first.getsockname())
        first.listen()
        port = first.getsockname()[1]
        assert listeners(port) == [os.getpid()]
        second.listen()
        assert listeners(port) == [os.getpid(), os.getpid()]


@pytest.mark.parametrize("pids", [[], [1]])
def test_stranger_on_the_port_is_named(pids, tmp_path):
    cell = Cell(
        REGISTRY.servers["waitress"], REGISTRY.apps["wsgi"], REGISTRY.scenarios["hello"],
        Load(1), 1, 4,
    )  # fmt: skip
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        server = RunningServer(
            cell, "127.0.0.1", stranger.getsockname()[1], (), tmp_path / "log",
            SimpleNamespace(pids=lambda: pids), 0.0,
        )  # fmt: skip
        with pytest.raises(MeasurementError, match=rf"is also .* by .*\(pid {os.getpid()}\)"):
            server._hold_port()
        pids[:] = [os.getpid()]
        server._hold_port()


# --- for real

SHOP = """
import os
from fastapi import FastAPI, Request
import apps.words
import harness.more

app = FastAPI()

@app.get("/items/{number}")
async def item(number: int):
    word = apps.words.WORD + harness.more.MORE
    return {"number": number, "word": word, "db": len(os.environ["DB"])}

@app.put("/items")
async def new(request: Request):
    return await request.json()
"""


THREE = '{"number":3,"word":"theirs","db":22}'


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A FastAPI project with packages that are named as ours."""
    folder = tmp_path_factory.mktemp("shop")
    for name in ("shop", "apps", "harness"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").touch()
    (folder / "shop" / "main.py").write_text(SHOP)
    (folder / "apps" / "words.py").write_text("WORD = 'their'\n")
    (folder / "harness" / "more.py").write_text("MORE = 's'\n")
    (folder / "requirements.txt").write_text("fastapi\n")
    return folder


@pytest.mark.alone  # a verdict among other tests would be theirs
@pytest.mark.servers
def test_own_asgi_application_is_measured_and_held_to_its_body(shop, tmp_path):
    finished = gatebench(
        "run", "uvicorn,granian", "--app", "shop.main:app", "--app-dir", str(shop),
        "--requirements", str(shop / "requirements.txt"), "--app-env", "DB=postgres://me:secret@x",
        "--request", "GET /items/3", "--expect-status", "200",
        "--expect-body", THREE,
        *QUICK, cwd=tmp_path,
    )  # fmt: skip
    assert finished.code == 0, finished.err
    document = finished.document
    assert [cell["server"] for cell in document["cells"]] in (
        ["uvicorn", "granian"],
        ["granian", "uvicorn"],
    )
    for cell in document["cells"]:
        assert (cell["app"], cell["scenario"]) == ("shop.main:app", "GET /items/3")
        assert cell["requests"] > 100
        assert cell["errors"] == 0
        assert {"fastapi", cell["server"]} <= cell["versions"].keys()
        assert not [reason for reason in cell["reasons"] if "workers" in reason]
    assert any(
        f"held to status 200, to a body of {len(THREE)} bytes" in note for note in document["notes"]
    )
    assert document["ceilings"][0]["failure"] is None
    stored = (tmp_path / document["run"] / "run.json").read_text()
    assert "secret" not in stored
    assert '"DB=..."' in stored


@pytest.mark.alone  # a verdict among other tests would be theirs
@pytest.mark.servers
def test_own_request_has_its_method_header_and_body(shop, tmp_path):
    finished = gatebench(
        "run", "uvicorn", "--app", "shop.main:app", "--app-dir", str(shop),
        "--requirements", str(shop / "requirements.txt"), "--app-env=DB=x",
        "--request", "PUT /items", "--request-header", "content-type: application/json",
        "--request-body", '{"name": "ü"}', "--expect-body", '{"name":"ü"}', *QUICK, cwd=tmp_path,
    )  # fmt: skip
    assert finished.code == 0, finished.err
    (cell,) = finished.document["cells"]
    assert cell["errors"] == 0


FLAKY = """
from itertools import count
from flask import Flask

app = Flask(__name__)
numbers = count()

@app.put("/flaky")
def flaky():
    number = next(numbers)
    return ("no", 500) if number % 5 == 4 else "yes" * (number % 3)
"""


@pytest.fixture(scope="module")
def flask(tmp_path_factory):
    """A Flask project; every fifth of its answers is an error."""
    folder = tmp_path_factory.mktemp("flask")
    (folder / "site_.py").write_text(FLAKY)
    (folder / "requirements.txt").write_text("-r web.txt\n")
    (folder / "web.txt").write_text("flask\n")
    return folder


@pytest.mark.alone  # a verdict among other tests would be theirs
@pytest.mark.servers
def test_own_wsgi_application_is_held_to_its_status_under_load(flask, tmp_path):
    finished = gatebench(
        "run", "waitress", "--app", "site_:app", "--app-dir", str(flask),
        "--requirements", str(flask / "requirements.txt"), "--request", "PUT /flaky", *QUICK,
        cwd=tmp_path,
    )  # fmt: skip
    assert finished.code == 0, finished.err
    (cell,) = finished.document["cells"]
    assert cell["errors"] == pytest.approx(cell["requests"] / 4, rel=0.1)
    assert any("bad-status /flaky" in reason for reason in cell["reasons"])


@pytest.mark.servers
def test_status_that_is_not_the_expected_one_fails_the_row_at_once(flask, tmp_path):
    finished = gatebench(
        "run", "waitress", "gunicorn-sync@0.0.999", "--app", "site_:app", "--app-dir", str(flask),
        "--requirements", str(flask / "requirements.txt"), "--request", "PUT /", *QUICK,
        cwd=tmp_path, timeout=25,
    )  # fmt: skip
    assert finished.code == 3
    reasons = {cell["server"]: cell["reasons"][0] for cell in finished.document["cells"]}
    assert (
        "did not answer PUT / right: expected a status of 2xx or 3xx, got 404"
        in (reasons["waitress"])
    )
    assert "say --expect-status 404 if that is right" in reasons["waitress"]
    assert "gunicorn==0.0.999 does not exist" in reasons["gunicorn-sync@0.0.999"]


@pytest.mark.servers
def test_application_that_cannot_be_imported_fails_with_its_own_log(flask, tmp_path):
    finished = gatebench(
        "serve", "waitress", "--app", "site_:app", "--app-dir", str(flask), cwd=tmp_path
    )
    assert finished.code == 3
    complaint, *log = finished.err.splitlines()
    assert complaint.startswith("gatebench: app site_:app: cannot be imported: ModuleNotFoundError")
    assert complaint.endswith("(site_.py, line 3): name what it needs with --requirements FILE")
    assert log[0] == "  Traceback (most recent call last):"
    assert log[-1] == "  ModuleNotFoundError: No module named 'flask'"


@pytest.mark.servers
def test_own_application_is_served(flask, tmp_path):
    with started(
        "serve", "waitress", "--app", "site_:app", "--app-dir", str(flask), "--json",
        "--requirements", str(flask / "requirements.txt"), "--expect-status", "404", cwd=tmp_path,
    ) as process:  # fmt: skip
        assert served(process)["app"] == "site_:app"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
